"""The command that tunes options, with the same number of trials for every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..cells.cell import Cell, product
from ..errors import InputError, counted
from ..files import write_atomically
from ..folders import data_folder
from . import completion
from .help import Command
from .options import DATA_ROOT, DEVICE
from .say import say

if TYPE_CHECKING:
    from ..cells.spec import Spec
    from ..reading.current import Current

METRIC = "negative_elbo_valid"
"""What options are chosen by: never the test part."""
_SEARCH_SEED, _FINAL_SEED = 1_000_000, 1_000_001
"""Seeds that no report uses, of the search and of the final comparison, where a lucky trial isn't lucky again."""
_FINALISTS = 2
_UNUSED = {"test_images": 100, "importance_images": 1, "importance_draws": 1}
"""Options of a scenario that make what isn't looked at cheap."""


@click.command(cls=Command)
@click.option(
    "--suite",
    "suite_name",
    shell_complete=completion.SUITES,
    help="Suite whose scenario, methods and conventions are taken; or a TOML file.",
)
@click.option("-s", "--scenario", "scenarios", multiple=True, metavar="NAME[:OPTION=VALUE,...]",
              shell_complete=completion.SCENARIOS,
              help="The scenario of the final comparison, in place of the suite's.")  # fmt: skip
@click.option("-m", "--method", "methods", multiple=True, metavar="NAME|FILE",
              shell_complete=completion.METHODS,
              help="A method, in place of the suite's. May be repeated; `all` is all but presets.")  # fmt: skip
@click.option("--trials", type=click.IntRange(min=2), default=12, show_default=True,
              help="Trials of each method, its defaults included.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True,
              help="Optimiser steps per interval of the search.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at a time.  [default: one per core]")
@DEVICE
@DATA_ROOT
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the store.  [default: runs/tune-SUITE]")
def tune(
    suite_name: str | None, scenarios: tuple[str, ...], methods: tuple[str, ...], trials: int, steps: int,
    jobs: int | None, device: str, data_root: Path | None, out: Path | None,
) -> int:  # fmt: skip
    """Choose options of methods by their validation parts, and write STORE/tuned.toml.

    Every method gets the same number of trials of what its author declares, at a small budget. The best two and the
    defaults run again at the scenario's own budget, with another seed, and the best of these is chosen. Repeating the
    command goes on with it, and other methods are added to the file; `lifegen worker` helps. A suite names the file:
    tuned = "tuned.toml".
    """
    from ..cells.search import trials as trials_of
    from ..cells.suite import cells_of, suite
    from ..cells.tuned import changes, kept, to_toml
    from ..reading.current import current_of
    from ..running.executor import Execution
    from ..store.known_texts import with_known_texts
    from ..store.record import Status
    from ..store.store import Store
    from .running import here, run_cells

    store = out or Path("runs", f"tune-{Path(suite_name or 'default').stem}")
    asked = with_known_texts(cells_of(suite_name, scenarios, methods, seeds=[_FINAL_SEED]), Store(store))
    if suite_name and suite(suite_name).tuned:
        raise InputError(f"suite {suite_name} names tuned options already; tune it without them")
    finals = list({cell.scenario.label: cell.scenario for cell in asked}.values())
    if len(finals) > 1:
        raise InputError(f"options are tuned for one scenario, not {len(finals)}; name one with -s")
    final = _with(finals[0], _UNUSED)
    search = _with(final, {"steps": steps})
    execution = Execution(data_folder(data_root), device)
    runner = here(jobs, device)
    every = {cell.method.label: trials_of(cell.method, trials) for cell in asked}
    of_method = {label: specs for label, specs in every.items() if len(specs) > 1}
    for label in (label for label in every if label not in of_method):
        say(f"{label}: nothing to search: a preset, or no range is declared of an option at its default")
    if not of_method:
        raise InputError("none of these methods has an option to search")
    defaults = [specs[0] for specs in of_method.values()]

    def done(cells: Sequence[Cell]) -> dict[str, float]:
        run_cells(cells, store, runner, execution)
        current = current_of(store)
        statuses = {cell.name: cell.status for cell in current.stored}
        if left := [cell for cell in cells if statuses.get(cell.name) not in (Status.DONE, Status.FAILED)]:
            trials_are = counted(len(left), "trial", "is")
            raise InputError(f"{trials_are} still being computed, the first, {left[0]}; repeat the command then")
        return _values(current, cells)

    searched = done(product([search], [spec for specs in of_method.values() for spec in specs], [_SEARCH_SEED]))
    finalists = {}
    for one in defaults:
        best = _best(of_method[one.label], searched)[:_FINALISTS]
        finalists[one.label] = list({spec.label: spec for spec in (one, *best)}.values())
    compared = done(product([final], [spec for specs in finalists.values() for spec in specs], [_FINAL_SEED]))
    chosen = [(one, _best(finalists[one.label], compared)[0]) for one in defaults if one.label in compared]
    file = store / "tuned.toml"
    of_others = kept(file, finals[0].label, trials)  # methods may be tuned one after another
    now = {one.label: changes(one, winner) for one, winner in chosen}
    write_atomically(file, to_toml(finals[0].label, trials, of_others | now))
    for one, winner in chosen:
        before, after = compared[one.label], compared[winner.label]
        say(f"{winner.label}: {after:.2f} nats, {f'its defaults {before:.2f}' if winner != one else 'its defaults'}")
    for one in defaults:
        if one.label not in compared:
            say(f"{one.label}: not tuned, since its defaults failed", error=True)
    say(file)
    failed = sum(len(specs) for specs in of_method.values()) - len(searched)
    failed += sum(map(len, finalists.values())) - len(compared)
    if failed:
        say(f"{counted(failed, 'trial')} failed; a failed one counts as the worst", error=True)
    return 1 if failed else 0


def _with(spec: Spec, options: Mapping[str, object]) -> Spec:
    """A scenario with other values of those options that it has."""
    from ..cells.spec import configure

    known = {name: value for name, value in options.items() if name in spec.config}
    return configure(spec.description, {**spec.config, **known})


def _values(current: Current, cells: Sequence[Cell]) -> dict[str, float]:
    """The value of each finished cell, by its method's label. A failed trial has none."""
    names = {cell.name: cell.method.label for cell in cells}
    shown = [cell for cell in current.cells if cell.name in names]
    numbers = {names[cell.name]: cell.numbers.get(METRIC) for cell in shown}
    return {label: value for label, value in numbers.items() if value is not None}


def _best(specs: Sequence[Spec], values: Mapping[str, float]) -> list[Spec]:
    """Specs, the best first; of equal ones the first stays first. Those without a value come last."""
    return sorted(specs, key=lambda spec: values.get(spec.label, math.inf))


COMMANDS = (tune,)

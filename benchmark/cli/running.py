"""The commands that plan cells, run them here or on a cluster, and show their progress."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cells.cell import PRECISIONS, Cell
from ..errors import InputError, counted
from ..folders import data_folder
from . import completion
from .exporting import LOG, logged
from .help import Command
from .options import DATA_ROOT, DEVICE, STORE, checked_device
from .say import say

if TYPE_CHECKING:
    from ..running.executor import Execution, Executor, States
    from ..store.store import Store

_MOST_SEEDS = 10_000

_JOBS = click.option("--jobs", type=click.IntRange(min=1), help="Cells at a time.  [default: one per core]")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")


def _selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose cells; their arguments are those of :func:`_chosen`."""
    options = [
        click.option("--suite", "suite_name", shell_complete=completion.SUITES,
                     help="Name of a suite, or a TOML file."),
        click.option("-s", "--scenario", "scenarios", multiple=True, metavar="NAME|FILE[:OPTION=VALUE,...]",
                     shell_complete=completion.SCENARIOS, help="A name, or a Python file. May be repeated."),
        click.option("-m", "--method", "methods", multiple=True, metavar="NAME|FILE[:OPTION=VALUE,...]",
                     shell_complete=completion.METHODS,
                     help="A name, or a Python file. May be repeated; `all` is every method that isn't a preset."),
        click.option("--seeds", help="Such as 0-4 or 0,3,7.  [default: 0-2, or the suite's]"),
        click.option("--steps", type=click.IntRange(min=1),
                     help="Optimiser steps per interval.  [default: the scenario's]"),
        click.option("--smoke", is_flag=True,
                     help="Run the suite's small size with one seed, to see that everything works."),
        click.option("--metric", "metrics", multiple=True, metavar="FILE", shell_complete=completion.FILES,
                     help="A Python file whose metrics are measured, too. May be repeated."),
        click.option("--precision", type=click.Choice(["auto", *PRECISIONS]), default="float32", show_default=True,
                     help="Precision of matrix products in training; auto takes the fastest one that is known not to"
                          " change the bounds."),
        click.option("--out", type=click.Path(path_type=Path),
                     help="Folder of the store.  [default: runs/SUITE, runs/SUITE-smoke, or runs/default]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _execution(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how cells are run."""
    options = [
        DEVICE,
        click.option("--time-limit", type=click.FloatRange(min=0, min_open=True),
                     help="Seconds that one cell may take."),
        click.option("--keep-models", is_flag=True, help="Keep final models in the store (some suites do)."),
        click.option("--states", type=click.Choice(["resume", "last", "all"]), default="resume", show_default=True,
                     help="Which saved states to keep when a cell is done: none (resume), the last, or all."),
        DATA_ROOT,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _number_or_auto(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """A number of at least 1, or None for auto."""
    if value == "auto":
        return None
    if not value.isdecimal() or not int(value):
        raise InputError(f"--slots-per-gpu {value!r} isn't auto or a number from 1 on")
    return int(value)


@dataclass(frozen=True)
class _Chosen:
    cells: list[Cell]
    path: Path
    keep_models: bool
    budget: str = ""
    """The time that the suite's author states."""


def _chosen(
    suite_name: str | None, scenarios: Sequence[str], methods: Sequence[str], seeds: str | None, steps: int | None,
    smoke: bool, metrics: Sequence[str], precision: str, out: Path | None, device: str | None,
) -> _Chosen:  # fmt: skip
    """The cells that options ask for. Without a device the precision isn't resolved; each worker checks it."""
    from ..cells.suite import cells_of, suite
    from ..running.devices import resolve_precision
    from ..store.known_texts import with_known_texts
    from ..store.store import Store

    cells = cells_of(suite_name, scenarios, methods, None if seeds is None else _seeds(seeds), steps, smoke,
                     metrics)  # fmt: skip
    if suite_name and suite_name.endswith(".toml"):  # a test checks lifegen's own suites
        from ..reporting.figure_kinds import check_figures

        check_figures(suite(suite_name))
    if precision != "float32":  # a cell is identified by its resolved precision, which only torch can tell
        if device is not None:
            precision = resolve_precision(precision, device)
        elif precision == "auto":
            raise InputError(
                "--precision auto can't be used with Ray, since nodes may differ; name one, such as float32"
            )
        cells = [replace(cell, precision=precision) for cell in cells]
    path = out or Path("runs", Path(suite_name or "default").stem + ("-smoke" if smoke else ""))
    of_suite = suite(suite_name) if suite_name else None
    keeps_models, budget = (of_suite.keep_models, of_suite.budget) if of_suite else (False, "")
    return _Chosen(with_known_texts(cells, Store(path)), path, keeps_models, budget)


@click.command(cls=Command)
@_selection
@_JOBS
@_execution
@click.option("--gpus", help="CUDA devices to use, such as 0,1.")
@click.option(
    "--slots-per-gpu",
    callback=_number_or_auto,
    metavar="auto|INTEGER",
    default="auto",
    show_default=True,
    help="Cells at a time on each of --gpus; auto: as many as memory and cores allow, up to 14.",
)
@click.option("--mps/--no-mps", default=None,
              help="Share a GPU under CUDA's multi-process service.  [default: where it is installed]")  # fmt: skip
@click.option("--retry", type=click.Choice(["failed"]), help="Run failed cells again.")
@click.option("--fail-fast", is_flag=True, help="Stop everything at the first failure.")
@LOG
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or Ray.",
)
@click.option("--address", help="auto or host:6379.  [default: RAY_ADDRESS, else Ray on this machine]")
@click.option("--cpus", type=click.FloatRange(min=0), help="CPUs for each cell.  [default: 1]")
@click.option(
    "--gpu-share",
    type=click.FloatRange(min=0),
    help="GPUs for each cell; at 0.25 four cells share one.  [default: 0]",
)
@click.option("--memory", type=click.FloatRange(min=0, min_open=True), help="GiB of memory for each cell.")
@click.option("--share", type=click.Choice(["auto", "folder", "ray"]),
              help="How results come back, by the store's folder or by Ray.  [default: auto]")  # fmt: skip
def run(
    jobs: int | None,
    device: str,
    time_limit: float | None,
    keep_models: bool,
    states: States,
    data_root: Path | None,
    gpus: str | None,
    slots_per_gpu: int | None,
    mps: bool | None,
    retry: str | None,
    fail_fast: bool,
    log: str | None,
    executor: str,
    address: str | None,
    cpus: float | None,
    gpu_share: float | None,
    memory: float | None,
    share: Any,
    **selection: Any,
) -> int:
    """Run scenarios × methods × seeds into a store.

    Repeating the command runs the missing cells. With --suite, -s, -m and --seeds replace the suite's own. An
    interrupted cell continues from its last interval boundary; a failed cell runs again only with --retry failed.
    """
    from ..running.executor import Execution
    from .conclusion import conclude

    chosen_ones = _gpus(gpus, slots_per_gpu, mps, device, jobs)
    device = "cuda" if chosen_ones else device
    on_ray = executor == "ray"
    if on_ray and (chosen_ones or jobs):
        raise InputError("--jobs and --gpus are for this machine's processes; with Ray: --cpus, --gpu-share, --memory")
    if not on_ray and any(option is not None for option in (address, cpus, gpu_share, memory, share)):
        raise InputError("--address, --cpus, --gpu-share, --memory and --share are for --executor ray")
    chosen = _chosen(**selection, device=None if on_ray else device)
    cells, path = chosen.cells, chosen.path
    keep_models = keep_models or chosen.keep_models
    execution = Execution(data_folder(data_root), device, time_limit, keep_models, states, fail_fast)
    on_gpus = {"gpus": chosen_ones, "per_gpu": slots_per_gpu, "service": mps}
    runner = _on_ray(address, cpus, gpu_share, memory, share) if on_ray else here(jobs, device, **on_gpus)
    code = run_cells(cells, path, runner, execution, retry_failed=retry == "failed", log=log)
    conclude(cells, path)
    return code


def run_cells(
    cells: Sequence[Cell],
    path: Path,
    runner: Executor,
    execution: Execution,
    retry_failed: bool = False,
    log: str | None = None,
) -> int:
    """Run the missing ones of some cells into a store, and say so; return the exit code."""
    from ..running.local import missing
    from ..store.plans import save_plan
    from ..store.store import Store
    from .progress import shown

    line = shlex.join(["lifegen", *sys.argv[1:]])
    Store.check(path)
    todo, left = missing(cells, Store(path), retry_failed)
    if execution.keep_models and (bare := _without_model(Store(path), cells)):
        say(f"{counted(bare, 'finished cell')} kept no model; a cell without its folder runs anew: {path / 'cells'}")
    finished = len(cells) - len(todo) - len(left)
    for text in _left_alone(Store(path), left, len(cells)):
        say(text)
    if not todo:
        # Saved even so: the plan says which text of a changed file is the newest, and which suite names the methods.
        save_plan(Store(path), cells, line, bool(execution.keep_models))
        say(f"{counted(len(cells), 'cell')}, {'all' if finished == len(cells) else finished} done: {path}")
        return 1 if left else 0
    say(f"{counted(len(cells), 'cell')}, {finished} done, {len(todo)} to run: {path}")
    for text in _set_aside(Store(path), todo):
        say(text)
    say("checking device, data and options first")
    runner.prepare(todo, execution)
    store = Store.create(path)
    save_plan(store, cells, line, bool(execution.keep_models))
    with shown(todo, path) as show:
        events = runner.run(todo, store, execution, logged(show, store, log))
    for event in events:
        if event.kind == "failed":
            say(f"log: {store.cell(event.cell.name).folder / 'log.txt'}")
    if any(event.kind == "failed" for event in events):
        say("--retry failed runs failed cells again")
    if len(events) < len(todo):
        say(
            f"stopped at the first failure: {counted(len(todo) - len(events), 'cell')} left to finish; the same command"
            " continues them"
        )
    return 1 if left or len(events) < len(todo) or any(event.kind != "done" for event in events) else 0


@click.command(cls=Command)
@_selection
@DEVICE
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cells at a time.")
@click.option("--save", is_flag=True, help="Write the plan into the store, for `lifegen worker` and `status`.")
@click.option(
    "--keys",
    is_flag=True,
    help="Print only the names of the cells to run, one a line; with --minutes, of those that fit.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Say which cells come to their end in so many minutes.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="A further store whose cells' times are used, such as one of the same GPU; for other methods their mean.",
)
@_JSON
def plan(
    device: str, jobs: int, save: bool, keys: bool, minutes: float | None, like: Path | None, as_json: bool,
    **selection: Any,
) -> None:  # fmt: skip
    """Show what `run` would do with the same options.

    It shows the cells to run and the time they take, and runs nothing. Times are those of finished cells in this store
    and those beside it, on GPUs or processors as --device says. `run` takes the cells in the order of seeds, so that an
    end at any moment leaves whole tables.
    """
    from ..reading.overview import overview
    from ..running.devices import may_have_gpu
    from ..running.local import missing
    from ..store.plans import save_plan
    from ..store.store import Store
    from .overview import overview_as_json, show_fitting, show_overview

    chosen = _chosen(**selection, device=device)
    Store.check(chosen.path)
    if save:
        line = shlex.join(["lifegen", *sys.argv[1:]])
        save_plan(Store.create(chosen.path), chosen.cells, line, chosen.keep_models)
    if keys and minutes is None:
        for cell in missing(chosen.cells, Store(chosen.path))[0]:
            say(cell.name)
        return
    gpu = device.startswith("cuda") or (device == "auto" and may_have_gpu())
    view = overview(Store(chosen.path), chosen.cells, gpu, like and Store.open(like).path)
    fitting = None if minutes is None else view.fitting(minutes / 60, jobs)
    if keys:
        for item in fitting or ():
            say(item.name)
    elif as_json:
        say(overview_as_json(view, fitting))
    else:
        show_overview(view, jobs, chosen.budget, by_method=True)
        if minutes is not None and fitting is not None:
            show_fitting(view, fitting, minutes)


@click.command()
@STORE
@click.option("--jobs", type=click.IntRange(min=1),
              help="Cells at a time, to estimate the time left.  [default: the number running now]")  # fmt: skip
@_JSON
def status(store: Path, jobs: int | None, as_json: bool) -> None:
    """Show which cells are done, running, failed or left.

    It also shows the time left, and works on any machine that sees the store.
    """
    from ..reading.overview import overview
    from ..store.store import Store
    from .overview import overview_as_json, show_overview

    state = overview(Store.open(store))
    if as_json:
        say(overview_as_json(state))
    else:
        show_overview(state, jobs or max(1, state.counts.get("running", 0)))


@click.command(cls=Command)
@STORE
@click.option("--cell", "keys", multiple=True, metavar="KEY", shell_complete=completion.CELLS,
              help="Name or hash of a cell, or the first characters. May be repeated.  [default: all]")  # fmt: skip
@_execution
def worker(
    store: Path, keys: tuple[str, ...], device: str, time_limit: float | None, keep_models: bool, states: States,
    data_root: Path | None,
) -> int:  # fmt: skip
    """Run a store's planned cells one after another.

    It runs the cells given by --cell, else all that no other worker runs. Any number of workers share the work, on any
    machines that see the store.
    """
    from ..running.executor import Execution
    from ..running.local import Local, missing
    from ..store.plans import asked_for, find_cell, kept_models
    from ..store.store import Store
    from .progress import shown

    opened = Store.open(store)
    cells = [find_cell(opened, key) for key in keys] or asked_for(opened)
    todo, left = missing(cells, opened, retry_failed=bool(keys))
    keep = keep_models or kept_models(opened)
    execution = Execution(data_folder(data_root), device, time_limit, keep, states)
    if todo:
        Local().prepare(todo, execution)
        opened = Store.create(store)  # so that an earlier lifegen doesn't work in it any more
    with shown(todo, store) as show:
        events = Local().run(todo, opened, execution, show)
    unfinished = [event for event in events if event.kind == "failed" or (keys and event.kind != "done")]
    return 1 if left or unfinished else 0


@click.command()
@STORE
@click.argument("cell", metavar="CELL", shell_complete=completion.CELLS)
@click.option("--device", callback=checked_device,
              help="auto, cpu, cuda or cuda:N.  [default: the device of the first computation]")  # fmt: skip
@DATA_ROOT
def rerun(store: Path, cell: str, device: str | None, data_root: Path | None) -> int:
    """Compute CELL again and compare all its numbers.

    CELL is a name or hash, or the first characters of either.
    """
    from ..running.rerun import rerun as again
    from ..store.plans import find_cell
    from ..store.store import Store

    opened = Store.open(store)
    chosen = find_cell(opened, cell)
    with tempfile.TemporaryDirectory() as scratch:
        result = again(opened, chosen, Path(scratch, "store"), data_folder(data_root), device)
    for what, before, now in result.circumstances:
        say(f"changed: {what} was {before}, is now {now}")
    for metric, (number, gap) in result.differing.items():
        say(f"differs: {metric}, {counted(number, 'number')}, by up to {gap:g}")
    if result.pictures_differ:
        say("differs: pictures")
    if result.pictures_problem:
        say(f"pictures can't be compared: {result.pictures_problem}")
    differing = sum(number for number, _ in result.differing.values())
    say(f"{chosen}: " + (f"all {result.numbers:,} numbers are equal" if not result.differing else
                                f"{differing:,} of {result.numbers:,} numbers differ"))  # fmt: skip
    return 0 if result.equal else 1


@click.command()
@DATA_ROOT
@_JSON
def doctor(data_root: Path | None, as_json: bool) -> None:
    """Print the facts that a bug report needs.

    They are versions, the machine, devices, data and broken extensions.
    """
    from .doctor import examine

    subjects = examine(data_folder(data_root))
    if as_json:
        say(json.dumps(subjects, indent=1))
        return
    for subject, facts in subjects.items():
        say(subject)
        for name, value in facts.items():
            say(f"  {name}: {value}")


COMMANDS = (run, plan, status, worker, rerun, doctor)


def _left_alone(store: Store, left: Sequence[Cell], of: int) -> Iterator[str]:
    """Lines about cells that the command leaves alone."""
    from ..store.record import Status

    reasons: dict[Status, list[str]] = {}
    for cell in left:
        stored = store.cell(cell.name)
        reasons.setdefault(stored.status, []).append(f"  {cell}: {stored.reason}")
    for status, lines in reasons.items():
        what = "can't be read now" if status == Status.UNREADABLE else "failed; --retry failed runs them again"
        yield f"{len(lines)} of {counted(of, 'cell')} {what}:"
        yield from lines


def _set_aside(store: Store, todo: Sequence[Cell]) -> Iterator[str]:
    """Lines about cells to run whose place in the store holds an older or damaged result."""
    from ..store.record import Status
    from ..store.staleness import outdated

    stale: Counter[str] = Counter()
    for cell in todo:
        stored = store.cell(cell.name)
        if stored.status == Status.DAMAGED:
            yield f"{cell}: {stored.reason}; it is set aside and computed anew"
        elif stored.status == Status.DONE and stored.facts:
            stale[outdated(stored.facts)] += 1
    for why, number in stale.items():
        cells_are = counted(number, "finished cell", "is")
        yield f"{cells_are} stale ({why}): set aside in {store.path / 'set-aside'}, and computed anew"


def here(jobs: int | None, device: str, **on_gpus: Any) -> Executor:
    from ..running.local import Local, default_jobs

    return Local(jobs or default_jobs(device), say=say, **on_gpus)


def _on_ray(
    address: str | None, cpus: float | None, gpu_share: float | None, memory: float | None, share: Any
) -> Executor:
    from ..running.ray import OnRay, Request

    request = Request(1.0 if cpus is None else cpus, gpu_share or 0.0, memory and int(memory * 2**30))
    return OnRay(address, request, share or "auto")


def _without_model(store: Store, cells: Sequence[Cell]) -> int:
    """The number of finished cells without a model that could have kept one."""
    folders = (store.cell(cell.name) for cell in cells)
    return sum(folder.status == "done" and not folder.model and not folder.record.get("no_model") for folder in folders)


def _gpus(gpus: str | None, per_gpu: int | None, mps: bool | None, device: str, jobs: int | None) -> list[str]:
    from ..running.devices import chosen_gpus

    if gpus is None:
        if per_gpu or mps is not None:
            raise InputError(f"{'--slots-per-gpu' if per_gpu else '--mps'} needs --gpus, such as --gpus 0,1")
        return []
    if device not in ("auto", "cuda") or jobs is not None:
        raise InputError("--gpus can't be combined with --device or --jobs; --slots-per-gpu sets the cells at a time on"
                         " each GPU")  # fmt: skip
    return chosen_gpus(gpus)


def _seeds(text: str) -> list[int]:
    """The seeds of a text such as ``0-4``, ``0,3,7`` or ``0-4,7``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds {text!r}: {part.strip()!r} isn't a number or a range such as 0-4")
        if int(last or first) - int(first) >= _MOST_SEEDS:
            raise InputError(f"--seeds {text!r}: {part.strip()} has more than {_MOST_SEEDS:,} seeds")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise InputError(f"--seeds {text!r} names no seed")
    return list(dict.fromkeys(seeds))

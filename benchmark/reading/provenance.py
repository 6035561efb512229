"""The origin of a store's cells: the commands that make them, and their machines and versions."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import pandas as pd

from ..cells.suite import Suite, cells_of, suite, suites
from ..discovery.plugin_file import PluginFile, files_of
from ..errors import InputError
from ..store.cell_folder import StoredCell
from ..store.record import Method, Record, Scenario, Status
from ..store.store import Store
from .current import Current, current_of


def suite_of(source: Current | Store) -> str | None:
    """Return the suite whose cells are exactly those stored and planned, if there is one."""
    current = current_of(source)
    names = {cell.name for cell in current.stored} | current.plans.newest().keys()
    return next((name for name in suites() if _suite_cells(name) == names), None)


def suites_of(source: Current | Store) -> list[Suite]:
    """Return the suites that a store's cells were planned with, the newest first; those whose file isn't here are left
    out."""
    current = current_of(source)
    plans = reversed(current.plans.readable)
    names = dict.fromkeys(cell.facts.suite for plan in plans for cell in plan.cells.values() if cell.facts.suite)
    found = []
    for name in names or dict.fromkeys(filter(None, [suite_of(current)])):
        with suppress(InputError):
            found.append(suite(name))
    return found


def commands(source: Current | Store) -> list[str]:
    """Return the ``lifegen run`` lines that make the cells of a store: one for each suite that it has in full, and one
    for each other set of scenarios × methods × seeds."""
    current = current_of(source)
    unusable = (Status.DAMAGED, Status.UNREADABLE, Status.INCOMPATIBLE, Status.FOREIGN)
    cells = [(cell, cell.facts) for cell in current.stored if cell.facts and cell.status not in unusable]
    measured = {files_of(cell.record)[digest].name for cell, facts in cells for digest in facts.metric_files.values()}
    metrics = "".join(f" --metric {shlex.quote(name)}" for name in sorted(measured))
    lines = []
    while cells:
        names = {cell.name for cell, _ in cells}
        of_suites = {name: of_suite for name in suites() if (of_suite := _suite_cells(name)) and of_suite <= names}
        if not of_suites:
            break
        name = max(of_suites, key=lambda suite: len(of_suites[suite]))
        lines.append(f"lifegen run --suite {name}{metrics} --out {out(current)}")
        cells = [(cell, facts) for cell, facts in cells if cell.name not in of_suites[name]]
    return lines + [_line(*key, [*group], f"{metrics} --out {out(current)}") for key, group in _blocks(cells).items()]


def out(source: Current | Store) -> str:
    """Return the commands' folder as a word of a command line: the store's name in ``runs``."""
    store = source if isinstance(source, Store) else source.store
    return shlex.quote(Path("runs", store.path.resolve().name).as_posix())


def circumstances(source: Current | Store) -> pd.DataFrame:
    """List where the shown cells were made: one row per machine and set of versions, with the number of cells, their
    hours together, and the first and the last day."""
    rows = []
    for cell in current_of(source).cells:
        facts = cell.facts
        first, last = facts.days
        rows.append(
            {
                "device": facts.device,
                **facts.machine,
                **facts.software,
                "hours": facts.work_seconds / 3600,
                "first": first,
                "last": last,
            }
        )
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    alike = [name for name in table.columns if name not in ("hours", "first", "last")]
    totals = {"cells": ("hours", "size"), "hours": ("hours", "sum"), "first": ("first", "min"), "last": ("last", "max")}
    return table.groupby(alike, dropna=False).agg(**totals).reset_index()


def versions(source: Current | Store) -> dict[str, int]:
    """Return the versions of protocol, scenarios, methods and metrics behind the shown numbers."""
    numbers: dict[str, int] = {}
    for cell in current_of(source).cells:
        numbers |= dict(sorted(cell.facts.all_versions.items()))
    return numbers


def files(source: Current | Store) -> dict[str, str]:
    """Return the texts of the files of the shown cells' scenarios, methods and metrics, by name; equal names get their
    digests."""
    shown = {digest: file for cell in current_of(source).cells for digest, file in files_of(cell.record).items()}
    times = Counter(file.name for file in shown.values())
    return {
        file.name if times[file.name] == 1 else f"{file.name.removesuffix('.py')}-{digest}.py": file.text
        for digest, file in shown.items()
    }


@cache
def _suite_cells(name: str) -> frozenset[str]:
    """Return the names of a suite's cells; none if the suite names an extension that isn't installed here."""
    try:
        return frozenset(cell.name for cell in cells_of(name))
    except ValueError:
        return frozenset()


_Key = tuple[tuple[str, ...], tuple[int, ...], str]


def _blocks(cells: Iterable[tuple[StoredCell, Record]]) -> dict[_Key, dict[str, None]]:
    """Group methods by the scenarios, seeds and precision that they were run with."""
    runs: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for cell, facts in cells:
        files_by_digest = files_of(cell.record)
        method, scenario = (_named(part, files_by_digest) for part in (facts.method, facts.scenario))
        runs.setdefault((method, facts.precision), set()).add((scenario, facts.seed))
    blocks: dict[_Key, dict[str, None]] = {}
    for (method, precision), pairs in runs.items():
        by_scenario: dict[str, set[int]] = {}
        for scenario, seed in pairs:
            by_scenario.setdefault(scenario, set()).add(seed)
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for scenario, seeds in sorted(by_scenario.items()):
            by_seeds.setdefault(tuple(sorted(seeds)), []).append(scenario)
        for seeds_of, scenarios in by_seeds.items():
            blocks.setdefault((tuple(scenarios), seeds_of, precision), {})[method] = None
    return blocks


def _named(part: Scenario | Method, files_by_digest: Mapping[str, PluginFile]) -> str:
    """Write a cell's scenario or method for the command line."""
    file = files_by_digest.get(part.file or "")
    return f"{file.name}:{part.label}" if file else part.label


def _line(scenarios: Sequence[str], seeds: Sequence[int], precision: str, methods: Sequence[str], end: str) -> str:
    parts = ["lifegen run"]
    parts += [f"-s {shlex.quote(label)}" for label in scenarios]
    parts += [f"-m {shlex.quote(label)}" for label in methods]
    parts.append(f"--seeds {ranges(seeds)}")
    if precision != "float32":
        parts.append(f"--precision {precision}")
    return " ".join(parts) + end


def ranges(numbers: Sequence[int]) -> str:
    """Write 0, 1, 2, 5 as ``0-2,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

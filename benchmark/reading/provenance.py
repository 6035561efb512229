"""Where a store's cells come from: the commands that make them, and what they were made on. No torch."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from ..cells.suite import cells_of, suites
from ..discovery.plugin_file import PluginFile, files_of
from ..store.cell_folder import StoredCell
from ..store.record import Method, Record, Scenario, Status
from ..store.store import Store
from .current import Current, current_of


def suite_of(source: Current | Store) -> str | None:
    """The suite that the store holds in full and nothing else, if there is one."""
    current = current_of(source)
    names = {cell.folder.name for cell in current.stored}
    return next((name for name in suites() if _suite_cells(name) == names), None)


def commands(source: Current | Store) -> list[str]:
    """The ``lifegen run`` lines that make the cells of a store: a suite's, where the store has the whole suite, and one
    for each set of scenarios × methods × seeds of the others."""
    current = current_of(source)
    unusable = (Status.DAMAGED, Status.INCOMPATIBLE, Status.FOREIGN)
    cells = [(cell, cell.facts) for cell in current.stored if cell.facts and cell.status not in unusable]
    measured = {files_of(cell.record)[digest].name for cell, facts in cells for digest in facts.metric_files.values()}
    metrics = "".join(f" --metric {shlex.quote(name)}" for name in sorted(measured))
    lines = []
    while cells:
        names = {cell.folder.name for cell, _ in cells}
        of_suites = {name: wanted for name in suites() if (wanted := _suite_cells(name)) and wanted <= names}
        if not of_suites:
            break
        name = max(of_suites, key=lambda one: len(of_suites[one]))
        lines.append(f"lifegen run --suite {name}{metrics} --out {out(current)}")
        cells = [(cell, facts) for cell, facts in cells if cell.folder.name not in of_suites[name]]
    return lines + [_line(*key, [*group], f"{metrics} --out {out(current)}") for key, group in _blocks(cells).items()]


def out(source: Current | Store) -> str:
    """Where the commands write, as a word of a command line: the store's name in ``runs``."""
    store = source if isinstance(source, Store) else source.store
    return shlex.quote(Path("runs", store.path.resolve().name).as_posix())


def circumstances(source: Current | Store) -> pd.DataFrame:
    """What the cells that are shown were made on: one row per machine and set of versions, with the number of cells,
    the hours that they took together, and the first and the last day."""
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
    """The versions that the numbers shown depend on: of the protocol, scenarios, methods and metrics."""
    found: dict[str, int] = {}
    for cell in current_of(source).cells:
        found |= dict(sorted(cell.facts.all_versions.items()))
    return found


def files(source: Current | Store) -> dict[str, str]:
    """The texts of the files that scenarios, methods and metrics of the cells that are shown come from, by name; with
    their digests where names are the same."""
    found = {digest: file for cell in current_of(source).cells for digest, file in files_of(cell.record).items()}
    times = Counter(file.name for file in found.values())
    return {
        file.name if times[file.name] == 1 else f"{file.name.removesuffix('.py')}-{digest}.py": file.text
        for digest, file in found.items()
    }


@cache
def _suite_cells(name: str) -> frozenset[str]:
    """The names of the cells of a suite that comes with lifegen; none if it names an extension that isn't here."""
    try:
        return frozenset(cell.name for cell in cells_of(name))
    except ValueError:
        return frozenset()


_Key = tuple[tuple[str, ...], tuple[int, ...], str]


def _blocks(cells: Iterable[tuple[StoredCell, Record]]) -> dict[_Key, dict[str, None]]:
    """Methods by the scenarios, seeds and precision that they were run with."""
    asked: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for cell, facts in cells:
        files_by_digest = files_of(cell.record)
        method, scenario = (_named(part, files_by_digest) for part in (facts.method, facts.scenario))
        asked.setdefault((method, facts.precision), set()).add((scenario, facts.seed))
    blocks: dict[_Key, dict[str, None]] = {}
    for (method, precision), pairs in asked.items():
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
    """What the command line calls a cell's scenario or method."""
    file = files_by_digest.get(part.file or "")
    return f"{file.name}:{part.label}" if file else part.label


def _line(scenarios: Sequence[str], seeds: Sequence[int], precision: str, methods: Sequence[str], end: str) -> str:
    parts = ["lifegen run"]
    parts += [f"-s {shlex.quote(label)}" for label in scenarios]
    parts += [f"-m {shlex.quote(label)}" for label in methods]
    parts.append(f"--seeds {_ranges(seeds)}")
    if precision != "float32":
        parts.append(f"--precision {precision}")
    return " ".join(parts) + end


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as ``0-2,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

"""The promises of results that somebody offers: whole cells, of these versions and this data, from which tables follow.

Nothing is computed again, and no code of the results is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

from ...cells.spec import configure
from ...discovery.index import describe
from ...discovery.index_entry import IndexEntry
from ...discovery.plugin_file import files_of
from ...errors import InputError, counted
from ...reading.agreement import on_other_data
from ...reading.current import Current, CurrentCell, current_of
from ...reading.provenance import circumstances
from ...reading.table import table
from ...running.build import build_stream
from ...running.worker import data_digest
from ...seeds import Seeds
from ...store.record import Method, Scenario, Status
from ...store.store import PUBLISHED, Store
from .findings import Finding, broken, verdict

_CLOSE = 1e-9
"""Relative difference of equal numbers: sums of one order only differ by the processor."""


def check_results(folder: Path, data_root: Path | None = None) -> Iterator[Finding]:
    """See whether a store or published folder keeps its promises.

    Args:
        folder: the folder.
        data_root: folder of the data sets; None: the commands' folder.

    Raises:
        InputError: there is no store.
    """
    current = current_of(Store.open(folder)).readable(lambda cell: cell.rows)
    yield _whole(current)
    if not current.cells:
        yield broken("it has results", "finished cells", "none that can be shown", f"{folder / 'cells'}")
        return
    yield _present(current)
    yield _numbers(current.cells)
    yield _named(current.cells)
    yield _alike(current)
    yield from _of_this_data(current.cells, data_root)
    if (folder / PUBLISHED).exists():
        yield _table(current, folder)
    yield from _notes(current, folder)


def _promised(promise: str, faults: Sequence[str], expected: str, look: str) -> Finding:
    """The finding of a promise that is kept where there are no faults."""
    return verdict(promise, not faults, expected, _some(faults), look)


def _left_out(current: Current, *statuses: Status) -> list[str]:
    """A line for each cell that is left out with one of these statuses."""
    return [f"{name}: {why}" for name, why in current.left_out.items() if why.status in statuses]


def _installed(kind: str, part: Scenario | Method) -> IndexEntry | None:
    """The installed scenario or method of a cell; None for one of a file, whose code isn't run here."""
    return None if part.file else describe(kind).get(part.name)


def _whole(current: Current) -> Finding:
    """Records, rows and all else that is kept are as they were written."""
    faults = _left_out(current, Status.DAMAGED, Status.UNREADABLE, Status.FOREIGN, Status.INCOMPATIBLE)
    for cell in current.cells:
        for name in cell.record.get("contents", {}):
            try:
                cell.stored.kept(name)
            except FileNotFoundError:  # models aren't packed
                continue
            except (OSError, ValueError) as error:
                faults.append(f"{cell.name}: {Status.DAMAGED}: {name}: {error}")
    return _promised(
        "every cell is whole",
        faults,
        "records and measurements as they were written",
        "the files were changed or cut after the run; lifegen run computes damaged cells anew",
    )


def _present(current: Current) -> Finding:
    """Cells are of the versions that are shown."""
    return _promised(
        "every finished cell is of the installed versions",
        _left_out(current, Status.STALE),
        "cells that tables show",
        "lifegen run with the same folder computes them anew",
    )


def _numbers(cells: Sequence[CurrentCell]) -> Finding:
    """The one number of each metric in a record follows from the rows."""
    wrong = []
    for cell in cells:
        if (kept := cell.facts.numbers) is None:
            continue
        made = cell.made_numbers
        elsewhere = cell.making.not_derivable(cell.facts.metrics).keys()
        wrong += [
            f"{cell.name}: {name} is {kept.get(name)}, its measurements give {made.get(name)}"
            for name in sorted((kept.keys() | made.keys()) - elsewhere)
            if not _equal(kept.get(name), made.get(name))
        ]
    return _promised(
        "the numbers in the records follow from the measurements",
        wrong,
        "equal numbers",
        "the records were changed after the run",
    )


def _named(cells: Sequence[CurrentCell]) -> Finding:
    """The labels that tables show are those of names and options."""
    wrong = []
    for cell in cells:
        for kind, part in (("scenario", cell.facts.scenario), ("method", cell.facts.method)):
            if (entry := _installed(kind, part)) is None:
                continue
            with suppress(InputError):  # of another version's options
                if (label := configure(entry, part.config).label) != part.label:
                    wrong.append(f"{cell.name}: its {kind} is called {part.label!r}, and is {label!r}")
    look = "the records were changed after the run, or defaults have changed since"
    return _promised("methods and scenarios have their own names", wrong, "labels that name all options", look)


def _equal(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=_CLOSE))


def _alike(current: Current) -> Finding:
    return _promised(
        "the cells of each scenario were computed on the same images",
        on_other_data(cell.stored for cell in current.cells),
        "one digest of images a scenario",
        "data sets, and libraries that transform images, of several versions",
    )


def _of_this_data(cells: Sequence[CurrentCell], data_root: Path | None) -> Iterator[Finding]:
    """The images are those that the installed scenario makes here."""
    if data_root is None:
        from ...running.local import default_data_root

        data_root = default_data_root()
    for label, cell in {cell.scenario: cell for cell in reversed(cells) if cell.facts.data}.items():
        promise = f"{label} has the images of this machine"
        part = cell.facts.scenario
        if (entry := _installed("scenario", part)) is None:
            yield Finding(promise, "skipped", seen="the code of its file isn't run by this check")
            continue
        try:
            scenario = configure(entry, part.config)
            found = data_digest(build_stream(scenario, Seeds(cell.seed, scope=scenario.name), data_root))
        except InputError as error:
            yield Finding(promise, "skipped", seen=str(error))
            continue
        look = "the data sets under LIFEGEN_DATA, and the versions of torchvision, here and in the records"
        yield verdict(promise, found == cell.facts.data, str(cell.facts.data), found, look)


def _table(current: Current, folder: Path) -> Finding:
    """The published table is the one of the cells."""
    promise, look = "its table of measurements follows from the cells", "lifegen publish makes it anew from the cells"
    try:
        published = pd.read_parquet(folder / PUBLISHED)
        # What is left out is reported already.
        assert_frame_equal(published, table(replace(current, left_out={})), check_dtype=False)
    except (OSError, ValueError, AssertionError) as error:
        return broken(promise, "the measurements of the cells", str(error).strip().partition("\n")[0], look)
    return Finding(promise)


def _notes(current: Current, folder: Path) -> Iterator[Finding]:
    """What whoever accepts the results should know."""
    if missing := current.plans.newest().keys() - {cell.name for cell in current.stored}:
        yield Finding("planned cells that aren't there", "note", seen=_some(sorted(missing)))
    if unfinished := _left_out(current, Status.RUNNING, Status.INTERRUPTED):
        yield Finding("unfinished cells", "note", seen=f"{len(unfinished)}; publish leaves them out")
    if failed := _left_out(current, Status.FAILED):
        yield Finding("failed cells", "note", seen=_some(failed))
    for line in circumstances(current).to_dict("records"):
        where = ", ".join(str(line[part]) for part in ("device", "processor") if part in line)
        software = ", ".join(f"{part} {line[part]}" for part in ("lifegen", "torch") if part in line)
        yield Finding("computed on", "note", seen=f"{where}; {software}: {counted(line['cells'], 'cell')}")
    for name in sorted({file.name for cell in current.cells for file in files_of(cell.record).values()}):
        yield Finding("code to read before it is run", "note", seen=name)
    shortest = min(current.cells, key=lambda cell: cell.facts.work_seconds)
    seen = f"only `lifegen rerun {folder} {shortest.name.rpartition('--')[2]}` and the like show that numbers are true"
    yield Finding("nothing was computed again", "note", seen=seen)


def _some(lines: Sequence[str]) -> str:
    """The first of some lines, and how many there are."""
    first = next(iter(lines), "")
    return f"{first}, and {len(lines) - 1} more" if len(lines) > 1 else first

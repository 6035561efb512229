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
from ...discovery.plugin_file import files_of
from ...errors import InputError
from ...measuring.derived import derive
from ...reading.agreement import on_other_data
from ...reading.current import Current, CurrentCell, LeftOut, current_of
from ...reading.provenance import circumstances
from ...reading.summary import summarise
from ...reading.table import table
from ...running.build import build_stream
from ...running.worker import data_digest
from ...seeds import Seeds
from ...store.measured import of_matrix, of_unions
from ...store.record import Numbers, Status
from ...store.store import PUBLISHED, Store
from .findings import Finding, verdict

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
    current = current_of(Store.open(folder))
    yield _whole(current)
    current = current.readable(lambda cell: cell.rows)
    if not current.cells:
        yield _broken("it has results", "finished cells", "none that can be shown", f"{folder / 'cells'}")
        return
    yield _present(current)
    yield _numbers(current.cells)
    yield _named(current.cells)
    yield _alike(current)
    yield from _of_this_data(current.cells, data_root)
    if (folder / PUBLISHED).exists():
        yield _table(current, folder)
    yield from _notes(current, folder)


def _broken(promise: str, expected: str, seen: str, look: str) -> Finding:
    return verdict(promise, False, expected, seen, look)


def _whole(current: Current) -> Finding:
    """Records and rows are as they were written."""
    broken = {**current.damaged, **current.readable(lambda cell: cell.rows).damaged}
    for cell in current.cells:
        for name in cell.record.get("contents", {}):
            try:
                cell.stored.kept(name)
            except FileNotFoundError:  # models aren't packed
                continue
            except (OSError, ValueError) as error:
                broken[cell.name] = LeftOut(Status.DAMAGED, f"{name}: {error}")
    broken |= {
        name: why for name, why in current.left_out.items() if why.status in (Status.FOREIGN, Status.INCOMPATIBLE)
    }
    return verdict(
        "every cell is whole",
        not broken,
        "records and measurements as they were written",
        _some([f"{name}: {why}" for name, why in broken.items()]),
        "the files were changed or cut after the run; lifegen run computes damaged cells anew",
    )


def _present(current: Current) -> Finding:
    """Cells are of the versions that are shown."""
    old = [f"{name}: {why}" for name, why in current.left_out.items() if why.status == Status.STALE]
    return verdict(
        "every finished cell is of the installed versions",
        not old,
        "cells that tables show",
        _some(old),
        "lifegen run with the same folder computes them anew",
    )


def _numbers(cells: Sequence[CurrentCell]) -> Finding:
    """The one number of each metric in a record follows from the rows."""
    wrong = []
    for cell in cells:
        if (kept := cell.facts.numbers) is None:
            continue
        made = _made(cell)
        elsewhere = cell.making.not_derivable(cell.facts.metrics).keys()
        wrong += [
            f"{cell.name}: {name} is {kept.get(name)}, its measurements give {made.get(name)}"
            for name in sorted((kept.keys() | made.keys()) - elsewhere)
            if not _equal(kept.get(name), made.get(name))
        ]
    return verdict(
        "the numbers in the records follow from the measurements",
        not wrong,
        "equal numbers",
        _some(wrong),
        "the records were changed after the run",
    )


def _named(cells: Sequence[CurrentCell]) -> Finding:
    """The labels that tables show are those of names and options."""
    wrong = []
    for cell in cells:
        for kind, part in (("scenario", cell.facts.scenario), ("method", cell.facts.method)):
            entry = None if part.file else describe(kind).get(part.name)
            if entry is None:
                continue
            with suppress(InputError):  # of another version's options
                if (label := configure(entry, part.config).label) != part.label:
                    wrong.append(f"{cell.name}: its {kind} is called {part.label!r}, and is {label!r}")
    look = "the records were changed after the run, or defaults have changed since"
    return verdict(
        "methods and scenarios have their own names", not wrong, "labels that name all options", _some(wrong), look
    )


def _made(cell: CurrentCell) -> Numbers:
    measured = cell.stored.measured()
    derived = derive(of_matrix(measured), cell.facts.visits)
    return summarise([*of_unions(measured), *derived.rows], cell.making.over_intervals)


def _equal(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=_CLOSE))


def _alike(current: Current) -> Finding:
    different = on_other_data(cell.stored for cell in current.cells)
    return verdict(
        "the cells of each scenario were computed on the same images",
        not different,
        "one digest of images a scenario",
        _some(different),
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
        entry = None if part.file else describe("scenario").get(part.name)
        if entry is None:
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
        return _broken(promise, "the measurements of the cells", str(error).strip().partition("\n")[0], look)
    return Finding(promise)


def _notes(current: Current, folder: Path) -> Iterator[Finding]:
    """What whoever accepts the results should know."""
    if missing := current.plans.newest().keys() - {cell.name for cell in current.stored}:
        yield Finding("planned cells that aren't there", "note", seen=_some(sorted(missing)))
    unfinished = [name for name, why in current.left_out.items() if why.status in (Status.RUNNING, Status.INTERRUPTED)]
    if unfinished:
        yield Finding("unfinished cells", "note", seen=f"{len(unfinished)}; publish leaves them out")
    failed = [f"{name}: {why}" for name, why in current.left_out.items() if why.status == Status.FAILED]
    if failed:
        yield Finding("failed cells", "note", seen=_some(failed))
    for line in circumstances(current).to_dict("records"):
        where = ", ".join(str(line[part]) for part in ("device", "processor") if part in line)
        software = ", ".join(f"{part} {line[part]}" for part in ("lifegen", "torch") if part in line)
        yield Finding("computed on", "note", seen=f"{where}; {software}: {line['cells']} cells")
    for name in sorted({file.name for cell in current.cells for file in files_of(cell.record).values()}):
        yield Finding("code to read before it is run", "note", seen=name)
    shortest = min(current.cells, key=lambda cell: cell.facts.work_seconds)
    seen = f"only `lifegen rerun {folder} {shortest.name.rpartition('--')[2]}` and the like show that numbers are true"
    yield Finding("nothing was computed again", "note", seen=seen)


def _some(lines: Sequence[str]) -> str:
    """The first of some lines, and how many there are."""
    first = next(iter(lines), "")
    return f"{first}, and {len(lines) - 1} more" if len(lines) > 1 else first

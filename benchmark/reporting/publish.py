"""A store's results as a folder for others, which is a store itself: it grows by the cells of other stores.

FOLDER/README.md             leaderboard, figures, commands, machines and versions
FOLDER/leaderboard.csv       the leaderboard, numbers in full
FOLDER/figures/              the figures of README.md
FOLDER/measurements.parquet  every measurement, one a row, for those without lifegen
FOLDER/lifegen.json, cells/, plans/   as in every store; the cells are packed
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from filelock import FileLock, Timeout
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..cells.suite import suites
from ..errors import InputError, counted
from ..files import read, write_atomically
from ..reading import provenance
from ..reading.agreement import no_longer_shown, on_other_data
from ..reading.current import Current, current_of
from ..reading.leaderboard import leaderboard
from ..reading.overview import size_of
from ..reading.scores import scores_of
from ..reading.table import table
from ..store.cell_folder import StoredCell
from ..store.packed import PACKED, pack
from ..store.record import DoneRecord, Status
from ..store.store import MARK, PUBLISHED, Store
from . import tables
from .figure_kinds import FIGURE_KINDS, figure_name
from .plots import drawings, folder_names

_PREFIX = ".unfinished-"
_IGNORED = ".gitignore"
_NOT_FOR_GIT = """# Cells that `lifegen run` computes here, until `lifegen publish` packs them.
/cells/*/
/cells/*.lock
/set-aside/
# What `lifegen report` and `lifegen plot` write.
/report.html
/figures/**/*.csv
/figures/**/*.txt
/.unfinished-*
"""


def publish(source: Store | Current, folder: Path) -> list[Path]:
    """Write a store's finished cells and results into a folder, beside those that it has.

    Args:
        source: the store, with at least one finished cell. It may be the folder itself, in which cells were run.
        folder: a new or empty folder, or one published before. Its cells stay; tables and figures are made anew from
            all cells, and other files aren't touched.

    Returns:
        the files written, but for those of cells and plans.

    Raises:
        InputError: the store has nothing to show; the cells of store and folder can't stand in one table, since they
            are of other versions or data; or the folder holds something else or can't be written to.
    """
    added = current_of(source).readable(lambda cell: cell.rows)
    scores_of(added)  # raises if there is nothing to show
    if unreadable := [name for name, why in added.damaged.items() if why.status == Status.UNREADABLE]:
        why = added.damaged[unreadable[0]]
        raise InputError(
            f"{counted(len(unreadable), 'cell')} can't be read now, the first, {unreadable[0]}: {why}; publish again "
            "later"
        )
    try:
        for name in ("cells", "plans", "figures"):
            if (folder / name).is_symlink():
                raise InputError(f"{folder / name} is a link; a published folder has everything in itself")
        _is_published(folder)  # raises if it holds something else
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{_PREFIX}lock", timeout=0):
            return _add(added, folder)
    except Timeout:
        raise InputError(f"{folder}: another process publishes into it now; repeat the command") from None
    except OSError as error:
        raise InputError(f"{folder} can't be written to: {error.strerror or error}") from None


def _add(added: Current, folder: Path) -> list[Path]:
    """Add cells to a folder, which this process alone publishes into; see :func:`publish`."""
    before = current_of(Store.open(folder)).readable(lambda cell: cell.rows) if _is_published(folder) else None
    for left in folder.glob(f"{_PREFIX}*"):
        if left.is_dir():  # by a process that was killed
            shutil.rmtree(left)
    with TemporaryDirectory(dir=folder, prefix=_PREFIX) as unfinished:
        new = Path(unfinished, folder.resolve().name)  # its name stands in the page
        union = current_of(_union(before, added, new)).readable(lambda cell: cell.rows)
        _check(before, added, union)
        texts = provenance.files(union)
        former = set(provenance.files(before)) if before else set()
        for name in sorted(texts.keys() - former):
            if _differs(folder / name, texts[name]):
                raise InputError(f"{folder / name} isn't a published file and would be overwritten; move it away")
        files = _results(union, new, texts)
        _put(new, folder, former - texts.keys())
    if folder.samefile(added.store.path):
        _remove_unpacked(Store(folder))
    return [folder / file.relative_to(new) for file in files]


def _is_published(folder: Path) -> bool:
    """Whether a folder holds published results.

    Raises:
        InputError: it holds something else.
    """
    if not folder.exists():
        return False
    if not (folder / PUBLISHED).exists():
        if folder.is_dir() and all(file.name == MARK or file.name.startswith(_PREFIX) for file in folder.iterdir()):
            return False
        raise InputError(f"{folder} holds something other than published results; choose another --out")
    if not (folder / MARK).exists():
        raise InputError(
            f"{folder} was published by an earlier lifegen, without its cells, so that none can be added; delete it, "
            "or choose another --out"
        )
    return True


def _union(before: Current | None, added: Current, place: Path) -> Store:
    """Make a store of the cells and plans of both, packed. Where both have a result, the former stays, unless the new
    one has all of its metrics and more."""
    cells = {cell.name: cell for cell in _worth_packing(added)}
    for cell in _worth_packing(before) if before else ():
        other = cells.get(cell.name)
        if other is None or not (_failed(cell) or _has_more(other, cell)):
            cells[cell.name] = cell
    own = {cell.found for cell in before.stored if cell.is_packed} if before else set()
    store = Store.create(place)
    for cell in cells.values():
        # What is there stays to the byte; what comes from elsewhere is packed here, whatever else its file has.
        content = read(cell.found) if cell.found in own else pack(cell.kept)
        write_atomically(place / "cells" / f"{cell.name}{PACKED}", content)
    (place / "plans").mkdir()
    for plan in (plan for part in (before, added) if part for plan in (part.store.path / "plans").glob("*.json")):
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):  # nothing for readers
            content = read(plan)
            if json.loads(content)["cells"] and not plan.is_symlink():
                (place / "plans" / plan.name).write_bytes(content)
    return store


def _worth_packing(current: Current) -> Iterator[StoredCell]:
    """The cells that are shown or have failed, and those that are packed already."""
    shown = {cell.name for cell in current.cells}
    for cell in current.stored:
        is_older = cell.is_packed and cell.status == Status.DONE and cell.name not in current.damaged
        if cell.name in shown or _failed(cell) or is_older:
            yield cell


def _has_more(cell: StoredCell, other: StoredCell) -> bool:
    """Whether a cell has all metrics that another result of the same name has, and more."""
    if not (isinstance(cell.facts, DoneRecord) and isinstance(other.facts, DoneRecord)):
        return False
    new, old = ((set(facts.metrics.items()), facts.samples is not None) for facts in (cell.facts, other.facts))
    return new[0] >= old[0] and new[1] >= old[1] and new != old


def _failed(cell: StoredCell) -> bool:
    return cell.status == Status.FAILED


def _check(before: Current | None, added: Current, union: Current) -> None:
    """Check that cells of the folder and of the store may stand in one table.

    Raises:
        InputError: they may not.
    """
    problems = on_other_data(cell.stored for cell in union.cells)
    for part in (before, added):
        problems += no_longer_shown(part, union) if part else []
    if problems:
        raise InputError(
            f"the cells of {added.store.path} can't stand beside those published: {problems[0]}"
            f"{f', and {len(problems) - 1} more' if len(problems) > 1 else ''}; publish into another folder (--out), "
            "or compute them anew with one lifegen and the same data"
        )


def _results(union: Current, new: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write all that follows from the cells, and the files of extensions; return the files."""
    scores = scores_of(union)
    board = leaderboard(scores)
    figures = _figures(union, new / "figures", several=len(scores.scenarios) > 1)
    files = {new / name: text for name, text in texts.items()}
    files[new / "leaderboard.csv"] = tables.to_csv(board)
    files[new / _IGNORED] = _NOT_FOR_GIT
    files[new / "README.md"] = _page(union, board, sorted(texts), [file.relative_to(new) for file in figures])
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    table(union).to_parquet(new / PUBLISHED, index=False)
    return [new / PUBLISHED, *figures, *files]


def _page(current: Current, board: pd.DataFrame, texts: Sequence[str], figures: Sequence[Path]) -> str:
    """The text of README.md.

    Args:
        current: the store.
        board: its leaderboard.
        texts: the published files of extensions.
        figures: the published figures, in the folder.
    """
    suite = provenance.suite_of(current)
    pages = Environment(
        loader=PackageLoader("lifegen.benchmark.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("published.md.j2").render(
        title=tables.in_markdown(suite or current.store.path.resolve().name),
        summary=suites()[suite].summary if suite else "",
        commands=provenance.commands(current),
        out=provenance.out(current),
        leaderboard=tables.to_markdown(board),
        circumstances=_circumstances(current),
        versions={tables.in_markdown(part): number for part, number in _versions(current).items()},
        plugin_files=[tables.in_markdown(name) for name in texts],
        figures=figures,
        cells=len(current.cells),
        size=tables.in_bytes(sum(map(size_of, current.stored))),
    )


def _put(new: Path, place: Path, gone: Iterable[str]) -> None:
    """Put finished files in the place of a folder's earlier ones. What is gone goes last, so that a process that is
    killed takes no figure along, and the next publication mends what it leaves.

    Args:
        new: the folder that has the finished files, in the folder itself.
        place: the folder.
        gone: earlier files of extensions.
    """
    files = {file.relative_to(new) for file in new.rglob("*") if file.is_file()}
    first = [Path(MARK), Path(PUBLISHED)]  # from then on the folder is known as published
    for file in [*first, *sorted(files - {*first}, key=lambda file: (file.name == "README.md", str(file)))]:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (new / file).replace(place / file)
    for old in sorted((place / "figures").rglob("*"), reverse=True):
        if old.is_dir() and not old.is_symlink():
            with suppress(OSError):  # it isn't empty
                old.rmdir()
        elif old.suffix == ".png" and old.relative_to(place) not in files:
            old.unlink()
    for name in gone:
        (place / name).unlink(missing_ok=True)


def _remove_unpacked(store: Store) -> None:
    """Remove the folders of cells that are packed now, but for those with a file that isn't packed, such as a model."""
    for cell in store.cells():
        packed = StoredCell(store.path / "cells" / f"{cell.name}{PACKED}")
        if cell.is_packed or not cell.status == packed.status == Status.DONE:
            continue
        others = {file.name for file in cell.found.iterdir()} - {"log.txt"}
        if all(packed.has(name) and packed.content(name) == cell.content(name) for name in others):
            shutil.rmtree(cell.found)


def _differs(file: Path, text: str) -> bool:
    """Whether a file exists with other content."""
    return file.exists() and not (file.is_file() and file.read_bytes() == text.encode())


def _circumstances(current: Current) -> str:
    """Machines and versions as a Markdown table."""
    table = provenance.circumstances(current).round({"hours": 2}).rename(columns=tables.in_markdown)
    return str(table.map(lambda value: tables.in_markdown(value) if isinstance(value, str) else value).T.to_markdown())


def _versions(current: Current) -> dict[str, int]:
    """The versions behind the numbers; most metrics have the first one, and aren't listed one by one."""
    every = provenance.versions(current)
    listed = {part: number for part, number in every.items() if not part.startswith("metric ") or number > 1}
    return listed | ({"all other metrics": 1} if len(listed) < len(every) else {})


def _figures(current: Current, folder: Path, several: bool) -> list[Path]:
    """Draw the figures published for every store and those of its suites; several scenarios get a folder each."""
    wanted = {
        "negative_elbo",
        "frechet_distance_seen",
        "coverage_of_each",
        *(kind for kind, facts in FIGURE_KINDS.items() if facts.is_published),
    }
    wanted |= {figure_name(name, current.metrics) for suite in provenance.suites_of(current) for name in suite.figures}
    folder_of = folder_names(current)
    files = []
    for drawing in drawings(current):
        if wanted.isdisjoint((drawing.kind, drawing.name)):
            continue
        file = folder / (folder_of(drawing.scenario) if several else "") / f"{drawing.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        drawing.save(file, "png")
        files.append(file)
    return files

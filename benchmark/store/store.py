"""The store: a folder of cells, each with its record and its rows. Nothing is derived here.

    STORE/lifegen.json       marks the folder as a store; schema version
    STORE/cells/NAME/        one finished cell; see ``cell_folder``
    STORE/cells/NAME.zip     one finished or failed cell, compressed; see ``packed``
    STORE/cells/NAME.TOKEN/  one that isn't finished; see ``hold``
    STORE/plans/ID.json      a command and its cells
    STORE/set-aside/         damaged or stale folders that made room for a cell, each with why.txt

Tables only have rows of cells whose status is "done". To merge stores, copy their folders.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import SoftFileLease

from ..errors import InputError
from ..files import NotAFileError, digest, read, write_atomically
from .cell_folder import OLD_LOCK, SCHEMA, StoredCell, folders_of, lock_of, name_of
from .cell_writer import CellWriter, in_lines, write_record
from .hold import Hold
from .lock import CellBusyError, CellDoneError, CellUnreadableError, gone, locked, owner_of
from .packed import PACKED
from .record import Status
from .staleness import outdated

MARK = "lifegen.json"
"""The file that marks a folder as a store."""
PUBLISHED = "measurements.parquet"
"""The tidy table in a published folder, which is all that earlier ones have of the cells."""
_NO_MARK = (FileNotFoundError, NotADirectoryError, NotAFileError, ValueError, KeyError, TypeError, RecursionError)
"""Errors where there is no mark, or a damaged one."""


class Store:
    """A folder of cells."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @staticmethod
    def open(path: Path | str) -> Store:
        """Open an existing store.

        Raises:
            InputError: there is no store at this path, or it is of a newer lifegen.
        """
        store = Store(path)
        mark = store.path / MARK
        try:
            schema = json.loads(read(mark))["schema"]
        except _NO_MARK:
            if mark.exists():
                what = f"""can't be used: {MARK} is damaged; a store's has {{"schema": {SCHEMA}}} in it"""
            elif (store.path / PUBLISHED).exists():
                what = "was published by an earlier lifegen, without its cells; leaderboard, compare and load read it"
            elif store.path.exists():
                what = "isn't a lifegen store"
            else:
                what = f"doesn't exist; `lifegen run --out {store.path}` makes a store"
            raise InputError(f"{store.path} {what}") from None
        except OSError as error:
            raise InputError(f"{mark} can't be read: {error.strerror or error}") from None
        if schema not in range(1, SCHEMA + 1):
            raise InputError(f"{store.path} has schema {schema}; this lifegen reads schemas 1 to {SCHEMA}")
        return store

    @staticmethod
    def check(path: Path | str) -> None:
        """Check that a store can be written at this path; change nothing.

        Raises:
            InputError: a store can't be written there.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_dir():
                raise InputError(f"{path} is a file; a store is a folder")
            if (path / MARK).exists():
                Store.open(path)
            elif path.is_dir() and not all(entry.name.startswith(f".{MARK}.") for entry in path.iterdir()):
                raise InputError(f"{path} holds something other than a lifegen store; choose another --out")
            there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
            with tempfile.TemporaryFile(dir=there):  # permissions don't show a full disk, a read-only mount or root
                pass
        except OSError as error:
            raise InputError(f"{path} can't be written to: {error.strerror or error}") from None

    @staticmethod
    def create(path: Path | str) -> Store:
        """Open a store for writing; make it if it doesn't exist.

        Raises:
            InputError: the folder can't be written to, or holds something else.
        """
        Store.check(path)
        store = Store(path)
        mark = store.path / MARK
        try:
            store.path.mkdir(parents=True, exist_ok=True)
            if not mark.exists() or json.loads(read(mark))["schema"] != SCHEMA:
                write_atomically(mark, json.dumps({"schema": SCHEMA}))  # first, since it makes the folder a store
            (store.path / "cells").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{store.path} can't be written to: {error.strerror or error}") from None
        return store

    def cell(self, name: str) -> StoredCell:
        """The cell of this name: its result, else the furthest of its unfinished folders."""
        result = StoredCell(self.path / "cells" / name)
        if result.status == Status.DONE:
            return result
        packed = StoredCell(result.found.with_name(f"{name}{PACKED}"))
        if packed.status == Status.DONE:
            return packed
        with suppress(OSError):
            return _best([StoredCell(one) for one in folders_of(self.path / "cells", name)] or [result])
        return result

    def cells(self) -> list[StoredCell]:
        """List all cells, by name.

        Raises:
            InputError: the folder of cells can't be read.
        """
        cells: dict[str, list[StoredCell]] = {}
        try:
            for entry in os.scandir(self.path / "cells"):
                if os.path.isdir(entry) or entry.name.endswith(PACKED):
                    cells.setdefault(name_of(entry.name), []).append(StoredCell(Path(entry)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.path / 'cells'} can't be read: {error.strerror or error}") from None
        return [_best(cells[name]) for name in sorted(cells)]

    @contextmanager
    def writing(
        self, name: str, record: Mapping[str, Any], keep: Callable[[Path], int] = lambda folder: 0
    ) -> Iterator[CellWriter]:
        """Write a cell. A damaged or stale folder in its place is set aside.

        Args:
            name: the cell's name.
            record: its record.
            keep: returns how many bytes of rows in the cell's folder are kept; 0 begins anew.

        Raises:
            CellBusyError: another process is writing it.
            CellDoneError: the cell is done; a result is never overwritten.
            StoreGoneError: the store isn't there.
            CellUnreadableError: it can't be read now.
            InputError: a newer lifegen has made the cell.
        """
        with self.holding(name) as hold:
            facts = StoredCell(hold.folder).facts
            # A cell with rows of an older metric begins anew, so that versions aren't mixed.
            may_continue = facts is not None and not outdated(facts)
            yield CellWriter(hold, record, keep(hold.folder) if may_continue else 0)

    @contextmanager
    def holding(self, name: str) -> Iterator[Hold]:
        """Hold a cell for its writer, here or elsewhere; raises the errors of :meth:`writing`."""
        with self._locked(name) as lease:
            while True:
                earlier = self.cell(name)
                why = _aside_because(earlier)  # raises if it isn't to be taken
                if earlier.is_packed:
                    why = why or f"failed, and was run again: {earlier.reason}"
                    earlier.found.rename(self._aside(name, why) / earlier.found.name)
                    continue
                if _is_anothers(earlier.found):
                    raise CellUnreadableError(f"{earlier.found} is another user's, and this one can't write to it")
                with closing(self._taken(earlier, lease)) as hold, hold.checking():
                    try:  # again: its former owner may have finished it just before
                        why = _aside_because(StoredCell(hold.folder)) if hold.is_begun else ""
                    except CellDoneError:
                        hold.commit()
                        raise
                    if not why:
                        yield hold
                        return
                    hold.folder.rename(self._aside(name, why) / name)

    def _taken(self, cell: StoredCell, lease: SoftFileLease) -> Hold:
        """Hold a cell as it was found.

        Raises:
            CellBusyError: another process was faster.
            StoreGoneError: the store isn't there.
        """
        is_there = os.path.lexists(cell.found)
        if not is_there and cell.found.name != cell.name:
            raise CellBusyError(cell.name)
        return Hold(self.path, cell.name, lease, cell.found if is_there else None)

    @contextmanager
    def _locked(self, name: str, patience: float = 0) -> Iterator[SoftFileLease]:
        """Hold a cell's lock.

        Raises:
            CellBusyError: another process holds it, perhaps one of an earlier lifegen.
            StoreGoneError: the store isn't there.
        """
        place = self.path / "cells" / name
        self._make(place.parent)
        with locked(lock_of(place), patience) as lease:
            if owner_of(place / OLD_LOCK):
                raise CellBusyError(name)
            yield lease

    def _make(self, folder: Path) -> None:
        """Make a folder of the store, but never the store.

        Raises:
            StoreGoneError: the store isn't there.
        """
        if not (self.path / MARK).exists():
            raise gone(self.path)
        folder.mkdir(exist_ok=True)

    def _aside(self, name: str, why: str) -> Path:
        """Make a new folder for what is set aside, with the reason in it."""
        self._make(self.path / "set-aside")
        for i in count():
            place = self.path / "set-aside" / f"{name}--{i}"
            with suppress(FileExistsError):
                place.mkdir()
                break
        (place / "why.txt").write_text(f"{why}\n", encoding="utf-8")
        return place

    def amend(
        self,
        cell: StoredCell,
        rows: Sequence[Mapping[str, Any]],
        facts: Mapping[str, Any],
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Replace the rows of a finished cell, add facts to its record, and replace files. Its other files stay.

        Args:
            cell: the cell, as it was read.
            rows: all of its rows from now on.
            facts: new facts for its record.
            files: contents by name.

        Raises:
            InputError: the cell isn't finished, or is packed.
            CellBusyError: another process is writing it, or has written it since it was read.
            StoreGoneError: the store isn't there.
        """
        content = in_lines(rows)
        place = self.path / "cells" / cell.name
        with self._locked(cell.name) as lease:
            earlier = self.cell(cell.name)
            if earlier.status != Status.DONE or earlier.is_packed:
                raise InputError(f"{earlier.found} isn't a finished cell in a folder of its own")
            if earlier.record != cell.record:
                raise CellBusyError(cell.name)
            # A copy, since readers must find either all of the old cell or all of the new one, at any time.
            copy = place.with_name(f"{cell.name}.{secrets.token_hex(8)}")
            try:
                shutil.copytree(earlier.found, copy, copy_function=_link)
                for name, changed in {**files, "metrics.jsonl": content}.items():
                    write_atomically(copy / name, changed)
                written = {"rows": len(rows), "bytes": len(content), "digest": digest(content)}
                if files:
                    written["contents"] = earlier.record.get("contents", {}) | {
                        name: digest(changed) for name, changed in files.items()
                    }
                write_record(copy, {**earlier.record, **facts, **written})
                before = self.path / f".left-{secrets.token_hex(8)}"
                if not lease.is_lock_held_by_us:
                    raise CellBusyError(cell.name)
                earlier.found.rename(before)
                copy.rename(place)
            except BaseException:
                if earlier.found.exists():
                    shutil.rmtree(copy, ignore_errors=True)
                raise
            shutil.rmtree(before, ignore_errors=True)
            for left in folders_of(place.parent, cell.name):  # of a process that was killed here
                if left.is_dir() and left != place:
                    shutil.rmtree(left, ignore_errors=True)

    def fail(self, name: str, record: Mapping[str, Any], error: str) -> None:
        """Mark a cell whose process is gone as failed, unless it is done or another process has taken it.

        Raises:
            StoreGoneError: the store isn't there.
        """
        unfinished = (Status.FAILED, Status.RUNNING, Status.INTERRUPTED)  # RUNNING is due to this lock
        # A killed process exists until its parent has noticed.
        with suppress(CellBusyError, CellDoneError), self._locked(name, patience=5) as lease:
            earlier = self.cell(name)
            if earlier.status not in unfinished or earlier.is_packed:
                return
            with closing(self._taken(earlier, lease)) as hold, hold.checking():
                cell = StoredCell(hold.folder)
                if cell.status == Status.DONE:  # after its process was last heard of
                    hold.commit()
                elif cell.status in unfinished:
                    failed = {**record, "schema": SCHEMA, **cell.record, "status": "failed", "error": error}
                    write_record(hold.folder, failed)


def _link(source: str, target: str) -> None:
    """Give a file a second name, where the file system can; else copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _is_anothers(folder: Path) -> bool:
    """Whether a folder is there that this user can't write to."""
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:  # of this one folder, which may have another name by now
        return not os.access(".", os.W_OK, dir_fd=place)
    finally:
        os.close(place)


def _aside_because(cell: StoredCell) -> str:
    """Say why a cell's folder must be set aside before the cell is computed; empty if it can be continued or begun.

    Raises:
        CellDoneError: it is done.
        CellUnreadableError: it can't be read now.
        InputError: a newer lifegen has made it.
    """
    if cell.status == Status.UNREADABLE:
        raise CellUnreadableError(f"{cell.folder}: {cell.reason}")
    if cell.status == Status.INCOMPATIBLE:
        raise InputError(f"{cell.folder}: {cell.reason}")
    if os.path.lexists(cell.found) and not (cell.found.is_dir() or cell.is_packed):
        return "it isn't a folder"
    if cell.status == Status.DONE:
        if not (old := outdated(cell.facts) if cell.facts else ""):
            raise CellDoneError(cell.name)
        return f"stale: its {old}"
    return cell.reason if cell.status in (Status.DAMAGED, Status.FOREIGN) else ""


def _best(cells: Sequence[StoredCell]) -> StoredCell:
    """Choose from the folders of one cell: its result, else one that can't be judged here, else the furthest."""
    if len(cells) == 1:
        return cells[0]
    ranks = {Status.DONE: 3, Status.UNREADABLE: 2, Status.INCOMPATIBLE: 2, Status.DAMAGED: 0, Status.FOREIGN: 0}

    def rank(cell: StoredCell) -> tuple[object, ...]:
        is_result = cell.status == Status.DONE and cell.name == cell.found.name
        return ranks.get(cell.status, 1), is_result, cell.intervals_done(), cell.status == Status.FAILED, cell.found

    return max(cells, key=rank)

"""The store: a folder of cells, each with its record and its rows. Nothing is derived here.

    STORE/lifegen.json     marks the folder as a store; schema version
    STORE/cells/NAME/      one cell; see ``cell_folder``
    STORE/plans/ID.json    a command and its cells
    STORE/set-aside/       damaged or stale folders that made room for a cell, each with why.txt

Tables only have rows of cells whose status is "done". To merge stores, copy their folders.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from filelock import SoftFileLease

from ..errors import InputError
from ..files import NotAFileError, read, write_atomically
from .cell_folder import SCHEMA, StoredCell
from .cell_writer import CellWriter, write_record
from .lock import CellBusyError, CellDoneError, CellUnreadableError, gone, locked
from .record import Status
from .staleness import outdated

MARK = "lifegen.json"
"""The file that marks a folder as a store."""
PUBLISHED = "measurements.parquet"
"""The tidy table in a published folder."""
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
                what = "is a published folder; plot, report and publish need the store that it was made from"
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
        return StoredCell(self.path / "cells" / name)

    def cells(self) -> list[StoredCell]:
        """List all cells, by name.

        Raises:
            InputError: the folder of cells can't be read.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(self.path / "cells") if os.path.isdir(entry))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.path / 'cells'} can't be read: {error.strerror or error}") from None
        return [self.cell(name) for name in names]

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
        with self.holding(name) as lock:
            cell = self.cell(name)
            # A cell with rows of an older metric begins anew, so that versions aren't mixed.
            may_continue = cell.facts is not None and not outdated(cell.facts)
            writer = CellWriter(cell.folder, record, lock, keep(cell.folder) if may_continue else 0)
            try:
                yield writer
            finally:
                writer.close()

    @contextmanager
    def holding(self, name: str) -> Iterator[SoftFileLease]:
        """Hold a cell's lock for its writer, here or elsewhere; raises the errors of :meth:`writing`."""
        folder = self.path / "cells" / name
        if os.path.lexists(folder) and not folder.is_dir():
            with suppress(FileNotFoundError):  # another process was faster
                folder.rename(self._aside(name, "it isn't a folder") / name)
        self._make(folder)
        with locked(folder) as lock:
            cell = self.cell(name)
            if cell.status == Status.UNREADABLE:
                raise CellUnreadableError(f"{folder}: {cell.reason}")
            if cell.status == Status.INCOMPATIBLE:
                raise InputError(f"{folder}: {cell.reason}")
            if cell.status in (Status.DAMAGED, Status.FOREIGN):
                self._set_aside(folder, cell.reason)
            elif cell.status == Status.DONE:
                why = outdated(cell.facts) if cell.facts else ""
                if not why:
                    raise CellDoneError(name)
                self._set_aside(folder, f"stale: its {why}")
            yield lock

    def _make(self, folder: Path) -> None:
        """Make a folder in a folder of the store, but never the store.

        Raises:
            StoreGoneError: the store isn't there.
        """
        if not (self.path / MARK).exists():
            raise gone(self.path)
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)

    def _set_aside(self, folder: Path, why: str) -> None:
        """Move the content of a cell's folder to a place that isn't read."""
        files = [file for file in folder.iterdir() if not file.name.startswith("lock")]
        place = self._aside(folder.name, why)
        # The record comes last: while it is there, the next process finds the cell damaged as well.
        for file in sorted(files, key=lambda file: file.name == "run.json"):
            file.rename(place / file.name)

    def _aside(self, name: str, why: str) -> Path:
        """Make a new folder for files that are set aside, with the reason in it."""
        names = (self.path / "set-aside" / f"{name}--{i}" for i in count())
        place = next(place for place in names if not place.exists())
        self._make(place)
        (place / "why.txt").write_text(f"{why}\n", encoding="utf-8")
        return place

    def fail(self, name: str, record: Mapping[str, Any], error: str) -> None:
        """Mark a cell whose process is gone as failed, unless it is done or another process has taken it.

        Raises:
            StoreGoneError: the store isn't there.
        """
        folder = self.path / "cells" / name
        self._make(folder)
        try:
            with locked(folder, patience=5):  # a killed process exists until its parent has noticed
                # RUNNING is due to this lock. A process that was only cut off may come back: change only the status.
                cell = self.cell(name)
                if cell.status in (Status.FAILED, Status.RUNNING, Status.INTERRUPTED):
                    failed = {**record, "schema": SCHEMA, **cell.record, "status": "failed", "error": error}
                    write_record(folder, failed)
        except CellBusyError:
            return

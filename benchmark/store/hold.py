"""The right to write a cell, with the folder in which that is done."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from filelock import SoftFileLease

from .cell_folder import StoredCell, folders_of
from .lock import CellBusyError, CellDoneError, gone
from .record import Status


class Hold:
    """One process's right to write a cell, in a folder ``cells/NAME.TOKEN`` of its own.

    The lock alone can't protect a result: a process that sleeps for longer than its lease (stopped, on a suspended
    laptop, on a file server that hangs) may wake up within a write. So no two processes ever write to one folder. Who
    takes a cell over renames its folder, and the former owner's next change finds no folder. Who has finished renames
    his own folder to ``cells/NAME``, which fails where there is a result already: the first one stays.
    """

    def __init__(self, store: Path, name: str, lease: SoftFileLease, earlier: Path | None) -> None:
        """Make the folder.

        Args:
            store: the store's folder.
            name: the cell's name.
            lease: the cell's lock, which this process holds.
            earlier: the cell's present folder, which becomes this process's; None makes an empty one.

        Raises:
            CellBusyError: another process was faster.
            StoreGoneError: the store isn't there.
        """
        self.name = name
        self.folder = store / "cells" / f"{name}.{secrets.token_hex(8)}"
        self._store = store
        self._lease = lease
        # Open, so that no file system gives their numbers to others meanwhile.
        self._store_place = os.open(store, os.O_RDONLY)
        self._place: int | None = None
        try:
            if earlier is None:
                self.folder.mkdir()
            else:
                earlier.rename(self.folder)
            self._place = os.open(self.folder, os.O_RDONLY)
            self.check()
        except BaseException as error:
            self._give_back(earlier)
            try:
                if isinstance(error, FileNotFoundError):
                    self._explain()
                raise
            finally:
                self.close()

    def check(self) -> None:
        """Check that the cell is still this process's, and its folder still there.

        Raises:
            CellBusyError: another process has taken the cell over.
            StoreGoneError: the store was moved or deleted.
        """
        if self._place is None or not _is_at(self._place, self.folder):
            self._explain()
        if not self._lease.is_lock_held_by_us:
            raise CellBusyError(self.name)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Check before changes, and again if one fails, since the loss of the cell may be the reason."""
        self.check()
        try:
            yield
        except OSError:
            self.check()
            raise

    def _give_back(self, earlier: Path | None) -> None:
        """Undo the making of the folder: a slow process makes or takes it after another one has taken the cell."""
        with suppress(OSError):
            if earlier is None:
                self.folder.rmdir()
            else:
                self.folder.rename(earlier)

    def _explain(self) -> NoReturn:
        """Raise the reason why the folder isn't there."""
        if not _is_at(self._store_place, self._store):
            raise gone(self._store)
        raise CellBusyError(self.name)

    def commit(self) -> None:
        """Make the folder, whose cell is done, the cell's result.

        Raises:
            CellDoneError: there is a result already; this one is deleted.
            CellBusyError: another process has taken the cell over, with this result.
            StoreGoneError: the store was moved or deleted.
        """
        place = self._store / "cells" / self.name
        try:
            self.folder.rename(place)
        except OSError as error:
            there = StoredCell(place).status == Status.DONE
            if isinstance(error, FileNotFoundError):
                if not there:  # else the call may have been carried out and repeated, by a network's file system
                    self._explain()
            elif there:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise CellDoneError(self.name) from None
            else:
                return  # readers find the result where it is
        self.folder = place
        for left in folders_of(place.parent, self.name):
            if left != place:  # it is of a process that lost the cell
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """End the writing."""
        for descriptor in (self._store_place, self._place):
            if descriptor is not None:
                os.close(descriptor)
        self._place = None


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether an open folder is still at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False

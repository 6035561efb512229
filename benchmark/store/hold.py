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

from .cell_folder import OLD_LOCK, StoredCell, folders_of
from .lock import CellBusyError, CellDoneError, gone
from .record import Status


class Hold:
    """One process's right to write a cell, in a folder ``cells/NAME.TOKEN`` of its own.

    The lock alone can't protect a result: a process that sleeps for longer than its lease (stopped, on a suspended
    laptop, on a file server that hangs) may wake up within a write. So nobody writes in a folder that another process
    may write in. Who takes a cell over renames its folder, and the former owner's next change finds no folder; only
    then is it judged what is in it. Who has finished renames his own folder to ``cells/NAME``, which fails where there
    is a result already: the first one stays.
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
        self.is_begun = earlier is not None
        self.folder = store / "cells" / f"{name}.{secrets.token_hex(8)}"
        self._store = store
        self._lease = lease
        try:
            self._place = os.open(store, os.O_RDONLY)  # open, so that no other folder gets its number meanwhile
        except FileNotFoundError:
            raise gone(store) from None
        try:
            if earlier is None:
                self.folder.mkdir()
            else:
                earlier.rename(self.folder)
                with suppress(OSError):
                    (self.folder / OLD_LOCK).unlink()
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
        if not os.path.lexists(self.folder):  # nobody else makes a folder of this name
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

    def commit(self) -> None:
        """Make the folder, whose cell is done, the cell's result.

        Raises:
            CellDoneError: there is a result already; this one is deleted.
            CellBusyError: another process has taken the cell over, with this result.
            StoreGoneError: the store was moved or deleted.
        """
        place = self._store / "cells" / self.name
        others = (StoredCell(one) for one in folders_of(place.parent, self.name) if one not in (place, self.folder))
        left = [other.found for other in others if not other.is_packed]
        try:
            self.folder.rename(place)
        except OSError as error:
            there = StoredCell(place).status == Status.DONE
            if isinstance(error, FileNotFoundError):
                if not there:  # else the call may have been carried out and repeated, by a network's file system
                    self._explain()
                return
            if there:
                self._remove(self.folder)
                raise CellDoneError(self.name) from None
            return  # readers find the result where it is
        self.folder = place
        for one in left:  # of processes that lost the cell
            self._remove(one)

    def close(self) -> None:
        """End the writing."""
        os.close(self._place)

    def _give_back(self, earlier: Path | None) -> None:
        """Undo the making of the folder: a slow process makes or takes it after another one has taken the cell."""
        with suppress(OSError):
            if earlier is None:
                self.folder.rmdir()
            else:
                self.folder.rename(earlier)

    def _remove(self, folder: Path) -> None:
        """Delete a folder that isn't needed. It is renamed first: nobody can take it over while it is deleted."""
        place = self._store / f".left-{secrets.token_hex(8)}"
        with suppress(OSError):
            folder.rename(place)
            shutil.rmtree(place, ignore_errors=True)

    def _explain(self) -> NoReturn:
        """Raise the reason why the folder isn't there."""
        try:
            is_there = os.path.samestat(os.fstat(self._place), os.stat(self._store))
        except OSError:
            is_there = False
        raise CellBusyError(self.name) if is_there else gone(self._store)

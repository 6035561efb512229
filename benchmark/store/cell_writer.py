"""The writer of a cell."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..files import TEMPORARY, digest, read, write_atomically
from .cell_folder import IMAGE_VALUES, PICTURES, SCHEMA, StoredCell
from .hold import Hold
from .lock import CellBusyError
from .record import Numbers, sealed

_SEALED = ("model.safetensors", PICTURES, IMAGE_VALUES)
"""Files of a finished cell whose digests its record has."""


class CellWriter:
    """Writes one cell, in the folder that this process holds."""

    def __init__(self, hold: Hold, record: Mapping[str, Any], keep: int = 0) -> None:
        """Begin the cell, or continue it.

        Args:
            hold: the right to write it.
            record: the cell's record.
            keep: bytes of rows to keep, from the beginning; 0 begins the cell anew.
        """
        self._hold = hold
        self._rows: list[dict[str, Any]] = []
        # Length and digest of this process's rows and those that it continues.
        self._bytes = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._began = time.monotonic()
        self._seconds = 0.0
        rows = self.folder / "metrics.jsonl"
        if keep:
            # A new file: the folder's former owner may wake up within a write into the old one.
            content = read(rows)[:keep]
            write_atomically(rows, content)
        for file in list(self.folder.iterdir()):
            is_left = file.name in _SEALED or TEMPORARY.fullmatch(file.name)  # by an interruption of its making
            if is_left or (not keep and (file == rows or file.suffix == ".safetensors")):
                file.unlink(missing_ok=True)
        if keep:
            self._rows = [json.loads(line) for line in content.splitlines()]
            self._bytes = len(content)
            self._digest.update(content)
            before = StoredCell(self.folder).record
            again = [*before.get("resumed", ()), {"at": _now(), "after": self._rows[-1]["interval"]}]
            # Traces of a failure are dropped.
            self._record = {key: before[key] for key in before if key not in ("error", "finished")}
            self._record["schema"] = SCHEMA
            self._write("running", resumed=again)
            return
        self._record = dict(record) | {"schema": SCHEMA}
        self._write("running", started=_now())

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self._hold.folder

    @property
    def record(self) -> Mapping[str, Any]:
        """The cell's present record."""
        return self._record

    @property
    def seconds(self) -> float:
        """Wall time of the work so far, with the time added by :meth:`spent`."""
        return self._seconds + time.monotonic() - self._began

    def spent(self, seconds: float) -> None:
        """Add an earlier process's time."""
        self._seconds = seconds

    def boundary(self) -> dict[str, Any]:
        """Return a saved state's facts on its rows and on the time spent."""
        self._hold.check()
        return {"cell": self._hold.name, **self._written(), "seconds": self.seconds}

    def note(self, **facts: Any) -> None:
        """Add facts to the record."""
        self._write("running", **facts)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Append rows; they are on the disk when this returns.

        Raises:
            CellBusyError: another process has taken the cell over.
            StoreGoneError: the store isn't there any more.
        """
        content = in_lines(rows)
        self._hold.check()
        with (self.folder / "metrics.jsonl").open("ab") as file:
            if file.tell() != self._bytes:
                raise CellBusyError(self._hold.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._rows += rows
        self._bytes += len(content)
        self._digest.update(content)

    def keep(self, name: str, content: bytes) -> None:
        """Put a file into the cell's folder, whole or not at all.

        Raises:
            CellBusyError: another process has taken the cell over.
            StoreGoneError: the store isn't there any more.
        """
        self._hold.check()
        write_atomically(self.folder / name, content)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows so far, also those of earlier processes."""
        return self._rows

    def finish(self, numbers: Numbers | None = None, keep_states: bool = False) -> None:
        """Mark the cell as done.

        Args:
            numbers: one per metric, so that a leaderboard needn't read the rows; None leaves that to readers.
            keep_states: whether saved states stay.

        Raises:
            CellDoneError: there is another process's result already.
            CellBusyError: another process has taken the cell over.
            StoreGoneError: the store isn't there any more.
        """
        self.append([])  # checks that the rows are there, and only this process's
        facts: dict[str, Any] = {"numbers": numbers} if numbers else {}
        facts["contents"] = {
            name: digest(read(self.folder / name)) for name in _SEALED if os.path.lexists(self.folder / name)
        }
        self._write(
            "done",
            finished=_now(),
            seconds=round(self.seconds, 3),
            rows=len(self._rows),
            **self._written(),
            **facts,
        )
        if not keep_states:
            for state in self.folder.glob("state*.safetensors"):
                with suppress(OSError):  # the record already says that the cell is done
                    state.unlink()
        self._hold.commit()

    def fail(self, error: str) -> None:
        """Mark the cell as failed, unless it is done."""
        if self._record["status"] != "done":
            self._write("failed", finished=_now(), error=error)

    def _written(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "digest": self._digest.hexdigest()}

    def _write(self, status: str, **facts: Any) -> None:
        self._hold.check()
        record = self._record | {"status": status, **facts}
        write_record(self.folder, record)
        self._record = record


def in_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the content of metrics.jsonl with these rows."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace a cell's run.json."""
    write_atomically(folder / "run.json", sealed(record))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Writing the folder of a cell, which one process does at a time."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import SoftFileLease

from ..files import TEMPORARY, write_atomically
from .cell_folder import SCHEMA, StoredCell
from .lock import CellBusyError
from .record import Numbers, sealed


class CellWriter:
    """Writes one cell. Only the process that holds the cell's lock has one."""

    def __init__(self, folder: Path, record: Mapping[str, Any], lock: SoftFileLease, keep: int = 0) -> None:
        """Begin, or go on.

        Args:
            folder: the cell's.
            record: what is known of the cell.
            lock: held by this process.
            keep: bytes of rows that are kept, from the beginning; 0 begins the cell anew.
        """
        self.folder = folder
        self._lock = lock
        self._rows: list[dict[str, Any]] = []
        # Of what this process has written or gone on from: what another one puts into the file is told from it.
        self._bytes = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._began = time.monotonic()
        self._seconds = 0.0
        for name in filter(TEMPORARY.fullmatch, os.listdir(folder)):  # of a file that was being replaced
            (folder / name).unlink()
        if keep:
            with (folder / "metrics.jsonl").open("r+b") as file:
                file.truncate(keep)
                content = file.read()
            self._rows = [json.loads(line) for line in content.splitlines()]
            self._bytes = len(content)
            self._digest.update(content)
            before = StoredCell(folder).record
            again = [*before.get("resumed", ()), {"at": _now(), "after": self._rows[-1]["interval"]}]
            # What a failure has left in it is gone.
            self._record = {key: before[key] for key in before if key not in ("error", "finished")}
            self._write("running", resumed=again)
            return
        self._record = dict(record) | {"schema": SCHEMA}
        for leftover in (*folder.glob("*.safetensors"), folder / "metrics.jsonl", folder / "pictures.npz"):
            leftover.unlink(missing_ok=True)
        self._write("running", started=_now())

    @property
    def record(self) -> Mapping[str, Any]:
        """What the cell's record says now."""
        return self._record

    @property
    def seconds(self) -> float:
        """Wall time of the work so far, with what :meth:`spent` added."""
        return self._seconds + time.monotonic() - self._began

    def spent(self, seconds: float) -> None:
        """Add the time that an earlier process has spent."""
        self._seconds = seconds

    def boundary(self) -> dict[str, Any]:
        """What a state says of the rows that belong to it, and of the time spent."""
        self._check()
        return {"cell": self.folder.name, **self._written(), "seconds": self.seconds}

    def note(self, **facts: Any) -> None:
        """Add to the record what is known only now."""
        self._write("running", **facts)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Append rows; they are on the disk when this returns.

        Raises:
            CellBusyError: the lock was lost; another process has taken the cell over.
        """
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        self._check()
        with (self.folder / "metrics.jsonl").open("ab") as file:
            if file.tell() != self._bytes:
                raise CellBusyError(self.folder.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._rows += rows
        self._bytes += len(content)
        self._digest.update(content)

    def keep(self, name: str, content: bytes) -> None:
        """Put a file into the cell's folder, whole or not at all.

        Raises:
            CellBusyError: the lock was lost.
        """
        self._check()
        write_atomically(self.folder / name, content)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows so far, those included that an earlier process has written."""
        return self._rows

    def finish(self, numbers: Numbers | None = None, keep_states: bool = False) -> None:
        """Mark the cell as done.

        Args:
            numbers: one per metric, so that a leaderboard needn't read the rows; None leaves that to readers.
            keep_states: whether its states stay.
        """
        self.append([])  # the rows are there, and this process's alone
        facts = {"numbers": numbers} if numbers else {}
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
                with suppress(OSError):  # the cell is done, and says so
                    state.unlink()

    def fail(self, error: str) -> None:
        """Mark the cell as failed, unless it is done."""
        if self._record["status"] != "done":
            self._write("failed", finished=_now(), error=error)

    def _written(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "digest": self._digest.hexdigest()}

    def _check(self) -> None:
        if not self._lock.is_lock_held_by_us:
            raise CellBusyError(self.folder.name)

    def _write(self, status: str, **facts: Any) -> None:
        self._check()
        record = self._record | {"status": status, **facts}
        write_record(self.folder, record)
        self._record = record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace a cell's run.json."""
    write_atomically(folder / "run.json", sealed(record))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

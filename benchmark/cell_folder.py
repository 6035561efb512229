"""The folder of one cell: what it says, and the one process that writes it. No torch.

run.json             what is constant in the cell, and its status; replaced atomically
metrics.jsonl        one row per measurement, on the disk after every interval
state.safetensors    the memory of the run at the last interval boundary; gone when the cell is done, unless wanted
pictures.npz         samples, reconstructions and style grids of the final model, as ``pictures`` says
model.safetensors    the final model, if the run was asked to keep it
log.txt              what the worker printed
lock                 there as long as a process writes the cell: who, renewed every few seconds
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from filelock import SoftFileLease

from .cell import hash_of, identity_of
from .errors import InputError
from .record import DoneRecord, Numbers, Record, Status, read_record
from .record_check import rows_problem

SCHEMA = 2
"""Of records and of the store. Schema 1 has no digests of rows and record; its cells are read as they are."""
LEASE_SECONDS = 45.0
"""A lock that hasn't been renewed for so long is free: its owner, on another machine, is dead or cut off."""
STATE = "state.safetensors"
_NAME = re.compile(r"[a-z0-9-]+--[a-z0-9-]+--\d+--[0-9a-f]{12}")
_TEMPORARY = re.compile(r"\..+\.\d+")
"""What :func:`write_atomically` leaves if its process is killed."""
_TAIL = 2**16
"""Bytes at a file's end that have its last rows: to watch a cell must not cost more the longer it runs."""
_END = "\n}"
_SEAL = ',\n "seal": "'


class CellBusyError(Exception):
    """Another process is running this cell."""


class CellDoneError(Exception):
    """Another process has finished this cell in the meantime."""


class Owner(NamedTuple):
    """Who writes a cell."""

    host: str
    process: int
    seconds: float
    """Since it last said that it is alive, by this machine's clock."""


@dataclass(frozen=True)
class StoredCell:
    """One cell's folder, to read: what lies in it, and nothing that follows from it."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json, for those who write it again; empty if it can't be read. Readers take ``facts``."""
        try:
            content = json.loads(self._content[0])
        except (ValueError, RecursionError):
            return {}
        is_whole = isinstance(content, dict) and {"scenario", "method", "seed"} <= content.keys()
        return content if is_whole else {}

    @property
    def facts(self) -> Record | None:
        """The content of run.json, typed; None if it isn't a cell's record."""
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[Record | None, str]:
        """The record, or what is wrong with it."""
        try:
            return read_record(self.record), ""
        except ValueError as error:
            return None, str(error)

    @cached_property
    def _content(self) -> tuple[str, str]:
        """The text of run.json, and why it can't be read; neither where there is none."""
        try:
            return (self.folder / "run.json").read_text(), ""
        except (FileNotFoundError, NotADirectoryError):
            return "", ""
        except OSError as error:
            return "", error.strerror or type(error).__name__
        except ValueError:
            return "", "it isn't UTF-8"

    @property
    def status(self) -> Status:
        """What has become of it; never "to do" or "stale", which a folder alone doesn't tell."""
        return self.judgement[0]

    @property
    def reason(self) -> str:
        """What there is to say about the status, in words."""
        return self.judgement[1]

    @cached_property
    def judgement(self) -> tuple[Status, str]:
        """The status and the reason."""
        record = self.record
        if not record:
            if problem := self._content[1]:
                return Status.DAMAGED, f"run.json can't be read: {problem}"
            if os.path.lexists(self.folder / "run.json"):
                return Status.DAMAGED, "run.json can't be read: it isn't a cell's record"
            if _NAME.fullmatch(self.folder.name):
                return Status.INTERRUPTED, "no interval is done"
            return Status.FOREIGN, "it isn't a cell's folder"
        if not isinstance(schema := record.get("schema", 1), int) or schema > SCHEMA:
            return Status.INCOMPATIBLE, f"made by a newer lifegen: its schema is {schema}, and {SCHEMA} can be read"
        if "seal" in record and not _is_sealed(self._content[0]):
            return Status.DAMAGED, "run.json isn't what was written"
        facts, problem = self._read
        if facts is None:
            return Status.DAMAGED, f"run.json isn't a cell's record: {problem}"
        if not _is_identity(record, facts, self.folder.name):
            return Status.DAMAGED, "its name isn't that of what its record says"
        return self._judged(facts)

    def _judged(self, facts: Record) -> tuple[Status, str]:
        if isinstance(facts, DoneRecord):
            size = self.size()
            if size != (written := size if facts.bytes is None else facts.bytes) or size < 0:
                return Status.DAMAGED, f"metrics.jsonl has {max(size, 0)} bytes where {written} were written"
            return Status.DONE, ""
        if facts.status == Status.FAILED:
            return Status.FAILED, facts.error
        if facts.status != Status.RUNNING:
            return Status.DAMAGED, f"its status is {facts.status!r}"
        done, of = self.intervals_done(), len(facts.visits)
        how_far = f"{done} of {of} intervals" if of else "no interval is done"
        if self.owner is None:
            return Status.INTERRUPTED, how_far
        return Status.RUNNING, f"{how_far}, on {self.owner.host} (process {self.owner.process})"

    @cached_property
    def owner(self) -> Owner | None:
        """The process that writes the cell now, as far as can be seen from here."""
        try:
            seconds = time.time() - (self.folder / "lock").stat().st_mtime
            owner = SoftFileLease(self.folder / "lock", lease_duration=LEASE_SECONDS).owner
        except (OSError, ValueError):
            return None
        if owner is None:
            return None
        host = owner.hostname.partition("?")[0]
        # An age below zero, of a clock that goes ahead, tells no more than a great one.
        if abs(seconds) > 2 * LEASE_SECONDS or (host == socket.gethostname() and not _is_alive(owner.pid)):
            return None
        return Owner(host, owner.pid, max(seconds, 0.0))

    @property
    def model(self) -> Path | None:
        """The final model's file, if it was kept."""
        file = self.folder / "model.safetensors"
        return file if file.exists() else None

    def intervals_done(self) -> int:
        """Intervals measured so far. Safe to ask while a worker writes."""
        return next((row["interval"] + 1 for row in self._last_rows()), 0)

    def last_negative_elbo(self) -> float | None:
        """On the full test, after the last interval measured so far; None if it isn't near the end of the rows."""
        union = {"metric": "negative_elbo", "distribution": None, "step": None}
        values = (row.get("value") for row in self._last_rows() if union.items() <= row.items())
        return next((value for value in values if isinstance(value, int | float)), None)

    def _last_rows(self) -> Iterator[dict[str, Any]]:
        """The rows at the end of the file, the last one first."""
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, self.size() - _TAIL))
                lines = file.read().splitlines()
        except OSError:
            return
        for line in reversed(lines):
            try:
                row = json.loads(line)
                yield row | {"interval": int(row["interval"])}
            except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):  # torn, or being written
                continue

    def size(self) -> int:
        """Bytes of its rows; −1 if there is no file."""
        try:
            return (self.folder / "metrics.jsonl").stat().st_size
        except OSError:
            return -1

    def measured(self) -> list[dict[str, Any]]:
        """The rows of a cell that is done, as they were measured.

        Raises:
            InputError: the file isn't what the record says it is.
        """
        file = self.folder / "metrics.jsonl"
        try:
            facts = self.facts
            if not isinstance(facts, DoneRecord):
                raise ValueError(f"the cell is {self.status}, not done")
            content = file.read_bytes()
            if facts.digest is not None and facts.digest != digest(content):
                raise ValueError("its digest isn't that of what was written")
            rows: list[dict[str, Any]] = json.loads(b"[" + b",".join(content.splitlines()) + b"]")
            if len(rows) != facts.rows:
                raise ValueError(f"it has {len(rows)} rows where {facts.rows} were written")
            if problem := rows_problem(rows, facts.visits):
                raise ValueError(problem)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{file} can't be read ({error}); delete {self.folder} and run the command again"
            ) from None
        return rows


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
        for name in filter(_TEMPORARY.fullmatch, os.listdir(folder)):  # of a file that was being replaced
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
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """All rows so far."""
        return self._rows

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

    def finish(self, numbers: Numbers | None = None, keep_states: bool = False) -> None:
        """Mark the cell as done.

        Args:
            numbers: one per metric, so that a leaderboard reads no rows; None leaves that to readers.
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
        self._record |= {"status": status, **facts}
        write_record(self.folder, self._record)


def lock_of(folder: Path) -> SoftFileLease:
    """The lock of a cell's folder: held by one process, renewed as long as that lives, free when it is dead."""
    return SoftFileLease(folder / "lock", lease_duration=LEASE_SECONDS)


def digest(content: bytes) -> str:
    """What tells whether a file's content is what was written."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace a cell's run.json. Its last entry, the seal, is the digest of all before: a change is noticed."""
    text = json.dumps({key: value for key, value in record.items() if key != "seal"}, indent=1)
    write_atomically(folder / "run.json", text.removesuffix(_END) + _seal(text))


def _is_sealed(text: str) -> bool:
    content = text.rpartition(_SEAL)[0]
    return text == content + _seal(content + _END)


def _seal(text: str) -> str:
    """What stands in place of the end of a sealed text."""
    return f'{_SEAL}{digest(text.encode())}"{_END}'


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file by one that is complete on the disk: a reader sees the old content or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_identity(record: Mapping[str, Any], facts: Record, name: str) -> bool:
    """Whether a folder's name and a record's hash are those of the identity that it says, and the files that it names
    are in it. A record without a hash, such as one written by hand, is taken at its word.
    """
    named = {digest for digest in facts.file_digests.values() if digest}
    if not named <= record.get("files", {}).keys():
        return False
    if facts.hash is None:
        return True
    full = "--".join([facts.scenario.name, facts.method.name, str(facts.seed), facts.hash])
    return name == full and hash_of(identity_of(record)) == facts.hash


def _is_alive(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

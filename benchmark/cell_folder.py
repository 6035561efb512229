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
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import SoftFileLease

from .catalogue import load_derived_metrics
from .cell import hash_of, identity_of
from .derived import derive
from .errors import InputError
from .lock import is_dead
from .plugin_file import files_of
from .record_check import record_problem, rows_problem
from .summary import Numbers, described, is_current, summarise

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
    """One cell's folder, to read."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json; empty if it can't be read."""
        try:
            content = json.loads(self._text)
        except (ValueError, RecursionError):
            return {}
        is_whole = isinstance(content, dict) and {"scenario", "method", "seed"} <= content.keys()
        return content if is_whole else {}

    @cached_property
    def _text(self) -> str:
        try:
            return (self.folder / "run.json").read_text()
        except (OSError, ValueError):
            return ""

    @property
    def status(self) -> str:
        """One of "done", "failed", "running", "interrupted", or else "damaged", "incompatible", "foreign"."""
        return self.judgement[0]

    @property
    def reason(self) -> str:
        """What there is to say about the status, in words."""
        return self.judgement[1]

    @cached_property
    def judgement(self) -> tuple[str, str]:
        record = self.record
        if not record:
            if (self.folder / "run.json").exists():
                return "damaged", "run.json can't be read"
            if _NAME.fullmatch(self.folder.name):
                return "interrupted", "no interval is done"
            return "foreign", "it isn't a cell's folder"
        if not isinstance(schema := record.get("schema", 1), int) or schema > SCHEMA:
            return "incompatible", f"made by a newer lifegen: its schema is {schema}, and {SCHEMA} can be read"
        try:
            if "seal" in record and not _is_sealed(self._text):
                return "damaged", "run.json isn't what was written"
            if "hash" in record and not (self.folder.name == _name_of(record) and _is_whole(record)):
                return "damaged", "its name isn't that of what its record says"
            if problem := record_problem(record):
                return "damaged", f"run.json isn't a cell's record: {problem}"
            return self._judged(str(record.get("status")))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return "damaged", f"run.json isn't a cell's record ({type(error).__name__}: {error})"

    def _judged(self, status: str) -> tuple[str, str]:
        record = self.record
        if status == "done":
            size = self.size()
            if size != (written := record.get("bytes", size)) or size < 0:
                return "damaged", f"metrics.jsonl has {max(size, 0)} bytes where {written} were written"
            return "done", ""
        if status == "failed":
            return "failed", str(record.get("error", "reason unknown"))
        if status != "running":
            return "damaged", f"its status is {status!r}"
        done, of = self.intervals_done(), len(record.get("visits", ()))
        how_far = f"{done} of {of} intervals" if of else "no interval is done"
        if self.owner is None:
            return "interrupted", how_far
        return "running", f"{how_far}, on {self.owner.host} (process {self.owner.process})"

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
        # An age below zero, of a clock that goes ahead, tells no more than a great one.
        if abs(seconds) > 2 * LEASE_SECONDS or is_dead(owner.hostname, owner.pid, owner.start):
            return None
        return Owner(owner.hostname.partition("?")[0], owner.pid, max(seconds, 0.0))

    @property
    def versions(self) -> dict[str, int]:
        """The versions that its numbers depend on."""
        named = {f"{part} {self.record[part]['name']}": self.record[part]["version"] for part in ("scenario", "method")}
        metrics = {f"metric {name}": number for name, number in self.record["metrics"].items()}
        return {"the protocol": self.record["protocol"], **named, **metrics}

    @property
    def texts(self) -> dict[str, str | None]:
        """As :func:`texts_of` has them; nothing of a folder without a record."""
        try:
            return texts_of(self.record) if self.record else {}
        except (LookupError, TypeError, AttributeError):  # it isn't a cell's record
            return {}

    @property
    def method(self) -> str:
        """The method as tables and figures name it: with its precision, if that isn't float32."""
        label, precision = self.record["method"]["label"], self.record["precision"]
        return f"{label} ({precision})" if precision != "float32" else str(label)

    @property
    def model(self) -> Path | None:
        """The final model's file, if it was kept."""
        file = self.folder / "model.safetensors"
        return file if file.exists() else None

    @property
    def distributions(self) -> list[str]:
        """The distributions that occur, in the order in which they are first met."""
        return list(dict.fromkeys(name for visit in self.record["visits"] for name in visit))

    def intervals_done(self) -> int:
        """Intervals measured so far. Safe to ask while a worker writes."""
        return next((row["interval"] + 1 for row in self._last_rows()), 0)

    def last_negative_elbo(self) -> float | None:
        """On the full test, after the last interval measured so far; None if it isn't near the end of the rows."""
        union = {"metric": "negative_elbo", "distribution": None, "step": None}
        return next((row["value"] for row in self._last_rows() if union.items() <= row.items()), None)

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
            except (ValueError, TypeError, LookupError):  # torn: it is being written, or was cut off
                continue

    @property
    def numbers(self) -> Numbers:
        """One number per metric of a cell that is done, those of derived metrics included.

        Raises:
            InputError: its rows have to be read, and can't be.
        """
        kept: Numbers | None = self.record.get("numbers")
        if kept is not None and is_current(self.record["metrics"]) and self.size() == self.record["bytes"]:
            return kept
        load_derived_metrics()
        return summarise(self._measured(), self.record["visits"], described())

    def rows(self) -> pd.DataFrame:
        """The rows of a cell that is done, those of derived metrics included.

        Raises:
            InputError: the file isn't what the record says it is.
        """
        load_derived_metrics()
        measured = self._measured()
        return pd.DataFrame(measured + derive(measured, self.record["visits"]))

    def size(self) -> int:
        """Bytes of its rows; −1 if there is no file."""
        try:
            return (self.folder / "metrics.jsonl").stat().st_size
        except OSError:
            return -1

    def seconds(self) -> float:
        """Wall time that the work on a finished cell took, without the time in which it was interrupted."""
        if "seconds" in self.record:
            return float(self.record["seconds"])
        started, finished = (datetime.fromisoformat(self.record[key]) for key in ("started", "finished"))
        return (finished - started).total_seconds()

    def _measured(self) -> list[dict[str, Any]]:
        file = self.folder / "metrics.jsonl"
        try:
            content = file.read_bytes()
            if self.record.get("digest", digest(content)) != digest(content):
                raise ValueError("its digest isn't that of what was written")
            rows: list[dict[str, Any]] = json.loads(b"[" + b",".join(content.splitlines()) + b"]")
            if len(rows) != self.record["rows"]:
                raise ValueError(f"it has {len(rows)} rows where {self.record['rows']} were written")
            if problem := rows_problem(rows, self.record["visits"]):
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


def texts_of(record: Mapping[str, Any]) -> dict[str, str | None]:
    """The digest of the file that a cell's scenario, method and metrics come from; None of what is installed."""
    texts = {f"{part} {record[part]['name']}": record[part].get("file") for part in ("scenario", "method")}
    texts |= {f"metric {name}": digest for name, digest in record.get("metric_files", {}).items()}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise TypeError("a file's digest is to be a string")
    return texts


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
    # Not by the process's number, which a process in another container or on another machine may have as well.
    temporary = path.with_name(f".{path.name}.{secrets.randbits(64)}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _name_of(record: Mapping[str, Any]) -> str:
    """The name of the folder of a record's cell."""
    return "--".join([record["scenario"]["name"], record["method"]["name"], str(record["seed"]), record["hash"]])


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record's hash is that of the identity that it says, and the files are those that it names."""
    named = {text for text in texts_of(record).values() if text}
    return named <= files_of(record).keys() and hash_of(identity_of(record)) == record["hash"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

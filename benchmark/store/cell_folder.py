"""The folder of one cell, for readers: ``cells/NAME`` of a finished one, ``cells/NAME.TOKEN`` of the process that
computes it, or was the last one to do so; or ``cells/NAME.zip``, see ``packed``.

run.json             the record: constant facts of the cell, and its status; replaced atomically
metrics.jsonl        one row per measurement, on the disk after every interval
state.safetensors    the run's memory at the last interval boundary; deleted when the cell is done, unless wanted
pictures.npz         samples, reconstructions and style grids of the final model; see ``pictures``
image_values.npz     the negative ELBO of every test image at the end, by the number of the distribution; float32, nats
model.safetensors    the final model, if the run keeps it
log.txt              the worker's output

The file ``cells/NAME.lock`` says which process writes the cell now; it is renewed every few seconds. Before schema 3
all was written in ``cells/NAME``, and the lock was ``cells/NAME/lock``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..cells.cell import hash_of, identity_of
from ..errors import InputError, UnreadableError
from ..files import NotAFileError, digest, open_to_read, read
from .lock import Owner, owner_of
from .packed import PACKED, member_size, read_member
from .record import DoneRecord, Record, Status, is_sealed, read_record

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 4
"""Schema of records and stores. Schema 3 has no packed cells. Schema 2 has unfinished cells in ``cells/NAME``. Schema 1
has no digests of rows and record; its cells are read without them."""
OLD_LOCK = "lock"
"""A cell's lock before schema 3, in its folder."""
STATE = "state.safetensors"
PICTURES = "pictures.npz"
IMAGE_VALUES = "image_values.npz"
_NAME = re.compile(r"[a-z0-9-]+--[a-z0-9-]+--\d+--[0-9a-f]{12}")
_ATTEMPT = re.compile(rf"(?P<name>.+)(\.[0-9a-f]{{16}}|{re.escape(PACKED)})")
_TAIL = 2**16
"""Bytes at a file's end with its last rows: watching a cell must not become slower as it grows."""


_Seen = TypeVar("_Seen")


class _Content(NamedTuple):
    """The content of run.json; all is empty if there is no such file."""

    text: str = ""
    is_there: bool = False
    fault: str = ""
    """Why it is no text."""
    trouble: str = ""
    """Why it can't be read now, though it may be whole."""


@dataclass(frozen=True)
class StoredCell:
    """One cell's folder, for readers: its content, without anything derived."""

    found: Path
    """The folder, or the file of a packed cell, when it was looked for."""

    @property
    def name(self) -> str:
        """The cell's name."""
        return name_of(self.found.name)

    @property
    def is_packed(self) -> bool:
        """Whether it is one file, which nobody writes in."""
        return self.found.suffix == PACKED

    @property
    def folder(self) -> Path:
        """The folder now, for readers: who finishes the cell renames it."""
        result = self.found.with_name(self.name)
        return result if result != self.found and not self.found.exists() else self.found

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json, for writing it again; empty if it can't be read. Readers use ``facts``."""
        try:
            content = json.loads(self._content.text)
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
        """The record, or its fault."""
        try:
            return read_record(self.record), ""
        except ValueError as error:
            return None, str(error)

    @cached_property
    def _content(self) -> _Content:
        try:
            return _Content(self.content("run.json").decode(), is_there=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            return _Content(fault="it isn't a cell's record" if os.path.lexists(error.filename) else "")
        except NotAFileError as error:
            return _Content(fault=str(error.strerror))
        except OSError as error:
            return _Content(trouble=_reason(error))
        except ValueError:
            return _Content(fault="it isn't UTF-8")

    @property
    def status(self) -> Status:
        """Its status; never "to do" or "stale", which a folder alone can't show."""
        return self.judgement[0]

    @property
    def reason(self) -> str:
        """The reason for the status, in words."""
        return self.judgement[1]

    @cached_property
    def judgement(self) -> tuple[Status, str]:
        """The status and the reason."""
        if trouble := self._content.trouble:
            return Status.UNREADABLE, f"run.json can't be read now: {trouble}"
        record = self.record
        if not record:
            if problem := self._content.fault:
                return Status.DAMAGED, f"run.json can't be read: {problem}"
            if self._content.is_there:
                return Status.DAMAGED, "run.json can't be read: it isn't a cell's record"
            if _NAME.fullmatch(self.name):
                return Status.INTERRUPTED, "no interval is done"
            return Status.FOREIGN, "it isn't a cell's folder"
        if not isinstance(schema := record.get("schema", 1), int) or schema > SCHEMA:
            return (
                Status.INCOMPATIBLE,
                f"made by a newer lifegen: its schema is {schema}, this one reads up to {SCHEMA}",
            )
        if "seal" in record and not is_sealed(self._content.text):
            return Status.DAMAGED, "run.json has changed since it was written"
        facts, problem = self._read
        if facts is None:
            return Status.DAMAGED, f"run.json isn't a cell's record: {problem}"
        if not _is_identity(record, facts, self.name):
            return Status.DAMAGED, "its name doesn't fit its record"
        return self._judged(facts)

    def _judged(self, facts: Record) -> tuple[Status, str]:
        if isinstance(facts, DoneRecord):
            try:
                size = self._size()
            except OSError as error:
                return Status.UNREADABLE, f"metrics.jsonl can't be read now: {_reason(error)}"
            if size != (written := size if facts.bytes is None else facts.bytes) or size < 0:
                return Status.DAMAGED, f"metrics.jsonl has {max(size, 0)} bytes where {written} were written"
            return Status.DONE, ""
        if facts.status == Status.FAILED:
            return Status.FAILED, facts.error
        if self.is_packed:
            return Status.DAMAGED, f"it is packed, and its status is {facts.status!r}"
        if facts.status != Status.RUNNING:
            return Status.DAMAGED, f"its status is {facts.status!r}"
        done, of = self.intervals_done(), len(facts.visits)
        how_far = f"{done} of {of} intervals" if of else "no interval is done"
        if self.owner is None:
            return Status.INTERRUPTED, how_far
        return Status.RUNNING, f"{how_far}, on {self.owner.host} (process {self.owner.process})"

    @cached_property
    def owner(self) -> Owner | None:
        """The process that writes the cell now, if this machine can see one."""
        return owner_of(lock_of(self.found)) or owner_of(self.found / OLD_LOCK)

    @property
    def model(self) -> Path | None:
        """The file of the final model, if there is one."""
        file = self.folder / "model.safetensors"
        return file if file.exists() else None

    def kept(self, name: str) -> bytes:
        """Read a file that the cell keeps beside its rows.

        Raises:
            ValueError: it has changed since the cell was finished.
            OSError: it isn't there, or can't be read now.
        """
        content = self.content(name)
        sealed = self.record.get("contents")
        if isinstance(sealed, Mapping) and sealed.get(name, own := digest(content)) != own:
            raise ValueError("it has changed since it was written")
        return content

    def has(self, name: str) -> bool:
        """Whether it has a file of this name, which may be unreadable."""
        try:
            return bool(os.lstat(self.folder / name)) if not self.is_packed else member_size(self.found, name) >= 0
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def content(self, name: str) -> bytes:
        """Read one of its files, as it is.

        Raises:
            OSError: it isn't there, or can't be read now.
        """
        if self.is_packed:
            return read_member(self.found, name)
        return self._look(lambda folder: read(folder / name))

    def _look(self, look: Callable[[Path], _Seen]) -> _Seen:
        """Look at something in the folder; once more if the folder was renamed meanwhile."""
        folder = self.folder
        try:
            return look(folder)
        except FileNotFoundError:
            if self.folder == folder:
                raise
            return look(self.folder)

    def intervals_done(self) -> int:
        """Count the intervals measured so far. Safe while a worker writes."""
        return next((row["interval"] + 1 for row in self._last_rows()), 0)

    def last_negative_elbo(self) -> float | None:
        """Return the last interval's value on the full test set; None if it isn't among the last rows."""
        union = {"metric": "negative_elbo", "distribution": None, "step": None}
        values = (row.get("value") for row in self._last_rows() if union.items() <= row.items())
        return next((value for value in values if isinstance(value, int | float)), None)

    def _last_rows(self) -> Iterator[dict[str, Any]]:
        """Read the rows at the end of the file, the last one first."""
        for line in reversed(self._tail):
            try:
                row = json.loads(line)
                yield row | {"interval": int(row["interval"])}
            except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):  # torn, or being written
                continue

    @cached_property
    def _tail(self) -> list[bytes]:
        """The lines at the end of the file, which is read once for all questions about them."""
        try:
            if self.is_packed:
                return self.content("metrics.jsonl")[-_TAIL:].splitlines()
            with open_to_read(self.folder / "metrics.jsonl") as file:
                file.seek(max(0, self.size() - _TAIL))
                return file.read().splitlines()
        except OSError:
            return []

    def size(self) -> int:
        """Return the bytes of its rows; −1 if there is no file, or it can't be read now."""
        try:
            return self._size()
        except OSError:
            return -1

    def _size(self) -> int:
        try:
            if self.is_packed:
                return member_size(self.found, "metrics.jsonl")
            return self._look(lambda folder: (folder / "metrics.jsonl").stat().st_size)
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def measured(self) -> pa.Table:
        """Read the measured rows of a cell that is done, with the columns of ``measured``.

        Raises:
            InputError: the file doesn't fit the record.
        """
        from .measured import read_rows

        file = self.folder / "metrics.jsonl"
        try:
            facts = self.facts
            if not isinstance(facts, DoneRecord):
                raise ValueError(f"the cell is {self.status}, not done")
            content = self.content("metrics.jsonl")
            if facts.digest is not None and facts.digest != digest(content):
                raise ValueError("its content has changed since it was written")
            if (lines := len(content.splitlines())) != facts.rows:
                raise ValueError(f"it has {lines} rows where {facts.rows} were written")
            rows = read_rows(content, facts.visits, is_whole=facts.digest is not None)
        except (FileNotFoundError, NotAFileError, ValueError, RecursionError) as error:
            raise InputError(
                f"{file} can't be read ({error}); delete {self.folder} and run the command again"
            ) from None
        except OSError as error:
            raise UnreadableError(f"{file} can't be read now: {_reason(error)}") from None
        return rows


def name_of(folder: str) -> str:
    """Return the name of the cell that a folder of this name is of."""
    match = _ATTEMPT.fullmatch(folder)
    return match["name"] if match else folder


def folders_of(cells: Path, name: str) -> list[Path]:
    """Return all folders in ``cells`` that are of a cell: its result, and those of its owners.

    Raises:
        OSError: the folder of cells can't be read.
    """
    return [cells / one for one in os.listdir(cells) if one.startswith(name) and name_of(one) == name]


def lock_of(folder: Path) -> Path:
    """Return the lock of the cell that a folder is of."""
    return folder.with_name(f"{name_of(folder.name)}.lock")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _is_identity(record: Mapping[str, Any], facts: Record, name: str) -> bool:
    """Whether a folder's name and a record's hash fit the identity in the record, and the record has the files that it
    names. A record without a hash, such as one written by hand, is trusted.
    """
    named = {digest for digest in facts.file_digests.values() if digest}
    if not named <= record.get("files", {}).keys():
        return False
    if facts.hash is None:
        return True
    full = "--".join([facts.scenario.name, facts.method.name, str(facts.seed), facts.hash])
    return name == full and hash_of(identity_of(record)) == facts.hash

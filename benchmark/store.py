"""The store: a folder of cells, each with its record and its rows. Everything else is derived from it. No torch.

    STORE/lifegen.json               marks the folder as a store; schema version
    STORE/cells/NAME/run.json        what is constant in the cell, and its status; replaced atomically
    STORE/cells/NAME/metrics.jsonl   one row per measurement, flushed after every interval
    STORE/cells/NAME/pictures.npz    samples, reconstructions and style grids of the final model, as ``pictures`` says
    STORE/cells/NAME/model.safetensors   the final model, if the run was asked to keep it
    STORE/cells/NAME/log.txt         what the worker printed

A cell whose status isn't "done" is computed anew; its rows never reach a table. Merging stores is copying folders.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from .catalogue import describe
from .cell import PROTOCOL
from .derived import derive
from .errors import InputError
from .summary import Numbers, described, is_current, registered_summary, summarise

SCHEMA = 1
PUBLISHED = "measurements.parquet"
"""The tidy table in a published folder."""
_TAIL = 2**14
"""Bytes at a file's end that have its last rows: to watch a cell must not cost more the longer it runs."""
COLUMNS = [
    "scenario", "method", "seed", "interval", "distribution", "step", "metric", "value",
    "track", "precision", "device", "cell",
]  # fmt: skip


class CellBusyError(Exception):
    """Another process is running this cell."""


class CellDoneError(Exception):
    """Another process has finished this cell in the meantime."""


@dataclass(frozen=True)
class StoredCell:
    """One cell's folder."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json; empty if it can't be read."""
        try:
            content = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        is_whole = isinstance(content, dict) and {"scenario", "method", "seed"} <= content.keys()
        return content if is_whole else {}

    @property
    def status(self) -> str:
        """One of "done", "failed", "running" (or cut off while it ran), or "damaged" """
        return str(self.record.get("status", "damaged"))

    @property
    def versions(self) -> dict[str, int]:
        """The versions that its numbers depend on."""
        named = {f"{part} {self.record[part]['name']}": self.record[part]["version"] for part in ("scenario", "method")}
        metrics = {f"metric {name}": number for name, number in self.record["metrics"].items()}
        return {"the protocol": self.record["protocol"], **named, **metrics}

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
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, self.size() - _TAIL))
                lines = file.read().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                return int(json.loads(line)["interval"]) + 1
            except ValueError:  # torn: it is being written, or was cut off
                continue
        return 0

    @property
    def numbers(self) -> Numbers:
        """One number per metric of a cell that is done, those of derived metrics included.

        Raises:
            InputError: its rows have to be read, and can't be.
        """
        kept: Numbers | None = self.record.get("numbers")
        if kept is not None and is_current(self.record["metrics"]) and self.size() == self.record["bytes"]:
            return kept
        return summarise(self._measured(), self.record["visits"], described())

    def rows(self) -> pd.DataFrame:
        """The rows of a cell that is done, those of derived metrics included.

        Raises:
            InputError: the file isn't what the record says it is.
        """
        measured = self._measured()
        return pd.DataFrame(measured + derive(measured, self.record["visits"]))

    def size(self) -> int:
        """Bytes of its rows; −1 if there is no file."""
        try:
            return (self.folder / "metrics.jsonl").stat().st_size
        except OSError:
            return -1

    def _measured(self) -> list[dict[str, Any]]:
        file = self.folder / "metrics.jsonl"
        try:
            rows: list[dict[str, Any]] = json.loads(f"[{','.join(file.read_text().splitlines())}]")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} can't be read ({error}); delete {self.folder} and run the command again"
            ) from None
        if len(rows) != self.record["rows"]:
            raise InputError(
                f"{file} has {len(rows)} rows where {self.record['rows']} were written; "
                f"delete {self.folder} and run the command again"
            )
        return rows


class CellWriter:
    """Writes one cell. Only the process that holds the cell's lock has one."""

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self._record = dict(record)
        self._rows: list[dict[str, Any]] = []
        for leftover in ("metrics.jsonl", "pictures.npz", "model.safetensors"):
            (folder / leftover).unlink(missing_ok=True)
        self._write("running", started=_now())

    def note(self, **facts: Any) -> None:
        """Add to the record what is known only now."""
        self._write("running", **facts)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Append rows; they are on the disk when this returns."""
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self._rows += rows

    def finish(self) -> None:
        size = StoredCell(self.folder).size()
        facts = {"finished": _now(), "rows": len(self._rows), "bytes": size}
        self._write("done", **facts)  # first: no metric's error in the next line loses what was computed
        if numbers := registered_summary(self._rows, self._record["visits"]):
            self._write("done", **facts, numbers=numbers)

    def fail(self, error: str) -> None:
        self._write("failed", finished=_now(), error=error)

    def _write(self, status: str, **facts: Any) -> None:
        self._record |= {"status": status, **facts}
        write_atomically(self.folder / "run.json", json.dumps(self._record, indent=1))


class Store:
    """A folder of cells."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @staticmethod
    def open(path: Path | str) -> Store:
        """A store that exists.

        Raises:
            InputError: there is none at this path, or it is of a newer lifegen.
        """
        store = Store(path)
        mark = store.path / "lifegen.json"
        try:
            schema = json.loads(mark.read_text())["schema"]
        except (OSError, ValueError, KeyError, TypeError):
            if (store.path / PUBLISHED).exists():
                what = "is a published folder; plot, report and publish need the store that it was made from"
            elif store.path.exists():
                what = "isn't a lifegen store"
            else:
                what = f"doesn't exist; `lifegen run --out {store.path}` makes a store"
            raise InputError(f"{store.path} {what}") from None
        if schema != SCHEMA:
            raise InputError(f"{store.path} has schema {schema}; this lifegen reads schema {SCHEMA}")
        return store

    @staticmethod
    def check(path: Path | str) -> None:
        """See whether a store can be written to at this path, and change nothing.

        Raises:
            InputError: it can't.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_dir():
                raise InputError(f"{path} is a file; a store is a folder")
            if (path / "lifegen.json").exists():
                Store.open(path)
            elif path.is_dir() and any(path.iterdir()):
                raise InputError(f"{path} holds something other than a lifegen store; choose another --out")
            there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
            with tempfile.TemporaryFile(dir=there):  # permissions alone don't tell: full disk, read-only mount, root
                pass
        except OSError as error:
            raise InputError(f"{path} can't be written to: {error.strerror or error}") from None

    @staticmethod
    def create(path: Path | str) -> Store:
        """A store to write to, made if it doesn't exist.

        Raises:
            InputError: the folder can't be written to, or holds something else.
        """
        Store.check(path)
        store = Store(path)
        mark = store.path / "lifegen.json"
        try:
            (store.path / "cells").mkdir(parents=True, exist_ok=True)
            if not mark.exists():
                write_atomically(mark, json.dumps({"schema": SCHEMA}))
        except OSError as error:
            raise InputError(f"{store.path} can't be written to: {error.strerror or error}") from None
        return store

    def cell(self, name: str) -> StoredCell:
        return StoredCell(self.path / "cells" / name)

    def cells(self) -> list[StoredCell]:
        """All cells, by name."""
        return [StoredCell(folder) for folder in sorted(self.path.glob("cells/*")) if folder.is_dir()]

    def current(self) -> tuple[list[StoredCell], dict[str, str]]:
        """The finished cells of the newest versions; and of each other cell why it is left out.

        Cells of different versions of the protocol, a scenario, a method or a metric are never mixed, and none is shown
        that is older than what is installed.
        """
        cells, left_out = [], {}
        for cell in self.cells():
            if cell.status == "done":
                cells.append(cell)
            elif cell.status == "failed":
                left_out[cell.folder.name] = f"failed: {cell.record.get('error', 'reason unknown')}"
            else:
                left_out[cell.folder.name] = "not finished" if cell.status == "running" else "run.json can't be read"
        newest = _installed()
        for cell in cells:
            for part, number in cell.versions.items():
                newest[part] = max(number, newest.get(part, number))
        for cell in list(cells):
            if old := [part for part, number in cell.versions.items() if number < newest[part]]:
                cells.remove(cell)
                parts = ", ".join(f"{part} is version {cell.versions[part]}, not {newest[part]}" for part in old)
                left_out[cell.folder.name] = f"stale: its {parts}; the command that made it makes it anew"
        fullest: dict[tuple[str, str, int], StoredCell] = {}
        for cell in sorted(cells, key=_options):
            fullest[cell.record["scenario"]["label"], cell.method, cell.record["seed"]] = cell
        kept = {cell.folder for cell in fullest.values()}
        for cell in list(cells):
            if cell.folder not in kept:
                cells.remove(cell)
                left_out[cell.folder.name] = (
                    "made before one of its options or metrics existed; the store has it with that as well"
                )
        return cells, left_out

    @contextmanager
    def writing(self, name: str, record: Mapping[str, Any]) -> Iterator[CellWriter]:
        """Start a cell from scratch.

        Raises:
            CellBusyError: another process is at it.
            CellDoneError: it is done; a result is never overwritten.
        """
        folder = self.path / "cells" / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # The lock file stays: removing it would let two processes hold locks on two files of the same name.
            held = FileLock(folder / "lock").acquire(blocking=False)
        except Timeout:
            raise CellBusyError(name) from None
        with held:
            if self.cell(name).status == "done":
                raise CellDoneError(name)
            yield CellWriter(folder, record)

    def fail(self, name: str, record: Mapping[str, Any], error: str) -> None:
        """Mark a cell whose process is gone as failed, unless it was done by then."""
        if self.cell(name).status == "done":
            return
        folder = self.path / "cells" / name
        folder.mkdir(parents=True, exist_ok=True)
        record = self.cell(name).record or record
        failed = {**record, "status": "failed", "finished": _now(), "error": error}
        write_atomically(folder / "run.json", json.dumps(failed, indent=1))

    def table(self, methods: Collection[str] | None = None) -> pd.DataFrame:
        """All rows of the :meth:`current` cells, one measurement a row, with what identifies their cell.

        Args:
            methods: whose cells; all by default.

        Raises:
            InputError: a cell that says it is done can't be read.
        """
        tables = []
        for cell in self.current()[0]:
            if methods is not None and cell.method not in methods:
                continue
            record = cell.record
            identity = {
                "scenario": record["scenario"]["label"],
                "method": cell.method,
                "track": record["scenario"]["track"],
                "precision": record["precision"],
                "device": record["device"],
                "seed": record["seed"],
                "cell": cell.folder.name,
            }
            tables.append(cell.rows().assign(**identity))
        if not tables:
            return pd.DataFrame(columns=COLUMNS)
        return pd.concat(tables, ignore_index=True)[COLUMNS]


def load(path: Path | str, methods: Collection[str] | None = None) -> pd.DataFrame:
    """The tidy table of a store, or of what was published from one: one measurement a row.

    Args:
        path: the store's folder, a published one, or a published ``.parquet`` or ``.csv.gz`` file.
        methods: labels of those to read; all by default.

    Returns:
        columns scenario, method, seed, interval, distribution, step, metric, value, track, precision, device, cell;
        the rows of derived metrics belong to a cell's last interval. Unfinished, failed and stale cells have no rows.

    Raises:
        InputError: there is no store at this path, or one of its cells can't be read.
    """
    path = Path(path)
    file = path / PUBLISHED if (path / PUBLISHED).exists() else path
    if not file.name.endswith((".parquet", ".csv", ".csv.gz")):
        return Store.open(path).table(methods)
    try:
        if file.suffix == ".parquet":
            table = pd.read_parquet(file)
        else:  # only an empty field is none: a distribution may be called "None"
            table = pd.read_csv(file, dtype={"distribution": str}, keep_default_na=False, na_values=[""])
        table = table[COLUMNS]
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise InputError(f"{file} isn't a published table: {error}") from None
    return table if methods is None else table[table["method"].isin(methods)].reset_index(drop=True)


def _installed() -> dict[str, int]:
    """The versions that a cell would have now, but for metrics that are derived on reading."""
    versions = {"the protocol": PROTOCOL}
    for kind in ("scenario", "method", "metric"):
        entries = describe(kind).items()
        versions |= {f"{kind} {name}": entry.version for name, entry in entries if not entry.facts.get("derived")}
    return versions


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one that is complete on the disk: a reader sees the old content or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _options(cell: StoredCell) -> int:
    return sum(len(cell.record[part]["config"]) for part in ("scenario", "method")) + len(cell.record["metrics"])

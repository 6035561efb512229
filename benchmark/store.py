"""The store: a folder of cells, each with its record and its rows. Everything else is derived from it. No torch.

    STORE/lifegen.json     marks the folder as a store; schema version
    STORE/cells/NAME/      one cell, as ``cell_folder`` says
    STORE/plans/ID.json    cells that were asked for, and the command that did
    STORE/set-aside/       what was found damaged where a cell was to be written

Rows of a cell whose status isn't "done" never reach a table. Merging stores is copying folders.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from .catalogue import describe, learn_metrics
from .cell import PROTOCOL
from .cell_folder import (
    LEASE_SECONDS,
    SCHEMA,
    CellBusyError,
    CellDoneError,
    CellWriter,
    StoredCell,
    lock_of,
    texts_of,
    write_atomically,
    write_record,
)
from .errors import InputError

MARK = "lifegen.json"
"""Makes a folder a store."""
PUBLISHED = "measurements.parquet"
"""The tidy table in a published folder."""
_NOBODY_SECONDS = 4.0
"""Wait for a lock without an owner, which is given up when it hasn't changed for two seconds."""
COLUMNS = [
    "scenario", "method", "seed", "interval", "distribution", "step", "metric", "value",
    "track", "precision", "device", "cell",
]  # fmt: skip


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
        mark = store.path / MARK
        try:
            schema = json.loads(mark.read_text())["schema"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            if mark.exists():
                what = f"""can't be used: {MARK} is damaged; a store's has {{"schema": {SCHEMA}}} in it"""
            elif (store.path / PUBLISHED).exists():
                what = "is a published folder; plot, report and publish need the store that it was made from"
            elif store.path.exists():
                what = "isn't a lifegen store"
            else:
                what = f"doesn't exist; `lifegen run --out {store.path}` makes a store"
            raise InputError(f"{store.path} {what}") from None
        if schema not in range(1, SCHEMA + 1):
            raise InputError(f"{store.path} has schema {schema}; this lifegen reads schemas 1 to {SCHEMA}")
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
            if (path / MARK).exists():
                Store.open(path)
            elif path.is_dir() and not all(entry.name.startswith(f".{MARK}.") for entry in path.iterdir()):
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
        mark = store.path / MARK
        try:
            store.path.mkdir(parents=True, exist_ok=True)
            if not mark.exists() or json.loads(mark.read_text())["schema"] != SCHEMA:
                write_atomically(mark, json.dumps({"schema": SCHEMA}))  # first: a folder without it is no store
            (store.path / "cells").mkdir(exist_ok=True)
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

        Cells of different versions of the protocol, a scenario, a method or a metric are never mixed, nor are those of
        different texts of a file, and none is shown that is older than what is installed.
        """
        cells, left_out = [], {}
        stored = self.cells()
        # A text that has nothing to show yet, such as a first try that failed, doesn't take the place of another.
        texts = self.newest_texts([cell for cell in stored if cell.status == "done"])
        for cell in stored:
            if old := [part for part, text in cell.texts.items() if texts.get(part, text) != text]:
                left_out[cell.folder.name] = f"stale: its {' and '.join(old)} is of another text of its file"
            elif cell.status == "done":
                cells.append(cell)
            else:
                left_out[cell.folder.name] = f"{cell.status}: {cell.reason}"
        newest = _installed()
        for cell in cells:
            learn_metrics(cell.record.get("plug-in metrics", {}))
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

    def newest_texts(self, cells: Sequence[StoredCell]) -> dict[str, str | None]:
        """The text of each scenario, method and metric that some cells have: none of what is installed, else the file
        that was asked for last."""
        started: dict[str, dict[str | None, str]] = {}
        asked: dict[str, dict[str | None, str]] = {}

        def note(times: dict[str, dict[str | None, str]], texts: Mapping[str, str | None], when: str) -> None:
            for part, text in texts.items():
                of_part = times.setdefault(part, {})
                of_part[text] = max(when, of_part.get(text, ""))

        for cell in cells:
            note(started, cell.texts, str(cell.record.get("started", "")))
        if any(len(times) > 1 for times in started.values()):
            for _, plan in self.plans():
                for record in plan["cells"].values():
                    note(asked, texts_of(record), plan.get("asked", ""))
        newest = {}
        for part, times in started.items():
            # When a text was asked for last; when a cell of it was begun, only of stores without such a plan: workers
            # begin cells of old plans, too.
            when = {text: asked.get(part, {}).get(text, began) for text, began in times.items()}
            newest[part] = max(when, key=when.__getitem__)
        for kind in ("scenario", "method", "metric"):
            newest |= {part: None for name, one in describe(kind).items()
                       if not one.error and (part := f"{kind} {name}") in newest}  # fmt: skip
        return newest

    def plans(self, unreadable: list[str] | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The plans that were saved in the store, with their files.

        Args:
            unreadable: gets those that can't be read, and why.
        """
        for file in sorted((self.path / "plans").glob("*.json")):
            try:
                plan = json.loads(file.read_text())
                for record in plan["cells"].values():
                    texts_of(record)
                yield file, plan
            except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                if unreadable is not None:
                    unreadable.append(f"{file}: {type(error).__name__}: {error}")

    @contextmanager
    def writing(
        self, name: str, record: Mapping[str, Any], keep: Callable[[Path], int] = lambda folder: 0
    ) -> Iterator[CellWriter]:
        """Write a cell. What is damaged in its place is set aside.

        Args:
            name: the cell's.
            record: what is known of it.
            keep: says of the cell's folder how many bytes of rows are kept; 0 begins anew.

        Raises:
            CellBusyError: another process is at it.
            CellDoneError: it is done; a result is never overwritten.
            InputError: a newer lifegen has made it.
        """
        with self.holding(name) as lock:
            cell = self.cell(name)
            yield CellWriter(cell.folder, record, lock, keep(cell.folder) if cell.record else 0)

    @contextmanager
    def holding(self, name: str) -> Iterator[SoftFileLease]:
        """Hold a cell's lock, for a process here or elsewhere that writes it; raises as :meth:`writing` does."""
        folder = self.path / "cells" / name
        if os.path.lexists(folder) and not folder.is_dir():
            with suppress(FileNotFoundError):  # another process was faster
                folder.rename(self._aside(name, "it isn't a folder") / name)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder) as lock:
            cell = self.cell(name)
            if cell.status == "done":
                raise CellDoneError(name)
            if cell.status == "incompatible":
                raise InputError(f"{folder}: {cell.reason}")
            if cell.status in ("damaged", "foreign"):
                self._set_aside(folder, cell.reason)
            yield lock

    def _set_aside(self, folder: Path, why: str) -> None:
        """Move what is in a cell's folder to where nothing is read, and nothing lost."""
        files = [file for file in folder.iterdir() if not file.name.startswith("lock")]
        place = self._aside(folder.name, why)
        # The record is last: as long as it is there, the next process finds the cell damaged as well.
        for file in sorted(files, key=lambda file: file.name == "run.json"):
            file.rename(place / file.name)

    def _aside(self, name: str, why: str) -> Path:
        """A new folder for what is set aside, with the reason in it."""
        names = (self.path / "set-aside" / f"{name}--{i}" for i in count())
        place = next(place for place in names if not place.exists())
        place.mkdir(parents=True)
        (place / "why.txt").write_text(f"{why}\n")
        return place

    def fail(self, name: str, record: Mapping[str, Any], error: str) -> None:
        """Mark a cell whose process is gone as failed, unless it was done by then, or another process has taken it."""
        folder = self.path / "cells" / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with _locked(folder, patience=5):  # a killed process is there until its parent has heard of it
                if self.cell(name).status in ("failed", "running", "interrupted"):  # running: by this lock
                    # What it was cut off from may go on one day: nothing but its status changes.
                    failed = {**record, "schema": SCHEMA, **self.cell(name).record, "status": "failed", "error": error}
                    write_record(folder, failed)
        except CellBusyError:
            return

    def table(self, methods: Collection[str] | None = None) -> pd.DataFrame:
        """All rows of the :meth:`current` cells, one measurement a row, with what identifies their cell.

        Args:
            methods: whose cells; all by default.

        Raises:
            InputError: a cell that says it is done can't be read.
        """
        cells, left_out = self.current()
        if damaged := {name: why for name, why in left_out.items() if why.startswith("damaged")}:
            name, why = next(iter(damaged.items()))
            how_many = "1 damaged cell is" if len(damaged) == 1 else f"{len(damaged)} damaged cells are"
            warnings.warn(f"{how_many} left out of the table: {name}: {why}", stacklevel=2)
        tables = []
        for cell in cells:
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


@contextmanager
def _locked(folder: Path, patience: float = 0) -> Iterator[SoftFileLease]:
    """Hold a cell's lock; wait so many seconds for it.

    Raises:
        CellBusyError: another process holds it.
    """
    lock = lock_of(folder)
    wait = patience
    with suppress(OSError):
        mark = (folder / "lock").stat()
        if not mark.st_size:
            # Of schema 1, or of a process that was killed before it wrote who it is. An empty lock is never given up; a
            # line without an owner is, and changes nothing for one that is being written: it ends in a line as well.
            with (folder / "lock").open("ab") as file:
                file.write(b"\n")
        # A dead owner on this machine is recognised at once. One elsewhere is given up when its lock hasn't been
        # renewed for a whole lease, which is waited for where it is likely: clocks differ, so its age doesn't tell.
        if lock.owner is None:
            wait = _NOBODY_SECONDS
        elif abs(time.time() - mark.st_mtime) > LEASE_SECONDS:
            wait = 1.5 * LEASE_SECONDS
    try:
        held = lock.acquire(timeout=wait)
    except (Timeout, LeaseSettingsMismatch):
        raise CellBusyError(folder.name) from None
    with held:
        yield lock


def _options(cell: StoredCell) -> int:
    return sum(len(cell.record[part]["config"]) for part in ("scenario", "method")) + len(cell.record["metrics"])

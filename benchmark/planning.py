"""What a store was asked for, how far it is, and what is left: time and bytes. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from statistics import fmean
from typing import Any

from .cell import Cell, cell_of
from .cell_folder import StoredCell, texts_of, write_atomically
from .errors import InputError, unknown
from .store import Store

STATUSES = ("done", "running", "interrupted", "to do", "failed", "stale", "damaged", "incompatible", "foreign")


def save_plan(store: Store, cells: Sequence[Cell], command: str, keep_models: bool = False) -> None:
    """Write down in the store which cells are asked for, and by which command, so that other machines see what is to do
    and `lifegen worker` can do it."""
    records = {cell.name: cell.record() | {"keep_models": keep_models} for cell in cells}
    content = {"command": command, "asked": datetime.now(UTC).isoformat(), "cells": records}
    folder = store.path / "plans"
    folder.mkdir(exist_ok=True)
    name = sha256("\n".join(sorted(records)).encode()).hexdigest()[:12]
    write_atomically(folder / f"{name}.json", json.dumps(content))


def planned(store: Store) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The records of all cells that the store was asked for, by name, and the plans that can't be read. Of a file that
    was edited, those of the text that was asked for last."""
    unreadable: list[str] = []
    plans = sorted((plan for _, plan in store.plans(unreadable)), key=lambda plan: str(plan.get("asked", "")))
    newest: dict[str, str | None] = {}
    for plan in plans:
        for record in plan["cells"].values():
            newest |= texts_of(record)
    cells = {name: record for plan in plans for name, record in plan["cells"].items()
             if all(newest[part] == text for part, text in texts_of(record).items())}  # fmt: skip
    return cells, unreadable


def kept_models(store: Store) -> frozenset[str]:
    """The names of the cells whose final models a plan of the store wants to be kept."""
    plans = (plan for _, plan in store.plans())
    return frozenset(name for plan in plans for name, record in plan["cells"].items() if record.get("keep_models"))


def asked_for(store: Store) -> list[Cell]:
    """The cells of a store's plans.

    Raises:
        InputError: there is no plan, or one of them asks for what isn't installed here.
    """
    cells, unreadable = planned(store)
    if not cells:
        raise InputError(
            f"{store.path} has no plan{''.join(f' ({one})' for one in unreadable)}; "
            f"`lifegen plan ... --out {store.path} --save` or `lifegen run ... --out {store.path}` makes one"
        )
    return [cell_of(record) for record in cells.values()]


def find(store: Store, key: str) -> Cell:
    """A cell that the store has or was asked for.

    Args:
        store: the store.
        key: the cell's name, its hash, or a beginning of either that no other cell has.

    Raises:
        InputError: there is no such cell, or it needs what isn't installed here.
    """
    records = planned(store)[0] | {cell.folder.name: cell.record for cell in store.cells() if cell.record}
    exact = [name for name in records if key in (name, name.rpartition("--")[2])]
    matches = exact or [name for name in records if name.startswith(key) or name.rpartition("--")[2].startswith(key)]
    if len(matches) > 1:
        raise InputError(f"{key!r} is the beginning of {len(matches)} cells: {', '.join(sorted(matches)[:3])}, ...")
    if not matches:
        raise unknown("cell", key, records)
    return cell_of(records[matches[0]])


@dataclass(frozen=True)
class Item:
    """One cell, as it stands."""

    name: str
    status: str
    """One of :data:`STATUSES`"""
    reason: str
    scenario: str = ""
    """Label"""
    method: str = ""
    """Label"""
    left: float = 0.0
    """Part of the work that is still to do, from 0 to 1"""


@dataclass(frozen=True)
class Overview:
    """How far a store is."""

    store: Store
    items: list[Item]
    unreadable: list[str]
    """Plans that can't be read, and why"""

    @property
    def counts(self) -> dict[str, int]:
        """Cells of each status that occurs, in the order of :data:`STATUSES`."""
        numbers = {status: sum(item.status == status for item in self.items) for status in STATUSES}
        return {status: number for status, number in numbers.items() if number}

    @cached_property
    def hours_left(self) -> float | None:
        """Hours of one cell at a time for all that is left, as long as those like it took; None before one is done."""
        return self._expected(lambda cell: cell.seconds() / 3600)

    @cached_property
    def bytes_now(self) -> int:
        """What all cells' folders take."""
        return sum(size_of(cell) for cell in self.store.cells())

    @cached_property
    def bytes_left(self) -> float | None:
        """What those that are left will add, as much as those like them take; None before one is done."""
        return self._expected(size_of)

    @cached_property
    def state_bytes(self) -> int:
        """The largest state of an interval boundary that is there now; each running cell comes to have one."""
        sizes = [0]
        for file in (self.store.path / "cells").glob("*/state.safetensors"):
            with suppress(FileNotFoundError):  # its cell is done
                sizes.append(file.stat().st_size)
        return max(sizes)

    def _expected(self, cost: Callable[[StoredCell], float]) -> float | None:
        """The summed cost of what is left, each cell at the mean of those like it that are done: of the same scenario
        and method, else of either, else of all."""
        known: dict[tuple[str, ...], list[float]] = {}
        for item in self.items:
            if item.status == "done":
                value = cost(self.store.cell(item.name))
                for key in _likeness(item):
                    known.setdefault(key, []).append(value)
        if not known:
            return None
        means = {key: fmean(values) for key, values in known.items()}
        return sum(item.left * next(means[key] for key in _likeness(item) if key in means) for item in self.items)


def _likeness(item: Item) -> list[tuple[str, ...]]:
    return [("both", item.scenario, item.method), ("method", item.method), ("scenario", item.scenario), ()]


def overview(store: Store, cells: Iterable[Cell] | None = None) -> Overview:
    """How far a store is.

    Args:
        store: the store, which may be empty.
        cells: those to look at; all that the store has or was asked for by default.
    """
    stored = {cell.folder.name: cell for cell in store.cells()}
    unreadable: list[str] = []
    if cells is None:
        asked, unreadable = planned(store)
        wanted: Mapping[str, dict[str, Any]] = asked | {name: cell.record for name, cell in stored.items()}
    else:
        wanted = {cell.name: cell.record() for cell in cells}
    left_out = store.current()[1] if stored else {}
    items = [_item(name, record, stored.get(name), left_out.get(name, "")) for name, record in wanted.items()]
    return Overview(store, items, unreadable)


def _item(name: str, record: Mapping[str, Any], cell: StoredCell | None, left_out: str) -> Item:
    status, reason = ("to do", "") if cell is None else cell.judgement
    left = 0.0
    if status == "done" and left_out:
        status, reason = "stale", left_out.removeprefix("stale: ")
    elif status in ("running", "interrupted") and cell is not None:
        of = len(cell.record.get("visits", ())) or 1
        left = 1 - min(cell.intervals_done() / of, 1.0)
    elif status in ("to do", "damaged"):
        left = 1.0
    try:
        labels = str(record["scenario"]["label"]), str(record["method"]["label"])
    except (LookupError, TypeError):
        labels = "", ""
    return Item(name, status, reason, *labels, left)


def size_of(cell: StoredCell) -> int:
    """Bytes of all files in a cell's folder."""
    total = 0
    for file in cell.folder.iterdir() if cell.folder.is_dir() else ():
        try:
            total += file.stat().st_size
        except OSError:  # it was a lock, or is being replaced
            continue
    return total

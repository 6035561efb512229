"""What a store was asked for: its saved plans, and the cells in them. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from ..cells.cell import Cell, cell_of
from ..errors import InputError, unknown
from ..files import write_atomically
from .record import Asked, read_asked
from .store import Store


class PlannedCell(NamedTuple):
    """A cell that was asked for."""

    record: dict[str, Any]
    """As it was written: :func:`cell_of` makes the cell of it"""
    facts: Asked
    """The same, typed"""


@dataclass(frozen=True)
class Plan:
    """Cells that one command asked for."""

    asked: str
    """When it was given last"""
    cells: Mapping[str, PlannedCell]
    """By name"""


@dataclass(frozen=True)
class Plans:
    """All plans of a store, in the order in which they were asked for."""

    readable: tuple[Plan, ...]
    unreadable: tuple[str, ...]
    """Files that can't be read, and why"""

    @property
    def cells(self) -> Iterator[PlannedCell]:
        """The cells of every plan: one that several plans ask for comes several times."""
        return (cell for plan in self.readable for cell in plan.cells.values())

    def newest(self) -> dict[str, PlannedCell]:
        """The cells by name; of a file that was edited, those of the text that was asked for last."""
        texts: dict[str, str | None] = {}
        for cell in self.cells:
            texts |= cell.facts.file_digests
        return {
            name: cell
            for plan in self.readable
            for name, cell in plan.cells.items()
            if all(texts[part] == text for part, text in cell.facts.file_digests.items())
        }


def plans_of(store: Store) -> Plans:
    """The plans that were saved in a store."""
    readable, unreadable = [], []
    for file in sorted((store.path / "plans").glob("*.json")):
        try:
            content = json.loads(file.read_text())
            cells = {name: PlannedCell(record, read_asked(record)) for name, record in content["cells"].items()}
            readable.append(Plan(str(content.get("asked", "")), cells))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            unreadable.append(f"{file}: {type(error).__name__}: {error}")
    return Plans(tuple(sorted(readable, key=lambda plan: plan.asked)), tuple(unreadable))


def save_plan(store: Store, cells: Sequence[Cell], command: str, keep_models: bool = False) -> None:
    """Write down in the store which cells are asked for, and by which command, so that other machines see what is to do
    and `lifegen worker` can do it."""
    records = {cell.name: cell.record() | {"keep_models": keep_models} for cell in cells}
    content = {"command": command, "asked": datetime.now(UTC).isoformat(), "cells": records}
    folder = store.path / "plans"
    folder.mkdir(exist_ok=True)
    # With the suite: the same cells asked for without it mustn't hide that a suite names their methods.
    parts = sorted(f"{cell.name} {cell.suite}" if cell.suite else cell.name for cell in cells)
    name = sha256("\n".join(parts).encode()).hexdigest()[:12]
    write_atomically(folder / f"{name}.json", json.dumps(content))


def planned(store: Store) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The records of all cells that the store was asked for, as :meth:`Plans.newest` has them, and the plans that can't
    be read."""
    plans = plans_of(store)
    return {name: cell.record for name, cell in plans.newest().items()}, list(plans.unreadable)


def kept_models(store: Store) -> frozenset[str]:
    """The names of the cells whose final models a plan of the store wants to be kept."""
    plans = plans_of(store).readable
    return frozenset(name for plan in plans for name, cell in plan.cells.items() if cell.facts.keep_models)


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


def find_cell(store: Store, key: str) -> Cell:
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

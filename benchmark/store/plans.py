"""The saved plans of a store, and the cells in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from ..cells.cell import Cell, cell_of
from ..errors import InputError, unknown
from ..files import read, write_atomically
from .record import Asked, read_asked
from .store import Store


class PlannedCell(NamedTuple):
    """A cell of a plan."""

    record: dict[str, Any]
    """The record as it was written; :func:`cell_of` makes the cell"""
    facts: Asked
    """The record, typed"""

    @property
    def identity(self) -> str:
        """Equal for cells that compute the same."""
        facts = self.facts
        configs = facts.scenario.config, facts.method.config
        return json.dumps([facts.versions, facts.code_digests, configs, facts.precision, facts.seed], sort_keys=True)


@dataclass(frozen=True)
class Plan:
    """The cells of one command."""

    serial: int
    """1 more than that of the plan before; 0 if an earlier lifegen wrote it"""
    asked: str
    """Time of the command's last call, by that machine's clock"""
    cells: Mapping[str, PlannedCell]
    """Its cells, by name"""

    @property
    def order(self) -> tuple[int, str]:
        """Its place among the plans of a store: by time only among equal serial numbers."""
        return self.serial, self.asked


@dataclass(frozen=True)
class Plans:
    """All plans of a store, in the order of their commands: by serial number, since clocks may go back."""

    readable: tuple[Plan, ...]
    unreadable: tuple[str, ...]
    """Files that can't be read, and why"""

    @property
    def cells(self) -> Iterator[PlannedCell]:
        """The cells of all plans; a cell of several plans comes several times."""
        return (cell for plan in self.readable for cell in plan.cells.values())

    def newest(self) -> dict[str, PlannedCell]:
        """Return the cells by name; if a file was edited, only those of its last text: a text with other comments alone
        is the same cell, though an earlier lifegen named it otherwise."""
        texts: dict[str, str | None] = {}
        for cell in self.cells:
            texts |= cell.facts.code_digests
        return dict(
            {
                cell.identity: (name, cell)
                for plan in self.readable
                for name, cell in plan.cells.items()
                if all(texts[part] == text for part, text in cell.facts.code_digests.items())
            }.values()
        )


def plans_of(store: Store) -> Plans:
    """Read the plans of a store."""
    readable, unreadable = [], []
    for file in sorted((store.path / "plans").glob("*.json")):
        try:
            content = json.loads(read(file))
            cells = {name: PlannedCell(record, read_asked(record)) for name, record in content["cells"].items()}
            serial = content.get("serial", 0)
            if type(serial) is not int or not 0 <= serial < 10**9:
                raise ValueError("serial isn't a number")
            readable.append(Plan(serial, str(content.get("asked", "")), cells))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            unreadable.append(f"{file}: {type(error).__name__}: {error}")
    return Plans(tuple(sorted(readable, key=lambda plan: plan.order)), tuple(unreadable))


def save_plan(store: Store, cells: Sequence[Cell], command: str, keep_models: bool = False) -> None:
    """Save cells and their command in the store, so that other machines see the open work and `lifegen worker` can do
    it."""
    records = {cell.name: cell.record() | {"keep_models": keep_models} for cell in cells}
    serial = 1 + max((plan.serial for plan in plans_of(store).readable), default=0)
    content = {"command": command, "serial": serial, "asked": datetime.now(UTC).isoformat(), "cells": records}
    folder = store.path / "plans"
    folder.mkdir(exist_ok=True)
    # The name includes the suite: a plan of the same cells without it mustn't replace one that names their suite.
    parts = sorted(f"{cell.name} {cell.suite}" if cell.suite else cell.name for cell in cells)
    name = sha256("\n".join(parts).encode()).hexdigest()[:12]
    write_atomically(folder / f"{name}.json", json.dumps(content))


def planned(store: Store) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the records of all planned cells, as in :meth:`Plans.newest`, and the plans that can't be read."""
    plans = plans_of(store)
    return {name: cell.record for name, cell in plans.newest().items()}, list(plans.unreadable)


def kept_models(store: Store) -> frozenset[str]:
    """Return the names of the cells whose final models a plan keeps."""
    plans = plans_of(store).readable
    return frozenset(name for plan in plans for name, cell in plan.cells.items() if cell.facts.keep_models)


def asked_for(store: Store) -> list[Cell]:
    """Return the cells of a store's plans.

    Raises:
        InputError: there is no plan, or a cell needs something that isn't installed here.
    """
    cells, unreadable = planned(store)
    if not cells:
        raise InputError(
            f"{store.path} has no plan{''.join(f' ({plan})' for plan in unreadable)}; "
            f"`lifegen plan ... --out {store.path} --save` or `lifegen run ... --out {store.path}` makes one"
        )
    return [cell_of(record) for record in cells.values()]


def find_cell(store: Store, key: str) -> Cell:
    """Return a stored or planned cell.

    Args:
        store: the store.
        key: the cell's name or hash, or the first characters of either, if no other cell has them.

    Raises:
        InputError: there is no such cell, or it needs something that isn't installed here.
    """
    records = planned(store)[0] | {cell.name: cell.record for cell in store.cells() if cell.record}
    exact = [name for name in records if key in (name, name.rpartition("--")[2])]
    matches = exact or [name for name in records if name.startswith(key) or name.rpartition("--")[2].startswith(key)]
    if len(matches) > 1:
        raise InputError(f"{key!r} matches {len(matches)} cells: {', '.join(sorted(matches)[:3])}, ...")
    if not matches:
        raise unknown("cell", key, records)
    return cell_of(records[matches[0]])

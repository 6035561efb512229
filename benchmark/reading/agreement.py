"""Whether cells of different machines and days may stand in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..discovery.index import describe
from ..errors import InputError
from ..store.cell_folder import StoredCell
from ..store.plans import Plans, plans_of
from ..store.record import DoneRecord, Scenario, Status
from ..store.staleness import installed_versions, outdated
from ..store.store import Store
from .current import Current, current_from


def on_other_data(cells: Iterable[StoredCell]) -> list[str]:
    """Write a line for each scenario whose finished cells were computed on different images, such as those of another
    version of a data set or of a library that rotates them. Cells of earlier versions of lifegen don't say on which."""
    found: dict[tuple[str, int | None], dict[str, str]] = {}
    for cell in cells:
        if isinstance(facts := cell.facts, DoneRecord) and facts.data:
            seed = facts.seed if _follows_seed(facts.scenario) else None
            found.setdefault((facts.scenario.label, seed), {}).setdefault(facts.data, cell.name)
    lines = []
    for (label, _), names in sorted(found.items(), key=str):
        if len(names) > 1:
            first, other, *_ = names.values()
            lines.append(f"{label}: {first} and {other} were computed on different images")
    return lines


def _follows_seed(scenario: Scenario) -> bool:
    """Whether a scenario's images, or their order, may be others for another seed: its order or its visits are drawn,
    or it isn't lifegen's own."""
    entry = describe("scenario").get(scenario.name)
    is_own = scenario.file is None and entry is not None and entry.provider == "lifegen"
    return not is_own or scenario.config.get("class_order") == "random" or "angles" in scenario.config


def no_longer_shown(part: Current, union: Current) -> list[str]:
    """Write a line for each cell that a store shows, and a union with another store doesn't, which has no other cell of
    its scenario, method and seed instead."""
    shown = {(cell.scenario, cell.method, cell.seed) for cell in union.cells}
    lost = [cell.name for cell in part.cells if (cell.scenario, cell.method, cell.seed) not in shown]
    return [f"{name}: {union.left_out[name]}" for name in lost]


def union_of(paths: Sequence[Path | str]) -> Current:
    """Read the state of several stores as if they were one. A cell of several comes once: finished, and by the newest
    metrics, if it is so anywhere.

    Raises:
        InputError: there is no path, or no store at one of them, or cells of one scenario were computed on different
            images.
    """
    if not paths:
        raise InputError("no store is named")
    stores = [Store.open(path) for path in dict.fromkeys(paths)]
    installed = installed_versions()

    def worth(cell: StoredCell) -> tuple[bool, bool, int]:
        facts = cell.facts if cell.status == Status.DONE else None
        return (
            facts is not None,
            facts is not None and not outdated(facts, installed),
            len(facts.metrics) if facts else 0,
        )

    stored: dict[str, StoredCell] = {}
    for store in stores:
        for cell in store.cells():
            if cell.name not in stored or worth(cell) > worth(stored[cell.name]):
                stored[cell.name] = cell
    plans = [plans_of(store) for store in stores]
    readable = sorted((plan for one in plans for plan in one.readable), key=lambda plan: plan.order)
    unreadable = tuple(line for one in plans for line in one.unreadable)
    if problems := on_other_data(stored.values()):
        raise InputError(f"{' and '.join(str(store.path) for store in stores)} can't be shown together: {problems[0]}")
    return current_from(stores[0], [stored[name] for name in sorted(stored)], Plans(tuple(readable), unreadable))

"""Whether cells of different machines and days may stand in one table."""

from __future__ import annotations

from collections.abc import Iterable

from ..discovery.index import describe
from ..store.cell_folder import StoredCell
from ..store.record import DoneRecord, Scenario
from .current import Current


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

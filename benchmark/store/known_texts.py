"""The texts of extension files that a store has, in place of ones that differ by no code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import product

from ..cells.cell import Cell
from ..discovery.plugin_file import PluginFile, files_of
from .plans import plans_of
from .store import Store


def with_known_texts(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the same cells, with the texts of files that the store has of them.

    So a comment or a docstring in a file makes no new cell: the text that ran before is the one that runs.

    Args:
        cells: the cells.
        store: the store, which needn't exist.

    Raises:
        InputError: the store can't be read, or a text of it can't be run here.
    """
    if not any(cell.files for cell in cells):
        return list(cells)
    records = {cell.name: cell.record for cell in store.cells()}
    records |= {name: cell.record for plan in plans_of(store).readable for name, cell in plan.cells.items()}
    texts: dict[str, dict[PluginFile, None]] = {}
    for record in reversed(records.values()):  # those of the last plan first
        with suppress(LookupError, TypeError, ValueError, AttributeError):  # a damaged one
            for file in files_of(record).values():
                texts.setdefault(file.code_digest, {})[file] = None

    def known(cell: Cell) -> Cell:
        choices = [list(texts.get(file.code_digest, {file: None})) for file in cell.files]
        ways = [cell.with_files(dict(zip(cell.files, way, strict=True))) for way in product(*choices)]
        return next((way for way in ways if way.name in records), ways[0])

    return [known(cell) for cell in cells]

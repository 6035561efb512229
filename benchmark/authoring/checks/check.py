"""Check a method, scenario or metric, lifegen's own or an extension's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...discovery.index_entry import IndexEntry
from .findings import Finding
from .targets import targets

__all__ = ["check", "findings", "targets"]


def check(text: str, data_root: Path | None = None) -> Iterator[Finding]:
    """Check every promise of the things that a name or a file stands for.

    Args:
        text: as for :func:`targets`.
        data_root: folder of the data sets.

    Raises:
        InputError: it doesn't exist, or can't be imported.
    """
    for description, options in targets(text):
        yield from findings(description, options, data_root)


def findings(description: IndexEntry, options: Mapping[str, Any], data_root: Path | None = None) -> Iterator[Finding]:
    """Check every promise of one method, scenario, data source or metric."""
    entry = description.entry()
    if entry.kind == "method":
        from .method import findings as of_method

        return of_method(entry, options)
    if entry.kind == "scenario":
        from .scenario import check_scenario

        return check_scenario(entry, options, data_root)
    if entry.kind == "data source":
        from .source import check_source

        return check_source(entry, data_root)
    from .metric import check_metric

    return check_metric(entry)

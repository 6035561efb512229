"""Finished cells that are older than the installed versions."""

from __future__ import annotations

from collections.abc import Mapping

from ..cells.cell import PROTOCOL
from ..discovery.index import describe
from .record import Record


def installed_versions() -> dict[str, int]:
    """Return the versions of a cell made now, without derived metrics, which are computed on reading."""
    versions = {"the protocol": PROTOCOL}
    for kind in ("scenario", "method", "metric"):
        entries = describe(kind).items()
        versions |= {f"{kind} {name}": entry.version for name, entry in entries if not entry.facts.get("derived")}
    return versions


def outdated(record: Record, installed: Mapping[str, int] | None = None) -> str:
    """Say why a cell must be measured anew under its own name; empty if it needn't.

    Only its metrics decide that: other versions of protocol, scenario and method, and other texts of their files, make
    cells with other names.

    Args:
        record: the cell's record.
        installed: the result of :func:`installed_versions`, if the caller has it.
    """
    now = installed_versions() if installed is None else installed
    measured = {f"metric {name}": version for name, version in record.metrics.items()}
    old = {part: version for part, version in measured.items() if version < now.get(part, version)}
    return older(old, now)


def older(versions: Mapping[str, int], newest: Mapping[str, int]) -> str:
    """Write how versions differ from newer ones."""
    return ", ".join(f"{part} is version {version}, not {newest[part]}" for part, version in versions.items())

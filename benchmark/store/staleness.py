"""Which finished cells are older than what is installed. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from ..cells.cell import PROTOCOL
from ..discovery.index import describe
from .record import Record


def installed_versions() -> dict[str, int]:
    """The versions that a cell would have now. Derived metrics aren't among them: they are computed on reading."""
    versions = {"the protocol": PROTOCOL}
    for kind in ("scenario", "method", "metric"):
        entries = describe(kind).items()
        versions |= {f"{kind} {name}": entry.version for name, entry in entries if not entry.facts.get("derived")}
    return versions


def outdated(record: Record, installed: Mapping[str, int] | None = None) -> str:
    """Why a cell is to be measured anew under its own name; empty if it isn't.

    Its metrics alone decide that: other versions of protocol, scenario and method, and other texts of their files, make
    cells of other names.

    Args:
        record: the cell's.
        installed: as :func:`installed_versions` has it, if that is known already.
    """
    now = installed_versions() if installed is None else installed
    measured = {f"metric {name}": version for name, version in record.metrics.items()}
    old = {part: version for part, version in measured.items() if version < now.get(part, version)}
    return older(old, now)


def older(versions: Mapping[str, int], newest: Mapping[str, int]) -> str:
    """How versions differ from newer ones, in words."""
    return ", ".join(f"{part} is version {version}, not {newest[part]}" for part, version in versions.items())

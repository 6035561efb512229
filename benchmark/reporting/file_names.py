"""Labels as names of files and folders."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

_LONGEST = 200
"""Bytes of a file name, without its ending."""


def file_name(label: str) -> str:
    """A label with options as a file name, which stays in its folder."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" if c == "=" else "_" for c in label).lstrip(".") or "_"
    return name if len(name.encode()) <= _LONGEST else f"{name[: _LONGEST // 4]}-{_digest(label)}"


def file_names(labels: Iterable[str]) -> dict[str, str]:
    """The file name of each label: where several would have the same one, each ends with a digest of its label."""
    names = {label: file_name(label) for label in labels}
    number = Counter(name.casefold() for name in names.values())  # some file systems ignore case
    return {
        label: name if number[name.casefold()] == 1 else f"{name[: _LONGEST // 4]}-{_digest(label)}"
        for label, name in names.items()
    }


def _digest(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()[:12]

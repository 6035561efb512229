"""Small files in the user's cache folder. Without a writable folder nothing is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import read
from ..folders import cache_folder
from .entry_points import folder_of


def _cache_file(name: str) -> Path:
    # One file per installation, so that two environments on one machine don't overwrite each other's.
    place = hashlib.sha256(f"{folder_of('benchmark')} {sys.prefix}".encode()).hexdigest()[:12]
    return cache_folder() / f"{name}-{place}.json"


def kept(name: str) -> dict[str, Any]:
    """Return the content of a cache file; empty if there is none."""
    with contextlib.suppress(OSError, ValueError):
        if isinstance(content := json.loads(read(_cache_file(name))), dict):
            return content
    return {}


def keep(name: str, content: Mapping[str, Any]) -> None:
    """Replace a cache file; a read-only home only costs the time of making the index again."""
    with contextlib.suppress(OSError):
        file = _cache_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as temporary:
            try:
                json.dump(content, temporary)
                temporary.flush()
                os.replace(temporary.name, file)
            except OSError:  # a full disk
                os.unlink(temporary.name)

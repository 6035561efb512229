"""Files that are written whole or not at all, and digests that show whether they have changed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.\d+")
"""Names of the files that :func:`write_atomically` leaves if its process is killed."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file so that every reader sees the old content or the new one, complete."""
    # Random, since a process in another container or on another machine may have the same number.
    temporary = path.with_name(f".{path.name}.{secrets.randbits(64)}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(content: bytes) -> str:
    """A digest that shows whether a file's content has changed."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()

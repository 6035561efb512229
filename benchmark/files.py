"""Files that are written whole or not at all, and what tells whether they still are as they were written."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.\d+")
"""Names of the files that :func:`write_atomically` leaves if its process is killed."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file by one that is complete on the disk: a reader sees the old content or the new."""
    # Not by the process's number, which a process in another container or on another machine may have as well.
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
    """What tells whether a file's content is what was written."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()

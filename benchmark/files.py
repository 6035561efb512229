"""Files: read up to a limit, written whole or not at all, and digests that show whether they have changed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from .errors import InputError

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


def read_at_most(path: Path, largest: int, subject: str, advice: str) -> bytes:
    """Read a file that a user names.

    Args:
        path: the file.
        largest: most bytes that it may have.
        subject: what an error is about, such as ``suite mine.toml``.
        advice: what an error tells to do when there is no such file.

    Raises:
        InputError: it can't be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in its folder's name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{subject} can't be read: {reason}; {advice}") from None
    if len(content) > largest:
        raise InputError(f"{subject} has more than {largest:,} bytes")
    return content


def digest(content: bytes) -> str:
    """A digest that shows whether a file's content has changed."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()

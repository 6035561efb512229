"""Files: read if they are files, written whole or not at all, and digests that show whether they have changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

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


class NotAFileError(OSError):
    """Something that isn't a file has a file's name."""


def open_to_read(path: Path | str) -> BinaryIO:
    """Open a file, but nothing else that a name may stand for: opening a named pipe waits until somebody writes.

    Raises:
        NotAFileError: it is something else.
        OSError: it can't be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except BlockingIOError:  # a file that a file server has lent to somebody: wait until it is given back
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise
        descriptor = os.open(path, os.O_RDONLY)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    if not is_file:
        os.close(descriptor)
        raise NotAFileError(errno.EINVAL, "it isn't a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read(path: Path | str) -> bytes:
    """Read a file; raises the errors of :func:`open_to_read`."""
    with open_to_read(path) as file:
        return file.read()


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
        with open_to_read(path) as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in its folder's name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{subject} can't be read: {reason}; {advice}") from None
    if len(content) > largest:
        raise InputError(f"{subject} has more than {largest:,} bytes")
    return content


def texts_in(content: bytes) -> dict[str, str]:
    """Return the texts in the header of a safetensors file.

    Raises:
        ValueError: it has no header.
        LookupError, TypeError: its header has no texts.
    """
    texts: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return texts


def digest(content: bytes) -> str:
    """A digest that shows whether a file's content has changed."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()

"""One finished or failed cell as one compressed file, ``cells/NAME.zip``, as published folders keep it.

run.json         the record
metrics.jsonl    its rows
pictures.npz, image_values.npz

States, models and the log aren't packed. A packed cell is never written again: a store that computes it anew sets the
file aside.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from ..files import NotAFileError, open_to_read

PACKED = ".zip"
"""Ending of a packed cell's file."""
_MEMBERS = ("run.json", "metrics.jsonl", "pictures.npz", "image_values.npz")
_LARGEST = 2**30
"""Most bytes of one of its files: a small zip file may claim any size."""


def pack(content_of: Callable[[str], bytes]) -> bytes:
    """Pack a cell. Equal cells are equal files.

    Args:
        content_of: reads one of its files by name; a ValueError leaves it out.

    Raises:
        OSError: it can't be read now.
    """
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED, compresslevel=9) as members:
        for name in _MEMBERS:
            with suppress(FileNotFoundError, ValueError):  # pictures that have changed since
                # This way of naming it has the same date in every file.
                members.writestr(ZipInfo(name), content_of(name), ZIP_DEFLATED)
    return content.getvalue()


def read_member(file: Path, name: str) -> bytes:
    """Read a file of a packed cell.

    Raises:
        FileNotFoundError: there is no such file, here or in it.
        NotAFileError: it is no packed cell, or is damaged.
        OSError: it can't be read now.
    """
    with _opened(file, name) as (members, member), members.open(member) as content:
        return content.read(member.file_size + 1)  # bounded: a small file may unpack to any size


def member_size(file: Path, name: str) -> int:
    """Return the bytes of a file of a packed cell; raises the errors of :func:`read_member`."""
    with _opened(file, name) as (_, member):
        return member.file_size


def member_of(members: ZipFile, name: str) -> ZipInfo:
    """Return a member of a zip file.

    Raises:
        KeyError: it has none of this name.
        ValueError: it is compressed in another way than lifegen and NumPy do.
    """
    member = members.getinfo(name)
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in another way than lifegen's")
    return member


@contextmanager
def _opened(file: Path, name: str) -> Iterator[tuple[ZipFile, ZipInfo]]:
    try:
        with open_to_read(file) as content, ZipFile(content) as members:
            member = member_of(members, name)
            if member.file_size > _LARGEST:
                raise ValueError(f"{name} has {member.file_size:,} bytes; at most {_LARGEST:,}")
            yield members, member
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, f"it has no {name}", str(file)) from None
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib answer damaged bytes with errors of many classes
        raise NotAFileError(errno.EINVAL, f"it can't be unpacked: {error}", str(file)) from None

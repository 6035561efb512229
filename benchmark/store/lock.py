"""The lock of a cell's folder: one process writes a cell, and others see which one, and whether it is still alive."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

_FIRST = 0xEFFFFFFC
"""Linux's number of the PID namespace that it starts with, which a lock doesn't name."""
_FIRST_OF_TIME = 0xEFFFFFFA
_HOST = re.compile(r"(?P<name>[^?]*)(\?pidns-(?P<namespace>[0-9a-f]+))?")
"""A host as filelock writes it down, with the PID namespace if it isn't the first one."""


LEASE_SECONDS = 45.0
"""A lock that hasn't been renewed for so long is free: its owner, on another machine, is dead or cut off."""


_NOBODY_SECONDS = 4.0
"""Wait for a lock without an owner, which is given up when it hasn't changed for two seconds."""


class CellBusyError(Exception):
    """Another process is running this cell."""


class CellDoneError(Exception):
    """Another process has finished this cell in the meantime."""


class Owner(NamedTuple):
    """The process that writes a cell."""

    host: str
    process: int
    seconds: float
    """Since it last said that it is alive, by this machine's clock."""


def lock_of(folder: Path) -> SoftFileLease:
    """The lock of a cell's folder: held by one process, renewed as long as that lives, free when it is dead."""
    return SoftFileLease(folder / "lock", lease_duration=LEASE_SECONDS)


def owner_of(folder: Path) -> Owner | None:
    """The process that writes a cell now, as far as can be seen from here."""
    try:
        seconds = time.time() - (folder / "lock").stat().st_mtime
        owner = lock_of(folder).owner
    except (OSError, ValueError):
        return None
    if owner is None:
        return None
    # An age below zero, of a clock that goes ahead, tells no more than a great one.
    if abs(seconds) > 2 * LEASE_SECONDS or is_dead(owner.hostname, owner.pid, owner.start):
        return None
    return Owner(owner.hostname.partition("?")[0], owner.pid, max(seconds, 0.0))


@contextmanager
def locked(folder: Path, patience: float = 0) -> Iterator[SoftFileLease]:
    """Hold a cell's lock; wait so many seconds for it.

    Raises:
        CellBusyError: another process holds it.
    """
    lock = lock_of(folder)
    wait = patience
    with suppress(OSError):
        mark = (folder / "lock").stat()
        if not mark.st_size:
            # Of schema 1, or of a process that was killed before it wrote who it is. An empty lock is never given up; a
            # line without an owner is, and changes nothing for one that is being written: it ends in a line as well.
            with (folder / "lock").open("ab") as file:
                file.write(b"\n")
        # A dead owner on this machine is recognised at once. One elsewhere is given up when its lock hasn't been
        # renewed for a whole lease, which is waited for where it is likely: clocks differ, so its age doesn't tell.
        if lock.owner is None:
            wait = _NOBODY_SECONDS
        elif abs(time.time() - mark.st_mtime) > LEASE_SECONDS:
            wait = 1.5 * LEASE_SECONDS
    try:
        held = lock.acquire(timeout=wait)
    except (Timeout, LeaseSettingsMismatch):
        raise CellBusyError(folder.name) from None
    with held:
        yield lock


def is_dead(host: str, process: int, start: int | None) -> bool:
    """Whether a process is known to be dead. Nothing is known of one on another machine, or in a container, which
    numbers processes on its own: there its lock's age has to tell.

    Args:
        host: the process's, as filelock writes it down.
        process: its number there.
        start: when it started, as filelock writes it down: the machine's boot id, and ticks since then.
    """
    match = _HOST.fullmatch(host)
    if not match or match["name"] != socket.gethostname():
        return False
    if int(match["namespace"] or f"{_FIRST:x}", 16) != _pid_namespace():
        return False
    boot, ticks = divmod(start or 0, 2**64)
    if boot and boot != _boot():  # another machine of this name, or this one before it was started anew
        return False
    return not is_alive(process) or (boot != 0 and _ticks(process) not in (ticks, None))


def is_alive(process: int) -> bool:
    """Whether there is a process of this number here."""
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def _pid_namespace() -> int | None:
    """The number of this process's PID namespace; None if the system doesn't say."""
    if not sys.platform.startswith("linux"):
        return _FIRST  # there are none
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _boot() -> int:
    """The id of the machine's present boot, the same in all its containers; 0 if the system doesn't say."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""), 16)
    except (OSError, ValueError):
        return 0


def _ticks(process: int) -> int | None:
    """When a process started, in ticks since the machine's boot; None if the system doesn't say."""
    try:
        # A container may show another one's processes under /proc, or count ticks from elsewhere.
        is_of_here = os.readlink("/proc/self") == str(os.getpid())
        if not is_of_here or os.stat("/proc/self/ns/time").st_ino != _FIRST_OF_TIME:
            return None
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None

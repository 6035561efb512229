"""The lock of a cell: one process writes it; others see which one, and whether it is still alive."""

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
"""Linux's number of its first PID namespace, which a lock doesn't name."""
_FIRST_OF_TIME = 0xEFFFFFFA
_HOST = re.compile(r"(?P<name>[^?]*)(\?pidns-(?P<namespace>[0-9a-f]+))?")
"""A host in filelock's notation, with the PID namespace if it isn't the first one."""


LEASE_SECONDS = 45.0
"""Seconds after which a lock that isn't renewed is free: its owner, on another machine, is dead or cut off."""


_NOBODY_SECONDS = 4.0
"""Seconds to wait for a lock without an owner, which is given up after two seconds without a change."""


class CellBusyError(Exception):
    """Another process is running this cell."""


class CellDoneError(Exception):
    """Another process has finished this cell in the meantime."""


class StoreGoneError(OSError):
    """The store isn't where it was when the command began."""


def gone(place: Path) -> StoreGoneError:
    return StoreGoneError(
        f"{place} was moved or deleted meanwhile; the same command goes on with the store at its new place"
    )


class CellUnreadableError(OSError):
    """The cell can't be read now, or not be written to, though it may be whole."""


class Owner(NamedTuple):
    """The process that writes a cell."""

    host: str
    process: int
    seconds: float
    """Seconds since its last sign of life, by this machine's clock."""


def lock_at(file: Path) -> SoftFileLease:
    """Return the lock that is this file: held by one process, renewed while it lives, free when it is dead."""
    return SoftFileLease(file, lease_duration=LEASE_SECONDS)


def owner_of(file: Path) -> Owner | None:
    """Return the process that holds a lock now, if this machine can see one."""
    try:
        seconds = time.time() - file.stat().st_mtime
        owner = lock_at(file).owner
    except (OSError, ValueError):
        return None
    if owner is None:
        return None
    # A negative age, from a clock that runs ahead, is as useless as a great one.
    if abs(seconds) > 2 * LEASE_SECONDS or is_dead(owner.hostname, owner.pid, owner.start):
        return None
    return Owner(owner.hostname.partition("?")[0], owner.pid, max(seconds, 0.0))


@contextmanager
def locked(file: Path, patience: float = 0) -> Iterator[SoftFileLease]:
    """Hold a lock; wait up to ``patience`` seconds for it.

    Raises:
        CellBusyError: another process holds it.
    """
    lock = lock_at(file)
    wait = patience
    with suppress(OSError):
        mark = file.stat()
        if not mark.st_size:
            # The lock is of schema 1, or its process was killed before it wrote its name. An empty lock is never given
            # up, but a line without an owner is; a lock that is being written ends in a line as well.
            with file.open("ab") as empty:
                empty.write(b"\n")
        # A dead owner on this machine is recognised at once. An owner elsewhere is given up if its lock isn't renewed
        # for a whole lease. Clocks differ, so the age alone isn't enough: wait for that time if it is likely.
        if lock.owner is None:
            wait = _NOBODY_SECONDS
        elif abs(time.time() - mark.st_mtime) > LEASE_SECONDS:
            wait = 1.5 * LEASE_SECONDS
    try:
        held = lock.acquire(timeout=wait)
    except (Timeout, LeaseSettingsMismatch):
        raise CellBusyError(file.name) from None
    with held:
        yield lock


def is_dead(host: str, process: int, start: int | None) -> bool:
    """Whether a process is known to be dead. Nothing is known of processes on other machines, or in containers, which
    have numbers of their own: there only the lock's age helps.

    Args:
        host: the process's host, in filelock's notation.
        process: its number there.
        start: its start, in filelock's notation: the machine's boot id, and ticks since then.
    """
    match = _HOST.fullmatch(host)
    if not match or match["name"] != socket.gethostname():
        return False
    if int(match["namespace"] or f"{_FIRST:x}", 16) != _pid_namespace():
        return False
    boot, ticks = divmod(start or 0, 2**64)
    if boot and boot != _boot():  # another machine of this name, or this one before a reboot
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
    """Return the number of this process's PID namespace; None if the system doesn't say."""
    if not sys.platform.startswith("linux"):
        return _FIRST  # this system has no namespaces
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _boot() -> int:
    """Return the id of the machine's present boot, the same in all containers; 0 if the system doesn't say."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip().replace("-", ""), 16)
    except (OSError, ValueError):
        return 0


def _ticks(process: int) -> int | None:
    """Return a process's start in ticks since the machine's boot; None if the system doesn't say."""
    try:
        # A container may show another one's processes under /proc, or count ticks from another start.
        is_of_here = os.readlink("/proc/self") == str(os.getpid())
        if not is_of_here or os.stat("/proc/self/ns/time").st_ino != _FIRST_OF_TIME:
            return None
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None

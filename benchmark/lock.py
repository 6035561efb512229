"""Whether the process that a lock names is known to be dead. No torch."""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

_FIRST = 0xEFFFFFFC
"""Linux's number of the PID namespace that it starts with, which a lock doesn't name."""
_FIRST_OF_TIME = 0xEFFFFFFA
_HOST = re.compile(r"(?P<name>[^?]*)(\?pidns-(?P<namespace>[0-9a-f]+))?")
"""A host as filelock writes it down, with the PID namespace if it isn't the first one."""


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

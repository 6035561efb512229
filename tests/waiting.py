"""Waiting for what happens elsewhere: it ends with the event. The deadline only ends a hang."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

HANG = 900.0
"""Seconds that nothing takes, however busy the machine is."""

T = TypeVar("T")


def until(look: Callable[[], T], may_happen: Callable[[], bool] = lambda: True) -> T:
    """Wait until there is something to see.

    Args:
        look: called again and again, until what it returns is true.
        may_happen: whether it still may, such as "the process runs".

    Returns:
        what was seen.
    """
    deadline = time.monotonic() + HANG
    while True:
        still = may_happen()  # asked first: what happens last may be the end of the process
        if found := look():
            return found
        assert still, "what is waited for can't happen any more"
        assert time.monotonic() < deadline, f"nothing has happened for {HANG:.0f} s"
        time.sleep(0.05)

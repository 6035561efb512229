"""Words about the work of a worker at the moment, for the display of its command. They go through a small file that
isn't in the store, and cost a training step nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_EVERY_SECONDS = 0.5


class Now(NamedTuple):
    """What a worker does at the moment."""

    words: str = ""
    share: float = 0.0
    """Share of the interval's steps that are done, from 0 to 1; 0 where they aren't counted"""


class Doing:
    """Where a worker says what it does."""

    def __init__(self) -> None:
        self._words = "starting"
        self._step: Callable[[], int] | None = None
        self._of: int | None = None

    def now(self, words: str, step: Callable[[], int] | None = None, of: int | None = None) -> None:
        """Say what begins.

        Args:
            words: in a few words, such as "measuring".
            step: returns the optimiser steps that are done.
            of: their number, or upper limit, if it is known.
        """
        self._words, self._step, self._of = words, step, of

    @property
    def at_present(self) -> Now:
        if self._step is None:
            return Now(self._words)
        done = self._step()
        if self._of is None:
            return Now(f"step {done:,}")
        return Now(f"step {done:,} of {self._of:,}", min(1.0, done / max(1, self._of)))

    def tell(self, file: Path) -> None:
        """Keep a file up to date as long as this process lives; the target of a thread."""
        before = None
        while True:
            if (now := self.at_present) != before:
                before = now
                with suppress(OSError):  # the command has ended, or the disk is full
                    fresh = file.with_suffix(".new")
                    fresh.write_text(json.dumps(now))
                    os.replace(fresh, file)
            time.sleep(_EVERY_SECONDS)


def told(file: Path | None) -> Now:
    """What the worker said last; nothing where it hasn't said anything yet."""
    if file is not None:
        with suppress(OSError, ValueError, TypeError):
            words, share = json.loads(file.read_text())
            return Now(str(words), float(share))
    return Now()

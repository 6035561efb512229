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
        # One attribute, since a thread reads it meanwhile.
        self._now: tuple[Now, Callable[[], int] | None, int | None] = Now("starting"), None, None

    def now(self, words: str, step: Callable[[], int] | None = None, of: int | None = None, share: float = 0.0) -> None:
        """Say what begins.

        Args:
            words: in a few words, such as "measuring".
            step: returns the optimiser steps that are done.
            of: their number, or upper limit, if it is known.
            share: the share of the interval's steps that is done, where ``step`` doesn't say it.
        """
        self._now = Now(words, share), step, of

    @property
    def at_present(self) -> Now:
        now, step, of = self._now
        if step is None:
            return now
        done = step()
        return Now(f"step {done:,}") if of is None else Now(f"step {done:,} of {of:,}", min(1.0, done / max(1, of)))

    def tell(self, file: Path) -> None:
        """Keep a file up to date as long as this process lives; the target of a thread."""
        before = None
        while True:
            # The command has ended, the disk is full, or a plug-in's strategy can't say its steps.
            with suppress(Exception):
                if (now := self.at_present) != before:
                    before = now
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

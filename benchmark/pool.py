"""The pool of processes that cells run in: forked from a server that has already imported torch and Avalanche."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pebble import ProcessPool

PRELOADED = ["lifegen.benchmark._preload", "lifegen.methods.models.method", "lifegen.scenarios.data_sets"]
"""Besides libraries, what methods and scenarios are made of; none of themselves, since a plug-in's import may do
anything."""


def use_one_thread() -> None:
    """Let this process and those that it starts do arithmetic in one thread, if torch isn't imported yet: two threads
    collapse where cores are shared; two processes of one thread don't."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


@contextmanager
def pool(workers: int) -> Iterator[Any]:
    """A pool of processes with one task each. The first of a command takes seconds, those after it none."""
    use_one_thread()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    processes = ProcessPool(max_workers=workers, max_tasks=1, context=context)
    try:
        yield processes
        processes.close()
    except BaseException:
        processes.stop()
        raise
    finally:
        processes.join()

"""The pool of processes that cells run in: forked from a server that has already imported torch and Avalanche."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pebble import ProcessPool

PRELOADED = ["lifegen.benchmark.running.preload", "lifegen.methods.models.method", "lifegen.scenarios.data_sets"]
"""Besides libraries, what methods and scenarios are made of; none of themselves, since a plug-in's import may do
anything."""

_NUMBERS = re.compile(r"\s*0*[1-9]\d*\s*(,\s*0*[1-9]\d*\s*)*")
"""Of threads: for anything else, such as an empty text, libraries take all cores."""
_LONGEST = 70
"""Bytes of the temporary folder's path: the address of a socket that is made in it may have 107."""


def use_one_thread() -> None:
    """Let this process and those that it starts do arithmetic in one thread, if torch isn't imported yet: two threads
    collapse where cores are shared; two processes of one thread don't."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if not _NUMBERS.fullmatch(os.environ.get(variable, "")):
            os.environ[variable] = "1"


@contextmanager
def pool(workers: int) -> Iterator[Any]:
    """A pool of processes with one task each. The first of a command takes seconds, those after it none."""
    use_one_thread()
    _choose_folder_of_sockets()
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


def _choose_folder_of_sockets() -> None:
    """Let multiprocessing have its sockets in /tmp where the path of the temporary folder, such as that of a job on a
    cluster, is too long for one."""
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST and Path("/tmp").is_dir():
        kept, tempfile.tempdir = tempfile.tempdir, "/tmp"
        try:
            multiprocessing.util.get_temp_dir()  # it keeps what it finds the first time
        finally:
            tempfile.tempdir = kept

"""The pool of processes for cells, forked from a server that has already imported torch and Avalanche."""

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
"""Libraries, and the common parts of methods and scenarios; no method itself, since an extension's import may do
anything."""

_NUMBERS = re.compile(r"\s*0*[1-9]\d*\s*(,\s*0*[1-9]\d*\s*)*")
"""Valid numbers of threads: for anything else, such as an empty text, libraries take all cores."""
_LONGEST = 70
"""Most bytes of the temporary folder's path: the address of a socket in it may have 107."""


def use_one_thread() -> None:
    """Limit arithmetic of this process and its children to one thread, if torch isn't imported yet: threads slow each
    other down on shared cores, and processes of one thread don't."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if not _NUMBERS.fullmatch(os.environ.get(variable, "")):
            os.environ[variable] = "1"


@contextmanager
def pool(workers: int) -> Iterator[Any]:
    """Provide a pool of processes with one task each. A command's first pool takes seconds to start."""
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
    """Put multiprocessing's sockets into /tmp if the temporary folder's path is too long for them."""
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST and Path("/tmp").is_dir():
        kept, tempfile.tempdir = tempfile.tempdir, "/tmp"
        try:
            multiprocessing.util.get_temp_dir()  # it keeps the first folder that it finds
        finally:
            tempfile.tempdir = kept

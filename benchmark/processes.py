"""The pool of processes for cells, forked from a server that has already imported torch and Avalanche."""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import multiprocessing.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from pebble import ProcessExpired, ProcessPool

PRELOADED = ["lifegen.benchmark.running.preload", "lifegen.methods.models.method", "lifegen.scenarios.data_sets"]
"""Libraries, and the common parts of methods and scenarios; no method itself, since an extension's import may do
anything."""

_NUMBERS = re.compile(r"\s*0*[1-9]\d*\s*(,\s*0*[1-9]\d*\s*)*")
"""Valid numbers of threads: for anything else, such as an empty text, libraries take all cores."""
_LONGEST = 70
"""Most bytes of the temporary folder's path: the address of a socket in it may have 107."""
WITHOUT_ANSWER = "ended Python with exit code 0 before its work was done"
_POLL_SECONDS = 0.3
_LAST_WORDS_SECONDS = 5.0
"""Seconds in which the answer of a process that has ended arrives."""


def use_one_thread() -> None:
    """Limit arithmetic of this process and its children to one thread, if torch isn't imported yet: threads slow each
    other down on shared cores, and processes of one thread don't."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if not _NUMBERS.fullmatch(os.environ.get(variable, "")):
            os.environ[variable] = "1"


@dataclass(frozen=True)
class Processes:
    """A pool of processes with one task each.

    Pebble doesn't notice that a process has ended without an answer if its exit code is 0. So each process locks a file
    of its own, and the system lets go of the lock when the process ends, in whatever way.
    """

    pool: ProcessPool
    folder: Path
    """Folder of the files."""
    _files: dict[Future[Any], Path] = field(default_factory=dict)

    def schedule(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Future[Any]:
        """Call a function in a process of its own, which may take so many seconds."""
        file = self.folder / str(len(self._files))
        file.touch()
        future: Future[Any] = self.pool.schedule(_locked, args=[file, function, *arguments], timeout=timeout)
        self._files[future] = file
        return future

    def has_ended(self, future: Future[Any]) -> bool:
        """Whether a function's process has ended without an answer; its future is then cancelled."""
        if not future.done() and _is_free(self._files[future]):
            wait([future], timeout=_LAST_WORDS_SECONDS)
            return not future.done() and future.cancel()
        return False

    def result(self, future: Future[Any], patience: float = math.inf) -> Any:
        """Wait for a function's result, so many seconds at most; raises its error.

        Raises:
            ProcessExpired: its process has ended without an answer.
            TimeoutError: there is none in this time; the process may not have started.
        """
        last = monotonic() + patience
        while not future.done() and monotonic() < last:
            if self.has_ended(future):
                raise ProcessExpired(f"it {WITHOUT_ANSWER}", code=0)
            wait([future], timeout=_POLL_SECONDS)
        return future.result(0)


def _locked(file: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with a file locked until this process ends. A process that it forks doesn't hold this lock."""
    with suppress(OSError):  # a file system without locks: an end with exit code 0 then isn't noticed
        descriptor = os.open(file, os.O_RDWR)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, b"begun")
    return function(*arguments)


def _is_free(file: Path) -> bool:
    """Whether the process that has locked a file has ended."""
    try:
        with file.open("r+b") as opened:
            if not opened.read():  # it hasn't begun
                return False
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def pool(workers: int) -> Iterator[Processes]:
    """Provide a pool of processes with one task each. A command's first pool takes seconds to start."""
    use_one_thread()
    _choose_folder_of_sockets()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory(prefix="lifegen-") as folder:
        processes = ProcessPool(max_workers=workers, max_tasks=1, context=context)
        try:
            yield Processes(processes, Path(folder))
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

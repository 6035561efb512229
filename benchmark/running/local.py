"""Run cells in processes: one process a cell, forked from a server that has already imported torch and Avalanche.

Neither this process nor the server touches CUDA; each worker finds its device itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, TimeoutError, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic
from typing import Any

from pebble import ProcessExpired

from ..cells.cell import Cell
from ..errors import InputError
from ..folders import data_folder
from ..processes import WITHOUT_ANSWER, pool
from ..store.lock import CellUnreadableError, StoreGoneError
from ..store.record import Status
from ..store.staleness import installed_versions, outdated
from ..store.store import Store
from .devices import cores, may_have_gpu, see
from .doing import Doing, Now, told
from .executor import Event, Execution, Show, unseen
from .sharing import Sharing, shared

_POLL_SECONDS = 0.3


def default_data_root() -> Path:
    """Folder of the data sets if none is given; see :func:`.folders.data_folder`."""
    return data_folder()


def default_jobs(device: str) -> int:
    """Cells at a time: one a core; at most four where they may share a GPU."""
    return min(cores(), 4) if device != "cpu" and may_have_gpu() else cores()


def missing(cells: Iterable[Cell], store: Store, retry_failed: bool = False) -> tuple[list[Cell], list[Cell]]:
    """(cells to run, cells left alone): those that have failed, which run only with ``retry_failed``, and those that
    can't be read now. A finished cell runs anew if one of its metrics has a newer version now.

    Raises:
        InputError: a cell was made by a newer lifegen.
    """
    todo, left = [], []
    installed = installed_versions()
    there = {stored.name: stored for stored in store.cells()}
    for cell in cells:
        if (stored := there.get(cell.name)) is None:
            todo.append(cell)
            continue
        if stored.status == Status.INCOMPATIBLE:
            raise InputError(f"{stored.folder}: {stored.reason}; upgrade lifegen, or choose another --out")
        if stored.status == Status.UNREADABLE or (stored.status == Status.FAILED and not retry_failed):
            left.append(cell)
        elif stored.status != Status.DONE or (stored.facts and outdated(stored.facts, installed)):
            todo.append(cell)
    return todo, left


def prepare(cells: Iterable[Cell], data_root: Path, device: str = "auto", gpus: Sequence[str] = ()) -> None:
    """Find the devices, fetch and verify the data, and make each stream and method once, in a worker, before training.

    Raises:
        InputError: something that they need is missing, or one of them ends Python.
    """
    cells = list(cells)
    streams = list({(cell.scenario.label, cell.seed): (cell.scenario, cell.seeds) for cell in cells}.values())
    methods = list({cell.method.label: cell.method for cell in cells}.values())
    precisions = sorted({cell.precision for cell in cells})
    metrics = list({(metric.name, metric.file): metric for cell in cells for metric in cell.metrics}.values())
    with pool(1) as processes:
        for gpu in dict.fromkeys(gpus):
            try:
                processes.result(processes.schedule(_find_device, gpu, "cuda"))
            except InputError:
                raise InputError(
                    f"--gpus: CUDA shows no device {gpu} here; `lifegen doctor` lists the devices"
                ) from None
        first = gpus[0] if gpus else None
        try:
            processes.result(
                processes.schedule(_prepare, first, streams, methods, precisions, metrics, data_root, device)
            )
        except ProcessExpired as expired:
            end = _death(expired.exitcode) if expired.exitcode else WITHOUT_ANSWER
            made = ", ".join([*(scenario.label for scenario, _ in streams), *(method.label for method in methods)])
            raise InputError(f"the process that makes each scenario and method once {end}: one of {made}") from None


@dataclass(frozen=True)
class Local:
    """The executor that runs cells in processes of this machine."""

    jobs: int = 1
    """Cells at a time, each in a process of one thread."""
    gpus: Sequence[str] = ()
    """CUDA_VISIBLE_DEVICES of each GPU; see :func:`.devices.chosen_gpus`. With any, ``jobs`` has no effect."""
    per_gpu: int | None = None
    """Cells at a time on each GPU; None: as many as it can take, see :func:`.sharing.shared`."""
    service: bool | None = None
    """Whether cells share a GPU under CUDA's multi-process service; None: where that can be used."""
    say: Callable[[str], None] = print
    """Gets lines for the user."""

    def prepare(self, cells: Iterable[Cell], execution: Execution) -> None:
        prepare(cells, execution.data_root, execution.device, self.gpus)

    def run(self, cells: Iterable[Cell], store: Store, execution: Execution, show: Show = unseen) -> list[Event]:
        with shared(self.gpus, self.per_gpu, self.service, execution.time_limit, self.say) as sharing:
            return run(cells, store, execution, jobs=self.jobs, sharing=sharing, show=show)


def run(
    cells: Iterable[Cell],
    store: Store,
    execution: Execution,
    *,
    jobs: int = 1,
    sharing: Sharing = Sharing(),  # noqa: B008  (it can't be changed)
    show: Show = unseen,
) -> list[Event]:
    """Run cells. A cell that another process has finished in the meantime isn't run again.

    Args:
        cells: the cells to run.
        store: the store to write to.
        execution: how to run them.
        jobs: cells at a time, if ``sharing`` has no places.
        sharing: the GPUs to run them on.
        show: gets each event.

    Returns:
        the last event of each cell that has come to an end: "done", "failed" or "busy".
    """
    cells = list(cells)
    if not cells:
        return []
    waiting = deque(cells)
    free: list[str | None] = list(sharing.places) or [None] * min(jobs, len(cells))
    running: dict[Future[str], tuple[Cell, str | None, float]] = {}
    last: list[Event] = []
    with _scratch() as scratch, suppress(_FailedFastError), pool(min(len(free), len(cells))) as processes:
        while waiting or running:
            while waiting and free:
                cell, slot = waiting.popleft(), free.pop(0)
                arguments = slot, sharing.environment, cell, store.path, execution.of(cell), scratch
                future = processes.schedule(_run_cell, *arguments, timeout=execution.time_limit)
                running[future] = cell, slot, monotonic()
                show(Event(cell, "started"))
            done, others = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            ended = {future for future in others if processes.has_ended(future)}
            for future in others - ended:
                cell = running[future][0]
                show(_event(cell, "interval", store, execution, now=told(_words_of(cell, scratch))))
            for future in done | ended:
                cell, slot, began = running.pop(future)
                free.append(slot)
                last.append(_outcome(cell, future, store, execution, monotonic() - began))
                show(last[-1])
            if execution.fail_fast and any(event.kind == "failed" for event in last):
                raise _FailedFastError
    return last


@contextmanager
def _scratch() -> Iterator[Path | None]:
    """A folder in which workers say what they do; None where there is no room for one."""
    try:
        folder = TemporaryDirectory(prefix="lifegen-", ignore_cleanup_errors=True)
    except OSError:
        yield None
        return
    with folder:
        yield Path(folder.name)


def _words_of(cell: Cell, scratch: Path | None) -> Path | None:
    return scratch and scratch / f"{cell.name}.json"


class _FailedFastError(Exception):
    """A cell has failed, and the first failure stops everything."""


def _outcome(cell: Cell, future: Future[str], store: Store, execution: Execution, seconds: float) -> Event:
    kind: Any = "failed"
    error = ""
    try:
        kind = future.result()
    except TimeoutError as raised:  # also raised by network file systems
        limit = execution.time_limit
        stopped = limit is not None and seconds >= limit
        error = f"stopped at the time limit of {limit:g} s" if stopped else f"TimeoutError: {raised}"
    except CancelledError:
        error = f"the worker process {WITHOUT_ANSWER}"
    except ProcessExpired as expired:
        error = f"the worker process {_death(expired.exitcode)}"
    except (StoreGoneError, CellUnreadableError) as left:  # nothing of the cell is changed
        return _event(cell, "failed", store, execution, seconds, str(left))
    except Exception as raised:  # the worker couldn't record it itself, perhaps because the disk is full
        error = f"{type(raised).__name__}: {raised}"
    if error:
        try:
            store.fail(cell.name, cell.record(), error)
        except OSError as unwritten:
            error += f" (which couldn't be recorded: {unwritten})"
    stored = store.cell(cell.name)
    if kind == "failed" and stored.status == Status.DONE:  # its process died, or ran out of time, after its last word
        kind, error = "done", ""
    elif kind == "failed" and not error:
        error = str(stored.record.get("error", "reason unknown"))
    return _event(cell, kind, store, execution, seconds, error)


def _event(
    cell: Cell,
    kind: Any,
    store: Store,
    execution: Execution,
    seconds: float = 0.0,
    error: str = "",
    now: Now = Now(),  # noqa: B008  (it can't be changed)
) -> Event:
    """An event of a cell, with its progress."""
    stored = store.cell(cell.name)
    if kind == "interval" and stored.status == Status.DONE:  # an older result, about to be set aside
        return Event(cell, kind)
    of = len(stored.record.get("visits", ()))
    notes = []
    if why := stored.record.get("begun_anew"):
        notes.append(f"begun anew: {why}")
    if execution.keeps_model_of(cell) and (why := stored.record.get("no_model")):
        notes.append(f"no model is kept: {why}")
    value = stored.last_negative_elbo()
    return Event(cell, kind, stored.intervals_done(), of, seconds, error, value, now.words, now.share, tuple(notes))


def _death(code: int) -> str:
    if code >= 0:
        return f"died with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    hint = "; most likely the machine's memory was used up" if name == "SIGKILL" else ""
    return f"was killed by signal {-code} ({name}{hint})"


# Functions that workers run. They import torch themselves, so that this process doesn't.


def _find_device(gpu: str, device: str) -> None:
    see(gpu)
    from .build import find_device

    find_device(device)


def _prepare(gpu: str | None, *arguments: Any) -> None:
    see(gpu)
    from . import worker

    worker.prepare(*arguments)


def _run_cell(
    gpu: str | None,
    environment: Mapping[str, str],
    cell: Cell,
    store: Path,
    execution: Execution,
    scratch: Path | None,
) -> str:
    Thread(target=_end_with_the_command, daemon=True).start()
    doing = Doing()
    if words := _words_of(cell, scratch):
        Thread(target=doing.tell, args=(words,), daemon=True).start()
    see(gpu, environment)
    from . import worker

    keep_model = execution.keeps_model_of(cell)
    return worker.run_cell(cell, store, execution.data_root, execution.device, keep_model, execution.states, doing)


def _end_with_the_command() -> None:
    """End this worker when its command is killed; otherwise it would hold its cell against the next command."""
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)

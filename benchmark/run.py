"""Run cells in processes: one process a cell, forked from a server that has already imported torch and Avalanche.

Neither this process nor the server touches CUDA; each worker finds its device itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Literal

import platformdirs
from pebble import ProcessExpired

from .cell import Cell
from .errors import InputError
from .pool import pool
from .record import Status
from .staleness import installed_versions, outdated
from .store import Store

_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Event:
    """Something to show while cells run."""

    cell: Cell
    kind: Literal["started", "interval", "done", "failed", "busy"]
    intervals: int = 0
    """Intervals measured so far."""
    of: int = 0
    """Intervals in all; 0 until it is known."""
    seconds: float = 0.0
    """Wall time since the cell started."""
    error: str = ""
    negative_elbo: float | None = None
    """On the full test after the last of these intervals, nats per image, where it is known."""


def default_data_root() -> Path:
    """Where data sets are: the folder in ``LIFEGEN_DATA``, else one in the user's cache."""
    return Path(os.environ.get("LIFEGEN_DATA") or platformdirs.user_cache_path("lifegen") / "data").expanduser()


def default_jobs(device: str) -> int:
    """Cells at a time: one a core; at most four where they may share a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    may_have_gpu = device != "cpu" and Path("/dev/nvidia0").exists()  # asking torch would initialise CUDA here
    return min(cores, 4) if may_have_gpu else cores


def missing(cells: Iterable[Cell], store: Store, retry_failed: bool = False) -> tuple[list[Cell], list[Cell]]:
    """The cells to run, and the failed ones that are left alone unless they are to be tried again. A finished cell runs
    anew if one of its metrics has a newer version now.

    Raises:
        InputError: a newer lifegen has made one of them.
    """
    todo, failed = [], []
    installed = installed_versions()
    for cell in cells:
        stored = store.cell(cell.name)
        if stored.status == "incompatible":
            raise InputError(f"{stored.folder}: {stored.reason}; upgrade lifegen, or choose another --out")
        if stored.status == "failed" and not retry_failed:
            failed.append(cell)
        elif stored.status != "done" or (stored.facts and outdated(stored.facts, installed)):
            todo.append(cell)
    return todo, failed


def slots(gpus: str, per_gpu: int = 1) -> list[str]:
    """The CUDA_VISIBLE_DEVICES of each of the cells that run at a time.

    Args:
        gpus: numbers as ``0,2``, counted as CUDA counts here, or UUIDs.
        per_gpu: cells that share one.

    Raises:
        InputError: there is no such device.
    """
    names = [name.strip() for name in gpus.split(",")]
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [name.strip() for name in setting.split(",") if name.strip()] if setting is not None else None
    found = []
    for name in names:
        if not name.isdecimal() and not name.startswith(("GPU-", "MIG-")):
            raise InputError(f"--gpus {gpus!r}: {name!r} isn't a number or UUID; such as --gpus 0,1")
        if name.isdecimal() and visible is not None:
            if int(name) >= len(visible):
                raise InputError(
                    f"--gpus {gpus!r}: CUDA_VISIBLE_DEVICES={setting!r} leaves {len(visible)} devices here"
                )
            name = visible[int(name)]
        found.append(name)
    if len(set(found)) < len(found):
        raise InputError(f"--gpus {gpus!r} names a device twice; --slots-per-gpu says how many cells share one")
    return found * per_gpu


def resolve_precision(asked: str, device: str) -> str:
    """The precision that a name stands for on a device, found in a worker.

    Raises:
        InputError: products on the device can't have it.
    """
    with pool(1) as processes:
        return str(processes.schedule(_resolve, args=[asked, device]).result())


def prepare(cells: Iterable[Cell], data_root: Path, device: str = "auto", gpus: Sequence[str] = ()) -> None:
    """Find the devices, fetch and verify the data, and make each stream and method once, in a worker, before training.

    Raises:
        InputError: something can't be had.
    """
    cells = list(cells)
    streams = list({(cell.scenario.label, cell.seed): (cell.scenario, cell.seeds) for cell in cells}.values())
    methods = list({cell.method.label: cell.method for cell in cells}.values())
    precisions = sorted({cell.precision for cell in cells})
    metrics = list({(one.name, one.file): one for cell in cells for one in cell.metrics}.values())
    with pool(1) as processes:
        for gpu in dict.fromkeys(gpus):
            try:
                processes.schedule(_find_device, args=[gpu, "cuda"]).result()
            except InputError:
                raise InputError(
                    f"--gpus: CUDA shows no device {gpu} here; `lifegen doctor` says what it shows"
                ) from None
        processes.schedule(
            _prepare, args=[gpus[0] if gpus else None, streams, methods, precisions, metrics, data_root, device]
        ).result()


def run(
    cells: Iterable[Cell],
    store: Store,
    *,
    data_root: Path,
    jobs: int,
    device: str = "auto",
    gpus: Sequence[str] = (),
    time_limit: float | None = None,
    keep_models: bool = False,
    states: str = "resume",
    fail_fast: bool = False,
    show: Callable[[Event], None] = lambda event: None,
) -> list[Event]:
    """Run cells. One that another process has finished in the meantime isn't run again.

    Args:
        cells: what to run.
        store: where to write.
        data_root: where data sets are.
        jobs: cells at a time, each in a process of one thread.
        device: "auto", "cpu", "cuda" or "cuda:N"; each worker resolves "auto" itself.
        gpus: CUDA_VISIBLE_DEVICES of each cell that runs at a time, in place of ``jobs``; see :func:`slots`.
        time_limit: seconds after which a cell is stopped and counts as failed.
        keep_models: whether a cell's folder gets its final model.
        states: which states of interval boundaries are kept in the end, as ``worker.run_cell`` says.
        fail_fast: whether the first failure stops all others; they can be gone on with.
        show: is told what happens.

    Returns:
        the last event of each cell that has come to an end: "done", "failed" or "busy".
    """
    cells = list(cells)
    if not cells:
        return []
    waiting = deque(cells)
    free: list[str | None] = list(gpus) or [None] * min(jobs, len(cells))
    running: dict[Future[str], tuple[Cell, str | None, float]] = {}
    last: list[Event] = []
    with suppress(_FailedFastError), pool(min(len(free), len(cells))) as processes:
        while waiting or running:
            while waiting and free:
                cell, slot = waiting.popleft(), free.pop(0)
                arguments = [slot, cell, store.path, data_root, device, keep_models, states]
                running[processes.schedule(_run_cell, args=arguments, timeout=time_limit)] = cell, slot, monotonic()
                show(Event(cell, "started"))
            done, others = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in others:
                show(_progress(running[future][0], store))
            for future in done:
                cell, slot, began = running.pop(future)
                free.append(slot)
                last.append(_outcome(cell, future, store, monotonic() - began, time_limit))
                show(last[-1])
            if fail_fast and any(event.kind == "failed" for event in last):
                raise _FailedFastError
    return last


class _FailedFastError(Exception):
    """The first failure is to stop everything."""


def _progress(cell: Cell, store: Store) -> Event:
    return _event(cell, "interval", store)


def _outcome(cell: Cell, future: Future[str], store: Store, seconds: float, time_limit: float | None) -> Event:
    kind: Any = "failed"
    error = ""
    try:
        kind = future.result()
    except TimeoutError as raised:  # a network file system's is of this kind, too
        stopped = time_limit is not None and seconds >= time_limit
        error = f"stopped at the time limit of {time_limit:g} s" if stopped else f"TimeoutError: {raised}"
    except ProcessExpired as expired:
        error = f"the worker process {_death(expired.exitcode)}"
    except Exception as raised:  # before the worker could record it itself, such as a full disk
        error = f"{type(raised).__name__}: {raised}"
    if error:
        try:
            store.fail(cell.name, cell.record(), error)
        except OSError as unwritten:
            error += f" (which can't be written down: {unwritten})"
    if kind == "failed" and not error:
        error = str(store.cell(cell.name).record.get("error", "reason unknown"))
    return _event(cell, kind, store, seconds, error)


def _event(cell: Cell, kind: Any, store: Store, seconds: float = 0.0, error: str = "") -> Event:
    """What has happened to a cell, with how far it is."""
    stored = store.cell(cell.name)
    if kind == "interval" and stored.status == Status.DONE:  # an older result, about to be set aside
        return Event(cell, kind)
    of = len(stored.record.get("visits", ()))
    return Event(cell, kind, stored.intervals_done(), of, seconds, error, stored.last_negative_elbo())


def _death(code: int) -> str:
    if code >= 0:
        return f"died with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    hint = "; most likely the machine's memory was used up" if name == "SIGKILL" else ""
    return f"was killed by signal {-code} ({name}{hint})"


# What workers run: importing it imports no torch here.


def _resolve(asked: str, device: str) -> str:
    from . import precision, worker

    return precision.resolve(asked, worker.find_device(device))


def _find_device(gpu: str, device: str) -> None:
    _see(gpu)
    from . import worker

    worker.find_device(device)


def _prepare(gpu: str | None, *arguments: Any) -> None:
    _see(gpu)
    from . import worker

    worker.prepare(*arguments)


def _run_cell(gpu: str | None, *arguments: Any) -> str:
    Thread(target=_end_with_the_command, daemon=True).start()
    _see(gpu)
    from . import worker

    return worker.run_cell(*arguments)


def _see(gpu: str | None) -> None:
    """Choose the only GPU that CUDA will show to this process, which hasn't touched CUDA yet."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def _end_with_the_command() -> None:
    """A killed command takes its workers along: one that went on would hold its cell against the next command."""
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)

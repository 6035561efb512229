"""Run cells in processes: one process a cell, forked from a server that has already imported torch and Avalanche.

Neither this process nor the server touches CUDA; each worker finds its device itself.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Literal

import platformdirs
from pebble import ProcessExpired, ProcessPool

from .cell import Cell
from .store import Store

_POLL_SECONDS = 0.3
_PRELOADED = ["lifegen.benchmark._preload", "lifegen.methods.models.method", "lifegen.scenarios.parts"]
"""Besides libraries, what methods and scenarios are made of; none of themselves, since a plug-in's import may do
anything."""


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


def default_data_root() -> Path:
    """Where data sets are: the folder in ``LIFEGEN_DATA``, else one in the user's cache."""
    return Path(os.environ.get("LIFEGEN_DATA") or platformdirs.user_cache_path("lifegen") / "data").expanduser()


def default_jobs(device: str) -> int:
    """Cells at a time: one a core; at most four where they may share a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    may_have_gpu = device != "cpu" and Path("/dev/nvidia0").exists()  # asking torch would initialise CUDA here
    return min(cores, 4) if may_have_gpu else cores


def missing(cells: Iterable[Cell], store: Store) -> list[Cell]:
    """The cells that aren't done in the store."""
    return [cell for cell in cells if store.cell(cell.name).status != "done"]


def resolve_precision(asked: str, device: str) -> str:
    """The precision that a name stands for on a device, found in a worker.

    Raises:
        InputError: products on the device can't have it.
    """
    with _pool(1) as pool:
        return str(pool.schedule(_resolve, args=[asked, device]).result())


def prepare(cells: Iterable[Cell], data_root: Path, device: str = "auto") -> None:
    """Find the device, fetch and verify the data, and make each stream and method once, in a worker, before training.

    Raises:
        InputError: something can't be had.
    """
    cells = list(cells)
    streams = list({(cell.scenario.label, cell.seed): (cell.scenario, cell.seeds) for cell in cells}.values())
    methods = list({cell.method.label: cell.method for cell in cells}.values())
    precisions = sorted({cell.precision for cell in cells})
    with _pool(1) as pool:
        pool.schedule(_prepare, args=[streams, methods, precisions, data_root, device]).result()


def run(
    cells: Iterable[Cell],
    store: Store,
    *,
    data_root: Path,
    jobs: int,
    device: str = "auto",
    time_limit: float | None = None,
    keep_models: bool = False,
    show: Callable[[Event], None] = lambda event: None,
) -> list[Event]:
    """Run cells. One that another process has finished in the meantime isn't run again.

    Args:
        cells: what to run.
        store: where to write.
        data_root: where data sets are.
        jobs: cells at a time, each in a process of one thread.
        device: "auto", "cpu", "cuda" or "cuda:N"; each worker resolves "auto" itself.
        time_limit: seconds after which a cell is stopped and counts as failed.
        keep_models: whether a cell's folder gets its final model.
        show: is told what happens.

    Returns:
        the last event of each cell: "done", "failed" or "busy".
    """
    cells = list(cells)
    if not cells:
        return []
    started: dict[str, float] = {}
    last: list[Event] = []
    with _pool(min(jobs, len(cells))) as pool:
        pending: dict[Future[str], Cell] = {
            pool.schedule(_run_cell, args=[cell, store.path, data_root, device, keep_models], timeout=time_limit): cell
            for cell in cells
        }
        while pending:
            done, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in [future for future in pending if future.running() and future not in done]:
                cell = pending[future]
                if cell.name not in started:
                    started[cell.name] = monotonic()
                    show(Event(cell, "started"))
                show(_progress(cell, store))
            for future in done:
                cell = pending.pop(future)
                seconds = monotonic() - started.get(cell.name, monotonic())
                event = _outcome(cell, future, store, seconds, time_limit)
                last.append(event)
                show(event)
    return last


def _progress(cell: Cell, store: Store) -> Event:
    stored = store.cell(cell.name)
    return Event(cell, "interval", stored.intervals_done(), len(stored.record.get("visits", ())))


def _outcome(cell: Cell, future: Future[str], store: Store, seconds: float, time_limit: float | None) -> Event:
    kind: Any = "failed"
    try:
        kind = future.result()
    except TimeoutError:
        store.fail(cell.name, cell.record(), f"stopped at the time limit of {time_limit:g} s")
    except ProcessExpired as expired:
        store.fail(cell.name, cell.record(), f"the worker process died with exit code {expired.exitcode}")
    except Exception as error:  # before the worker could record it itself, such as a full disk
        store.fail(cell.name, cell.record(), f"{type(error).__name__}: {error}")
    stored = store.cell(cell.name)
    reason = str(stored.record.get("error", "")) if kind == "failed" else ""
    return Event(cell, kind, stored.intervals_done(), len(stored.record.get("visits", ())), seconds, reason)


@contextmanager
def _pool(workers: int) -> Iterator[Any]:
    # Two threads collapse where cores are shared; two processes of one thread don't. Set before the server imports.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    pool = ProcessPool(max_workers=workers, max_tasks=1, context=context)
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


# What workers run: importing it imports no torch here.


def _resolve(asked: str, device: str) -> str:
    from . import precision, worker

    return precision.resolve(asked, worker.find_device(device))


def _prepare(*arguments: Any) -> None:
    from . import worker

    worker.prepare(*arguments)


def _run_cell(*arguments: Any) -> str:
    from . import worker

    Thread(target=_end_with_the_command, daemon=True).start()
    return worker.run_cell(*arguments)


def _end_with_the_command() -> None:
    """A killed command takes its workers along: one that went on would hold its cell against the next command."""
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)

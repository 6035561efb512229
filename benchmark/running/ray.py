"""Run cells as Ray tasks, on this machine or on a cluster. Ray is imported only when it is used.

A task runs its cell as ``run`` does: in a process of its own, forked from a server that the Ray worker keeps for the
next cell. Only this process restarts a cell whose worker is lost, and it hears one task per cell, so that nothing from
an abandoned worker reaches the store through Ray.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from time import monotonic, sleep
from typing import Any, Literal

from ..cells.cell import Cell
from ..errors import InputError
from ..files import write_atomically
from ..store.hold import Hold
from ..store.lock import LEASE_SECONDS, CellBusyError, CellDoneError, CellUnreadableError, StoreGoneError
from ..store.store import Store
from .executor import Event, Execution, Show, unseen
from .local import default_jobs, prepare
from .ray_files import Mark, News, Order, changes_in, files_in, installed_versions, is_kept, run_here

Share = Literal["auto", "folder", "ray"]
_POLL_SECONDS = 0.3
_MOST_TASKS = 500
"""Tasks given to Ray at a time: enough for it to plan ahead, or to ask for nodes."""
_MOST_WITH_FILES = 50
"""Tasks given to Ray at a time if each may carry a cell's files."""
_MOST_LOSSES = 3
"""Workers that a cell may lose without finishing an interval in between."""
_BUSY_SECONDS = 10.0
"""Seconds between two attempts at a busy cell."""
_BUSY_FOR = 3 * LEASE_SECONDS
"""Seconds for which a busy cell is attempted, since a lost worker's lock may not have run out yet."""
_NODES_SECONDS = 2.0
"""Seconds between two looks at the nodes while no cell runs."""


@dataclass(frozen=True)
class Request:
    """The resources that Ray reserves for one cell."""

    cpus: float = 1.0
    gpus: float = 0.0
    """May be a share: at 0.25 four cells share a GPU."""
    memory: float | None = None
    """Bytes."""

    def __str__(self) -> str:
        memory = f" and {self.memory / 2**30:.3g} GiB of memory" if self.memory else ""
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"

    def fits(self, resources: Mapping[str, float]) -> bool:
        """Whether a node with these resources could ever hold the cell."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0.0}
        return all(resources.get(name, 0.0) >= amount for name, amount in wanted.items())


def _tell(text: str) -> None:
    print(f"lifegen: {text}", file=sys.stderr)


@dataclass(frozen=True)
class OnRay:
    """The executor that runs cells as Ray tasks."""

    address: str | None = None
    """The cluster's address, "auto" or "host:port"; by default the one in ``RAY_ADDRESS``, else Ray is started on this
    machine for this call. A connection that this process already has to Ray is used instead."""
    request: Request = field(default_factory=Request)
    """The resources of each cell."""
    share: Share = "auto"
    """Whether nodes write into the store's folder or send files through Ray; "auto" finds out on each node."""

    def prepare(self, cells: Iterable[Cell], execution: Execution) -> None:
        # The machine where the command is typed may have no GPU.
        prepare([replace(cell, precision="float32") for cell in cells], execution.data_root, "cpu")

    def run(self, cells: Iterable[Cell], store: Store, execution: Execution, show: Show = unseen) -> list[Event]:
        return run_on_ray(
            cells, store, execution, address=self.address, request=self.request, share=self.share, show=show
        )


def run_on_ray(
    cells: Iterable[Cell],
    store: Store,
    execution: Execution,
    *,
    address: str | None = None,
    request: Request | None = None,
    share: Share = "auto",
    show: Show = unseen,
    tell: Callable[[str], None] = _tell,
    patience: float = 60.0,
) -> list[Event]:
    """Run cells as Ray tasks. A cell whose worker or node is lost continues elsewhere, from its state in the store.

    Args:
        cells: the cells to run.
        store: the store to write to.
        execution: how to run them. A node that has no such data root fetches the data; on device "auto" a cell that
            requests no GPU uses none.
        address: as in :class:`OnRay`.
        request: as in :class:`OnRay`.
        share: as in :class:`OnRay`.
        show: gets each event of a cell.
        tell: gets messages about workers, in words.
        patience: seconds to wait for a node that could hold the request.

    Returns:
        the last event of each cell that has come to an end: "done", "failed" or "busy".

    Raises:
        InputError: Ray isn't installed or can't be reached, no node can hold the request, or a node has another
            lifegen.
    """
    cells, request = list(cells), request or Request()
    if not cells:
        return []
    _check(execution.device, request)
    store = Store(store.path.resolve())
    with ExitStack() as stack:
        stack.enter_context(_connection(address))
        token = store.path / f".ray-{secrets.token_hex(8)}"
        if share == "auto":
            token.touch()
            stack.callback(token.unlink, missing_ok=True)
        order = Order(
            store=store.path,
            token=token if share == "auto" else None,
            share=share,
            streams=list({cell.scenario.label: replace(cell, precision="float32") for cell in cells}.values()),
            versions=installed_versions({name for cell in cells for name in cell.packages}),
            execution=replace(
                execution,
                data_root=execution.data_root.expanduser().absolute(),
                device="cpu" if execution.device == "auto" and not request.gpus else execution.device,
            ),
        )
        return _Driver(store, order, request, patience, show, tell).drive(cells)


def _check(device: str, request: Request) -> None:
    if min(request.cpus, request.gpus, request.memory or 0.0) < 0 or (request.gpus > 1 and request.gpus % 1):
        raise InputError(f"a cell can't have {request}: numbers can't be negative, and above 1 GPUs must be whole")
    if device.startswith("cuda:"):
        raise InputError(f"--device {device}: Ray gives a cell its GPU; use --device cuda")
    if device == "cuda" and not request.gpus:
        raise InputError("--device cuda on Ray needs --gpu-share, a cell's share of a GPU from 0.01 to 1")


def _ray() -> Any:
    import ray

    return ray


@contextmanager
def _connection(address: str | None) -> Iterator[None]:
    """Connect to Ray, and disconnect at the end unless this process was connected before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # report nothing unless the user wants it
    try:
        ray = _ray()
    except ImportError:
        raise InputError("Ray isn't installed: pip install 'lifegen[ray]'") from None
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": default_jobs("cpu"), "include_dashboard": False}
    elif address != "auto":
        _check_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"no Ray at {address}: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Check that an address answers. Ray itself would try for ever, and print that it does."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise InputError(f"{address!r} isn't an address of Ray, such as auto, or host:6379 on a node of the cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray at {address}: {error}") from None


@dataclass(eq=False)
class _Task:
    """A cell and its progress."""

    cell: Cell
    stream: Any = None
    """Ray's stream of :class:`News`."""
    began: float | None = None
    intervals: int = 0
    losses: int = 0
    heard: bool = False
    """Whether its present worker has begun."""
    not_before: float = 0.0
    busy_since: float | None = None
    lock: ExitStack = field(default_factory=ExitStack)
    """Holds the cell in the store where its node can't do so."""
    held: Hold | None = None
    sent: dict[str, Mark] = field(default_factory=dict)
    """The cell's files in the store when it was handed to Ray."""


@dataclass
class _Driver:
    """Starts tasks, hears their news, and restarts lost ones."""

    store: Store
    order: Order
    request: Request
    patience: float
    show: Show
    tell: Callable[[str], None]
    waiting: list[_Task] = field(default_factory=list)
    running: list[_Task] = field(default_factory=list)
    last: list[Event] = field(default_factory=list)
    fitted: float = field(default_factory=monotonic)
    """When there last was a node that could hold a cell."""

    def drive(self, cells: Sequence[Cell]) -> list[Event]:
        ray = _ray()
        resources = {"num_cpus": self.request.cpus, "num_gpus": self.request.gpus, "memory": self.request.memory}
        remote = ray.remote(max_retries=0, num_returns="streaming", **resources)(run_here)
        self.waiting = [_Task(cell) for cell in cells]
        try:
            while self.waiting or self.running:
                now = monotonic()
                most = _MOST_TASKS if self.order.share == "folder" else _MOST_WITH_FILES
                for task in [task for task in self.waiting if task.not_before <= now][: most - len(self.running)]:
                    earlier = {} if self.order.share == "folder" else self._earlier(task)
                    order = replace(self.order, execution=self.order.execution.of(task.cell))
                    task.stream = remote.remote(task.cell, order, earlier)
                    self.waiting.remove(task)
                    self.running.append(task)
                self._hear()
                if self.order.execution.fail_fast and any(event.kind == "failed" for event in self.last):
                    break
                self._check_nodes()
        finally:
            for task in self.running:
                _cancel(task)
                task.lock.close()
        return self.last

    def _earlier(self, task: _Task) -> dict[str, bytes]:
        stored = self.store.cell(task.cell.name)
        task.sent = dict(files_in(stored.folder))
        return changes_in(stored.folder, {}) if stored.status in ("running", "interrupted", "failed") else {}

    def _hear(self) -> None:
        ray = _ray()
        if not self.running:
            sleep(_POLL_SECONDS)
            return
        of = {task.stream: task for task in self.running}
        for stream in ray.wait(list(of), num_returns=len(of), timeout=_POLL_SECONDS)[0]:
            task = of[stream]
            try:
                news = ray.get(next(stream))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, InputError) or "failed to import on the worker" in str(error):
                    raise InputError(f"a node can't run lifegen's cells: {_line(error.cause or error, -1)}") from None
                self._fail(task, _line(error, -1))
            except (ray.exceptions.RayError, StopIteration) as error:
                self._lost(task, _line(error, 0))
            else:
                self._take(task, news)

    def _take(self, task: _Task, news: News) -> None:
        event = news.event
        task.heard, task.began = True, task.began or monotonic()
        if news.names is not None:
            try:
                self._write(task, news, news.names)
            except (CellBusyError, CellDoneError) as other:
                _cancel(task)
                event = replace(event, kind="busy" if isinstance(other, CellBusyError) else "done")
            except (StoreGoneError, CellUnreadableError) as left:  # nothing of the cell is changed
                _cancel(task)
                event = replace(event, kind="failed", error=str(left))
            except OSError as error:
                _cancel(task)
                self._fail(task, f"{type(error).__name__}: {error}")
                return
        if event.kind == "busy":
            task.busy_since = task.busy_since or monotonic()
            if monotonic() - task.busy_since < _BUSY_FOR:
                self._again(task, _BUSY_SECONDS)
                return
        if event.intervals > task.intervals:
            task.intervals, task.losses = event.intervals, 0
        if event.kind in ("started", "interval"):
            self.show(event)
        else:
            self._end(task, event)

    def _end(self, task: _Task, event: Event) -> None:
        self.running.remove(task)
        task.lock.close()
        self.last.append(replace(event, seconds=monotonic() - (task.began or monotonic())))
        self.show(self.last[-1])

    def _fail(self, task: _Task, error: str) -> None:
        task.lock.close()  # before the store takes it
        with suppress(OSError):
            self.store.fail(task.cell.name, task.cell.record(), error)
        stored = self.store.cell(task.cell.name)
        of = len(stored.record.get("visits", ()))
        if stored.status == "done":  # its worker was lost after its last word
            self._end(task, Event(task.cell, "done", of, of, negative_elbo=stored.last_negative_elbo()))
        else:
            self._end(task, Event(task.cell, "failed", stored.intervals_done(), of, error=error))

    def _lost(self, task: _Task, reason: str) -> None:
        task.losses += 1
        if task.losses > _MOST_LOSSES:
            self._fail(task, f"{task.losses} workers in a row were lost before they finished an interval: {reason}")
            return
        self.tell(f"{task.cell}: its worker is lost, another one continues ({reason})")
        self._again(task, 0.0)

    def _again(self, task: _Task, delay: float) -> None:
        task.lock.close()
        task.held, task.heard, task.not_before = None, False, monotonic() + delay
        self.running.remove(task)
        self.waiting.append(task)

    def _write(self, task: _Task, news: News, names: Collection[str]) -> None:
        """Make the cell's folder what it is on the task's node.

        Raises:
            CellBusyError: another process has the cell.
            CellDoneError: another process has finished it.
        """
        if task.held is None:
            task.held = task.lock.enter_context(self.store.holding(task.cell.name))
            if files_in(task.held.folder) != task.sent:  # another process has worked on it; don't undo its progress
                raise CellBusyError(task.cell.name)
        folder = task.held.folder
        with task.held.checking():
            for name in reversed(news.files):  # the record last, when all that it mentions is there
                if is_kept(name):
                    write_atomically(folder / name, news.files[name])
            for name in files_in(folder).keys() - set(names):
                (folder / name).unlink()
        if news.event.kind == "done":
            task.held.commit()

    def _check_nodes(self) -> None:
        """Wait for a node that could hold a cell, but not for ever.

        Raises:
            InputError: there has been none for too long.
        """
        ray = _ray()
        now = monotonic()
        if any(task.heard for task in self.running):
            self.fitted = now
        elif now - self.fitted > _NODES_SECONDS:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            if any(self.request.fits(resources) for resources in nodes):
                self.fitted = now
            elif now - self.fitted > self.patience:
                there = "; ".join(sorted({str(_offer(resources)) for resources in nodes}))
                raise InputError(
                    f"no node of the Ray cluster can hold a cell of {self.request}; the nodes have: {there}"
                )


def _cancel(task: _Task) -> None:
    _ray().cancel(task.stream, force=True)  # ends Ray's worker, and with it the cell's process


def _offer(resources: Mapping[str, float]) -> Request:
    return Request(resources.get("CPU", 0.0), resources.get("GPU", 0.0), resources.get("memory"))


def _line(error: BaseException, which: int) -> str:
    """One line of what an error says: Ray puts tracebacks above and advice below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[which] if lines else type(error).__name__

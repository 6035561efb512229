"""Run cells as Ray tasks, on this machine or on a cluster. Ray is imported when it is asked for; torch never is here.

A task runs its cell as ``run`` does: in a process of its own, forked from a server that the Ray worker keeps for the
next cell. The task is a generator: what it yields tells this process how far the cell is and, where its node doesn't
see the store's folder, brings the cell's files. Only this process starts a cell again whose worker is lost, and it
hears one task per cell: nothing of a worker that was given up reaches the store through Ray.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from time import monotonic, sleep
from typing import Any, Literal

from filelock import FileLock, SoftFileLease

from .cell import Cell
from .cell_folder import LEASE_SECONDS, CellBusyError, CellDoneError, write_atomically
from .errors import InputError
from .run import Event, default_jobs, prepare, run
from .store import Store

_POLL_SECONDS = 0.3
_MOST_TASKS = 500
"""Tasks that Ray knows of at a time: enough for it to plan ahead, or to ask for nodes."""
_MOST_WITH_FILES = 50
"""Tasks where each may take a cell's files with it."""
_MOST_LOSSES = 3
"""Workers that a cell may lose without finishing an interval in between."""
_BUSY_SECONDS = 10.0
"""Between two attempts at a busy cell."""
_BUSY_FOR = 3 * LEASE_SECONDS
"""For so long a busy cell is attempted: who has it may be a lost worker, whose lock hasn't run out yet."""
_NODES_SECONDS = 2.0
"""Between two looks at the nodes while no cell runs."""


_Mark = tuple[int, int, int]


@dataclass(frozen=True)
class Request:
    """What Ray sets aside for one cell."""

    cpus: float = 1.0
    gpus: float = 0.0
    """Shares of one, too: at 0.25 four cells share a GPU."""
    memory: float | None = None
    """Bytes."""

    def __str__(self) -> str:
        memory = f" and {self.memory / 2**30:.3g} GiB of memory" if self.memory else ""
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"

    def fits(self, resources: Mapping[str, float]) -> bool:
        """Whether a node with these resources could ever hold it."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0.0}
        return all(resources.get(name, 0.0) >= amount for name, amount in wanted.items())


def run_on_ray(
    cells: Iterable[Cell],
    store: Store,
    *,
    data_root: Path,
    device: str = "auto",
    time_limit: float | None = None,
    keep_models: bool = False,
    states: str = "resume",
    fail_fast: bool = False,
    show: Callable[[Event], None] = lambda event: None,
    tell: Callable[[str], None] = lambda text: print(f"lifegen: {text}", file=sys.stderr),
    address: str | None = None,
    request: Request | None = None,
    share: Literal["auto", "folder", "ray"] = "auto",
    patience: float = 60.0,
) -> list[Event]:
    """Run cells as Ray tasks. One whose worker or node is lost goes on elsewhere, from what is in the store.

    Args:
        cells: what to run.
        store: where to write.
        data_root: where data sets are on every node; a node that has no such folder fetches them.
        device: "auto", "cpu" or "cuda"; with "auto" a cell that requests no GPU uses none.
        time_limit: as for ``run.run``, and so are the next four.
        keep_models: see there.
        states: see there.
        fail_fast: see there.
        show: see there.
        tell: is told in words what happens to workers.
        address: the cluster's, "auto" or "host:port"; without one that in ``RAY_ADDRESS``, else Ray is started on this
            machine for this call. If this process is connected to Ray already, that is used.
        request: what each cell is given; by default one CPU.
        share: whether nodes write into the store's folder or send files through Ray; "auto" finds out on each node.
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
    _check(device, request)
    store = Store(store.path.resolve())
    with ExitStack() as stack:
        stack.enter_context(_connection(address))
        token = store.path / f".ray-{secrets.token_hex(8)}"
        if share == "auto":
            token.touch()
            stack.callback(token.unlink, missing_ok=True)
        order = _Order(
            store=store.path,
            token=token if share == "auto" else None,
            share=share,
            streams=list({cell.scenario.label: replace(cell, precision="float32") for cell in cells}.values()),
            versions=_versions({name for cell in cells for name in cell.packages}),
            options={
                "data_root": data_root.expanduser().absolute(),
                "device": "cpu" if device == "auto" and not request.gpus else device,
                "time_limit": time_limit,
                "keep_models": keep_models,
                "states": states,
            },
        )
        return _Driver(store, order, request, patience, fail_fast, show, tell).drive(cells)


def _check(device: str, request: Request) -> None:
    if min(request.cpus, request.gpus, request.memory or 0.0) < 0 or (request.gpus > 1 and request.gpus % 1):
        raise InputError(f"a cell can't have {request}: nothing is below 0, and from 1 on GPUs are whole")
    if device.startswith("cuda:"):
        raise InputError(f"--device {device}: Ray gives a cell its GPU; use --device cuda")
    if device == "cuda" and not request.gpus:
        raise InputError("--device cuda on Ray: say what share of a GPU a cell has, from 0.01 to 1")


def _ray() -> Any:
    import ray

    return ray


@contextmanager
def _connection(address: str | None) -> Iterator[None]:
    """Ray, which is left again if this process wasn't connected before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported unasked
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
    """Ray itself would try for ever, and say so on the screen."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise InputError(f"{address!r} isn't an address of Ray's such as auto, or host:6379 on a node of the cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray at {address}: {error}") from None


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """What changes numbers from node to node, with packages of plug-ins; builds for one processor or another don't
    count. What isn't here has no version."""
    found = {}
    for name in {"lifegen", "torch", "avalanche-lib", "numpy", *packages}:
        with suppress(PackageNotFoundError):
            found[name] = version(name).partition("+")[0]
    return found


@dataclass(frozen=True)
class _Order:
    """What a task is told besides its cell."""

    store: Path
    token: Path | None
    """A file in the store that only a node that shares the folder sees."""
    share: str
    streams: Sequence[Cell]
    """One cell of each scenario."""
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    """For ``run.run``."""


@dataclass(frozen=True)
class _News:
    """What a task yields."""

    event: Event
    files: dict[str, bytes]
    """Those of the cell's files that are new or have changed, in the order in which they were read."""
    names: frozenset[str] | None
    """All of the cell's files; None where the task writes into the store itself."""


@dataclass(eq=False)
class _Task:
    """A cell, as far as it has come."""

    cell: Cell
    stream: Any = None
    """Ray's, of :class:`_News`"""
    began: float | None = None
    intervals: int = 0
    losses: int = 0
    heard: bool = False
    """Whether its present worker has begun."""
    not_before: float = 0.0
    busy_since: float | None = None
    lock: ExitStack = field(default_factory=ExitStack)
    """Holds the cell in the store, where its node can't."""
    held: SoftFileLease | None = None
    sent: dict[str, _Mark] = field(default_factory=dict)
    """The cell's files in the store when it was handed to Ray."""


@dataclass
class _Driver:
    """Starts tasks, hears them, and starts again those that are lost."""

    store: Store
    order: _Order
    request: Request
    patience: float
    fail_fast: bool
    show: Callable[[Event], None]
    tell: Callable[[str], None]
    waiting: list[_Task] = field(default_factory=list)
    running: list[_Task] = field(default_factory=list)
    last: list[Event] = field(default_factory=list)
    fitted: float = field(default_factory=monotonic)
    """When there last was a node that could hold a cell."""

    def drive(self, cells: Sequence[Cell]) -> list[Event]:
        ray = _ray()
        resources = {"num_cpus": self.request.cpus, "num_gpus": self.request.gpus, "memory": self.request.memory}
        remote = ray.remote(max_retries=0, num_returns="streaming", **resources)(_run_here)
        self.waiting = [_Task(cell) for cell in cells]
        try:
            while self.waiting or self.running:
                now = monotonic()
                most = _MOST_TASKS if self.order.share == "folder" else _MOST_WITH_FILES
                for task in [task for task in self.waiting if task.not_before <= now][: most - len(self.running)]:
                    earlier = {} if self.order.share == "folder" else self._earlier(task)
                    task.stream = remote.remote(task.cell, self.order, earlier)
                    self.waiting.remove(task)
                    self.running.append(task)
                self._hear()
                if self.fail_fast and any(event.kind == "failed" for event in self.last):
                    break
                self._check_nodes()
        finally:
            for task in self.running:
                _cancel(task)
                task.lock.close()
        return self.last

    def _earlier(self, task: _Task) -> dict[str, bytes]:
        stored = self.store.cell(task.cell.name)
        task.sent = dict(_files(stored.folder))
        return _changes(stored.folder, {}) if stored.status in ("running", "interrupted", "failed") else {}

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

    def _take(self, task: _Task, news: _News) -> None:
        event = news.event
        task.heard, task.began = True, task.began or monotonic()
        if news.names is not None:
            try:
                self._write(task, news, news.names)
            except (CellBusyError, CellDoneError) as other:
                _cancel(task)
                event = replace(event, kind="busy" if isinstance(other, CellBusyError) else "done")
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
        self._end(task, Event(task.cell, "failed", stored.intervals_done(), of, error=error))

    def _lost(self, task: _Task, reason: str) -> None:
        task.losses += 1
        if task.losses > _MOST_LOSSES:
            self._fail(task, f"{task.losses} workers in a row were lost before they finished an interval: {reason}")
            return
        self.tell(f"{task.cell}: its worker is lost, another one goes on ({reason})")
        self._again(task, 0.0)

    def _again(self, task: _Task, delay: float) -> None:
        task.lock.close()
        task.held, task.heard, task.not_before = None, False, monotonic() + delay
        self.running.remove(task)
        self.waiting.append(task)

    def _write(self, task: _Task, news: _News, names: Collection[str]) -> None:
        """Make the cell's folder what it is on the task's node.

        Raises:
            CellBusyError: another process has the cell.
            CellDoneError: another process has finished it.
        """
        folder = self._folder(task)
        if task.held is None:
            task.held = task.lock.enter_context(self.store.holding(task.cell.name))
            if _files(folder) != task.sent:  # another process was at it since: its progress isn't to be undone
                raise CellBusyError(task.cell.name)
        if task.held.compromise:  # this process was silent for so long that another one has taken the cell
            raise CellBusyError(task.cell.name)
        for name in reversed(news.files):  # the record last: what it says is there
            if _is_kept(name):
                write_atomically(folder / name, news.files[name])
        for name in _files(folder).keys() - set(names):
            (folder / name).unlink()

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
                raise InputError(f"no node of the Ray cluster can hold a cell of {self.request}. There are: {there}")

    def _folder(self, task: _Task) -> Path:
        return self.store.cell(task.cell.name).folder


def _cancel(task: _Task) -> None:
    _ray().cancel(task.stream, force=True)  # ends Ray's worker, and with it the cell's process


def _offer(resources: Mapping[str, float]) -> Request:
    return Request(resources.get("CPU", 0.0), resources.get("GPU", 0.0), resources.get("memory"))


# What Ray's workers run


def _run_here(cell: Cell, order: _Order, earlier: Mapping[str, bytes]) -> Iterator[_News]:
    """Run a cell in a process of its own and tell what becomes of it; the last event is its outcome.

    Args:
        cell: which.
        order: how.
        earlier: the cell's files in the store, to go on from.

    Raises:
        InputError: other versions are installed here.
    """
    ray = _ray()
    here, wanted = _versions(order.versions), order.versions
    if other := [f"{name} {here.get(name)}, not {wanted[name]}" for name in wanted if here.get(name) != wanted[name]]:
        raise InputError(f"{socket.gethostname()} has {' and '.join(other)}")
    vars(sys.modules["__main__"]).pop("__file__", None)  # else every cell's process would first run Ray's own script
    with ExitStack() as stack:
        store = Store(order.store)
        is_shared = order.share == "folder" or (order.token is not None and os.access(order.token, os.W_OK))
        if not is_shared:
            store = Store.create(stack.enter_context(TemporaryDirectory(prefix="lifegen-")))
            folder = store.cell(cell.name).folder
            folder.mkdir()
            for name, content in earlier.items():
                (folder / name).write_bytes(content)

        sent: dict[str, _Mark] = dict(_files(store.cell(cell.name).folder))

        def news(event: Event, ignoring: Collection[str] = ()) -> _News:
            if is_shared:
                return _News(event, {}, None)
            changed = _changes(store.cell(cell.name).folder, sent, ignoring)
            return _News(event, changed, frozenset(_files(store.cell(cell.name).folder)))

        yield news(told := Event(cell, "started"))
        _have_data(order.streams, order.options["data_root"])
        events = deque([told], maxlen=1)
        options = dict(order.options, gpus=_visible(ray.get_runtime_context().get_accelerator_ids()))
        thread = stack.enter_context(ThreadPoolExecutor(1))
        ending = thread.submit(run, [cell], store, jobs=1, show=events.append, **options)
        while not wait([ending], timeout=_POLL_SECONDS).done:
            latest = news(events[-1], ignoring=["log.txt"])
            if latest.files or latest.event != told:
                told = latest.event
                yield latest
        yield news(ending.result()[0])


def _visible(accelerators: Mapping[str, Sequence[str]]) -> list[str]:
    """The CUDA_VISIBLE_DEVICES of a cell, for ``run.run``: its process is forked from one that was started for another
    cell, with another GPU perhaps."""
    gpus = accelerators.get("GPU", ())
    return [",".join(gpus)] if gpus else []


def _have_data(streams: Sequence[Cell], data_root: Path) -> None:
    """Fetch all data on a node that has no data root. Where that can't be, the cells themselves say why."""
    with FileLock(Path(gettempdir(), f"lifegen-{os.getuid()}.lock")):
        if not data_root.exists():
            with suppress(InputError, OSError):
                prepare(streams, data_root, "cpu")
            with suppress(OSError):
                data_root.mkdir(parents=True)


def _is_kept(name: str) -> bool:
    """Whether a file of this name in a cell's folder is part of the cell, and nothing else."""
    return bool(name) and name == Path(name).name and not name.startswith((".", "lock"))


def _files(folder: Path) -> dict[str, _Mark]:
    """What is in a cell's folder, with what changes when a file does."""
    found = {}
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if _is_kept(entry.name) and entry.is_file():
                with suppress(FileNotFoundError):
                    facts = entry.stat()
                    found[entry.name] = facts.st_mtime_ns, facts.st_size, facts.st_ino
    return found


def _changes(folder: Path, sent: dict[str, _Mark], ignoring: Collection[str] = ()) -> dict[str, bytes]:
    """The files that are new or have changed since they were last sent; none if all of them are to be ignored.

    The record is read first and rows last, so that what is read is a state in which the cell might have been cut off.
    """
    changed = {name: mark for name, mark in _files(folder).items() if sent.get(name) != mark}
    content = {}
    if changed.keys() - set(ignoring):
        for name in sorted(changed, key=_when_read):
            with suppress(FileNotFoundError):
                content[name] = (folder / name).read_bytes()
                sent[name] = changed[name]
    return content


def _when_read(name: str) -> tuple[int, str]:
    rank = 0 if name == "run.json" else 1 if name.endswith(".safetensors") else 3 if name == "metrics.jsonl" else 2
    return rank, name


def _line(error: BaseException, which: int) -> str:
    """One line of what an error says: Ray puts tracebacks above and advice below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[which] if lines else type(error).__name__

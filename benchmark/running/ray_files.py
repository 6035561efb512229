"""What Ray's workers run, and how a cell's files travel where a node doesn't see the store. Torch isn't imported here.

A task is a generator: what it yields tells the command how far the cell is and, where its node doesn't see the store's
folder, brings the cell's files.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from filelock import FileLock

from ..cells.cell import Cell
from ..errors import InputError
from ..store.store import Store
from .executor import Event, Execution
from .local import prepare, run

_POLL_SECONDS = 0.3

Mark = tuple[int, int, int]
"""What changes when a file does."""


@dataclass(frozen=True)
class Order:
    """What a task is told besides its cell."""

    store: Path
    token: Path | None
    """A file in the store that only a node that shares the folder sees."""
    share: str
    streams: Sequence[Cell]
    """One cell of each scenario."""
    versions: Mapping[str, str]
    """Those that are installed where the command is given."""
    execution: Execution


@dataclass(frozen=True)
class News:
    """What a task yields."""

    event: Event
    files: dict[str, bytes]
    """Those of the cell's files that are new or have changed, in the order in which they were read."""
    names: frozenset[str] | None
    """All of the cell's files; None where the task writes into the store itself."""


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """What changes numbers from node to node, with packages of plug-ins; builds for one processor or another don't
    count. What isn't here has no version."""
    found = {}
    for name in {"lifegen", "torch", "avalanche-lib", "numpy", *packages}:
        with suppress(PackageNotFoundError):
            found[name] = version(name).partition("+")[0]
    return found


def run_here(cell: Cell, order: Order, earlier: Mapping[str, bytes]) -> Iterator[News]:
    """Run a cell in a process of its own and tell what becomes of it; the last event is its outcome.

    Args:
        cell: which.
        order: how.
        earlier: the cell's files in the store, to go on from.

    Raises:
        InputError: other versions are installed here.
    """
    import ray

    here, wanted = installed_versions(order.versions), order.versions
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

        sent: dict[str, Mark] = dict(files_in(store.cell(cell.name).folder))

        def news(event: Event, ignoring: Collection[str] = ()) -> News:
            if is_shared:
                return News(event, {}, None)
            changed = changes_in(store.cell(cell.name).folder, sent, ignoring)
            return News(event, changed, frozenset(files_in(store.cell(cell.name).folder)))

        yield news(told := Event(cell, "started"))
        _have_data(order.streams, order.execution.data_root)
        events = deque([told], maxlen=1)
        gpus = visible_gpus(ray.get_runtime_context().get_accelerator_ids())
        thread = stack.enter_context(ThreadPoolExecutor(1))
        ending = thread.submit(run, [cell], store, order.execution, gpus=gpus, show=events.append)
        while not wait([ending], timeout=_POLL_SECONDS).done:
            latest = news(events[-1], ignoring=["log.txt"])
            if latest.files or latest.event != told:
                told = latest.event
                yield latest
        yield news(ending.result()[0])


def visible_gpus(accelerators: Mapping[str, Sequence[str]]) -> list[str]:
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


def is_kept(name: str) -> bool:
    """Whether a file of this name in a cell's folder is part of the cell, and nothing else."""
    return bool(name) and name == Path(name).name and not name.startswith((".", "lock"))


def files_in(folder: Path) -> dict[str, Mark]:
    """What is in a cell's folder, with what changes when a file does."""
    found = {}
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if is_kept(entry.name) and entry.is_file():
                with suppress(FileNotFoundError):
                    facts = entry.stat()
                    found[entry.name] = facts.st_mtime_ns, facts.st_size, facts.st_ino
    return found


def changes_in(folder: Path, sent: dict[str, Mark], ignoring: Collection[str] = ()) -> dict[str, bytes]:
    """The files that are new or have changed since they were last sent; none if all of them are to be ignored.

    The record is read first and rows last, so that what is read is a state in which the cell might have been cut off.
    """
    changed = {name: mark for name, mark in files_in(folder).items() if sent.get(name) != mark}
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

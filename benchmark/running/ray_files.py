"""The tasks of Ray's workers, and how a cell's files travel where a node doesn't see the store.

A task is a generator. Its items report the cell's progress to the command and, where the node doesn't see the store's
folder, carry the cell's files.
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
from time import sleep

from filelock import FileLock

from ..cells.cell import Cell
from ..errors import InputError
from ..files import read
from ..store.store import Store
from .executor import Event, Execution
from .local import prepare, run
from .sharing import Sharing

_POLL_SECONDS = 0.3
_MOST_LOOKS = 20
"""Looks for a cell's folder, which may just be renamed."""

Mark = tuple[int, int, int]
"""Numbers that change when a file does: its time, size and inode."""


@dataclass(frozen=True)
class Order:
    """The arguments of a task besides its cell."""

    store: Path
    token: Path | None
    """A file in the store that only nodes that share the folder see."""
    share: str
    streams: Sequence[Cell]
    """One cell of each scenario."""
    versions: Mapping[str, str]
    """Versions installed on the machine where the command was typed."""
    execution: Execution


@dataclass(frozen=True)
class News:
    """One item that a task yields."""

    event: Event
    files: dict[str, bytes]
    """The cell's new and changed files, in the order in which they were read."""
    names: frozenset[str] | None
    """All of the cell's files; None where the task writes into the store itself."""


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the libraries that numbers depend on, and of packages of extensions. Builds for different processors
    count as one version; a missing library has none."""
    versions = {}
    for name in {"lifegen", "torch", "avalanche-lib", "numpy", *packages}:
        with suppress(PackageNotFoundError):
            versions[name] = version(name).partition("+")[0]
    return versions


def run_here(cell: Cell, order: Order, earlier: Mapping[str, bytes]) -> Iterator[News]:
    """Run a cell in a process of its own and report its progress; the last event is its outcome.

    Args:
        cell: the cell to run.
        order: how to run it.
        earlier: the cell's files in the store, to continue from.

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
            for _ in range(_MOST_LOOKS):
                folder, marks = store.cell(cell.name).folder, dict(sent)
                changed, names = changes_in(folder, marks, ignoring), frozenset(files_in(folder))
                if folder.exists():  # else it was renamed meanwhile
                    sent.update(marks)
                    return News(event, changed, names)
                sleep(_POLL_SECONDS)
            raise FileNotFoundError(f"{folder} isn't there any more")

        yield news(last := Event(cell, "started"))
        _have_data(order.streams, order.execution.data_root)
        events = deque([last], maxlen=1)
        sharing = Sharing(visible_gpus(ray.get_runtime_context().get_accelerator_ids()))
        thread = stack.enter_context(ThreadPoolExecutor(1))
        ending = thread.submit(run, [cell], store, order.execution, sharing=sharing, show=events.append)
        while not wait([ending], timeout=_POLL_SECONDS).done:
            latest = news(events[-1], ignoring=["log.txt"])
            if latest.files or latest.event != last:
                last = latest.event
                yield latest
        yield news(ending.result()[0])


def visible_gpus(accelerators: Mapping[str, Sequence[str]]) -> list[str]:
    """The CUDA_VISIBLE_DEVICES of a cell, for ``local.run``. The server that its process is forked from may have been
    started for a cell with another GPU."""
    gpus = accelerators.get("GPU", ())
    return [",".join(gpus)] if gpus else []


def _have_data(streams: Sequence[Cell], data_root: Path) -> None:
    """Fetch all data on a node that has no data root. If that fails, the cells themselves report why."""
    with FileLock(Path(gettempdir(), f"lifegen-{os.getuid()}.lock")):
        if not data_root.exists():
            with suppress(InputError, OSError):
                prepare(streams, data_root, "cpu")
            with suppress(OSError):
                data_root.mkdir(parents=True)


def is_kept(name: str) -> bool:
    """Whether a file of this name in a cell's folder is part of the cell."""
    return bool(name) and name == Path(name).name and not name.startswith((".", "lock"))


def files_in(folder: Path) -> dict[str, Mark]:
    """The files in a cell's folder, each with its mark."""
    marks = {}
    with suppress(FileNotFoundError, NotADirectoryError):  # a packed cell has nothing to go on from
        for entry in os.scandir(folder):
            if is_kept(entry.name) and entry.is_file():
                with suppress(FileNotFoundError):
                    facts = entry.stat()
                    marks[entry.name] = facts.st_mtime_ns, facts.st_size, facts.st_ino
    return marks


def changes_in(folder: Path, sent: dict[str, Mark], ignoring: Collection[str] = ()) -> dict[str, bytes]:
    """The files that are new or have changed since they were last sent; empty if only ignored files have changed.

    The record is read first and rows last, so that together they are a state in which the cell might have been cut off.
    """
    changed = {name: mark for name, mark in files_in(folder).items() if sent.get(name) != mark}
    content = {}
    if changed.keys() - set(ignoring):
        for name in sorted(changed, key=_when_read):
            with suppress(FileNotFoundError):
                content[name] = read(folder / name)
                sent[name] = changed[name]
    return content


def _when_read(name: str) -> tuple[int, str]:
    rank = 0 if name == "run.json" else 1 if name.endswith(".safetensors") else 3 if name == "metrics.jsonl" else 2
    return rank, name

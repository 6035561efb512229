"""Processes that run a cell and are killed: by ``kill -9`` at a touch of the store, or from outside at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.processes import PRELOADED
from lifegen.benchmark.running.rerun import TIMED
from lifegen.benchmark.store.store import Store

from .stores import numbers_of

TOUCHES = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir")
"""What Python audits before it does it to a file."""
TINY = "split-digits:steps=4,classes_per_interval=2,test_images=40,importance_draws=5,importance_images=5"


def cell(method: str = "naive:width=8", scenario: str = TINY, seed: int = 0, precision: str = "float32") -> Cell:
    return Cell(parse_spec("scenario", scenario), parse_spec("method", method), seed, precision)


def start(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Call a function in a process of its own, forked from a server that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def run_in_store(one: Cell, store: Path, touches: Path | None = None, die_at: int = 0, states: str = "resume") -> None:
    """Run a cell in this process.

    Args:
        one: which.
        store: where.
        touches: a file that gets, line by line, what was done to the cell's folders and its lock.
        die_at: number of the touch of these, from 1, before which this process is killed; 0 for none.
        states: as in ``run_cell``.
    """
    import torch

    from lifegen.benchmark.running.worker import run_cell

    torch.set_num_threads(1)
    seen: list[str] = []
    folder = str(store / "cells" / one.name)
    me = os.getpid()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(folder) and os.getpid() == me:
            touched = str(arguments[1] if event == "os.rename" else arguments[0]).removeprefix(folder)
            seen.append(f"{event} {re.sub(r'^[.][0-9a-f]{16}', '', touched)}")
            if len(seen) == die_at:
                os.kill(me, signal.SIGKILL)

    sys.addaudithook(audit)
    status = run_cell(one, store, store.parent, "cpu", states=states)
    if touches:
        touches.write_text("\n".join(seen))
    os._exit({"done": 0, "failed": 1, "busy": 3}[status])


def outcome(store: Store, one: Cell) -> dict[str, Any]:
    """All of a finished cell that is to be equal between runs."""
    stored = store.cell(one.name)
    assert stored.status == "done", (stored.judgement, log(store, one))
    numbers = numbers_of(store, one.name)
    pictures = np.load(stored.folder / "pictures.npz")
    record = stored.record
    return {
        "rows": [row for row in map(json.loads, _lines(stored.folder)) if row["metric"] not in TIMED],
        "numbers": {name: value for name, value in numbers.items() if name not in TIMED},
        "pictures": {name: (pictures[name].shape, pictures[name].tobytes()) for name in pictures.files},
        "facts": {key: record[key] for key in ("visits", "device", "execution", "metrics", "hash", "versions")},
    }


def log(store: Store, one: Cell) -> str:
    file = store.cell(one.name).folder / "log.txt"
    return file.read_text() if file.exists() else ""


def _lines(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text().splitlines()

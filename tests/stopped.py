"""Owners of a cell that are stopped at each of their changes in the store, superseded, and woken up.

    python -m tests.stopped --method naive:width=2 [--method ...] [--every 1]

For each change it does two trials. In the first one the successor finishes the cell before the owner wakes up; in the
second one it is stopped itself, and both wake up in turn. It prints each trial that lost or changed something, and ends
with their number.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.store import Store

from .faults import cell, outcome

STOPPING = Path(__file__).with_name("stopping.c")
STREAM = "split-digits:steps=2,classes_per_interval=5,test_images=10,importance_draws=1,importance_images=1"
NO_COMPILER = "this machine has no C compiler, or isn't Linux"
DONE, FAILED, BUSY, RAISED = 0, 1, 3, 4


def compiled(folder: Path) -> Path | None:
    """The library that stops a process; None where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "stopping.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, STOPPING, "-ldl"], check=True)
    return library


def begin(one: Cell, store: Path, at: int = 0) -> int:
    """Run a cell in a fork of this process, which stops before its n-th change in the store; returns its number."""
    if process := os.fork():
        return process
    status = RAISED
    try:
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        library.stopping_arm(os.fsencode(store), ctypes.c_long(at))
        status = {"done": DONE, "failed": FAILED, "busy": BUSY}[run_cell(one, store, store.parent, "cpu")]
        store.with_suffix(".changes").write_text(str(library.stopping_seen()))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(process: int) -> int | None:
    """The exit code of a process once it has ended; None if it has stopped."""
    status = os.waitpid(process, os.WUNTRACED)[1]
    return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def wake(process: int) -> int | None:
    os.kill(process, signal.SIGCONT)
    return ended(process)


class Trials:
    """Trials with one cell."""

    def __init__(self, one: Cell, folder: Path) -> None:
        self.one = one
        self.folder = folder
        folder.mkdir()
        store = Store.create(folder / "whole")
        assert ended(begin(one, store.path)) == DONE
        self.changes = int(store.path.with_suffix(".changes").read_text())
        self.expected = outcome(store, one)

    def lost(self, at: int, then: int = 0) -> list[str]:
        """What goes wrong if the cell's owner is stopped before one change, and its successor before another one."""
        store = Store.create(self.folder / f"{at}-{then}")
        processes = [begin(self.one, store.path, at)]
        if ended(processes[0]) is not None:
            return [f"there is no change {at}"]
        self._run_out(store)
        processes.append(begin(self.one, store.path, then))
        wrong = []
        if (code := ended(processes[1])) not in (DONE, None):
            wrong.append(f"the successor ends with {code}")
        finished = self._result(store) if code == DONE else None
        for process in processes if code is None else processes[:1]:
            if (code := wake(process)) not in (DONE, BUSY):
                wrong.append(f"woken up, it ends with {code}")
            finished = finished or (self._result(store) if code == DONE else None)
        self._run_out(store)
        if ended(begin(self.one, store.path)) != DONE:
            wrong.append("the last one doesn't finish it")
        if finished and self._result(store) != finished:
            wrong.append("the result has changed")
        try:
            if outcome(store, self.one) != self.expected:
                wrong.append("the numbers aren't those of a cell that wasn't disturbed")
        except (AssertionError, OSError) as error:
            wrong.append(f"there is no whole result: {error}")
        if (there := sorted(os.listdir(store.path / "cells"))) != [self.one.name]:
            wrong.append(f"there is {there}")
        shutil.rmtree(store.path)
        return [f"{self.one} stopped at {at} of {self.changes}, {then}: {what}" for what in wrong]

    def _run_out(self, store: Store) -> None:
        """The lease runs out."""
        (store.path / "cells" / f"{self.one.name}.lock").unlink(missing_ok=True)

    def _result(self, store: Store) -> dict[str, bytes]:
        """The files of the result that stay as they are: the log may go on, and states are deleted."""
        files = [store.cell(self.one.name).folder / name for name in ("run.json", "metrics.jsonl", "pictures.npz")]
        return {file.name: file.read_bytes() for file in files if file.exists()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", action="append", required=True)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        if "LD_PRELOAD" not in os.environ:
            if (library := compiled(Path(folder))) is None:
                sys.exit(NO_COMPILER)
            again = [sys.executable, "-W", "ignore", "-m", __spec__.name, *sys.argv[1:]]
            sys.exit(subprocess.run(again, env=os.environ | {"LD_PRELOAD": str(library)}, check=False).returncode)
        wrong, tried = [], 0
        for number, method in enumerate(options.method):
            trials = Trials(cell(method, STREAM), Path(folder) / str(number))
            for at in range(1 + number % options.every, trials.changes + 1, options.every):
                for then in (0, 1 + 7 * at % trials.changes):
                    found = trials.lost(at, then)
                    print(*found, sep="\n", end="\n" if found else "", flush=True)
                    wrong += found
                    tried += 1
            print(f"{method}: {trials.changes} changes")
        print(f"{tried} trials, {len(wrong)} losses")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""Owners of a cell that are stopped at each of their calls that touch the store, superseded, and woken up.

    python -m tests.stopped --method naive:width=2 [--method ...] [--every 1]

The cell is new, interrupted by a kill, or damaged. For each touch there are three trials: the successor finishes the
cell before the owner wakes up; or is stopped itself, and both wake up in turn; or the cell is marked as failed by the
process that had started the owner. It prints each trial that lost or changed something, and ends with their number.
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
from itertools import product
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


def begin(one: Cell, store: Path, at: int = 0, fails: bool = False) -> int:
    """Run a cell in a fork of this process, or mark it as failed; it stops before its n-th touch of the store.

    Returns:
        the fork's number.
    """
    if process := os.fork():
        return process
    status = RAISED
    try:
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        library.stopping_arm(os.fsencode(store), ctypes.c_long(at))
        if fails:
            Store(store).fail(one.name, one.record(), "it was stopped for too long")
            status = DONE
        else:
            status = {"done": DONE, "failed": FAILED, "busy": BUSY}[run_cell(one, store, store.parent, "cpu")]
        store.with_suffix(".touches").write_text(str(library.stopping_seen()))
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
    """Trials with one cell that begins in one state."""

    def __init__(self, one: Cell, folder: Path, state: str) -> None:
        self.one = one
        self.state = state
        self.folder = folder
        folder.mkdir(parents=True)
        whole = Store.create(folder / "whole")
        assert ended(begin(one, whole.path)) == DONE
        self.expected = outcome(whole, one)
        self.before = Store.create(folder / "before")
        if state == "interrupted":
            middle = int(whole.path.with_suffix(".touches").read_text()) * 2 // 3
            process = begin(one, self.before.path, middle)
            assert ended(process) is None
            os.kill(process, signal.SIGKILL)
            ended(process)
            assert self.before.cell(one.name).intervals_done()
        elif state == "damaged":
            shutil.copytree(whole.path, self.before.path, dirs_exist_ok=True)
            (self.before.cell(one.name).folder / "metrics.jsonl").write_bytes(b"torn")
        undisturbed = self._copy("undisturbed")
        assert ended(begin(one, undisturbed.path)) == DONE
        self.touches = int(undisturbed.path.with_suffix(".touches").read_text())

    def lost(self, at: int, then: int = 0, fails: bool = False) -> list[str]:
        """What goes wrong if the cell's owner is stopped before one touch, and its successor before another one, or
        marks it as failed."""
        store = self._copy(f"{at}-{then}-{fails}")
        processes = [begin(self.one, store.path, at)]
        if (code := ended(processes[0])) is not None:
            return [f"{self.one} has no touch {at}: it ends with {code}"]
        self._run_out(store)
        processes.append(begin(self.one, store.path, then, fails))
        wrong = []
        if (code := ended(processes[1])) not in (DONE, None):
            wrong.append(f"the successor ends with {code}")
        finished = self._result(store) if code == DONE and not fails else None
        for process in processes if code is None else processes[:1]:
            if (code := wake(process)) not in (DONE, BUSY):
                wrong.append(f"woken up, it ends with {code}")
            finished = finished or (self._result(store) if code == DONE and not fails else None)
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
        return [f"{self} stopped at {at}, {then}, {fails}: {what}" for what in wrong]

    def __str__(self) -> str:
        return f"{self.one.method.label}, {self.state}: {self.touches} touches"

    def _copy(self, name: str) -> Store:
        shutil.copytree(self.before.path, self.folder / name)
        return Store(self.folder / name)

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
        for number, (method, state) in enumerate(product(options.method, ("new", "interrupted", "damaged"))):
            trials = Trials(cell(method, STREAM), Path(folder) / str(number), state)
            for at in range(1 + 37 * number % options.every, trials.touches + 1, options.every):
                for then, fails in ((0, False), (1 + 7 * at % trials.touches, False), (0, True)):
                    found = trials.lost(at, then, fails)
                    print(*found, sep="\n", end="\n" if found else "", flush=True)
                    wrong += found
                    tried += 1
            print(trials, flush=True)
        print(f"{tried} trials, {len(wrong)} losses")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

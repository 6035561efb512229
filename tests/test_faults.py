"""The store under fire: damaged files, processes killed or stopped, full disks, and nothing wrong is read."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from filelock import SoftFileLease
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.running.executor import Execution
from lifegen.benchmark.running.local import run
from lifegen.benchmark.running.worker import _output_to, run_cell
from lifegen.benchmark.store import cell_folder, cell_writer
from lifegen.benchmark.store import lock as lock_module
from lifegen.benchmark.store import store as store_module
from lifegen.benchmark.store.cell_folder import name_of
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.lock import CellBusyError, CellDoneError
from lifegen.benchmark.store.store import Store

from .faults import cell, outcome, run_in_store, start
from .stores import numbers_of, shown
from .waiting import HANG

SMALL = "split-digits:steps=2,classes_per_interval=5,test_images=10,importance_draws=1,importance_images=1"
ONE = cell("naive:width=2,batch_size=8", SMALL)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """The cell finished, interrupted after its first interval, and failed there."""
    folder = tmp_path_factory.mktemp("stores")
    made = {name: Store.create(folder / name) for name in ("done", "interrupted", "failed")}
    assert run_cell(ONE, made["done"].path, folder, "cpu") == "done"
    second = _second_interval(folder)
    for name in ("interrupted", "failed"):
        process = start(run_in_store, ONE, made[name].path, None, second)
        process.join()
    made["failed"].fail(ONE.name, ONE.record(), "cut off")
    assert {name: one.cell(ONE.name).status for name, one in made.items()} == {name: name for name in made}
    return made


def _second_interval(folder: Path) -> int:
    """The touch of the cell's folder that would append the rows of the second interval."""
    store = Store.create(folder / "touches" / "store")
    start(run_in_store, ONE, store.path, folder / "touches.txt").join()
    touches = (folder / "touches.txt").read_text().splitlines()
    return [i for i, touch in enumerate(touches, 1) if touch == "open /metrics.jsonl"][1]


def copy_of(store: Store, place: Path) -> Store:
    shutil.copytree(store.path, place)
    return Store(place)


def rows(store: Store) -> list[Any]:
    """What a table says, by cell, without what is of time."""
    table = load(store.path)
    table = table[~table["metric"].isin(["train_seconds", "train_cpu_seconds", "eval_seconds", "peak_memory_mb"])]
    return sorted(map(repr, table.astype(object).where(table.notna(), None).itertuples(index=False)))


# Damage


LOCK = f"../{ONE.name}.lock"
FILES = {
    "done": ["run.json", "metrics.jsonl", "log.txt", "pictures.npz", "image_values.npz"],
    "interrupted": ["run.json", "metrics.jsonl", "log.txt", "state.safetensors", LOCK],
    "failed": ["run.json", "metrics.jsonl", "log.txt", "state.safetensors"],
}


def damage(data: st.DataObject, content: bytes) -> bytes:
    """A file cut anywhere, or with bytes changed, lost or put in."""
    n = len(content)
    kind = data.draw(st.sampled_from(["cut", "flip", "flip", "zeros", "insert", "drop"]))
    at = data.draw(st.integers(0, max(0, n - 1)))
    if kind == "cut":
        return content[:at]
    if kind == "zeros":  # what a file system may leave after a power cut
        return content[:at] + bytes(n - at)
    if kind == "insert":
        return content[:at] + data.draw(st.binary(min_size=1, max_size=5)) + content[at:]
    if kind == "drop":
        return content[:at] + content[at + data.draw(st.integers(1, 9)) :]
    flipped = bytearray(content)
    for place in {at, *data.draw(st.lists(st.integers(0, max(0, n - 1)), max_size=2))} if n else ():
        flipped[place] = data.draw(st.integers(0, 255))
    return bytes(flipped)


def check_reading(store: Store, expected: list[Any], finished: bool) -> None:
    """All that reads a store reads the right numbers, or says that it can't."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            cells, left_out = shown(store)
            assert len(cells) + len(left_out) == 1
            for one in store.cells():
                assert one.status in ("done", "failed", "running", "interrupted", "damaged", "incompatible", "foreign")
                assert isinstance(one.reason, str)
                one.intervals_done()
            for one in cells:
                assert finished
                assert {k: v for k, v in one.numbers.items() if "second" not in k and "peak" not in k}
            found = rows(store)
        except InputError:
            return
    assert found in (([], expected) if finished else ([],))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_damage_is_ever_read_as_a_result(stores, tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(stores)))
    store = copy_of(stores[kind], tmp_path_factory.mktemp("s") / "store")
    numbers = numbers_of(stores["done"], ONE.name)
    file = store.cell(ONE.name).folder / data.draw(st.sampled_from(FILES[kind]))
    file.write_bytes(damage(data, file.read_bytes()))
    check_reading(store, rows(stores["done"]), kind == "done")
    for one in shown(store)[0]:
        assert one.numbers == numbers


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_after_any_damage_the_same_command_finishes_the_cell(stores, tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(stores)))
    folder = tmp_path_factory.mktemp("s")
    store = copy_of(stores[kind], folder / "store")
    file = store.cell(ONE.name).folder / data.draw(st.sampled_from(FILES[kind][:2] + FILES[kind][3:4]))
    file.write_bytes(damaged := damage(data, file.read_bytes()))
    was_damaged = store.cell(ONE.name).status == "damaged"
    with mock.patch.object(lock_module, "LEASE_SECONDS", 0.5):
        assert run_cell(ONE, store.path, folder, "cpu") == "done"
    if kind != "done" or was_damaged:  # what isn't of its numbers, such as its pictures, isn't looked at
        assert outcome(store, ONE) == outcome(stores["done"], ONE)
    if was_damaged:
        (aside,) = (store.path / "set-aside").iterdir()
        assert next(aside.rglob(file.name)).read_bytes() == damaged
        assert (aside / "why.txt").read_text().strip()


def test_the_digest_in_a_record_is_of_all_that_it_says(stores, tmp_path):
    """Each value of run.json in turn is another one."""
    store = copy_of(stores["done"], tmp_path / "s")
    file = store.cell(ONE.name).folder / "run.json"
    text = file.read_text()
    whole = json.loads(text)

    def changed(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            for key, value in part.items():
                yield from (part | {key: other} for other in changed(value))
        elif isinstance(part, list) and part:
            yield from ([other, *part[1:]] for other in changed(part[0]))
        else:
            yield "other" if isinstance(part, str) else 7.25

    others = list(changed(whole))
    assert len(others) > 60
    for other in others:
        file.write_text(json.dumps(other))
        assert store.cell(ONE.name).status in ("damaged", "incompatible"), other
    file.write_text(text)
    assert store.cell(ONE.name).status == "done"


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "state.safetensors", "log.txt"])
def test_a_file_that_is_gone_costs_time_only(stores, tmp_path, name):
    store = copy_of(stores["interrupted"], tmp_path / "s")
    (store.cell(ONE.name).folder / name).unlink()
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    assert outcome(store, ONE) == outcome(stores["done"], ONE)


@pytest.mark.parametrize(
    ("make", "aside"),
    [
        (lambda folder: folder.write_text("a file"), True),
        (lambda folder: folder.symlink_to("nowhere"), True),
        (lambda folder: folder.mkdir(), False),
        (lambda folder: (folder.mkdir(), (folder / ".ipynb_checkpoints").mkdir(), (folder / "x").touch()), False),
    ],
)
def test_something_else_in_a_cells_place_is_no_obstacle(stores, tmp_path, make, aside):
    store = Store.create(tmp_path / "s")
    make(store.cell(ONE.name).folder)
    shown(store)
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    assert outcome(store, ONE) == outcome(stores["done"], ONE)
    assert (store.path / "set-aside").exists() == aside


def test_a_linked_folder_is_a_cells_folder(stores, tmp_path):
    """Stores are merged by links, too."""
    store = Store.create(tmp_path / "s")
    elsewhere = copy_of(stores["interrupted"], tmp_path / "other").cell(ONE.name).folder
    store.cell(ONE.name).folder.symlink_to(elsewhere)
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    assert store.cell(ONE.name).record["resumed"]
    assert rows(store) == rows(stores["done"])


def test_foreign_files_are_left_alone(stores, tmp_path):
    store = copy_of(stores["interrupted"], tmp_path / "s")
    cells = store.path / "cells"
    inside = [store.cell(ONE.name).folder / name for name in (".nfs000001", "notes.txt")]
    foreign = [cells / ".DS_Store", cells / "x" / "y.txt", store.path / "plans" / "plan.txt", store.path / "README.txt"]
    for file in inside + foreign:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    assert "foreign: it isn't a cell's folder" in shown(store)[1]["x"]
    Store.check(store.path)
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    inside = [store.cell(ONE.name).folder / file.name for file in inside]
    assert all(file.read_text() == "mine" for file in inside + foreign)
    assert rows(store) == rows(stores["done"])


def test_another_cells_folder_or_name_is_no_result(stores, tmp_path):
    store = copy_of(stores["done"], tmp_path / "s")
    folder = store.cell(ONE.name).folder
    for name in (ONE.name.upper(), cell("naive:width=2,batch_size=8", SMALL, seed=1).name, f"x{ONE.name}"):
        shutil.copytree(folder, folder.with_name(name))
        assert store.cell(name).status == "damaged"
    assert [one.name for one in shown(store)[0]] == [ONE.name]


def test_the_state_of_another_cell_is_not_gone_on_from(stores, tmp_path, capsys):
    """Even with the rows that belong to it."""
    other = cell("naive:width=2,batch_size=8", SMALL, seed=1)
    store = copy_of(stores["interrupted"], tmp_path / "s")
    with store.writing(other.name, other.record()):
        pass
    for name in ("state.safetensors", "metrics.jsonl"):
        shutil.copy(store.cell(ONE.name).folder / name, store.cell(other.name).folder / name)
    assert run_cell(other, store.path, tmp_path, "cpu") == "done"
    assert f"it is one of {ONE.name}; the cell begins anew" in capsys.readouterr().out
    fresh = Store.create(tmp_path / "fresh")
    assert run_cell(other, fresh.path, tmp_path, "cpu") == "done"
    assert outcome(store, other) == outcome(fresh, other)


@pytest.mark.parametrize("what", ["other library", "class that is gone"])
def test_a_state_made_by_other_code_is_not_gone_on_from(stores, tmp_path, monkeypatch, capsys, what):
    store = copy_of(stores["interrupted"], tmp_path / "s")
    if what == "other library":
        monkeypatch.setattr(
            "lifegen.benchmark.running.worker.version", lambda name: "99" if name == "torch" else "1", raising=True
        )
        reason = "it was made with another version of"
    else:
        monkeypatch.setattr("lifegen.benchmark.running.state._in_module", lambda name: None)
        monkeypatch.setattr("lifegen.benchmark.running.checkpoint.Checkpoint.write", lambda *_: 0)
        reason = "the state doesn't fit the objects to restore"
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    said = capsys.readouterr().out
    assert reason in said
    assert "the cell begins anew" in said
    assert rows(store) == rows(stores["done"])


def test_a_store_is_made_whole_or_can_be_made_again(tmp_path):
    """Killed at any point of its making."""

    def making(until: int) -> int:
        steps = 0

        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > until:
                raise KeyboardInterrupt
            return real_mkdir(*arguments, **options) if isinstance(arguments[0], Path) else None

        with mock.patch.object(Path, "mkdir", step), mock.patch("os.fsync", step):
            try:
                Store.create(tmp_path / str(until))
            except KeyboardInterrupt:
                return 0
        return steps

    real_mkdir = Path.mkdir
    until = 0
    while not making(until):
        (tmp_path / str(until)).mkdir(exist_ok=True)
        (tmp_path / str(until) / ".lifegen.json.123").write_text("{")  # what a kill leaves
        assert Store.create(tmp_path / str(until)).cells() == []
        until += 1
    assert until >= 3


def test_a_damaged_mark_of_a_store_is_named(stores, tmp_path):
    store = copy_of(stores["done"], tmp_path / "s")
    (store.path / "lifegen.json").write_text('{"sch')
    with pytest.raises(InputError, match=r'lifegen.json is damaged; a store\'s has {"schema": \d} in it'):
        Store.open(store.path)


@pytest.mark.parametrize("moves", [0, 1])
def test_killed_while_setting_aside(stores, tmp_path, moves):
    """A damaged cell moves at once, first into the folder of who takes it, then out of the way."""
    store = copy_of(stores["done"], tmp_path / "s")
    folder = store.cell(ONE.name).folder
    (folder / "metrics.jsonl").write_bytes(b"x")
    left, rename = [None] * moves, Path.rename

    def dying(self: Path, target: Path) -> Path:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return rename(self, target)

    with mock.patch.object(Path, "rename", dying), pytest.raises(KeyboardInterrupt):
        run_cell(ONE, store.path, tmp_path, "cpu")
    assert store.cell(ONE.name).status == "damaged"
    assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    kept = sorted(file.name for file in (store.path / "set-aside").rglob("*") if file.is_file())
    assert kept == sorted([*["why.txt"] * (1 + moves), *(FILES["done"])])
    assert rows(store) == rows(stores["done"])


# Locks


LEASE = lock_module.LEASE_SECONDS


def marker(host: str, process: int, seconds: float = LEASE) -> str:
    return f"filelock/2\npid={process}\nhost={host}\nmode=lease\ntoken={'0' * 32}\nduration={seconds}\n"


class Clock:
    """Time that passes when this thread sleeps, and at no other moment: leases run out at once, on any machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        self.while_sleeping: Callable[[], None] = lambda: None
        self._sleep, self._thread = time.sleep, threading.get_ident()
        for name in ("time", "monotonic", "perf_counter"):
            began = getattr(time, name)()
            monkeypatch.setattr(time, name, lambda began=began: began + self.passed)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        if threading.get_ident() != self._thread:  # one that renews a lock
            self._sleep(seconds)
            return
        self.passed += seconds
        self.while_sleeping()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def dead_process() -> int:
    process = start(os._exit, 0)
    process.join()
    return int(process.pid or 0)


def is_taken(store: Store) -> bool:
    try:
        with store.writing(ONE.name, ONE.record()):
            return True
    except CellBusyError:
        return False


@pytest.mark.parametrize(
    ("content", "age", "taken"),
    [
        (lambda: marker(socket.gethostname(), dead_process()), 0, True),  # at once
        (lambda: marker("elsewhere", 4), 0, False),  # it has just been renewed
        (lambda: marker("elsewhere", 4), LEASE - 1, False),
        (lambda: marker("elsewhere", 4), LEASE + 1, True),
        (lambda: marker("elsewhere", 4), -3600, True),  # a clock an hour ahead
        (lambda: "", 0, True),  # of schema 1, or killed before it said who it is
        (lambda: "garbage \0", 0, True),
        (lambda: "filelock/2\npid=4\nhost=else", 0, True),  # a full disk
    ],
)
def test_a_lock_is_taken_over_if_its_owner_is_gone(tmp_path, clock, content, age, taken):
    store = Store.create(tmp_path / "s")
    lock = store.path / "cells" / f"{ONE.name}.lock"
    lock.write_text(content())
    then = time.time() - age
    os.utime(lock, (then, then))
    assert is_taken(store) == taken
    assert lock.exists() != taken


@pytest.mark.parametrize(
    ("owner", "taken"),
    [(lambda: marker(socket.gethostname(), os.getpid()), False), (lambda: marker("elsewhere", 4), False),
     (lambda: marker(socket.gethostname(), dead_process()), True), (lambda: "", True)],
)  # fmt: skip
def test_a_live_lock_of_an_earlier_lifegen_is_honoured(tmp_path, owner, taken):
    """It lies in the cell's folder."""
    store = Store.create(tmp_path / "s")
    lock = store.path / "cells" / ONE.name / "lock"
    lock.parent.mkdir()
    lock.write_text(owner())
    assert is_taken(store) == taken
    assert bool(list(store.path.glob("cells/*/lock"))) != taken  # it may be of one that only sleeps: it goes


def child(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", *arguments], stdin=subprocess.PIPE)


def test_only_a_process_that_can_be_looked_for_is_known_to_be_dead(monkeypatch):
    """Numbers of processes mean something on one machine, since it was last started, and in one PID namespace."""
    process = child()
    here, boot, ticks = socket.gethostname(), lock_module._boot(), lock_module._ticks(process.pid)
    start = None if ticks is None else boot << 64 | ticks
    namespace = lock_module._pid_namespace()
    assert not lock_module.is_dead(here, process.pid, start)
    if start is not None:
        assert lock_module.is_dead(here, process.pid, start + 1)  # its number went to another process
    process.communicate()
    assert lock_module.is_dead(here, process.pid, start)
    assert lock_module.is_dead(here, process.pid, None)  # filelock doesn't find out everywhere
    assert not lock_module.is_dead("elsewhere", process.pid, start)
    assert not lock_module.is_dead(here, process.pid, boot + 1 << 64 | 5)  # another machine of this name
    assert not lock_module.is_dead(f"{here}?pidns-f0000001", process.pid, start)
    assert not lock_module.is_dead(f"{here}?pidns-?", process.pid, start)  # of a newer filelock
    monkeypatch.setattr(lock_module, "_pid_namespace", lambda: 0xF0000001)
    assert lock_module.is_dead(f"{here}?pidns-f0000001", process.pid, start)
    assert not lock_module.is_dead(here, process.pid, start)
    monkeypatch.setattr(lock_module, "_pid_namespace", lambda: None)  # nobody may look at /proc
    assert not lock_module.is_dead(here, process.pid, start)
    assert namespace


def test_a_cell_runs_as_long_as_a_lock_from_another_container_is_renewed(tmp_path):
    """One with this machine's name: its processes have numbers of their own."""
    store = Store.create(tmp_path / "s")
    with store.writing(ONE.name, ONE.record()) as writer:
        writer.note(visits=[["a"], ["b"]])
    lock = store.path / "cells" / f"{ONE.name}.lock"
    lock.write_text(marker(f"{socket.gethostname()}?pidns-f0000001", dead_process(), 45.0))
    stored = store.cell(ONE.name)
    assert (stored.status, stored.owner.host) == ("running", socket.gethostname())
    then = time.time() - 2.5 * lock_module.LEASE_SECONDS
    os.utime(lock, (then, then))
    assert store.cell(ONE.name).status == "interrupted"


def test_status_from_another_pid_namespace(tmp_path):
    alone = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    if subprocess.run([*alone, ""], capture_output=True).returncode:
        pytest.skip("this user can't make a PID namespace")
    store = Store.create(tmp_path / "s")
    code = "import sys; from lifegen.benchmark.store import Store; print(Store(sys.argv[1]).cells()[0].status)"
    with store.writing(ONE.name, ONE.record()):
        told = subprocess.check_output([*alone, code, store.path], text=True)
    assert told == "running\n"


def test_a_lock_that_is_renewed_stays(tmp_path, clock):
    """Another machine's, which this one can't ask; its clock is an hour behind."""
    store = Store.create(tmp_path / "s")
    lock = store.path / "cells" / f"{ONE.name}.lock"
    lock.write_text(marker("elsewhere", 4))

    def renew() -> None:
        os.utime(lock, (time.time() - 3600,) * 2)

    renew()
    clock.while_sleeping = renew
    assert not is_taken(store)
    assert clock.passed > LEASE


def test_a_line_put_into_an_empty_lock_leaves_its_owner_its_lock(tmp_path):
    """Who creates a lock writes a moment later who it is."""
    lock = SoftFileLease(tmp_path / "lock", lease_duration=45)
    real = lock._write_lock_info

    def late(descriptor: int) -> None:
        with (tmp_path / "lock").open("ab") as file:
            file.write(b"\n")
        real(descriptor)
        with (tmp_path / "lock").open("ab") as file:
            file.write(b"\n")

    with mock.patch.object(lock, "_write_lock_info", late), lock:
        assert lock.is_lock_held_by_us
        assert lock.owner.pid == os.getpid()


def _slow(path: Path, appended: Any, go_on: Any) -> None:
    """Write a cell, with a stop in the middle."""
    try:
        with Store(path).writing(ONE.name, ONE.record()) as writer:
            writer.note(visits=[["a"], ["b"]], device="cpu", metrics={})
            writer.append([ROW | {"interval": 0}])
            appended.set()
            go_on.wait(HANG)
            writer.append([ROW | {"interval": 1, "value": 666.0}])
            writer.finish()
    except CellBusyError:
        os._exit(3)


ROW = {"interval": 0, "distribution": None, "step": None, "metric": "negative_elbo", "value": 1.0}


def test_who_was_silent_for_too_long_writes_nothing_more(tmp_path, monkeypatch):
    """Stopped like a laptop that sleeps, taken over, and woken up again."""
    context = multiprocessing.get_context("forkserver")
    appended, go_on = context.Event(), context.Event()
    store = Store.create(tmp_path / "s")
    process = start(_slow, store.path, appended, go_on)
    assert appended.wait(HANG)
    clock = Clock(monkeypatch)
    assert not is_taken(store)
    os.kill(process.pid, signal.SIGSTOP)
    clock.sleep(1.5 * LEASE)
    with store.writing(ONE.name, ONE.record()) as writer:
        os.kill(process.pid, signal.SIGCONT)
        go_on.set()
        process.join(HANG)
        writer.note(visits=[["a"]], device="cpu", metrics={})
        writer.append([ROW])
        writer.finish()
    assert process.exitcode == 3
    assert store.cell(ONE.name).status == "done"
    assert load(store.path)["value"].tolist() == [1.0]


def test_rows_that_another_process_put_in_are_noticed(tmp_path):
    store = Store.create(tmp_path / "s")
    with store.writing(ONE.name, ONE.record()) as writer:
        writer.append([ROW])
        with (writer.folder / "metrics.jsonl").open("a") as file:
            file.write("x\n")
        with pytest.raises(CellBusyError):
            writer.append([ROW])
        with pytest.raises(CellBusyError):
            writer.finish()
    assert store.cell(ONE.name).status == "interrupted"


# Several processes on one store


HAMMERED = [cell("naive:width=2,batch_size=8", SMALL, seed) for seed in (0, 1)]


def _hammer(path: Path, seed: int) -> None:
    """Run all cells again and again until they are done. Two that append to one at a time would be seen."""
    import torch

    torch.set_num_threads(1)
    append = cell_writer.CellWriter.append

    def alone(self: Any, rows: Any) -> None:
        flag = path.parent / f"{name_of(self.folder.name)}.flag"
        try:
            holder = int(flag.read_text() or 0) if flag.exists() else 0
        except ValueError:
            holder = 0
        if holder and holder != os.getpid() and lock_module.is_alive(holder):
            (path.parent / "two at once").touch()
        flag.write_text(str(os.getpid()))
        append(self, rows)
        flag.unlink(missing_ok=True)

    cell_writer.CellWriter.append = alone  # type: ignore[method-assign]
    rng = random.Random(seed)
    while True:
        cells = rng.sample(HAMMERED, len(HAMMERED))
        if {run_cell(one, path, path.parent, "cpu") for one in cells} == {"done"}:
            os._exit(0)
        time.sleep(0.05)


def test_processes_that_are_killed_on_one_store_finish_each_cell_once(tmp_path, stores):
    store = Store.create(tmp_path / "s")
    rng = random.Random(7)
    processes = [start(_hammer, store.path, i) for i in range(3)]
    for i in range(6):
        time.sleep(rng.uniform(0.05, 0.6))
        victim = rng.randrange(3)
        processes[victim].kill()
        processes[victim].join()
        processes[victim] = start(_hammer, store.path, 10 + i)
    for process in processes:
        process.join(HANG)
        assert process.exitcode == 0
    assert not (tmp_path / "two at once").exists()
    assert outcome(store, ONE) == outcome(stores["done"], ONE)
    assert {one.status for one in store.cells()} == {"done"}
    assert len(store.cells()) == len(HAMMERED)
    assert {file.name for file in (store.path / "cells").iterdir()} == {one.name for one in HAMMERED}
    assert not (store.path / "set-aside").exists()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["begin", "append", "finish", "leave"])), max_size=14)
)
def test_no_order_of_two_writers_steps_mixes_their_rows(tmp_path_factory, steps):
    """Both with locks that say they are held, as after a lease that ran out unnoticed. The first result stays."""
    store = Store.create(tmp_path_factory.mktemp("s") / "store")
    held = mock.patch.object(store_module, "locked", return_value=nullcontext(mock.Mock()))
    writers: dict[int, cell_writer.CellWriter] = {}
    left: dict[int, ExitStack] = {who: ExitStack() for who in (0, 1)}
    result: list[Any] = []
    for who, step in steps:
        try:
            if step == "begin":
                left[who].close()
                with held:
                    writers[who] = left[who].enter_context(store.writing(ONE.name, ONE.record()))
                writers[who].note(visits=[["a"]], device="cpu", metrics={})
            elif who in writers and step == "append":
                writers[who].append([ROW | {"value": float(who)}])
            elif who in writers and step == "finish":
                writers.pop(who).finish()
            else:
                writers.pop(who, None)
        except (CellBusyError, CellDoneError):
            writers.pop(who, None)
        stored = store.cell(ONE.name)
        if result or stored.status == "done":
            measured = stored.measured().to_pylist()
            assert len({row["value"] for row in measured}) <= 1
            result = result or measured
            assert measured == result
            assert [one.name for one in (store.path / "cells").iterdir()].count(ONE.name) == 1


# Disks


def _with_file_limit(one: Cell, path: Path, size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    run_in_store(one, path)


@pytest.mark.parametrize("size", [0, 100, 3000, 20_000, 40_000])
def test_no_file_longer_than_so_many_bytes_can_be_written(stores, tmp_path, size):
    store = Store.create(tmp_path / "s")
    process = start(_with_file_limit, ONE, store.path, size)
    process.join(HANG)
    stored = store.cell(ONE.name)
    assert (process.exitcode == 0) == (stored.status == "done")
    if stored.status != "done":
        assert load(store.path).empty
        assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
    assert outcome(store, ONE) == outcome(stores["done"], ONE)


@contextmanager
def full_disk(at: int) -> Iterator[Callable[[], int]]:
    """From the n-th time that something is put on the disk, the disk is full; yields how often it was."""
    count = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count >= at:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)  # what didn't get through
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with mock.patch("os.fsync", full):
        yield lambda: count


def test_a_disk_that_is_full_from_any_write_on(stores, tmp_path):
    at = 1
    while True:
        store = Store.create(tmp_path / str(at))
        with full_disk(at) as writes:
            try:
                status = run_cell(ONE, store.path, tmp_path, "cpu")
            except OSError:
                status = "raised"
        if writes() < at:
            assert status == "done"
            break
        if store.cell(ONE.name).status == "done":  # only the last write was lost, if any
            assert outcome(store, ONE) == outcome(stores["done"], ONE)
        else:
            assert status in ("failed", "raised")
            assert load(store.path).empty
            if at % 3 == 1:
                assert run_cell(ONE, store.path, tmp_path, "cpu") == "done"
                assert outcome(store, ONE) == outcome(stores["done"], ONE)
        at += 1
    assert at > 8


def test_a_log_that_cannot_be_written_gives_the_terminal_back(monkeypatch):
    before = [os.fstat(descriptor).st_ino for descriptor in (1, 2)]
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with _output_to(Path("/dev/full")):
            print("x")
        assert [os.fstat(descriptor).st_ino for descriptor in (1, 2)] == before
        with pytest.raises(OSError, match="No space"):  # what is still in its buffer
            full.close()


def test_a_store_that_cannot_be_written_to_is_read(stores, tmp_path):
    store = copy_of(stores["done"], tmp_path / "s")
    refused = OSError(errno.EROFS, "Read-only file system")
    opened = os.open

    def to_read(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise refused
        return opened(path, flags, *arguments, **options)

    with mock.patch("os.open", to_read), mock.patch.object(Path, "mkdir", side_effect=refused):
        with pytest.raises(InputError, match="can't be written to: Read-only file system"):
            Store.check(store.path)
        assert rows(store) == rows(stores["done"])


def test_a_cell_in_a_store_that_has_become_read_only_fails_with_the_reason(tmp_path):
    store = Store.create(tmp_path / "s")
    (store.path / "cells").rmdir()
    (store.path / "cells").symlink_to("/proc")
    (event,) = run([ONE], store, Execution(tmp_path, device="cpu"), jobs=1)
    assert event.kind == "failed"
    assert event.error


# Older versions


EXAMPLES = Path(__file__).parent / "examples"


def example(schema: int, place: Path) -> Path:
    """A store as that version wrote it; without pictures, and with states compressed."""
    shutil.copytree(EXAMPLES / f"schema-{schema}", place)
    for file in place.glob("cells/*/*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    return place


@pytest.mark.parametrize("schema", [1, 2])
def test_stores_of_older_versions_are_read(schema, tmp_path, monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.reading.current.installed_versions", dict)  # whatever is raised later
    store = Store.open(example(schema, tmp_path / "s"))
    expected = json.loads((EXAMPLES / f"schema-{schema}.json").read_text())
    assert {one.name: one.status for one in store.cells()} == expected["status"]
    done = store.cell(next(name for name, status in expected["status"].items() if status == "done"))
    assert numbers_of(store, done.name)["negative_elbo"] == pytest.approx(expected["negative_elbo"], rel=1e-12)
    assert sum(row["metric"] == "negative_elbo" for row in done.measured().to_pylist()) == expected["rows"]


@pytest.mark.parametrize("schema", [1, 2])
def test_unfinished_cells_of_older_versions_are_gone_on_with_or_begun_anew(schema, tmp_path, monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.store.staleness.installed_versions", dict)  # whatever is raised later
    store = Store.create(example(schema, tmp_path / "s"))
    for stored in store.cells():
        name, record = stored.name, stored.record
        if stored.status == "done":
            with pytest.raises(CellDoneError), store.writing(name, record):
                pass
            continue
        method, scenario = record["method"]["label"], record["scenario"]["label"]
        one = cell(method, scenario, record["seed"])
        if one.name != name:  # versions or options have changed since: it is another cell
            continue
        assert run_cell(one, store.path, tmp_path, "cpu") == "done"
        fresh = Store.create(tmp_path / f"fresh-{name}")
        assert run_cell(one, fresh.path, tmp_path, "cpu") == "done"
        # Not to the bit: this machine's arithmetic needn't be that of the one where it was begun.
        numbers = [numbers_of(each, name)["negative_elbo"] for each in (store, fresh)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-3)
    assert json.loads((store.path / "lifegen.json").read_text()) == {"schema": cell_folder.SCHEMA}


def test_a_record_without_a_seal_is_read(stores, tmp_path):
    """As schema 1 has it, and one that was written by hand."""
    store = copy_of(stores["done"], tmp_path / "s")
    stored = store.cell(ONE.name)
    record = {key: value for key, value in stored.record.items() if key != "seal"}
    (stored.folder / "run.json").write_text(json.dumps(record))
    assert store.cell(ONE.name).status == "done"
    write_record(stored.folder, record | {"schema": 99})
    assert store.cell(ONE.name).status == "incompatible"
    with pytest.raises(InputError, match="newer lifegen"):
        run_cell(ONE, store.path, tmp_path, "cpu")

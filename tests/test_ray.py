"""Cells as Ray tasks, on a real cluster of several nodes on this machine; one of them is killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.running import ray as on_ray
from lifegen.benchmark.running import ray_files
from lifegen.benchmark.running.executor import Event, Execution
from lifegen.benchmark.running.ray import Request, run_on_ray
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.lock import CellUnreadableError, StoreGoneError
from lifegen.benchmark.store.store import Store

from .bad_methods import bad, meeting
from .test_run import TINY, numbers, tiny_cells
from .waiting import until

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray isn't installed: pip install 'lifegen[ray]'")

pytestmark = pytest.mark.filterwarnings("ignore:::ray.*")

MARK = f"ray-{os.getpid()}-{time.time_ns()}"
"""In the environment of all that the cluster begins."""
SMALL = {"object_store_memory": 80 * 2**20}
NOTICE = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_timeout_ms": 100_000}
"""A node that is gone is noticed in seconds; one that is slow to answer is waited for."""


class Cluster:
    """A head that runs nothing, and nodes of one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": NOTICE, **SMALL}
        self.ray = RayCluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add(), self.add()]
        ray.init(address=self.ray.address, log_to_driver=False, logging_level="ERROR")

    def add(self, **resources: Any) -> Any:
        return self.ray.add_node(num_cpus=1, **resources, **SMALL)

    def kill(self, node: Any) -> None:
        self.ray.remove_node(node, allow_graceful=False)

    def kill_the_one_that_runs_a_cell(self) -> set[str]:
        """Kill a node; returns the numbers of the processes that will end with it, sooner or later."""
        (worker,) = (line.split()[0] for line in running("ray::run_here"))
        (node,) = (node for node in self.nodes if node.all_processes["raylet"][0].process.pid == int(parent(worker)))
        self.nodes.remove(node)
        below = [worker]
        for process in below:
            below += [other for other in (line.split()[0] for line in running()) if parent(other) == process]
        self.kill(node)
        return set(below)

    def shutdown(self) -> None:
        ray.shutdown()
        self.ray.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    os.environ["LIFEGEN_TEST"] = MARK
    cluster = Cluster()
    yield cluster
    cluster.shutdown()
    del os.environ["LIFEGEN_TEST"]
    until(lambda: not running())


def parent(process: str) -> str:
    """The number of a process's parent; none of one that has just ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    return ""


def running(word: str = "") -> set[str]:
    """Commands of the processes that the cluster began, cells and what they are forked from included."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if MARK.encode() in (folder / "environ").read_bytes() and word in command:
                found.add(f"{folder.name} {command}")
    return found


def numbers_here(cells: list[Cell], folder: Path) -> list[tuple[object, ...]]:
    store = Store.create(folder)
    assert {run_cell(cell, store.path, folder, "cpu") for cell in cells} == {"done"}
    return numbers(store)


def meeting_cells(place: Path) -> list[Cell]:
    """Two cells that come to an end if they run at the same time."""
    return [Cell(parse_spec("scenario", TINY), meeting(place), seed) for seed in range(2)]


@pytest.mark.parametrize("share", ["auto", "ray"])
def test_cells_run_on_several_nodes_and_give_the_numbers_of_a_run_here(cluster, tmp_path, share):
    """Each node has one core: two that meet are on two nodes."""
    cells = [*meeting_cells(tmp_path / "place"), *tiny_cells("naive", "lifelong-vae")]
    store = Store.create(tmp_path / "s")
    events: list[Event] = []
    last = run_on_ray(cells, store, Execution(tmp_path), share=share, show=events.append)
    assert [event.kind for event in last] == ["done"] * 4
    assert {event.cell.name for event in events if event.kind == "started"} == {cell.name for cell in cells}
    assert [event.intervals for event in last] == [event.of for event in last] == [2] * 4
    assert numbers(store) == numbers_here(cells, tmp_path / "here")
    for cell in cells:
        names = {file.name for file in store.cell(cell.name).folder.iterdir()}
        assert names == {"run.json", "metrics.jsonl", "pictures.npz", "image_values.npz", "log.txt"}
    assert not list(store.path.glob(".*"))


@pytest.mark.parametrize("share", ["folder", "ray"])
def test_a_killed_node_costs_no_finished_interval(cluster, tmp_path, share):
    """It is killed in the second interval, when the store has the state at the end of the first."""
    go = tmp_path / "go"
    cell = Cell(parse_spec("scenario", TINY), bad("pause", after=go), 0)
    store = Store.create(tmp_path / "s")
    killed: set[str] = set()
    told: list[str] = []

    def has_state() -> bool:
        return (store.cell(cell.name).folder / "state.safetensors").exists()

    def show(event: Event) -> None:
        if share == "folder" and event.intervals == 1 and not killed:  # else it comes with one of the next events
            until(has_state)
        if not killed and has_state():
            killed.update(cluster.kill_the_one_that_runs_a_cell())

    def tell(text: str) -> None:
        told.append(text)
        until(lambda: not killed & {line.split()[0] for line in running()})
        go.touch()

    last = run_on_ray([cell], store, Execution(tmp_path), share=share, show=show, tell=tell)
    cluster.nodes.append(cluster.add())
    assert [event.kind for event in last] == ["done"]
    (text,) = told
    assert "its worker is lost, another one continues" in text
    (resumed,) = store.cell(cell.name).record["resumed"]
    assert resumed["after"] == 0
    assert numbers(store) == numbers_here([cell], tmp_path / "here")


def test_a_cell_that_goes_wrong_ends_alone(cluster, tmp_path):
    store = Store.create(tmp_path / "s")
    broken = Cell(parse_spec("scenario", TINY), bad("raise"), 0)
    last = run_on_ray([broken, *tiny_cells("naive")], store, Execution(tmp_path), share="ray")
    assert {event.cell.method.name: event.kind for event in last} == {"bad": "failed", "naive": "done"}
    stored = store.cell(broken.name)
    assert (stored.status, stored.reason) == ("failed", "RuntimeError: this method is broken")
    assert "about to go wrong" in (stored.folder / "log.txt").read_text()
    assert {event.error for event in last} == {"", stored.reason}


def test_a_cell_that_another_process_runs_is_left_alone(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "_BUSY_FOR", 0.0)
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    for share in ("folder", "ray"):
        with store.writing(cell.name, cell.record()):
            (event,) = run_on_ray([cell], store, Execution(tmp_path), share=share)
            assert event.kind == "busy"


@pytest.mark.parametrize(
    "error", [StoreGoneError("s was moved or deleted meanwhile"), CellUnreadableError("run.json can't be read now")]
)
def test_what_this_process_cannot_write_now_is_said_and_left_as_it_is(cluster, tmp_path, monkeypatch, error):
    """The node sends the cell's files, and the store is gone, or can't be read."""

    def holding(*_: object) -> None:
        raise error

    store = Store.create(tmp_path / "s")
    monkeypatch.setattr(Store, "holding", holding)
    (event,) = run_on_ray(tiny_cells("naive"), store, Execution(tmp_path), share="ray")
    assert (event.kind, event.error) == ("failed", str(error))
    assert store.cells() == []


def test_an_interrupted_run_leaves_nothing_behind(cluster, tmp_path):
    store = Store.create(tmp_path / "s")
    cell = Cell(parse_spec("scenario", TINY), bad("hang"), 0)

    def interrupt(event: Event) -> None:
        if event.intervals:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_ray([cell], store, Execution(tmp_path), show=interrupt)
    until(lambda: store.cell(cell.name).status == "interrupted")
    until(lambda: not running("ray::run_here"))
    assert not list(store.path.glob(".*"))


def test_fail_fast(cluster, tmp_path):
    store = Store.create(tmp_path / "s")
    broken, endless, other = (Cell(parse_spec("scenario", TINY), bad(kind), seed)
                              for kind, seed in (("raise", 0), ("hang", 0), ("hang", 1)))  # fmt: skip
    last = run_on_ray([broken, endless, other], store, Execution(tmp_path, fail_fast=True))
    assert [event.kind for event in last] == ["failed"]


@pytest.mark.parametrize("request_", [Request(gpus=1), Request(memory=2**44), Request(cpus=3)])
def test_what_no_node_can_hold_is_said(cluster, tmp_path, request_, monkeypatch):
    monkeypatch.setattr(on_ray, "_NODES_SECONDS", 0.1)
    store = Store.create(tmp_path / "s")
    with pytest.raises(InputError, match="no node of the Ray cluster can hold .*the nodes have: .*1 CPUs, 0 GPUs"):
        run_on_ray(tiny_cells("naive"), store, Execution(tmp_path), request=request_, patience=0.5)


def test_cells_share_a_gpu_and_see_the_one_that_ray_gives_them(cluster, tmp_path):
    node = cluster.add(num_gpus=1)
    store = Store.create(tmp_path / "s")
    cells = meeting_cells(tmp_path / "place")
    last = run_on_ray(cells, store, Execution(tmp_path), request=Request(cpus=0.5, gpus=0.5))
    cluster.kill(node)
    assert [event.kind for event in last] == ["done"] * 2
    for cell in cells:
        assert "visible: 0\n" in (store.cell(cell.name).folder / "log.txt").read_text()


def test_other_versions_on_a_node_are_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "installed_versions", lambda packages: {"lifegen": "0.0.1", "torch": "2.0"})
    with pytest.raises(InputError, match=r"a node can't run .*lifegen [\d.]+, not 0.0.1 and torch [\d.]+, not 2.0"):
        run_on_ray(tiny_cells("naive"), Store.create(tmp_path / "s"), Execution(tmp_path))


# Without a cluster


def test_the_visible_gpus_are_those_that_ray_gave():
    assert ray_files.visible_gpus({"GPU": []}) == ray_files.visible_gpus({}) == []
    assert ray_files.visible_gpus({"GPU": ["3"], "TPU": ["0"]}) == ["3"]
    assert ray_files.visible_gpus({"GPU": ["0", "2"]}) == ["0,2"]


def test_what_a_node_may_write():
    assert all(map(ray_files.is_kept, ["run.json", "state.safetensors", "log.txt"]))
    assert not any(
        map(ray_files.is_kept, ["", ".", "..", "../run.json", "/etc/x", "a/b", "lock", "lock.1", ".run.json"])
    )


def test_files_are_sent_when_they_change_and_in_an_order_in_which_they_fit(tmp_path):
    sent: dict[str, Any] = {}
    for name in ("metrics.jsonl", "run.json", "state.safetensors", "log.txt", "lock", ".run.json.3"):
        (tmp_path / name).write_text("one")
    assert list(ray_files.changes_in(tmp_path, sent)) == ["run.json", "state.safetensors", "log.txt", "metrics.jsonl"]
    assert ray_files.changes_in(tmp_path, sent) == {}
    (tmp_path / "log.txt").write_text("three")
    assert ray_files.changes_in(tmp_path, sent, ignoring=["log.txt"]) == {}
    (tmp_path / "metrics.jsonl").write_text("two and more")
    assert list(ray_files.changes_in(tmp_path, sent, ignoring=["log.txt"])) == ["log.txt", "metrics.jsonl"]
    assert ray_files.changes_in(tmp_path / "nothing", {}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "ray://host:10001"}, "isn't an address"),
        ({"address": "host"}, "isn't an address"),
        ({"address": "127.0.0.1:1"}, "no Ray at 127.0.0.1:1: "),
        ({"device": "cuda:1"}, "use --device cuda"),
        ({"device": "cuda"}, "needs --gpu-share"),
        ({"request": Request(gpus=1.5)}, "GPUs must be whole"),
        ({"request": Request(cpus=-1)}, "can't be negative"),
    ],
)
def test_bad_input(tmp_path, options, message, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    execution = Execution(tmp_path, device=options.get("device", "auto"))
    where = {name: value for name, value in options.items() if name != "device"}
    with pytest.raises(InputError, match=message):
        run_on_ray(tiny_cells("naive"), Store.create(tmp_path), execution, **where)


def test_without_ray_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'lifegen\[ray\]'"):
        run_on_ray(tiny_cells("naive"), Store.create(tmp_path), Execution(tmp_path))

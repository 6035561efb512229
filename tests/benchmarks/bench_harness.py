"""What the harness costs around the training step: start-up, the store, measuring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lifegen.benchmark.cells.cell import Cell, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.experts import load_expert
from lifegen.benchmark.measuring.samples import Gallery
from lifegen.benchmark.running import local as running
from lifegen.benchmark.running import worker
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store

from .conftest import Row, median, seconds_of
from .rivals import SEEDS, noise_stream, strategy_of, template

TIMES = 5
_TIMED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def command(*arguments: str | Path) -> tuple[float, float, float]:
    """CPU seconds, most megabytes and wall seconds of a lifegen command."""
    lifegen = str(Path(sys.executable).with_name("lifegen"))
    began = time.perf_counter()
    # By way of a small process: a child's most memory starts with that of the process which it was split off from.
    timed = [sys.executable, "-S", "-c", _TIMED, lifegen, *map(str, arguments)]
    seconds, megabytes = subprocess.run(timed, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes), time.perf_counter() - began


def repeated(table: Any, what: str, measure: Callable[[], float], target: str) -> None:
    measure()
    table.add(Row(what, *median([measure() for _ in range(TIMES)]), unit="s", target=target))


def filled(folder: Path, cells: int) -> Store:
    """A store of one real cell and copies of it: fifty methods, the seeds that they need."""
    store = Store.create(folder)
    (cell,) = product(
        [parse_spec("scenario", "split-digits:steps=60")], [parse_spec("method", "lifelong-vae:width=8")], [0]
    )
    assert worker.run_cell(cell, store.path, folder, "cpu") == "done"
    original = store.cell(cell.name)
    record = json.loads((original.folder / "run.json").read_text())
    del record["hash"]  # a copy isn't what its hash says
    for i in range(1, cells):
        copy = original.folder.with_name(f"copy-{i}")
        copy.mkdir()
        os.link(original.folder / "metrics.jsonl", copy / "metrics.jsonl")
        method = record["method"] | {"label": f"method-{i % 50}"}
        write_record(copy, record | {"method": method, "seed": i // 50})
    return store


def bench_list(table):
    repeated(table, "lifegen list, CPU", lambda: command("list")[0], "<= 0.8")


def bench_leaderboard_of_a_small_store(table, tmp_path):
    store = filled(tmp_path, 12)
    repeated(table, "lifegen leaderboard, 12 cells, CPU", lambda: command("leaderboard", store.path)[0], "<= 1.5")


def bench_leaderboard_of_a_large_store(table, tmp_path):
    store = filled(tmp_path, 10_000)
    rows = len((store.cells()[0].folder / "metrics.jsonl").read_text().splitlines())
    seconds, megabytes, _ = command("leaderboard", store.path)
    note = f"from the records; {rows} rows a cell"
    table.add(Row("lifegen leaderboard, 10,000 cells, CPU", seconds, unit="s", target="<= 10", note=note))
    table.add(Row("lifegen leaderboard, 10,000 cells, memory", megabytes, unit="MB", target="<= 1000", note=note))


class StopError(Exception):
    pass


def until_first_step(cell: Cell, root: Path, began: float) -> float:
    """Seconds from a cell's scheduling to its first optimiser step, in a worker."""
    from avalanche.core import SupervisedPlugin

    class Ends(SupervisedPlugin):
        def before_update(self, strategy, **_):
            raise StopError

    torch.set_num_threads(1)
    stream = worker.build_stream(cell.scenario, cell.seeds, root)
    strategy = worker.build_method(cell.method).strategy(stream, cell.seeds, worker.find_device("cpu"))
    strategy.plugins.insert(0, Ends())
    with pytest.raises(StopError):
        strategy.train(stream.train_stream[0], eval_streams=[])
    return time.time() - began


def bench_a_further_cell(table, tmp_path):
    cell = cells_of("quick")[0]
    with running.pool(1) as pool:

        def measure() -> float:
            return pool.result(pool.schedule(until_first_step, cell, tmp_path, time.time()))

        repeated(table, "a further cell until its first step, wall", measure, "<= 0.5")


def bench_the_suite_quick(table, tmp_path):
    seconds = command("run", "--suite", "quick", "--out", tmp_path / "quick", "--device", "cpu")[2]
    table.add(Row("lifegen run --suite quick, wall", seconds, unit="s", target="<= 90", note=f"{os.cpu_count()} cores"))


@pytest.mark.parametrize("method", ["naive", "lifelong-vae"])
def bench_metrics_of_samples(table, method):
    """Metrics of samples after the middle interval against 1,000 steps of training; those of the end aren't counted.

    The real images are looked at once a run, so they aren't counted either.
    """
    stream = noise_stream(10, n=1000, tests=1000)
    strategy = strategy_of(method, 100, stream)
    view = list(stream.train_stream)
    step = template(strategy, 10)
    gallery = Gallery(stream, load_expert("mnist"))
    gallery.real(stream.distributions, 10)
    shares = []
    for _ in range(3):
        times = [seconds_of(step) / 10 for _ in range(5)]
        with_samples, without = (
            seconds_of(partial(Evaluator(stream, SEEDS, view, gallery=one).measure, strategy, 4, 1.0))
            for one in (gallery, None)
        )
        shares.append((with_samples - without) / (1000 * median(times)[0]))
    table.add(Row(f"metrics of samples / 1,000 steps, {method}", *median(shares), target="<= 0.15"))


@pytest.mark.parametrize(
    ("method", "target"), [("naive", "<= 0.1"), ("lifelong-vae", "<= 0.1"), ("growing-mixture:threshold=0", "<= 1.0")]
)
def bench_measuring(table, method, target):
    """All of measuring against all of training at the default budget of ``split-mnist``: 3,000 steps an interval,
    10,000 test and 6,000 validation images of ten classes. Each is taken from a part: the middle interval's measures,
    the last one's importance bound, and some steps. A mixture has all its components from the first interval on here.
    """
    stream = noise_stream(10, n=1000, tests=1000)
    strategy = strategy_of(method, 100, stream)
    view = list(stream.train_stream)
    step = template(strategy, 10)
    shares = []
    for _ in range(1 if "mixture" in method else 3):  # a mixture takes minutes
        evaluator = Evaluator(stream, SEEDS, view)
        evaluator.measure(strategy, 4, 1.0)  # what is measured of codes compares with the interval before
        times = [seconds_of(step) / 10 for _ in range(5)]
        middle, last = (seconds_of(partial(evaluator.measure, strategy, i, 1.0)) for i in (5, 9))
        shares.append((9 * middle + last) / (10 * 3000 * median(times)[0]))
    note = "K = 10 components" if "mixture" in method else ""
    table.add(Row(f"measuring / training, {method}", *median(shares), target=target, note=note))

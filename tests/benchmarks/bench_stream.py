"""Does a step get slower, or a cell larger, as the stream goes on?"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from . import rivals
from .conftest import Row
from .rivals import noise_stream, rotated_visits, strategy_of, template

EARLY, LATE = 6, 70
"""Intervals trained on: the last ones are number 5 and number 69."""
METHODS = ("naive", "generative-replay", "lifelong-vae", "ewc", "synaptic-intelligence", "avalanche-generative-replay")
"""Those that store neither the past nor a component or column for each distribution."""


def arithmetic(run: rivals.Run) -> int:
    """Floating-point operations of a run."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Avalanche's own, in stock plugins
@pytest.mark.parametrize("method", METHODS)
def bench_step_late_in_the_stream(compare, table, method):
    options = ":fisher_samples=10" if method == "ewc" else ""
    stream = noise_stream(rotated_visits())
    late, early = (template(strategy_of(method + options, 100, stream, intervals=n)) for n in (LATE, EARLY))
    more = arithmetic(late) / arithmetic(early)
    name = f"{method}, interval 69 / interval 5"
    row = compare(name, late, early, target="<= 1.12", note=f"arithmetic {more:.3f}")
    divided = [value / more for value in (row.value, row.low, row.high)]
    table.add(Row(f"{name}, by arithmetic", *divided, target="<= 1.05"))


def memory_after(intervals: int, folder: str) -> None:
    """Most memory of a process that trains the lifelong VAE so long, written to a file."""
    strategy_of("lifelong-vae", 100, noise_stream(rotated_visits()), intervals=intervals)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path(folder, str(intervals)).write_text(status["VmHWM"].split()[0])  # rusage would have the parent's, too


def bench_memory_late_in_the_stream(table, tmp_path):
    for intervals in (0, EARLY, LATE):
        process = multiprocessing.get_context("spawn").Process(target=memory_after, args=(intervals, str(tmp_path)))
        process.start()
        process.join()
    start, early, late = (int((tmp_path / str(intervals)).read_text()) / 1024 for intervals in (0, EARLY, LATE))
    note = f"{start:.0f} MB before the first interval, {early:.0f} MB after number 5, {late:.0f} MB after number 69"
    what = "lifelong-vae, memory beyond that before the first interval, interval 69 / interval 5"
    table.add(Row(what, (late - start) / (early - start), target="<= 1.12", note=note))

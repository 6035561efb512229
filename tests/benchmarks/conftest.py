"""Ratios that can be trusted on a shared machine, and the table that they are written to."""

from __future__ import annotations

import csv
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from scipy.stats import quantile_test

torch.set_num_threads(1)

TABLE = Path(
    os.environ.get("LIFEGEN_BENCHMARK_TABLE", Path(__file__).parents[2] / "results" / "performance" / "table.csv")
)
SLICE = float(os.environ.get("LIFEGEN_BENCHMARK_SLICE", "0.3"))
"""Seconds of CPU time that a slice takes: long enough for the clock, short enough for the machine not to change."""
ROUNDS = int(os.environ.get("LIFEGEN_BENCHMARK_ROUNDS", "21"))
"""Pairs of slices: so many give a distribution-free 95 % interval of their median ratio."""


@dataclass
class Row:
    """One line of the table."""

    what: str
    """What was compared, or measured."""
    value: float | None = None
    """Median; None: not measured."""
    low: float | None = None
    high: float | None = None
    """95 % interval of the median."""
    unit: str = "ratio"
    target: str = ""
    """What was asked for, such as ">= 0.97"."""
    note: str = ""
    machine: str = field(default_factory=lambda: machine())

    def is_met(self) -> str:
        """Whether the median meets the target: yes, no, or nothing where there is none."""
        if self.value is None or not self.target:
            return ""
        sign, limit = self.target.split()
        return "yes" if (self.value >= float(limit) if sign == ">=" else self.value <= float(limit)) else "no"


def machine(device: torch.device | str = "cpu") -> str:
    """The machine in words: what its numbers depend on."""
    if torch.device(device).type == "cuda":
        kind = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        units = "AMX" if torch.cpu._is_amx_tile_supported() else torch.backends.cpu.get_cpu_capability()
        kind = f"{names[0] if names else platform.processor()}, {units}, one thread"
    return f"{kind}; torch {version('torch')}, Python {platform.python_version()}"


class Table:
    """Rows by what they say; those that this session doesn't measure stay as they were."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        if TABLE.exists():
            with TABLE.open() as file:
                self.rows = {row["what"]: row for row in csv.DictReader(file)}

    def add(self, row: Row) -> None:
        values = asdict(row)
        for key in ("value", "low", "high"):
            values[key] = "" if values[key] is None else f"{values[key]:.3g}"
        self.rows[row.what] = values | {"met": row.is_met()}
        shown = " ".join(f"{key}={value}" for key, value in self.rows[row.what].items() if value and key != "machine")
        print(f"\n{shown}")

    def skip(self, what: str, reason: str, **facts: Any) -> NoReturn:
        """Say why there is no number, and skip the benchmark."""
        self.add(Row(what, note=f"not measured: {reason}", **facts))
        pytest.skip(reason)

    def write(self) -> None:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        columns = ["what", "value", "low", "high", "unit", "target", "met", "note", "machine"]
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())
        TABLE.with_suffix(".md").write_text(self._page())

    def _page(self) -> str:
        """The table as a page."""
        lines = ["| what | median | 95 % interval | target | met | note |", "| --- | --- | --- | --- | --- | --- |"]
        for row in sorted(self.rows.values(), key=lambda row: not row["value"]):  # what wasn't measured comes last
            unit = "" if row.get("unit") in (None, "ratio") else f" {row['unit']}"
            interval = f"{row['low']} to {row['high']}" if row.get("low") else ""
            cells = (
                row["what"],
                row["value"] + unit,
                interval,
                *(row.get(key) or "" for key in ("target", "met", "note")),
            )
            lines.append(f"| {' | '.join(cells)} |")
        machines = dict.fromkeys(row.get("machine") or "" for row in self.rows.values() if row["value"])
        return "\n".join(["# Measured", "", *lines, "", *(f"Measured on {one}." for one in machines), ""])


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.write()


@pytest.fixture
def compare(benchmark: Any, table: Table) -> Callable[..., Row]:
    """How much more time one thing takes than another, from slices of both in turn."""

    def run(
        what: str,
        first: Callable[[], object],
        second: Callable[[], object],
        *,
        target: str = "",
        note: str = "",
        device: torch.device | str = "cpu",
    ) -> Row:
        """Add a row: time of ``first`` over that of ``second``.

        Args:
            what: names the row.
            first: does one unit of work.
            second: does the same amount of work.
            target: of the ratio.
            note: what a reader must know.
            device: whose time counts: CPU time of this process, or that between two events on a GPU.
        """
        clock = _device_clock(device) if torch.device(device).type == "cuda" else time.process_time
        repeats = [max(1, round(SLICE / seconds_of(work, clock))) for work in (first, second)]
        seconds: list[float] = []

        def other() -> None:
            # Once before and once after a slice of the first: neither profits from its place.
            seconds.append(seconds_of(second, clock, repeats[1]))

        benchmark._timer = clock  # the option --benchmark-timer takes none that is made here
        benchmark.pedantic(lambda: [first() for _ in range(repeats[0])], setup=other, rounds=ROUNDS)
        other()
        firsts = [slice_ / repeats[0] for slice_ in benchmark.stats.stats.data]
        around = pairwise(seconds)
        ratios = [2 * one / (before + after) for one, (before, after) in zip(firsts, around, strict=True)]
        row = Row(what, *median(ratios), target=target, note=note, machine=machine(device))
        benchmark.extra_info.update(asdict(row))
        table.add(row)
        return row

    return run


def median(values: list[float]) -> tuple[float, float | None, float | None]:
    """Median and its distribution-free 95 % interval: the range, where there are too few values for one; none of one
    value.
    """
    if len(values) == 1:
        return values[0], None, None
    middle = statistics.median(values)
    interval = quantile_test(values, q=middle, p=0.5).confidence_interval(0.95)
    low, high = (float(end) for end in interval)
    return middle, min(values) if math.isnan(low) else low, max(values) if math.isnan(high) else high


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.process_time, times: int = 1) -> float:
    """Seconds that one call takes: of CPU time, by default."""
    began = clock()
    for _ in range(times):
        work()
    return (clock() - began) / times


def _device_clock(device: torch.device | str) -> Callable[[], float]:
    start = torch.cuda.Event(enable_timing=True)
    start.record(torch.cuda.current_stream(device))

    def now() -> float:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        event.synchronize()
        return start.elapsed_time(event) / 1000

    return now

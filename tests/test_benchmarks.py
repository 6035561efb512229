"""The benchmarks run, and their table says what was measured. How fast anything is, no test says."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from .benchmarks import bfloat16_quality, gpu
from .benchmarks.conftest import Row, median

SOME = (
    "bench_naive_against_the_plain_loop and 64 or bench_naive_against_vae_training and 64 or pipeline and 64"
    " or bench_products_alone and 64 or bench_frozen_components and 64 or bench_bfloat16 or bench_cuda or bench_list"
)


def test_each_kind_of_row_is_written(tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["what", "value", "note"], ["from before", "3", "stays"]])
    small = {"SLICE": "0.01", "ROUNDS": "2", "TABLE": str(table)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/benchmarks", "-k", SOME, "-q",
         "-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"],
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}
        | {f"LIFEGEN_BENCHMARK_{key}": value for key, value in small.items()},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    rows = {row["what"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert rows["from before"]["value"] == "3"
    measured = rows["plain loop / naive, batch 64"]
    assert 0 < float(measured["low"]) <= float(measured["value"]) <= float(measured["high"])
    assert measured["met"] in ("yes", "no")
    assert measured["machine"]
    assert any(what.startswith("GPU: eager / captured, lifelong-vae") for what in rows)
    unmeasured = [row for row in rows.values() if not row["value"]]
    assert all(row["note"].startswith("not measured: ") for row in unmeasured)


def test_the_rows_of_a_gpu_are_measured_one_after_another(capsys):
    gpu.main(["--device", "cpu", "--seconds", "0.01", "--cells", "1", "--methods", "naive,growing-mixture-student"])
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "failed" in line or "skipped" in line]
    rows = [line[:56].strip() for line in lines[1:]]
    assert rows[:2] == ["lifelong-vae, 1 in turns", "lifelong-vae, 1 under the service"]
    assert rows[-4:-2] == ["a step of naive", "a step of growing-mixture-student"]


def test_a_row_that_fails_or_comes_too_late_says_so(capsys):
    gpu.Bench("cpu", 1.0, minutes=1).row("one", lambda: str(1 / 0))
    gpu.Bench("cpu", 1.0, minutes=0).row("other", lambda: "it was measured")
    one, other = capsys.readouterr().out.splitlines()
    assert one.endswith("failed: ZeroDivisionError: division by zero")
    assert other.endswith("skipped: the time is over")


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=40))
def test_the_median_lies_in_its_interval_and_that_in_the_range(values):
    middle, low, high = median(values)
    assert min(values) <= low <= middle <= high <= max(values)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    draws = np.random.default_rng(0).exponential(size=(1000, 21))
    covered = [low <= np.log(2) <= high for _, low, high in (median(list(row)) for row in draws)]
    assert 0.93 < np.mean(covered) < 0.99


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [(1.0, ">= 0.97", "yes"), (0.9, ">= 0.97", "no"), (1.5, "<= 1.45", "no"), (1.4, "<= 1.45", "yes"), (1.0, "", ""),
     (None, ">= 1", "")],
)  # fmt: skip
def test_a_row_says_whether_its_target_is_met(value, target, met):
    assert Row("x", value, target=target, machine="m").is_met() == met


def test_the_quality_of_bfloat16_is_that_of_rounded_products(tmp_path):
    """Rounding changes what is learned, by little; a second call computes nothing and says the same."""
    out = tmp_path / "pairs.csv"
    arguments = ["split-digits:steps=10,classes_per_interval=5", "naive:width=16", "--seeds", "2", "--out", str(out)]
    printed = []
    for _ in range(2):
        result = CliRunner().invoke(bfloat16_quality.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        printed.append(result.output)
    assert printed[0] == printed[1]
    assert "over 2 seeds, 95 % interval" in printed[0]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    for row in rows:
        assert float(row["bfloat16"]) == pytest.approx(float(row["float32"]), rel=0.02)
    assert any(row["bfloat16"] != row["float32"] for row in rows)  # a seed may be equal to the printed digits

"""The format of matrix products in training: where it acts, where it doesn't, and what a store makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from avalanche.core import SupervisedPlugin

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.running.local import prepare
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.store.store import Store
from lifegen.benchmark.training import precision
from lifegen.benchmark.training.precision import products_in, resolve, rounds

from .commands import lifegen
from .conftest import tiny
from .test_run import tiny_cells

CPU = torch.device("cpu")


def now() -> tuple[str, str]:
    return torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.conv.fp32_precision


def test_a_context_sets_products_and_convolutions_and_brings_back_what_was():
    before = now()
    with products_in("bfloat16", CPU):
        assert now() == ("bf16", "bf16")
        with products_in("float32", CPU):
            assert now() == ("ieee", "ieee")
        assert now() == ("bf16", "bf16")
    assert now() == before
    with pytest.raises(ZeroDivisionError), products_in("bfloat16", CPU):
        _ = 1 / 0
    assert now() == before


def test_training_steps_have_the_precision_and_measuring_has_float32(monkeypatch):
    seen: dict[str, set[str]] = {"step": set(), "boundary": set(), "measured": set()}

    class Spy(SupervisedPlugin):
        def after_forward(self, strategy, **_):
            seen["step"].add(now()[0])

        def after_training_exp(self, strategy, **_):
            seen["boundary"].add(now()[0])

    stream = tiny("ab", steps=4, interval_length="early-stopping", check_every=2)
    strategy = build_method(parse_spec("method", "naive:width=8,batch_size=12")).strategy(stream, Seeds(0))
    strategy.plugins.insert(1, Spy())
    strategy.precision = "bfloat16"
    log_weights = type(strategy.model).log_weights

    def spied(*arguments, **named):
        seen["measured"].add(now()[0])
        return log_weights(*arguments, **named)

    monkeypatch.setattr(type(strategy.model), "log_weights", spied)
    evaluator = Evaluator(stream, Seeds(0), list(stream.train_stream))
    with products_in("float32", CPU):
        for interval, experience in enumerate(stream.train_stream):
            strategy.train(experience, eval_streams=[])
            evaluator.measure(strategy, interval, 0.0)
    assert seen == {"step": {"bf16"}, "boundary": {"ieee"}, "measured": {"ieee"}}


def test_the_probe_sees_whether_products_are_rounded():
    assert not rounds("float32", CPU)
    if torch.cpu._is_amx_tile_supported():
        assert rounds("bfloat16", CPU)


def test_a_precision_that_would_change_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "rounds", lambda *_: False)
    assert resolve("float32", CPU) == "float32"
    with pytest.raises(InputError, match="--precision bfloat16: .* --precision float32"):
        resolve("bfloat16", CPU)


def test_auto_is_float32_as_long_as_nothing_faster_was_shown_to_leave_bounds_alone():
    assert resolve("auto", CPU) == "float32"


def test_a_tf32_cell_is_refused_on_a_cpu_before_any_training(tmp_path):
    cell = Cell(parse_spec("scenario", "split-digits"), parse_spec("method", "naive"), 0, "tf32")
    with pytest.raises(InputError, match="--precision tf32"):
        prepare([cell], tmp_path, "cpu")
    done = lifegen("run", "-s", "split-digits", "-m", "naive", "--precision", "tf32", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 2
    assert "--precision tf32: matrix products on this cpu don't use it" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_cells_of_two_precisions_are_two_lines_of_a_leaderboard(tmp_path, monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.running.worker.resolve", lambda asked, device: asked)
    store = Store.create(tmp_path)
    single = tiny_cells("growing-cvae")[0]
    rounded = replace(single, precision="bfloat16")
    assert rounded.name != single.name
    for cell in (single, rounded):
        assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    label = single.method.label
    methods = set(leaderboard(store).table["method"])  # which one is better, the machine says
    assert methods == {label, f"{label} (bfloat16)"}
    assert set(load(store.path)["precision"]) == {"float32", "bfloat16"}

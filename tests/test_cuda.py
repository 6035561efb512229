"""The same cells on a GPU, where there is one; what compares them is tested without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from avalanche.core import SupervisedPlugin

from lifegen.benchmark.cells.cell import Cell, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.store.store import Store

from .conftest import tiny
from .test_run import tiny_cells

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
EVERYTHING = (
    "lifelong-vae:width=4,style=2,architecture=conv,mixing=bernoulli,replay_images=draw,replay_prior=aggregate,"
    "consistency_on=both,mutual_information=infogan,likelihood_consistency_weight=1,weight_transfer=false"
)
TRACKS = ("bernoulli-binarised", "discretised-logistic")
COUNTS = ("real_samples", "synthetic_samples", "optimizer_steps", "stored_parameters")


def measured(cell: Cell, folder: Path, device: str) -> pd.Series[float]:
    """A cell's values by interval, distribution, step and metric."""
    store = Store.create(folder)
    assert run_cell(cell, store.path, folder, device, keep_model=True) == "done", store.cell(cell.name).reason
    return load(store.path).set_index(["interval", "distribution", "step", "metric"])["value"]


def check_alike(one: pd.Series[float], other: pd.Series[float]) -> None:
    """See whether two runs of a cell have the same rows, the same counts, and values of the same scale."""
    pd.testing.assert_index_equal(one.index, other.index)  # where it has NaN, "==" between tuples would never hold
    for metric in COUNTS:
        assert of(one, metric) == of(other, metric), metric
    assert of(other, "negative_elbo")[0] == pytest.approx(of(one, "negative_elbo")[0], rel=0.2)  # other noise


def of(values: pd.Series[float], metric: str) -> list[float]:
    return values.xs(metric, level="metric").tolist()


def compare(cell: Cell, folder: Path) -> None:
    check_alike(*(measured(cell, folder / device, device) for device in ("cpu", "cuda")))


def test_a_cell_is_like_itself_and_not_like_one_that_differs(tmp_path):
    (cell,) = tiny_cells("naive")
    values, again = (measured(cell, tmp_path / name, "cpu") for name in ("one", "two"))
    assert values.index.to_frame()[["distribution", "step"]].isna().any().all()
    check_alike(values, again)
    others = [values[1:], values.rename({"negative_elbo": "other"}, level="metric")]
    for metric in (*COUNTS, "negative_elbo"):
        others.append(values.where(values.index.get_level_values("metric") != metric, 2 * values + 1))
    for other in others:
        with pytest.raises(AssertionError):
            check_alike(values, other)


@needs_gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Avalanche's own, in stock plugins
@pytest.mark.parametrize("method", sorted(name for name, one in describe("method").items() if not one.facts["preset"]))
def test_a_cell_on_a_gpu_has_the_counts_of_one_on_the_cpu(tmp_path, method):
    compare(tiny_cells(method)[0], tmp_path)


@needs_gpu
@pytest.mark.parametrize("track", TRACKS)
def test_every_switch_works_on_a_gpu(tmp_path, track):
    scenario = f"split-digits:steps=3,classes_per_interval=5,track={track},interval_length=early-stopping,check_every=1"
    compare(product([parse_spec("scenario", scenario)], [parse_spec("method", EVERYTHING)], [0])[0], tmp_path)


@pytest.fixture
def waiting() -> Iterator[Callable[[str], None]]:
    """Say whether waiting for the device is an "error" or the "default", which a test that fails leaves behind, too."""
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


class Watch(SupervisedPlugin):
    """Makes waiting for the device an error, loader included, once libraries and the graph are set up."""

    capturable = True

    def __init__(self, waiting):
        super().__init__()
        self.waiting = waiting

    def before_training_iteration(self, strategy, **_):
        if strategy.clock.train_exp_iterations == 5:
            self.waiting("error")

    def after_training_epoch(self, strategy, **_):
        self.waiting("default")


class Waits(SupervisedPlugin):
    """A promise that a GPU doesn't let pass."""

    capturable = True

    def after_backward(self, strategy, **_):
        strategy.loss.detach().item()


@needs_gpu
def test_a_capture_that_fails_leaves_the_cell_training_eagerly():
    stream = tiny("ab", steps=12)
    strategy = build_method(parse_spec("method", "lifelong-vae:width=8,batch_size=12")).strategy(
        stream, Seeds(0), "cuda"
    )
    strategy.plugins.insert(0, Waits())
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        assert strategy.execution.startswith("eager: capturing failed")
        assert strategy.optimizer_steps == 12
    assert all(value.isfinite().all() for value in strategy.model.state_dict().values())


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("method", ["naive", "lifelong-vae", "ewc", "growing-mixture", "exact-replay"])
def test_no_step_waits_for_the_device_and_captured_steps_count_alike(method, captured, waiting):
    stream = tiny("ab", steps=12)
    strategy = build_method(parse_spec("method", f"{method}:width=8,batch_size=12")).strategy(stream, Seeds(0), "cuda")
    strategy.plugins.insert(0, Watch(waiting))
    if not captured:
        strategy.graph = None
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
    assert strategy.execution == ("captured" if captured else "eager")
    assert strategy.optimizer_steps == 12
    assert strategy.real_samples + strategy.synthetic_samples == 12 * 12
    assert all(list(trace) == list(range(12)) for trace in strategy.traces.by_name.values())
    assert all(value.isfinite().all() for value in strategy.model.state_dict().values())


@needs_gpu
def test_a_captured_step_draws_new_noise_and_anneals_the_temperature():
    """With a learning rate of nothing, only noise, batch and temperature change the loss."""
    stream = tiny("a", steps=30)
    options = "width=8,batch_size=12,learning_rate=1e-30"
    strategy = build_method(parse_spec("method", f"naive:{options}")).strategy(stream, Seeds(0), "cuda")
    losses = []

    class Losses(SupervisedPlugin):
        capturable = True

        def after_training_iteration(self, strategy, **_):
            losses.append(strategy.loss.detach().clone())

    strategy.plugins.insert(0, Losses())
    strategy.train(stream.train_stream[0], eval_streams=[])
    assert strategy.execution == "captured"
    assert len({float(loss) for loss in losses}) == 30
    assert strategy.model.temperature == pytest.approx(0.5, rel=0.01)

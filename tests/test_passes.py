"""What published protocols need of training: passes, drawing with replacement, pixels redrawn, replay added, clipped
gradients, weight decay."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifegen.benchmark.cells.cell import cell_of
from lifegen.benchmark.cells.suite import cells_of
from lifegen.benchmark.contracts.images import Images, drawn
from lifegen.benchmark.contracts.stream import ScenarioConfig, images_of
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.measurement import Measurement
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.loader import TensorLoader
from lifegen.methods.exact_replay import ExactReplay
from lifegen.methods.generative_replay import GenerativeReplay
from lifegen.methods.naive import Naive

from .conftest import tiny
from .test_template import Recorder

SMALL = {"batch_size": 10, "style": 2, "width": 8}


def loader(n: int, batch: int, reads: int | None, **options: object) -> TensorLoader:
    x = torch.arange(n).remainder(256).byte().view(n, 1, 1, 1)
    return TensorLoader(
        Images(x, torch.arange(n)), batch, 1, Seeds(0).generator("order"), "cpu", reads=reads, **options
    )


@given(n=st.integers(10, 60), real=st.integers(1, 10), passes=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_a_pass_trains_on_every_image_once_however_many_of_a_batch_are_replaced(n, real, passes):
    one = loader(n, 10, reads=passes * n)
    trained = []
    for _, y, _ in one:
        trained += y[:real].tolist()
        one.hand_back(10 - real)
    # It ends where the next batch would go beyond; the first one is always taken.
    assert passes * n - real < len(trained) <= passes * n
    for start in range(0, len(trained), n):
        part = trained[start : start + n]
        assert len(set(part)) == len(part)


def test_without_a_number_of_passes_handing_back_changes_nothing():
    one, other = loader(20, 10, None), loader(20, 10, None)
    first = [y.tolist() for _, y, _ in one]
    other.hand_back(7)
    assert [y.tolist() for _, y, _ in other] == first


def test_drawing_with_replacement_sees_63_percent_of_the_images():
    n = 20_000
    seen = torch.cat([y for _, y, _ in loader(n, 10, reads=n, replacement=True)])
    assert len(seen) == n
    # The share has a standard deviation below 1 / √(10 n): these are ten of them.
    assert abs(len(seen.unique()) / n - (1 - math.exp(-1))) < 10 / math.sqrt(10 * n)


def test_redrawn_pixels_are_binary_and_their_mean_is_the_grey_level():
    grey = torch.tensor([0.0, 0.2, 0.7, 1.0]).view(1, 1, 2, 2).expand(20_000, 3, 2, 2)
    x = drawn(grey, torch.Generator().manual_seed(0))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x[:, 0], x[:, 2])  # grey stays grey
    assert (x.mean(0) - grey[0]).abs().max() < 5 * 0.5 / math.sqrt(len(x))


def test_a_pixel_is_drawn_anew_at_each_read_in_training():
    recorder = Recorder()
    stream = tiny("a", steps=12, track="bernoulli-redrawn")
    method = Naive(SMALL)
    strategy = method.strategy(stream, Seeds(0))
    strategy.plugins.append(recorder)
    strategy.train(stream.train_stream[0], eval_streams=[])
    assert {value for x, _, _ in recorder.batches for value in x.unique().tolist()} <= {0.0, 1.0}
    first = images_of(stream.train_stream[0].dataset, generator=Seeds(0).generator("a"))
    second = images_of(stream.train_stream[0].dataset, generator=Seeds(1).generator("a"))
    assert set(first.unique().tolist()) == {0, 255}
    assert not torch.equal(first, second)
    assert torch.equal(first, images_of(stream.train_stream[0].dataset, generator=Seeds(0).generator("a")))


def test_test_pixels_are_drawn_once_a_run_the_same_for_all_methods():
    stream = tiny("ab", steps=2, track="bernoulli-redrawn")

    def tested(seed: int, method: type[Naive]) -> torch.Tensor:
        strategy = method(SMALL).strategy(stream, Seeds(seed))
        evaluator = Evaluator(stream, Seeds(seed), list(stream.train_stream))
        first, second = (Measurement(strategy, evaluator, i, 0.0).images("test", "a") for i in range(2))
        assert torch.equal(first, second)
        return first

    assert torch.equal(tested(0, Naive), tested(0, GenerativeReplay))
    assert not torch.equal(tested(0, Naive), tested(1, Naive))
    assert set(tested(0, Naive).unique().tolist()) == {0, 255}


@pytest.mark.parametrize("share", ["equal", "half", "added"])
@pytest.mark.parametrize("method", [GenerativeReplay, ExactReplay])
def test_an_interval_of_one_pass_trains_on_its_images_once(method, share):
    recorder = Recorder()
    stream = tiny("abc", steps=ScenarioConfig().steps, passes=1)
    strategy = method({**SMALL, "real_share": share}).strategy(stream, Seeds(0))
    strategy.plugins.append(recorder)
    for number, experience in enumerate(stream.train_stream, 1):
        recorder.batches.clear()
        strategy.train(experience, eval_streams=[])
        images = len(experience.dataset)
        real = {"equal": max(1, 10 // number), "half": 5 if number > 1 else 10, "added": 10}[share]
        replayed = 0 if number == 1 else 10 if share == "added" else 10 - real
        assert {len(x) for x, _, _ in recorder.batches} == {real + replayed}
        rows = torch.cat([x[:real] for x, _, _ in recorder.batches])
        assert images - real < len(rows) <= images
        assert strategy.optimizer_steps == images // real
        assert strategy.real_samples + strategy.synthetic_samples == (real + replayed) * strategy.optimizer_steps


def test_the_union_gets_as_many_passes():
    stream = tiny("aba", steps=ScenarioConfig().steps, passes=2)
    (whole,) = stream.joint()
    visited = sum(2 * len(experience.dataset) for experience in stream.train_stream)
    assert whole.steps is None
    assert whole.passes * len(whole.dataset) == pytest.approx(visited)


def test_an_interval_has_one_length():
    with pytest.raises(ValueError, match="either steps=5 or passes=2"):
        ScenarioConfig(passes=2, steps=5)
    with pytest.raises(ValueError, match="needs interval_length=fixed"):
        ScenarioConfig(passes=2, interval_length="random")


def test_clipping_bounds_every_element_and_comes_last():
    stream = tiny("ab", steps=3)
    largest = []

    class Look(Recorder):
        def after_update(self, strategy, **_):
            largest.append(max(float(p.grad.abs().max()) for p in strategy.model.parameters()))

    for limit in (None, 1e-3):
        strategy = Naive({**SMALL, "clip_gradient": limit}).strategy(stream, Seeds(0))
        strategy.plugins.append(Look())
        strategy.train(stream.train_stream[0], eval_streams=[])
    assert max(largest[:3]) > 1e-3
    assert max(largest[3:]) == pytest.approx(1e-3)


def test_weight_decay_is_that_of_a_penalty_in_the_loss():
    """Adam's coupled decay: the gradient of Σ w² · decay / 2 joins the loss's."""
    stream = tiny("a", steps=1)

    class Penalty(Recorder):
        def before_backward(self, strategy, **_):
            squares = sum(parameter.square().sum() for parameter in strategy.model.parameters())
            strategy.loss = strategy.loss + 0.05 * squares

    decayed = Naive({**SMALL, "weight_decay": 0.1}).strategy(stream, Seeds(0))
    penalised = Naive(SMALL).strategy(stream, Seeds(0))
    penalised.plugins.append(Penalty())
    for strategy in (decayed, penalised):
        strategy.train(stream.train_stream[0], eval_streams=[])
    for one, other in zip(decayed.model.parameters(), penalised.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_options_that_came_later_leave_the_names_of_earlier_cells():
    (plain,) = cells_of(scenarios=["split-digits"], methods=["naive"], seeds=[0])
    parts = plain.record()
    later = {"passes", "replacement", "weight_decay", "clip_gradient"}
    assert not later & (parts["scenario"]["config"].keys() | parts["method"]["config"].keys())
    assert later <= plain.scenario.config.keys() | plain.method.config.keys()
    assert cell_of(parts).name == plain.name
    (changed,) = cells_of(scenarios=["split-digits:passes=1"], methods=["naive:clip_gradient=1"], seeds=[0])
    assert changed.record()["scenario"]["config"]["passes"] == 1
    assert changed.record()["method"]["config"]["clip_gradient"] == 1
    assert cell_of(changed.record()).name == changed.name != plain.name

"""A loss that is no number is reported with the step where it was first met, and what it was made of; no other is."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from hypothesis import given, settings
from hypothesis import strategies as st

from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.finite_loss import DivergedError, FiniteLossPlugin
from lifegen.benchmark.training.template import GenerativeTemplate

from .conftest import tiny
from .recorded_graph import RecordedGraph

BAD = [math.nan, math.inf, -math.inf]


class AsOnADevice(FiniteLossPlugin):
    """Doesn't look at a loss on the CPU either."""

    def _waits(self, strategy: object) -> bool:
        return False


def outputs(reconstruction: bool) -> Any:
    parts = {"negative_elbo": lambda: torch.tensor([2.0, 4.0]), "divergence": torch.tensor([1.0, 2.0])}
    return SimpleNamespace(**parts, **({"reconstruction": torch.tensor([1.0])} if reconstruction else {}))


def went_through(plugin: FiniteLossPlugin, intervals: list[list[float]], reconstruction: bool = True) -> str | None:
    """What is said of losses, interval by interval."""
    clock = SimpleNamespace(train_exp_counter=0, train_exp_iterations=0)
    strategy = SimpleNamespace(mb_output=outputs(reconstruction), clock=clock)
    try:
        for losses in intervals:
            clock.train_exp_iterations = 0
            plugin.before_training_exp(strategy)
            for loss in losses:
                strategy.loss = torch.tensor(loss)
                plugin.after_backward(strategy)
                clock.train_exp_iterations += 1  # by the clock, whose plugin is after this one
                plugin.after_training_iteration(strategy)
            plugin.after_training_epoch(strategy)
            clock.train_exp_counter += 1
    except DivergedError as error:
        return str(error)
    return None


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=3),
    bad=st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 24)), st.sampled_from(BAD), max_size=4),
    every=st.integers(1, 12),
    keeps=st.booleans(),
)
def test_the_first_bad_step_is_reported_exactly(lengths, bad, every, keeps):
    intervals = [[bad.get((i, step), 5.0 + step) for step in range(n)] for i, n in enumerate(lengths)]
    expected = min((place for place in bad if place[0] < len(lengths) and place[1] < lengths[place[0]]), default=None)
    said = went_through((AsOnADevice if keeps else FiniteLossPlugin)(every), intervals)
    if expected is None:
        assert said is None
        return
    assert said is not None
    assert f"the loss is {bad[expected]:.5g} at step {expected[1]} of interval {expected[0]} (both from 0)" in said


@pytest.mark.parametrize("kind", [FiniteLossPlugin, AsOnADevice])
@pytest.mark.parametrize(("reconstruction", "part"), [(True, "1"), (False, "nan")])
def test_it_says_of_what_the_loss_was_made(kind, reconstruction, part):
    said = went_through(kind(), [[1.0, math.inf]], reconstruction)
    assert said == (
        "the loss is inf at step 1 of interval 0 (both from 0): negative ELBO 3 "
        f"(reconstruction {part}, divergence 1.5), other terms inf"
    )


@pytest.mark.parametrize("kind", [FiniteLossPlugin, AsOnADevice])
def test_an_output_that_tells_nothing_is_no_obstacle(kind):
    plugin = kind(3)
    strategy = SimpleNamespace(mb_output=torch.zeros(2), clock=SimpleNamespace(train_exp_counter=0))
    strategy.clock.train_exp_iterations = 0
    strategy.loss = torch.tensor(math.nan)

    def step() -> None:
        plugin.before_training_exp(strategy)
        plugin.after_backward(strategy)
        plugin.after_training_iteration(strategy)
        plugin.after_training_epoch(strategy)

    with pytest.raises(DivergedError, match="the loss is nan at step 0 of interval 0"):
        step()


class Spoils(SupervisedPlugin):
    """Puts a weight that is no number into the model before some step."""

    capturable = True

    def __init__(self, interval: int, step: int) -> None:
        super().__init__()
        self.at = interval, step

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self.now = strategy.clock.train_exp_counter
        self.step = torch.zeros((), dtype=torch.int64)

    def before_forward(self, strategy: Any, **_: Any) -> None:
        if self.now == self.at[0]:  # in tensors alone: a captured step is one, too
            bad = torch.where(self.step == self.at[1], torch.full((), math.nan), torch.zeros(()))
            strategy.model.decoder_input.bias.data.add_(bad)
            self.step.add_(1)


@pytest.mark.parametrize("step", [0, 3, 4, 7, 8, 10])
@pytest.mark.parametrize("path", ["looks at each", "keeps", "captured"])
def test_real_training_ends_with_the_step(path, step):
    strategy: GenerativeTemplate = build_method(parse_spec("method", "naive:width=8,batch_size=12,style=2")).strategy(
        stream := tiny("ab", steps=11), Seeds(0)
    )
    finite = FiniteLossPlugin() if path == "looks at each" else AsOnADevice(4)
    place = next(i for i, plugin in enumerate(strategy.plugins) if isinstance(plugin, FiniteLossPlugin))
    strategy.plugins[place] = finite
    strategy.plugins.insert(0, Spoils(1, step))
    strategy.graph = RecordedGraph if path == "captured" else None
    first, second = stream.train_stream
    strategy.train(first, eval_streams=[])
    assert (strategy.execution == "captured") == (path == "captured"), strategy.execution
    with pytest.raises(DivergedError) as raised:
        strategy.train(second, eval_streams=[])
    pattern = r"the loss is nan at step (\d+) of interval 1 \(both from 0\): negative ELBO nan \(reconstruction nan, .*"
    assert int(re.fullmatch(pattern, str(raised.value))[1]) == step

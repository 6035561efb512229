"""How long an interval is: fixed, random, or until its validation value stops falling."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from avalanche.core import SupervisedPlugin
from pydantic import ValidationError

from lifegen.benchmark.contracts.stream import ScenarioConfig
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import interval_steps
from lifegen.benchmark.training.early_stopping import EarlyStoppingPlugin
from lifegen.methods.lifelong_vae import LifelongVAE
from lifegen.methods.naive import Naive

from .conftest import tiny

SMALL = {"width": 8, "style": 2, "batch_size": 12}


def lengths(seed: int, **options: object) -> list[int]:
    stream = tiny("abcdabcdab", interval_length="random", seed=seed, **options)
    return [experience.steps for experience in stream.train_stream]


def test_random_lengths_have_a_minimum_and_come_from_the_seed_alone():
    assert lengths(0) == lengths(0)
    assert lengths(0) != lengths(1)
    assert min(lengths(0, steps=100)) > 100


def test_random_lengths_are_geometric():
    drawn = [n - 4 for seed in range(200) for n in lengths(seed, extra_steps=50)]
    assert min(drawn) == 1
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(50, abs=5 * 50 / math.sqrt(len(drawn)))
    beyond = sum(n > 50 for n in drawn) / len(drawn)
    assert beyond == pytest.approx((1 - 1 / 50) ** 50, abs=5 * 0.5 / math.sqrt(len(drawn)))


def test_a_random_interval_takes_its_steps_and_tells_no_schedule_how_many():
    stream = tiny("ab", steps=5, interval_length="random", extra_steps=3)
    strategy = LifelongVAE(SMALL).strategy(stream, Seeds(0))
    planned = []
    strategy.plugins.insert(0, spy(before_training_exp=lambda s: planned.append(interval_steps(s))))
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        assert strategy.optimizer_steps == experience.steps > 5
        assert strategy.real_samples + strategy.synthetic_samples == 12 * experience.steps
    assert planned == [5, 5]


def spy(**hooks):
    plugin = SupervisedPlugin()
    for name, function in hooks.items():
        setattr(plugin, name, lambda strategy, f=function, **_: f(strategy))
    return plugin


def scripted(monkeypatch, values):
    """Early stopping that sees these validation values, one after another."""
    left = iter(values)
    monkeypatch.setattr(EarlyStoppingPlugin, "_value", lambda *_: next(left))


def train(monkeypatch, values, **options):
    stream = tiny("ab", interval_length="early-stopping", **{"steps": 30, "check_every": 2, "patience": 4} | options)
    scripted(monkeypatch, values)
    strategy = Naive(SMALL).strategy(stream, Seeds(0))
    states = {}
    strategy.plugins.insert(-1, spy(after_update=lambda s: states.update(
        {s.optimizer_steps: copy.deepcopy(s.model.state_dict())})))  # fmt: skip
    strategy.train(stream.train_stream[0], eval_streams=[])
    return strategy, states, stream


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_an_interval_ends_after_the_patience_and_the_best_state_comes_back(monkeypatch):
    strategy, states, _ = train(monkeypatch, [5, 3, 4, 3])  # looks at steps 2, 4, 6, 8; the best is at 4
    assert strategy.optimizer_steps == 8
    assert strategy.real_samples == 8 * 12
    assert equal(strategy.model.state_dict(), states[4])
    assert not equal(states[8], states[4])


def test_the_next_interval_begins_all_the_same(monkeypatch):
    """Within one call of train, Avalanche's own flag stays set after an epoch that was stopped: the next interval would
    have no steps."""
    stream = tiny("ab", interval_length="early-stopping", steps=30, check_every=2, patience=4)
    scripted(monkeypatch, [5, 6, 7, 2, 3, 1, 8, 9])
    strategy = Naive(SMALL).strategy(stream, Seeds(0))
    steps = []
    strategy.plugins.insert(-1, spy(after_training_exp=lambda s: steps.append(s.optimizer_steps)))
    strategy.train(stream.train_stream, eval_streams=[])
    assert steps == [6, 10]


def test_an_interval_that_keeps_improving_takes_all_its_steps(monkeypatch):
    strategy, states, _ = train(monkeypatch, range(100, 0, -1))
    assert strategy.optimizer_steps == 30
    assert equal(strategy.model.state_dict(), states[30])


def test_a_method_keeps_what_belongs_to_the_best_state(monkeypatch):
    stream = tiny("a", interval_length="early-stopping", steps=30, check_every=2, patience=4)
    scripted(monkeypatch, [5, 3, 4, 3])
    kept = []
    method = Naive(SMALL)
    method.plugins = lambda *_: [spy(after_training_exp=lambda s: kept.append(copy.deepcopy(s.model.state_dict())))]
    strategy = method.strategy(stream, Seeds(0))
    strategy.train(stream.train_stream[0], eval_streams=[])
    assert equal(kept[0], strategy.model.state_dict())


def test_only_the_current_intervals_validation_part_is_looked_at():
    stream = tiny("abc", interval_length="early-stopping", steps=4, check_every=1, patience=50)
    for name, experience in zip("abc", stream.train_stream, strict=True):
        assert torch.equal(experience.stopping.valid.x, stream.images("valid", name).x)
    (joint,) = stream.joint()
    assert len(joint.stopping.valid.x) == 15
    strategy = LifelongVAE(SMALL).strategy(stream, Seeds(0))
    seen = []
    log_weights = type(strategy.model).log_weights

    def listen(self, x, draws, generator=None):
        seen.append((strategy.experience.distribution, x))
        return log_weights(self, x, draws, generator)

    strategy.model.log_weights = listen.__get__(strategy.model)
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
    assert [name for name, _ in seen] == list("aaaabbbbcccc")
    for name, x in seen:
        torch.testing.assert_close(x, stream.images("valid", name).x / 255)


def test_an_interval_may_end_by_all_distributions_met():
    stream = tiny("abac", interval_length="early-stopping", steps=4, check_every=1, patience=50, stopping_on="seen")
    for met, experience in zip(("a", "ab", "ab", "abc"), stream.train_stream, strict=True):
        assert torch.equal(experience.stopping.valid.x, torch.cat([stream.images("valid", name).x for name in met]))
    (joint,) = stream.joint()
    assert torch.equal(joint.stopping.valid.x, stream.train_stream[-1].stopping.valid.x)


def test_looking_changes_nothing_but_the_length():
    """Same weights with and without looks: they take no noise of training and leave no statistics."""
    states = []
    for options in ({}, {"interval_length": "early-stopping", "check_every": 1, "patience": 100}):
        stream = tiny("ab", steps=3, **options)
        strategy = LifelongVAE(SMALL).strategy(stream, Seeds(0))
        strategy.plugins.insert(-1, spy(after_update=lambda s: states.append(copy.deepcopy(s.model.state_dict()))))
        strategy.train(stream.train_stream[0], eval_streams=[])
    for plain, looked in zip(states[:3], states[3:], strict=True):
        assert equal(plain, looked)


def test_every_look_has_the_same_noise():
    stream = tiny("a", interval_length="early-stopping", steps=3, check_every=1, patience=50)
    strategy = Naive(SMALL).strategy(stream, Seeds(0))
    values = []

    def look(strategy):
        plugin = next(plugin for plugin in strategy.plugins if isinstance(plugin, EarlyStoppingPlugin))
        values.append([plugin._value(strategy, strategy.experience.stopping) for _ in range(2)])

    strategy.plugins.insert(-1, spy(after_update=look))
    strategy.train(stream.train_stream[0], eval_streams=[])
    assert all(first == second for first, second in values)
    assert len({first for first, _ in values}) == 3


@pytest.mark.parametrize(("steps", "check_every"), [(11, 10), (3, 50)])
def test_the_last_step_is_always_looked_at(monkeypatch, steps, check_every):
    strategy, states, _ = train(monkeypatch, [5, 4], steps=steps, check_every=check_every)
    assert strategy.optimizer_steps == steps
    assert equal(strategy.model.state_dict(), states[steps])


def test_the_joint_interval_has_the_sum_of_random_lengths():
    """[D10]"""
    stream = tiny("abc", steps=5, interval_length="random", extra_steps=9)
    (joint,) = stream.joint()
    assert joint.steps == sum(experience.steps for experience in stream.train_stream) > 15
    assert joint.planned_steps == 15


@pytest.mark.parametrize(
    ("option", "value"), [("patience", 7), ("check_every", 7), ("extra_steps", 7), ("stopping_on", "seen")]
)
def test_an_option_without_effect_is_refused(option, value):
    """It would make a cell of its own with the same numbers."""
    with pytest.raises(ValidationError, match=f"{option} has an effect with interval_length="):
        ScenarioConfig(**{option: value})

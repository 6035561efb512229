"""Synaptic Intelligence: paths, importances and the penalty, against the paper's formulas."""

from __future__ import annotations

import torch
from torch import Tensor

from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.naive import Naive
from lifegen.methods.synaptic_intelligence import SynapticIntelligence, SynapticIntelligencePlugin

from .conftest import tiny
from .test_methods import Spy, begin


def plugin(strategy: GenerativeTemplate) -> SynapticIntelligencePlugin:
    return next(one for one in strategy.plugins if isinstance(one, SynapticIntelligencePlugin))


def weights(strategy: GenerativeTemplate) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in strategy.model.parameters()]


def test_importances_and_gradients_are_those_of_the_paper():
    """[Equations 3 to 5] The path follows the gradient of the loss without the penalty; no importance is negative."""
    stream = tiny("abc", steps=8)
    strategy = begin(SynapticIntelligence, stream, strength=3.0, damping=1e-4, learning_rate=0.02)
    paths: list[Tensor] = []
    plain: list[Tensor] = []
    before: list[Tensor] = []
    importance: list[Tensor] = []
    anchor: list[Tensor] = []
    largest = [0.0]

    def look(strategy):
        plain[:] = [parameter.grad.clone() for parameter in strategy.model.parameters()]
        before[:] = weights(strategy)

    def compare(strategy):
        if importance:
            copies = [value.clone().requires_grad_() for value in before]
            of_all = zip(importance, copies, anchor, strict=True)
            penalty = 3.0 * sum((omega * (copy - old).square()).sum() for omega, copy, old in of_all)
            expected = torch.autograd.grad(penalty, copies)
            largest.append(max(float(one.abs().max()) for one in expected))
            for parameter, alone, added in zip(strategy.model.parameters(), plain, expected, strict=True):
                torch.testing.assert_close(parameter.grad, alone + added, atol=2e-4, rtol=2e-3)

    def follow(strategy):
        for path, gradient, old, now in zip(paths, plain, before, weights(strategy), strict=True):
            path -= gradient * (now - old)

    strategy.plugins.insert(strategy.plugins.index(plugin(strategy)), Spy(after_backward=look))
    strategy.plugins.insert(-1, Spy(after_backward=compare, after_update=follow))
    clamped = 0
    for experience in stream.train_stream:
        start = weights(strategy)
        paths[:] = [torch.zeros_like(value) for value in start]
        strategy.train(experience, eval_streams=[])
        anchor[:] = weights(strategy)
        sums = [path / ((now - old) ** 2 + 1e-4) for path, now, old in zip(paths, anchor, start, strict=True)]
        if importance:
            sums = [old + new for old, new in zip(importance, sums, strict=True)]
        clamped += sum(int((value < 0).sum()) for value in sums)
        importance[:] = [value.clamp(min=0) for value in sums]
        for found, expected in zip(plugin(strategy).importance, importance, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert clamped > 0
    assert max(largest) > 1e-2


def test_on_one_weight_and_a_square_importance_is_the_fall_of_the_loss_over_the_squared_way():
    """With small steps, ω is the fall of the loss, so that c = 1 and no damping give the fall back at the start."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 4.0)
    penalty = SynapticIntelligencePlugin(strength=1.0, damping=1e-12)
    strategy = type("Strategy", (), {"model": model})()
    penalty.before_training_exp(strategy)
    for _ in range(2000):
        model.weight.grad = model.weight.detach().clone()  # of w²/2
        penalty.after_backward(strategy)
        penalty.before_update(strategy)
        with torch.no_grad():
            model.weight -= 1e-3 * model.weight.grad
        penalty.after_update(strategy)
    end = model.weight.item()
    penalty.after_training_exp(strategy)
    fall = (16 - end**2) / 2
    torch.testing.assert_close(penalty.importance[0].item(), fall / (4 - end) ** 2, atol=1e-3, rtol=1e-3)
    torch.nn.init.constant_(model.weight, 4.0)
    torch.testing.assert_close(penalty.penalty(model).item(), fall, atol=1e-2, rtol=1e-3)


def test_memory_does_not_grow_with_the_intervals():
    stream = tiny("abc")
    strategy = begin(SynapticIntelligence, stream)
    numbers = sum(value.numel() for value in weights(strategy))
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        assert strategy.stored_parameters == count_state(strategy.model) + 2 * numbers
    assert strategy.synthetic_samples == strategy.stored_samples == 0


def test_no_strength_is_naive_and_a_great_one_holds_the_weights():
    stream = tiny("af", steps=20)
    moved = {}
    for strength in (None, 0.0, 0.1, 1e4):
        options = {} if strength is None else {"strength": strength}
        strategy = begin(Naive if strength is None else SynapticIntelligence, stream, **options)
        strategy.train(stream.train_stream[0], eval_streams=[])
        start = weights(strategy)
        strategy.train(stream.train_stream[1], eval_streams=[])
        pairs = zip(weights(strategy), start, strict=True)
        moved[strength] = sum(float((now - old).square().sum()) for now, old in pairs)
    assert moved[0.0] == moved[None]
    assert moved[1e4] < moved[0.1] < moved[None]

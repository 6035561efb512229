"""Elastic weight consolidation: the Fisher information, the sum of quadratics, and trap D11 of the specification."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from lifegen.benchmark.cells.suite import suites
from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.stream import images_of
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods import ewc
from lifegen.methods.ewc import EWC, EWCPlugin, fisher_information
from lifegen.methods.models.vae import CodeStyleVAE, TrainingNoise
from lifegen.methods.naive import Naive

from .conftest import SHAPE, tiny
from .test_methods import Spy, begin


def plugin(strategy: GenerativeTemplate) -> EWCPlugin:
    return next(one for one in strategy.plugins if isinstance(one, EWCPlugin))


def one_by_one(model: CodeStyleVAE, images: Tensor, draws: int, noise: torch.Generator) -> list[Tensor]:
    """The same by a loop: each image's own gradient of the mean over its draws, squared, averaged."""
    model = copy.deepcopy(model).eval()
    model.generator = noise
    drawn = model.training_noise(len(images) * draws)
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for i in range(len(images)):
        rows = slice(i * draws, (i + 1) * draws)
        x = to_unit(images[i : i + 1]).expand(draws, -1, -1, -1)
        value = model.forward_given(x, TrainingNoise(*(part[rows] for part in drawn))).negative_elbo().mean()
        for total, gradient in zip(sums, torch.autograd.grad(value, list(model.parameters())), strict=True):
            total += gradient.square()
    return [total / len(images) for total in sums]


@pytest.mark.parametrize("draws", [1, 4])
def test_the_fisher_information_is_of_each_images_own_gradient(vae, draws, monkeypatch):
    """[D11] The gradient of the draw-averaged value, then squared; in chunks or not."""
    monkeypatch.setitem(ewc._GRADIENTS, "cpu", 3000)
    images = torch.randint(0, 255, (9, *SHAPE), dtype=torch.uint8, generator=Seeds(0).generator("x"))
    count = sum(p.numel() for p in vae.parameters())
    assert 3000 // count in (2, 3, 4, 5, 6)  # several images in a chunk, several chunks
    before = copy.deepcopy(vae.state_dict())
    found = fisher_information(vae, images, draws, Seeds(1).generator("n"))
    chunk = 3000 // count
    noise = Seeds(1).generator("n")
    expected = [torch.zeros_like(p) for p in vae.parameters()]
    for part in images.split(chunk):
        for total, value in zip(expected, one_by_one(vae, part, draws, noise), strict=True):
            total += value * len(part) / len(images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in vae.state_dict().items())
    assert all(p.grad is None for p in vae.parameters())


def test_squares_of_a_batchs_mean_are_far_smaller(vae):
    """[D11] What stock code takes for the Fisher information shrinks about as much as the batch is large."""
    images = torch.randint(0, 255, (64, *SHAPE), dtype=torch.uint8, generator=Seeds(0).generator("x"))
    own = sum(float(value.sum()) for value in fisher_information(vae, images, 1, Seeds(1).generator("n")))
    value = vae.forward_given(to_unit(images), vae.training_noise(64)).negative_elbo().mean()
    batch = sum(float(g.square().sum()) for g in torch.autograd.grad(value, list(vae.parameters())))
    assert own > 2 * batch


def test_it_is_taken_from_the_model_at_the_intervals_end_without_the_penalty():
    """[D11] On the interval's own training images, normalised by running statistics."""
    stream = tiny("ab", steps=5)
    strategy = begin(EWC, stream, strength=1e4)
    for interval, experience in enumerate(stream.train_stream):
        before = [value.clone() for value in plugin(strategy).importance]
        strategy.train(experience, eval_streams=[])
        images = stream.images("train", "ab"[interval]).x
        fresh = one_by_one(strategy.model, images, 1, Seeds(0).generator("fisher", interval))
        now = plugin(strategy).importance
        for i, (value, expected) in enumerate(zip(now, fresh, strict=True)):
            added = value - before[i] if before else value
            torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-3)
    assert strategy.model.training


@pytest.mark.parametrize(("mode", "strength"), [("offline", 30.0), ("online", 30.0)])
def test_the_gradient_is_that_of_the_stated_quadratics(mode, strength):
    """g/2 Σ_t Σ_i F_ti (θ_i − θ_ti)²: offline with every anchor, though two numbers a weight are kept; online with the
    latest and γ-weighted Fisher informations."""
    stream = tiny("abcd", steps=5)
    options = {"decay": 0.8} if mode == "online" else {}
    strategy = begin(EWC, stream, strength=strength, mode=mode, fisher_samples=20, **options)
    fishers: list[list[Tensor]] = []
    anchors: list[list[Tensor]] = []
    gaps = []
    gradient: list[Tensor] = []

    def before(strategy):
        gradient[:] = [p.grad.clone() for p in strategy.model.parameters()]

    def after(strategy):
        if not anchors:
            return
        parameters = list(strategy.model.parameters())
        copies = [p.detach().clone().requires_grad_() for p in parameters]
        if mode == "offline":
            terms = list(zip(fishers, anchors, strict=True))
        else:
            weights = [0.8 ** (len(fishers) - 1 - t) for t in range(len(fishers))]
            total = [sum(w * f[i] for w, f in zip(weights, fishers, strict=True)) for i in range(len(parameters))]
            terms = [(total, anchors[-1])]
        penalty = sum((f * (c - a).square()).sum() for fs, at in terms for f, c, a in zip(fs, copies, at, strict=True))
        expected = torch.autograd.grad(strength / 2 * penalty, copies)
        for p, plain, one in zip(parameters, gradient, expected, strict=True):
            torch.testing.assert_close(p.grad - plain, one, atol=2e-4, rtol=2e-3)
            gaps.append(float(one.abs().max()))

    position = strategy.plugins.index(plugin(strategy))
    strategy.plugins.insert(position, Spy(after_backward=before))
    strategy.plugins.insert(-1, Spy(after_backward=after))
    for interval, experience in enumerate(stream.train_stream):
        strategy.train(experience, eval_streams=[])
        images = images_of(experience.dataset, 20)
        fishers.append(one_by_one(strategy.model, images, 1, Seeds(0).generator("fisher", interval)))
        anchors.append([p.detach().clone() for p in strategy.model.parameters()])
    assert max(gaps) > 1e-2


def test_memory_does_not_grow_with_the_anchors_and_the_code_keeps_its_size():
    stream = tiny("abcd")
    strategy = begin(EWC, stream)
    sizes, codes = [], []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        sizes.append(strategy.stored_parameters)
        codes.append(strategy.model.codes)
    weights = sum(p.numel() for p in strategy.model.parameters())
    assert sizes == [count_state(strategy.model) + 2 * weights] * 4
    assert codes == [4] * 4
    assert strategy.synthetic_samples == strategy.stored_samples == 0


def test_no_strength_is_naive_and_a_great_one_holds_the_weights():
    stream = tiny("af", steps=20)
    moved = {}
    for strength in (None, 0.0, 1.0, 1e6):
        strategy = begin(
            Naive if strength is None else EWC, stream, **({} if strength is None else {"strength": strength})
        )
        strategy.train(stream.train_stream[0], eval_streams=[])
        start = [p.detach().clone() for p in strategy.model.parameters()]
        strategy.train(stream.train_stream[1], eval_streams=[])
        moved[strength] = sum(float((p - s).detach().square().sum()) for p, s in
                              zip(strategy.model.parameters(), start, strict=True))  # fmt: skip
    assert moved[0.0] == moved[None]
    assert moved[1e6] < moved[1.0] < moved[None]


def test_the_published_grid_is_that_of_the_specification():
    strengths = [
        float(one.removeprefix("ewc:strength=")) for one in suites()["ewc-grid"].methods if one.startswith("ewc")
    ]
    assert strengths == [1, 10, 100, 1000, 10000]
    assert EWC().config.strength in strengths

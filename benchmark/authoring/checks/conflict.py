"""Training on intervals that contradict each other, with the latent noise off, to compare methods.

With the noise on, one more draw from the model's generator would make a difference, and pass for learning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...contracts.images import Images, to_unit
from ...contracts.model import negative_elbo
from ...contracts.stream import Interval, Stream
from ...running.checkpoint import Checkpoint
from ...seeds import Seeds, global_states
from ...training.method import Method
from ...training.template import GenerativeTemplate
from .common import begun, changes, halves, small_stream

STEPS = 20
_LEVELS = {"dark": (0, 0), "bright": (200, 200), "half": (0, 200)}


@dataclass
class Run:
    """The results of a method trained on the conflicting stream. After an early stop the later ones are empty."""

    first: Tensor = field(default_factory=lambda: torch.empty(0))
    """Negative ELBO of fixed images and noise after interval 0, in evaluation mode"""
    last: Tensor = field(default_factory=lambda: torch.empty(0))
    """The same after the last interval"""
    weighed: Tensor = field(default_factory=lambda: torch.empty(0))
    """``last`` in training mode, where running statistics play no part: a function of the weights alone"""
    draws: set[str] = field(default_factory=set)
    """Global generators that training drew from"""


def conflicting_stream(steps: int = STEPS, size: int = 8) -> Stream:
    """Dark images, then bright ones, then half and half, and dark ones again."""

    def images(name: str, part: int, n: int) -> Images:
        number, levels = list(_LEVELS).index(name), _LEVELS[name]
        generator = torch.Generator().manual_seed(10 * number + part)
        return Images(halves(n, levels, size, generator), torch.full((n,), sum(levels) % 7))

    return small_stream([*_LEVELS, "dark"], images, steps=steps)


def run(
    method: Method,
    stream: Stream,
    goes_on: Callable[[GenerativeTemplate, Interval], bool] = lambda *_: True,
    seeds: Seeds = Seeds(0),  # noqa: B008  (frozen)
) -> Run:
    """Train a method on the stream.

    Args:
        method: the method to train.
        stream: the stream to train on.
        goes_on: looks at the strategy after each interval, and says whether to go on.
        seeds: seeds of the run.
    """
    strategy, _ = begin(method, stream, seeds)
    result = Run()
    for interval, experience in enumerate(method.view(stream)):
        before = global_states()
        strategy.train(experience, eval_streams=[])
        result.draws.update(changes(before, global_states()))
        if not goes_on(strategy, experience):
            return result
        if interval == 0:
            result.first = values(strategy, stream)
    result.last, result.weighed = values(strategy, stream), values(strategy, stream, training=True)
    return result


def begin(method: Method, stream: Stream, seeds: Seeds) -> tuple[GenerativeTemplate, Checkpoint]:
    """A method before its first interval, without latent noise, and its checkpoint."""
    strategy, evaluator = begun(method, stream, seeds)
    strategy.model.latent_noise = False
    return strategy, Checkpoint(strategy, method, stream, seeds, evaluator)


@torch.no_grad()
def values(strategy: GenerativeTemplate, stream: Stream, training: bool = False) -> Tensor:
    """Negative ELBO of each test image, with the same noise each time."""
    model = copy.deepcopy(strategy.model).train(training)
    x = to_unit(torch.cat([stream.images("test", name).x for name in stream.distributions]))
    weights = model.log_weights(x, 3, Seeds(0).generator("gate"))
    return negative_elbo(weights, model.log_prior).value

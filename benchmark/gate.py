"""The gate: what runs isn't yet what acts. Three conflicting intervals show whether a method does anything, and whether
its model keeps the contract.

A method that silently does nothing is a recurring bug of continual learning: it has the numbers of fine-tuning under
another name. So each is compared with ``naive`` on the same networks, seed and batches, with the latent noise off,
since otherwise extra draws alone would make a difference.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .catalogue import describe_one
from .images import Images, to_unit
from .method import Method
from .model import negative_elbo
from .registry import METHODS, Entry
from .seeds import Seeds
from .stream import Parts, ScenarioConfig, Stream, make_stream
from .template import GenerativeTemplate

STEPS = 8
SMALL: Mapping[str, Any] = {"width": 8, "style": 2, "batch_size": 12, "learning_rate": 0.01}
"""Options that make a method small; those that it doesn't have are left out."""


class GateError(AssertionError):
    """A method doesn't act, or its model breaks the contract."""


class _Trace(NamedTuple):
    """What a method is after each interval."""

    measured: list[Tensor]
    """negative ELBO of fixed images and noise, in evaluation mode"""
    weighed: list[Tensor]
    """the same in training mode, where running statistics play no part: a function of the weights alone"""


def check_method(entry: Entry, options: Mapping[str, Any] | None = None) -> None:
    """Send a registered method through the gate.

    Args:
        entry: from ``METHODS``.
        options: of the method, beside :data:`SMALL`.

    Raises:
        GateError: what is wrong, in words.
    """
    wanted = {**SMALL, **(options or {})}
    fields = entry.config.model_fields if entry.config else {}
    method: Method = entry.target({key: value for key, value in wanted.items() if key in fields})
    stream = conflicting_stream()
    trace = _run(method, stream, entry)
    again = _run(method, stream, None)
    if not _equal(trace.measured[-1], again.measured[-1]):
        raise GateError(f"{entry.name}: the same seed gives other weights the second time")
    if not entry.facts["gate"]:
        return
    naive = _run(_naive_like(method), stream, None)
    if not entry.facts["differs_at_once"] and not _equal(trace.measured[0], naive.measured[0]):
        raise GateError(
            f"{entry.name}: differs from naive after interval 0 already, by {_gap(trace.measured[0], naive.measured[0])}"
            " nats; if it should, register it with differs_at_once='the reason'"
        )
    if _equal(trace.weighed[-1], naive.weighed[-1]):
        raise GateError(f"{entry.name}: has the weights of naive after three conflicting intervals: it does nothing")


def conflicting_stream() -> Stream:
    """Dark images, then bright ones, then half and half, 4 × 4."""

    def images(n: int, levels: tuple[int, int], seed: int) -> Images:
        x = torch.randint(0, 40, (n, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
        x += torch.tensor(levels).repeat_interleave(8).view(1, 1, 4, 4)
        return Images(x.to(torch.uint8), torch.full((n,), sum(levels) % 7))

    levels = {"dark": (0, 0), "bright": (200, 200), "half": (0, 200)}
    parts = {
        name: Parts(*(images(n, level, 10 * k + i) for i, n in enumerate((40, 6, 12))))
        for k, (name, level) in enumerate(levels.items())
    }
    return make_stream(parts, list(levels), ScenarioConfig(steps=STEPS), Seeds(0))


def _naive_like(method: Method) -> Method:
    """``naive`` with a method's options. One that has no code option has no code: one that is always the same."""
    import_module(describe_one("method", "naive").module)
    naive: type[Method] = METHODS["naive"].target
    shared = {key: getattr(method.config, key) for key in naive.Config.model_fields if hasattr(method.config, key)}
    return naive({"codes": 1} | shared)


def _run(method: Method, stream: Stream, checked: Entry | None) -> _Trace:
    """Train on the stream, and check the contract after each interval if the method is the one to be checked."""
    seeds = Seeds(0)
    seeds.seed_globals()
    strategy = method.strategy(stream, seeds)
    strategy.model.latent_noise = False
    trace = _Trace([], [])
    codes = 0
    for number, experience in enumerate(method.view(stream)):
        strategy.train(experience, eval_streams=[])
        if any(not value.isfinite().all() for value in strategy.model.state_dict().values()):
            raise GateError(f"{type(method).__name__}: weights aren't finite after interval {number}")
        if checked is not None:
            codes = _check_model(strategy, checked.name, codes)
            _check_counts(strategy, checked, number, experience.steps)
        trace.measured.append(_values(strategy, stream, training=False))
        trace.weighed.append(_values(strategy, stream, training=True))
    return trace


@torch.no_grad()
def _values(strategy: GenerativeTemplate, stream: Stream, training: bool) -> Tensor:
    model = copy.deepcopy(strategy.model).train(training)
    x = to_unit(torch.cat([stream.images("test", name).x for name in stream.distributions]))
    weights = model.log_weights(x, 3, Seeds(0).generator("gate"))
    return negative_elbo(weights, model.log_prior).value


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other)


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@torch.inference_mode()
def _check_model(strategy: GenerativeTemplate, name: str, codes_before: int) -> int:
    """The contract of :class:`~lifegen.benchmark.GenerativeModel`; returns the number of codes."""
    model = copy.deepcopy(strategy.model).eval()
    n, draws = 5, 3
    x = torch.rand(n, 1, 4, 4, generator=Seeds(0).generator("gate-images"))
    components = len(model.log_prior)
    first, second = (model.log_weights(x, draws, Seeds(0).generator("gate")) for _ in range(2))
    posterior = model.code_log_posterior(x, first)
    noise = Seeds(0).generator("gate-samples")
    images = {"sample": model.sample(7, generator=noise), "reconstruct": model.reconstruct(x)}
    for code in range(model.codes):
        images[f"sample of code {code}"] = model.sample(7, code=code, generator=noise)
    problems = {
        f"log_weights: shapes {[tuple(part.shape) for part in first]}, not {(draws, components, n)}": any(
            part.shape != (draws, components, n) for part in first
        ),
        "log_weights: not finite": not all(part.isfinite().all() for part in first),
        "log_weights: the same generator gives other values": not all(map(torch.equal, first, second)),
        "log_prior: doesn't sum to 1": abs(float(model.log_prior.logsumexp(0))) > 1e-5,
        f"codes: {model.codes} after {codes_before}; codes are only ever appended": model.codes < codes_before,
        f"code_log_posterior: shape {tuple(posterior.shape)}, not {(n, model.codes)}": posterior.shape
        != (n, model.codes),
        "code_log_posterior: doesn't sum to 1": bool((posterior.logsumexp(1).abs() > 1e-4).any()),
    } | {
        f"{what}: {tuple(one.shape)} between {float(one.min())} and {float(one.max())}": one.shape[1:] != x.shape[1:]
        or not bool(((one >= 0) & (one <= 1)).all())
        for what, one in images.items()
    }
    for problem, is_there in problems.items():
        if is_there:
            raise GateError(f"{name}: {problem}")
    return model.codes


def _check_counts(strategy: GenerativeTemplate, entry: Entry, interval: int, steps: int) -> None:
    real, synthetic = strategy.real_samples, strategy.synthetic_samples
    problems = {
        f"{strategy.optimizer_steps} optimiser steps in an interval of {steps}": strategy.optimizer_steps != steps,
        f"{real} real and {synthetic} synthetic images in {steps} steps": real < 0
        or synthetic < 0
        or real + synthetic < steps,
        f"{synthetic} synthetic images of the past before there is one": interval == 0 and synthetic > 0,
        "keeps real images without saying uses=('past-data',)": strategy.stored_samples > 0
        and "past-data" not in entry.facts["uses"],
        "stores fewer numbers than its model has": strategy.stored_parameters
        < sum(parameter.numel() for parameter in strategy.model.parameters()),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise GateError(f"{entry.name}, interval {interval}: {problem}")

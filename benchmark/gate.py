"""The gate: what runs isn't yet what acts. Conflicting intervals show whether a method does anything, and whether
its model keeps the contract.

A method that silently does nothing is a recurring bug of continual learning: it has the numbers of fine-tuning under
another name. So each is compared with ``naive`` on the same networks, seed and batches, with the latent noise off,
since otherwise extra draws alone would make a difference.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .catalogue import describe_one
from .cell_folder import STATE
from .checkpoint import Checkpoint
from .errors import InputError
from .images import Images, to_unit
from .measures import Evaluator
from .method import Method
from .model import GenerativeModel, LogWeights, negative_elbo
from .registry import METHODS, Entry
from .seeds import Seeds
from .state import UnstatableError, read_state
from .stream import Parts, ScenarioConfig, Stream, make_stream
from .template import GenerativeTemplate

STEPS = 20
SMALL: Mapping[str, Any] = {"width": 8, "style": 2, "batch_size": 12, "learning_rate": 0.01}
"""Options that make a method small; those that it doesn't have are left out."""
_LEVELS = {"dark": (0, 0), "bright": (200, 200), "half": (0, 200)}


class GateError(AssertionError):
    """A method doesn't act, or its model breaks the contract."""


class _Trace(NamedTuple):
    """What a method is after each interval."""

    measured: list[Tensor]
    """negative ELBO of fixed images and noise, in evaluation mode"""
    weighed: list[Tensor]
    """the same in training mode, where running statistics play no part: a function of the weights alone"""


def check_method(entry: Entry | str, options: Mapping[str, Any] | None = None) -> None:
    """Send a registered method through the gate.

    With the same seed it must be the same twice, also if it is interrupted and goes on from its state. After the first
    interval it must be what ``naive`` is, unless it says why not; after the last its weights must differ from those of
    ``naive``, also of one that resets its optimiser or restarts its temperature. A method that differs at once is
    compared with itself under its ``inert`` options instead. A reference needn't act.

    Args:
        entry: its entry in the registry, or its name.
        options: of the method, beside :data:`SMALL`.

    Raises:
        GateError: what is wrong, in words.
    """
    if isinstance(entry, str):
        if entry not in {one.name for one in METHODS}:
            import_module(describe_one("method", entry).module)
        entry = METHODS[entry]
    method = _made(entry, options or {})
    stream = conflicting_stream()
    trace = _run(method, stream, entry)
    again = _run(method, stream)
    if not torch.equal(trace.measured[-1], again.measured[-1]):
        raise GateError(f"{entry.name}: the same seed gives other weights the second time")
    if not torch.equal(trace.measured[-1], _interrupted(method, stream, entry)):
        raise GateError(f"{entry.name}: interrupted and resumed, it has other weights than without an interruption")
    if entry.facts["reference"]:
        return
    if entry.facts["differs_at_once"]:
        inert = entry.facts["inert"]
        if torch.equal(trace.weighed[-1], _run(_made(entry, {**(options or {}), **inert}), stream).weighed[-1]):
            raise GateError(f"{entry.name}: has the weights that it has with inert={inert}: it does nothing")
        return
    naive = [_run(_naive_like(method, reset, restart), stream) for reset in (False, True) for restart in (False, True)]
    if not torch.equal(trace.measured[0], naive[0].measured[0]):
        gap = float((trace.measured[0] - naive[0].measured[0]).abs().max())
        raise GateError(
            f"{entry.name}: differs from naive after interval 0 already, by {gap} nats; if it should, register it with"
            " differs_at_once='the reason' and inert={the options that switch off what it does}"
        )
    if any(torch.equal(trace.weighed[-1], one.weighed[-1]) for one in naive):
        raise GateError(f"{entry.name}: has the weights of naive after four conflicting intervals: it does nothing")


def conflicting_stream() -> Stream:
    """Dark images, then bright ones, then half and half, and dark ones again, 8 × 8."""

    def images(n: int, levels: tuple[int, int], seed: int) -> Images:
        x = torch.randint(0, 40, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
        x += torch.tensor(levels).repeat_interleave(32).view(1, 1, 8, 8)
        return Images(x.to(torch.uint8), torch.full((n,), sum(levels) % 7))

    parts = {
        name: Parts(*(images(n, level, 10 * k + i) for i, n in enumerate((40, 6, 12))))
        for k, (name, level) in enumerate(_LEVELS.items())
    }
    return make_stream(parts, [*_LEVELS, "dark"], ScenarioConfig(steps=STEPS), Seeds(0))


def _made(entry: Entry, options: Mapping[str, Any]) -> Method:
    fields = entry.config.model_fields if entry.config else {}
    small = {key: value for key, value in SMALL.items() if key in fields}
    made: Method = entry.target({**small, **options})
    return made


def _naive_like(method: Method, reset: bool, restart: bool) -> Method:
    """``naive`` with a method's options. One that has no code option has no code: one that is always the same."""
    import_module(describe_one("method", "naive").module)
    naive: Any = METHODS["naive"].target
    shared = {key: getattr(method.config, key) for key in naive.Config.model_fields if hasattr(method.config, key)}
    made: Method = naive({"codes": 1} | shared | {"keep_optimizer_state": not reset})
    made.restarts_temperature = restart  # type: ignore[attr-defined]
    return made


def _run(method: Method, stream: Stream, checked: Entry | None = None) -> _Trace:
    """Train on the stream, and check the contract after each interval if the method is the one to be checked."""
    strategy, _ = _begun(method, stream, Seeds(0))
    trace = _Trace([], [])
    codes = 0
    for number, experience in enumerate(method.view(stream)):
        strategy.train(experience, eval_streams=[])
        if any(not value.isfinite().all() for value in strategy.model.state_dict().values()):
            raise GateError(f"{type(method).__name__}: weights aren't finite after interval {number}")
        if checked is not None:
            _check_counts(strategy, checked, number, experience.steps)
            codes = _check_model(strategy, checked.name, codes)
        trace.measured.append(_values(strategy, stream, training=False))
        trace.weighed.append(_values(strategy, stream, training=True))
    return trace


def _interrupted(method: Method, stream: Stream, entry: Entry) -> Tensor:
    """What the method is at the end if its second half is trained from the state that its first half has left."""
    seeds = Seeds(0)
    view = method.view(stream)
    half = len(view) // 2
    strategy, checkpoint = _begun(method, stream, seeds)
    for experience in view[:half]:
        strategy.train(experience, eval_streams=[])
    with TemporaryDirectory() as folder:
        file = Path(folder, STATE)
        try:
            checkpoint.write(file, {}, [])
        except UnstatableError as error:
            if not entry.facts.get("restarts"):
                raise GateError(
                    f"{entry.name}: its state can't be saved: {error}, which isn't tensors or JSON. Keep something"
                    " else, or register it with restarts='the reason': interrupted, its cells begin anew"
                ) from None
            half = 0
        strategy, checkpoint = _begun(method, stream, seeds)
        if half:
            try:
                checkpoint.restore(read_state(file))
            except InputError as error:
                raise GateError(f"{entry.name}: its state is saved, and can't be brought back: {error}") from None
    for experience in method.view(stream)[half:]:
        strategy.train(experience, eval_streams=[])
    return _values(strategy, stream, training=False)


def _begun(method: Method, stream: Stream, seeds: Seeds) -> tuple[GenerativeTemplate, Checkpoint]:
    seeds.seed_globals()
    strategy = method.strategy(stream, seeds)
    strategy.model.latent_noise = False
    return strategy, Checkpoint(strategy, method, stream, seeds, Evaluator(stream, seeds, method.view(stream)))


@torch.no_grad()
def _values(strategy: GenerativeTemplate, stream: Stream, training: bool) -> Tensor:
    model = copy.deepcopy(strategy.model).train(training)
    x = to_unit(torch.cat([stream.images("test", name).x for name in stream.distributions]))
    weights = model.log_weights(x, 3, Seeds(0).generator("gate"))
    return negative_elbo(weights, model.log_prior).value


def _demand(who: str, promises: Mapping[str, bool]) -> None:
    for promise, is_kept in promises.items():
        if not is_kept:
            raise GateError(f"{who}: {promise}")


@torch.inference_mode()
def _check_model(strategy: GenerativeTemplate, name: str, codes_before: int) -> int:
    """The contract of :class:`~lifegen.benchmark.GenerativeModel`; returns the number of codes."""
    model: GenerativeModel = copy.deepcopy(strategy.model).eval()
    n, draws = 5, 3
    x = torch.rand(n, 1, 8, 8, generator=Seeds(0).generator("gate-images"))
    others = torch.cat([x[:1], 1 - x[1:]])
    shape = (draws, len(model.log_prior), n)

    def weights(x: Tensor) -> LogWeights:
        return model.log_weights(x, draws, Seeds(0).generator("gate"))

    first, second, beside_others = weights(x), weights(x), weights(others)
    posterior, again = model.code_log_posterior(x, first), model.code_log_posterior(x, second)
    alone = model.code_log_posterior(x)
    _demand(
        name,
        {
            f"log_weights: shapes {[tuple(part.shape) for part in first[:2]]}, not {shape}": all(
                part.shape == shape for part in first[:2]
            ),
            "log_weights: not finite": all(bool(part.isfinite().all()) for part in first[:2]),
            "log_weights: the same generator gives other values": all(map(torch.equal, first[:2], second[:2])),
            "log_weights: an image's value depends on the others in its batch": all(
                torch.allclose(one[..., 0], other[..., 0], atol=1e-4)
                for one, other in zip(first[:2], beside_others[:2], strict=True)
            ),
            "log_prior: doesn't sum to 1": abs(float(model.log_prior.logsumexp(0))) < 1e-5,
            f"codes: {model.codes} after {codes_before}; codes are only ever appended": model.codes >= codes_before,
            f"code_log_posterior: shape {tuple(posterior.shape)}, not {(n, model.codes)}": posterior.shape
            == alone.shape
            == (n, model.codes),
            "code_log_posterior: doesn't sum to 1": bool((posterior.logsumexp(1).abs() < 1e-4).all()),
            "code_log_posterior: the same log-weights give other values": torch.equal(posterior, again),
            "code_log_posterior: without log-weights it isn't the same each time": torch.equal(
                alone, model.code_log_posterior(x)
            ),
            "log_weights: its code isn't code_log_posterior of the same images": model.estimates_code
            or torch.allclose(posterior, alone, atol=1e-4),
        },
    )
    noise = Seeds(0).generator("gate-samples")
    images = {"reconstruct": (model.reconstruct(x), n), "sample": (model.sample(7, generator=noise), 7)}
    for code in range(model.codes):
        images[f"sample of code {code}"] = model.sample(2, code=code, generator=noise), 2
    for what, (made, number) in images.items():
        expected = (number, *x.shape[1:])
        _demand(
            name,
            {
                f"{what}: shape {tuple(made.shape)}, not {expected}": made.shape == expected,
                f"{what}: pixels not in [0, 1]": bool(((made >= 0) & (made <= 1)).all()),
            },
        )
    return model.codes


def _check_counts(strategy: GenerativeTemplate, entry: Entry, interval: int, steps: int) -> None:
    real, synthetic = strategy.real_samples, strategy.synthetic_samples
    weights = sum(parameter.numel() for parameter in strategy.model.parameters())
    _demand(
        f"{entry.name}, interval {interval}",
        {
            f"{strategy.optimizer_steps} optimiser steps in an interval of {steps}": strategy.optimizer_steps == steps,
            f"{real} real and {synthetic} synthetic images in {steps} steps": real >= 0
            and synthetic >= 0
            and real + synthetic >= steps,
            f"{synthetic} synthetic images of the past before there is one": interval > 0 or synthetic == 0,
            "keeps real images without saying uses=('past-data',)": strategy.stored_samples == 0
            or "past-data" in entry.facts["uses"],
            "stores fewer numbers than its model has": strategy.stored_parameters >= weights,
        },
    )

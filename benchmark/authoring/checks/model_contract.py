"""The contract of :class:`~lifegen.benchmark.GenerativeModel`, checked on a trained model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from ...contracts.model import GenerativeModel, LogWeights
from ...seeds import Seeds, global_states
from .common import changes
from .findings import Finding, Stopped, verdict

_IMAGES, _DRAWS, _SAMPLES = 5, 3, 7
_Weigh = Callable[[Tensor], LogWeights]


@torch.inference_mode()
def contract(model: GenerativeModel, codes_before: int, image_shape: tuple[int, int, int]) -> Iterator[Finding]:
    """Whether a model keeps the contract. A wrong shape is the last finding.

    Args:
        model: the model, of which a copy is checked.
        codes_before: its codes after the interval before.
        image_shape: channels, height, width.
    """
    model = copy.deepcopy(model).eval()
    x = torch.rand(_IMAGES, *image_shape, generator=Seeds(0).generator("gate-images"))
    given, globals_before = x.clone(), global_states()

    def weigh(x: Tensor) -> LogWeights:
        return model.log_weights(x, _DRAWS, Seeds(0).generator("gate"))

    try:
        first, second = yield from _log_weights(model, x, weigh)
        yield _looked(model, "codes are only ever appended", model.codes >= codes_before,
                      f"{codes_before} codes or more",
                      f"codes: {model.codes} after {codes_before}; codes are only ever appended")  # fmt: skip
        yield from _code(model, x, first, second)
        yield from _images(model, x)
    except Stopped as stopped:
        yield stopped.finding
        return
    yield _looked(model, "forward, log_weights and the others leave their input alone", torch.equal(x, given),
                  "the images that were given", "some of the model's methods change x in place")  # fmt: skip
    drawn = sorted(changes(globals_before, global_states()))
    yield _looked(model, "log_weights and the others draw from the given generator", not drawn,
                  "the state of the global generators is the same afterwards",
                  f"measuring draws from the global generator of {' and '.join(drawn)}")  # fmt: skip


def _log_weights(
    model: GenerativeModel, x: Tensor, weigh: _Weigh
) -> Generator[Finding, None, tuple[LogWeights, LogWeights]]:
    """Findings, and the log-weights from the same noise twice."""
    shape = (_DRAWS, len(model.log_prior), len(x))
    first, second = weigh(x), weigh(x)
    shapes = [tuple(part.shape) for part in first[:2]]
    yield _whole(_looked(model, "log_weights has its shape", shapes == [shape, shape],
                         f"(draws, components, n) = {shape}, twice",
                         f"log_weights: shapes {shapes}, not {shape}"))  # fmt: skip
    yield _looked(model, "log_weights is finite", all(bool(part.isfinite().all()) for part in first[:2]),
                  "finite numbers", "log_weights: not finite")  # fmt: skip
    yield _looked(model, "log_weights depends on its generator alone", all(map(torch.equal, first[:2], second[:2])),
                  "equal values from equal generators",
                  "log_weights: the same generator gives other values")  # fmt: skip
    beside_others = weigh(torch.cat([x[:1], 1 - x[1:]]))
    alike = (torch.allclose(one[..., 0], other[..., 0], atol=1e-4)
             for one, other in zip(first[:2], beside_others[:2], strict=True))  # fmt: skip
    yield _looked(model, "log_weights treats each image by itself", all(alike), "equal values beside other images",
                  "log_weights: an image's value depends on the others in its batch")  # fmt: skip
    mass = float(model.log_prior.logsumexp(0))
    yield _looked(model, "log_prior sums to 1", abs(mass) < 1e-5, "log Σ exp = 0",
                  f"log_prior: doesn't sum to 1: {mass:g}")  # fmt: skip
    return first, second


def _code(model: GenerativeModel, x: Tensor, first: LogWeights, second: LogWeights) -> Iterator[Finding]:
    posterior, alone = model.code_log_posterior(x, first), model.code_log_posterior(x)
    shapes = [tuple(posterior.shape), tuple(alone.shape)]
    columns = (len(x), model.codes)
    yield _whole(_looked(model, "code_log_posterior has its shape", shapes == [columns, columns],
                         f"(n, codes) = {columns}",
                         f"code_log_posterior: shape {' and '.join(map(str, shapes))}, not {columns}"))  # fmt: skip
    yield _looked(model, "code_log_posterior sums to 1", bool((posterior.logsumexp(1).abs() < 1e-4).all()),
                  "log Σ exp = 0", "code_log_posterior: doesn't sum to 1")  # fmt: skip
    yield _looked(model, "code_log_posterior is a function of the log-weights",
                  torch.equal(posterior, model.code_log_posterior(x, second)), "equal values from equal log-weights",
                  "code_log_posterior: the same log-weights give other values")  # fmt: skip
    yield _looked(model, "code_log_posterior without log-weights is the same each time",
                  torch.equal(alone, model.code_log_posterior(x)), "equal values",
                  "code_log_posterior: without log-weights it isn't the same each time")  # fmt: skip
    yield _looked(model, "code_log_posterior is the code of log_weights",
                  model.estimates_code or torch.allclose(posterior, alone, atol=1e-4), "equal values",
                  "log_weights: its code isn't code_log_posterior of the same images")  # fmt: skip


def _images(model: GenerativeModel, x: Tensor) -> Iterator[Finding]:
    noise = Seeds(0).generator("gate-samples")
    pictures = {
        "reconstruct": (model.reconstruct(x), len(x)),
        "sample": (model.sample(_SAMPLES, generator=noise), _SAMPLES),
    }
    for code in range(model.codes):
        pictures[f"sample of code {code}"] = model.sample(2, code=code, generator=noise), 2
    for what, (images, number) in pictures.items():
        expected = (number, *x.shape[1:])
        is_image = images.shape == expected and bool(((images >= 0) & (images <= 1)).all())
        seen = f"shape {tuple(images.shape)}, not {expected}" if images.shape != expected else "pixels not in [0, 1]"
        yield _looked(model, f"{what.partition(' ')[0]} makes images", is_image, f"{expected}, in [0, 1]",
                      f"{what}: {seen}")  # fmt: skip


def _looked(model: GenerativeModel, promise: str, is_kept: bool, expected: str, seen: str) -> Finding:
    what = promise.partition(" ")[0]
    return verdict(promise, is_kept, expected, seen,
                   f"{type(model).__qualname__}.{what}; its contract is in GenerativeModel.{what}")  # fmt: skip


def _whole(finding: Finding) -> Finding:
    """A finding that later checks depend on.

    Raises:
        Stopped: its promise is broken.
    """
    if finding.status == "broken":
        raise Stopped(finding)
    return finding

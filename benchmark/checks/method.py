"""The gate: what a method and its model promise, and that it acts at all.

A method that silently does nothing is a recurring bug of continual learning: it has the numbers of fine-tuning under
another name. So each is compared with ``naive`` on the same networks, seed and batches, on intervals that contradict
each other, with the latent noise off, since otherwise extra draws alone would make a difference.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..catalogue import describe_one, find
from ..cell_folder import STATE
from ..checkpoint import Checkpoint
from ..errors import InputError
from ..images import Images, to_unit
from ..measures import Evaluator
from ..method import Method
from ..model import GenerativeModel, LogWeights, importance_bound, negative_elbo
from ..registry import METHODS, Entry
from ..seeds import Seeds, global_states
from ..state import UnstatableError, read_state
from ..stream import Parts, ScenarioConfig, Stream, make_stream
from ..template import GenerativeTemplate
from . import Finding, at, of_documentation
from .common import SMALL, Stopped, begun, raised, to_the_end

STEPS = 20
SIZES = 8, 32
"""Heights and widths of images to train on: the second is for models that can't take the first."""
_QUICK: Mapping[str, Any] = {"width": 32, "architecture": "mlp"}
"""Options of what would take minutes with large networks; those that are given or that it doesn't have are left out."""
_LEVELS = {"dark": (0, 0), "bright": (200, 200), "half": (0, 200)}
_TOY_DRAWS, _TOY_REPETITIONS = 10, 20
"""Draws of a bound on the toy, and how often it is summed."""


class GateError(AssertionError):
    """A method doesn't act, or it or its model breaks a promise."""


class _Run(NamedTuple):
    """A method that was trained on the conflicting stream, and what it was after each interval."""

    measured: list[Tensor]
    """negative ELBO of fixed images and noise, in evaluation mode"""
    weighed: list[Tensor]
    """the same in training mode, where running statistics play no part: a function of the weights alone"""
    findings: list[Finding]
    draws: set[str]
    """global generators that training drew from"""


def check_method(method: Entry | str, options: Mapping[str, Any] | None = None) -> None:
    """Send a registered method through the gate: :func:`findings`, up to the first broken promise.

    Args:
        method: its entry in the registry, its name, or its file.
        options: of the method, beside :data:`SMALL`.

    Raises:
        GateError: what is wrong, in words.
    """
    if isinstance(method, str):
        known = {entry.name: entry for entry in METHODS}  # also one that was registered in this process only
        method = known.get(method) or find("method", method)[0].entry()
    entry = method
    for finding in findings(entry, options):
        if finding.status == "broken":
            raise GateError(": ".join(filter(None, [entry.name, finding.promise, finding.seen, finding.look])))


def findings(entry: Entry, options: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Look at everything that a method promises, up to the first error that it raises.

    With the same seed it is the same twice, also if it is interrupted and goes on from its state. After the first
    interval it is what ``naive`` is, unless it says why not; after the last its weights differ from those of ``naive``,
    also of one that resets its optimiser or restarts its temperature. ``naive`` trains lifegen's model or, if that
    differs, the method's own. A method that differs at once is compared with itself under its ``inert`` options
    instead. A reference needn't act.
    """
    return to_the_end(_promises(entry, options or {}), entry)


def _promises(entry: Entry, options: Mapping[str, Any]) -> Iterator[Finding]:
    yield from of_documentation(entry)
    method, stream, run, trained = _trained(entry, options)
    yield trained
    yield from run.findings
    if any(finding.status == "broken" for finding in run.findings):
        return  # what follows would only say so again
    yield _finding(
        "what it is given stays as it is",
        all(map(torch.equal, _images(conflicting_stream(size=stream.image_shape[-1])), _images(stream))),
        "the stream's images and labels are unchanged after training",
        "some have other values",
        "operations in place, such as x.mul_(...), on strategy.mb_x or on what an experience holds: clone first",
    )
    yield _draws(run, method.plugins(stream, Seeds(0)))
    yield _finding(
        "the same seed gives the same weights",
        torch.equal(run.measured[-1], _run(method, stream).measured[-1]),
        "equal values from two runs",
        "the same seed gives other weights the second time",
        "draw from seeds.generator('a role of yours'), and make nothing depend on time or on the order of a set",
    )
    yield from _interruption(method, stream, entry, run)
    yield from _action(method, stream, entry, options, run)
    yield from _bound(entry, options)
    yield from _devices(method, stream)
    yield _cost(entry, options, stream.image_shape[-1])


def _trained(entry: Entry, options: Mapping[str, Any]) -> tuple[Method, Stream, _Run, Finding]:
    """A method that has learned the first stream whose images it can take, and what is to be said of that.

    Raises:
        Stopped: there is none.
    """
    promise = "it trains on four small intervals"
    errors: list[BaseException] = []
    for size in SIZES:
        method, stream = _made(entry, options), conflicting_stream(size=size)
        try:
            run = _run(method, stream, entry)
        except (Exception, SystemExit) as error:
            errors.append(error)
            continue
        seen = f"on {size} × {size} images; on {SIZES[0]} × {SIZES[0]}: {at(errors[0], entry)}" if errors else ""
        return method, stream, run, Finding(promise, "note" if seen else "kept", seen=seen)
    raise Stopped(raised(promise, errors[0], entry, "the line it names"))


def conflicting_stream(steps: int = STEPS, size: int = SIZES[0]) -> Stream:
    """Dark images, then bright ones, then half and half, and dark ones again."""

    def images(n: int, levels: tuple[int, int], seed: int) -> Images:
        x = torch.randint(0, 40, (n, 1, size, size), generator=torch.Generator().manual_seed(seed))
        x += torch.tensor(levels).repeat_interleave(size * size // 2).view(1, 1, size, size)
        return Images(x.to(torch.uint8), torch.full((n,), sum(levels) % 7))

    parts = {
        name: Parts(*(images(n, level, 10 * k + i) for i, n in enumerate((40, 6, 12))))
        for k, (name, level) in enumerate(_LEVELS.items())
    }
    return make_stream(parts, [*_LEVELS, "dark"], ScenarioConfig(steps=steps), Seeds(0))


def toy_stream() -> Stream:
    """Binary images of nine pixels, so that all 512 can be summed over: two rows alike, then two columns alike."""

    def images(n: int, is_turned: bool, seed: int) -> Images:
        x = torch.randint(0, 2, (n, 1, 3, 3), generator=torch.Generator().manual_seed(seed))
        x[:, :, 0] = x[:, :, 1]
        return Images(
            (x.transpose(2, 3) if is_turned else x).contiguous().mul(255).to(torch.uint8), torch.zeros(n).long()
        )

    parts = {name: Parts(*(images(n, name == "columns", n) for n in (60, 8, 8))) for name in ("rows", "columns")}
    config = ScenarioConfig(steps=2 * STEPS, track="bernoulli-binarised")
    return make_stream(parts, ["rows", "columns"], config, Seeds(0))


def _made(entry: Entry, options: Mapping[str, Any]) -> Method:
    made: Method = entry.target({**_those_it_has(entry, SMALL), **options})
    return made


def _those_it_has(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    fields = entry.config.model_fields if entry.config else {}
    return {key: value for key, value in options.items() if key in fields}


def _naive_like(method: Method, own: bool = False, reset: bool = False, restart: bool = False) -> Method:
    """``naive`` with the options that it shares with a method, and perhaps with the method's own model.

    One that has no code option has no code: one that is always the same.
    """
    from lifegen.methods.models.plugins import ResetOptimizerPlugin

    naive: Any = describe_one("method", "naive").entry().target
    kinds = set(type(method.config).__mro__) & set(naive.Config.__mro__)
    shared = {key: getattr(method.config, key) for kind in kinds for key in getattr(kind, "model_fields", {})}
    made: Any = naive({"codes": 1} | shared | {"keep_optimizer_state": not reset})
    made.restarts_temperature = restart
    if own:
        made.model = method.model
        if "temperature_start" not in shared:  # what its model calls a temperature is none to anneal
            made.plugins = lambda *_: [ResetOptimizerPlugin()] if reset else []
    like: Method = made
    return like


def _run(method: Method, stream: Stream, checked: Entry | None = None) -> _Run:
    """Train on the stream, and look at promises after each interval if the method is the one to be checked."""
    strategy, _ = _begun(method, stream, Seeds(0))
    run = _Run([], [], [], set())
    found: list[Finding] = []
    codes = 0
    for number, experience in enumerate(method.view(stream)):
        before = global_states()
        strategy.train(experience, eval_streams=[])
        run.draws.update(name for name, state in global_states().items() if state != before[name])
        if checked is not None:
            wrong = sorted(name for name, value in strategy.model.state_dict().items() if not value.isfinite().all())
            found.append(_finding("its weights are finite", not wrong, "finite numbers",
                                  f"{', '.join(wrong[:3])} aren't finite after interval {number}",
                                  "a logarithm or division of 0, or a loss term that grows without end"))  # fmt: skip
            if wrong:
                break
            found += _counts(strategy, checked, number, experience.steps)
            found += _contract(strategy, codes, stream.image_shape)
            codes = strategy.model.codes
        run.measured.append(_values(strategy, stream, training=False))
        run.weighed.append(_values(strategy, stream, training=True))
    by_promise: dict[str, Finding] = {}
    for finding in found:  # one that was once broken is broken
        if by_promise.setdefault(finding.promise, finding).status == "kept":
            by_promise[finding.promise] = finding
    run.findings.extend(by_promise.values())
    return run


def _begun(method: Method, stream: Stream, seeds: Seeds) -> tuple[GenerativeTemplate, Checkpoint]:
    strategy, evaluator = begun(method, stream, seeds)
    strategy.model.latent_noise = False
    return strategy, Checkpoint(strategy, method, stream, seeds, evaluator)


@torch.no_grad()
def _values(strategy: GenerativeTemplate, stream: Stream, training: bool) -> Tensor:
    model = copy.deepcopy(strategy.model).train(training)
    x = to_unit(torch.cat([stream.images("test", name).x for name in stream.distributions]))
    weights = model.log_weights(x, 3, Seeds(0).generator("gate"))
    return negative_elbo(weights, model.log_prior).value


def _images(stream: Stream) -> list[Tensor]:
    """Copies of all that a stream gives."""
    parts = [stream.images(part, name) for part in ("train", "valid", "test") for name in stream.distributions]
    return [tensor.clone() for images in parts for tensor in images]


def _finding(promise: str, is_kept: bool, expected: str, seen: str, look: str) -> Finding:
    return Finding(promise) if is_kept else Finding(promise, "broken", expected, seen, look)


def _draws(run: _Run, plugins: Iterable[object]) -> Finding:
    promise = "training draws from named generators only"
    if not run.draws:
        return Finding(promise)
    seen = f"it draws from the global generator of {' and '.join(sorted(run.draws))}"
    stock = [type(plugin).__name__ for plugin in plugins if _is_stock(plugin)]
    if stock:
        return Finding(promise, "note", seen=f"{seen}, as stock plugins such as {stock[0]} do: it is seeded and saved")
    return Finding(promise, "broken", "the state of the global generators is the same after training", seen,
                   "pass generator=seeds.generator('a role of yours') to what draws")  # fmt: skip


def _is_stock(plugin: object) -> bool:
    return any(kind.__module__.startswith("avalanche.training.plugins") for kind in type(plugin).__mro__)


def _interruption(method: Method, stream: Stream, entry: Entry, run: _Run) -> Iterator[Finding]:
    """What the method is at the end if its second half is trained from the state that its first half has left."""
    seeds = Seeds(0)
    view = method.view(stream)
    half = len(view) // 2
    strategy, checkpoint = _begun(method, stream, seeds)
    for experience in view[:half]:
        strategy.train(experience, eval_streams=[])
    promise = "its state can be saved"
    with TemporaryDirectory() as folder:
        file = Path(folder, STATE)
        try:
            checkpoint.write(file, {}, [])
            yield Finding(promise)
        except UnstatableError as error:
            if not (why := entry.facts.get("restarts")):
                yield Finding(promise, "broken", "tensors, numbers, texts, lists, modules and objects of these",
                              f"its state can't be saved: {error}, which isn't tensors or JSON",
                              "keep something else, or register it with restarts='the reason': interrupted, its cells "
                              "begin anew")  # fmt: skip
                return
            yield Finding(promise, "note", seen=f"it can't, and says so; interrupted cells begin anew: {why}")
            half = 0
        strategy, checkpoint = _begun(method, stream, seeds)
        if half:
            try:
                checkpoint.restore(read_state(file))
            except InputError as error:
                yield Finding("its state can be brought back", "broken", "the objects that were saved", str(error),
                              "attributes that are made later than in __init__, or not always")  # fmt: skip
                return
    for experience in method.view(stream)[half:]:
        strategy.train(experience, eval_streams=[])
    yield _finding(
        "interrupted and resumed, it has the same weights",
        torch.equal(run.measured[-1], _values(strategy, stream, training=False)),
        "the weights of an uninterrupted run, bit for bit",
        "interrupted and resumed, it has other weights than without an interruption",
        "what it remembers outside its attributes: class attributes, closures, module globals, a generator inside one",
    )


def _action(method: Method, stream: Stream, entry: Entry, options: Mapping[str, Any], run: _Run) -> Iterator[Finding]:
    if entry.facts["reference"]:
        return
    promise = "it acts"
    if entry.facts["differs_at_once"]:
        if not (inert := entry.facts["inert"]):
            seen = "it differs at once: without inert={the options that switch off what it does} it can't be looked at"
            yield Finding(promise, "skipped", seen=seen)
            return
        other = _run(_made(entry, {**options, **inert}), stream)
        yield _finding(
            promise,
            not torch.equal(run.weighed[-1], other.weighed[-1]),
            f"other weights than with inert={inert}",
            f"has the weights that it has with inert={inert}: it does nothing",
            "whether inert= names the options that switch it off, and whether its plugins are in the list",
        )
        return
    own, gap = _gap(method, stream, run)
    pairs = product((False, True), repeat=2)
    naive = [_run(_naive_like(method, own, reset, restart), stream) for reset, restart in pairs] if gap == 0 else []
    yield _finding(
        "before there is a past, it is fine-tuning",
        gap == 0,
        "the values of naive after interval 0",
        f"differs from naive after interval 0 already, by {gap} nats",
        "a term that acts without a past; if it should, register it with differs_at_once='the reason' and inert={the "
        "options that switch off what it does}",
    )
    if gap:
        return
    yield _finding(
        promise,
        not any(torch.equal(run.weighed[-1], one.weighed[-1]) for one in naive),
        "other weights than those of naive",
        "has the weights of naive after four conflicting intervals: it does nothing",
        "hooks whose name Avalanche doesn't call, a loss that isn't added to strategy.loss, copies that aren't copies",
    )


def _gap(method: Method, stream: Stream, run: _Run) -> tuple[bool, float]:
    """Whether its own model, not lifegen's, is what a method fine-tunes in interval 0, and how far it is from that.

    lifegen's comes first: a model that grows may be that to begin with, and be nothing without its plugins.
    """
    least = math.inf
    for own in (False, True):
        try:
            naive = _run(_naive_like(method, own), stream)
        except (Exception, SystemExit):  # it can't be trained without its plugins
            continue
        gap = float((run.measured[0] - naive.measured[0]).abs().max())
        if gap == 0:
            return own, gap
        least = min(least, gap)
    return True, least


def _counts(strategy: GenerativeTemplate, entry: Entry, interval: int, steps: int) -> list[Finding]:
    real, synthetic = strategy.real_samples, strategy.synthetic_samples
    weights = sum(parameter.numel() for parameter in strategy.model.parameters())
    drawn = f"{real} real and {synthetic} synthetic images in {steps} steps of interval {interval}"
    return [
        _finding("it takes the interval's steps", strategy.optimizer_steps == steps, f"{steps} optimiser steps",
                 f"{strategy.optimizer_steps} optimiser steps in an interval of {steps}",
                 "a plugin that stops training or steps by itself"),
        _finding("real and synthetic images are counted",
                 real >= 0 and synthetic >= 0 and real + synthetic >= steps, "at least one image a step", drawn,
                 "synthetic_samples counts images drawn from models, extra_rows what is trained on beside the batch"),
        _finding("there is nothing synthetic before there is a past", interval > 0 or synthetic == 0,
                 "no synthetic image in interval 0", f"{synthetic} synthetic images of the past before there is one",
                 "what is drawn in before_training_iteration while there is no model of the past"),
        _finding("it says whether it keeps real images",
                 strategy.stored_samples == 0 or "past-data" in entry.facts["uses"], "uses=('past-data',)",
                 "keeps real images without saying uses=('past-data',)", "@register_method"),
        _finding("it counts the numbers that it keeps", strategy.stored_parameters >= weights,
                 f"at least the model's {weights}", f"{strategy.stored_parameters}: fewer numbers than its model has",
                 "stored_parameters of its plugins is what they keep beside the model"),
    ]  # fmt: skip


@torch.inference_mode()
def _contract(strategy: GenerativeTemplate, codes_before: int, image_shape: tuple[int, int, int]) -> Iterator[Finding]:
    """The contract of :class:`~lifegen.benchmark.GenerativeModel`."""
    model: GenerativeModel = copy.deepcopy(strategy.model).eval()
    n, draws = 5, 3
    x = torch.rand(n, *image_shape, generator=Seeds(0).generator("gate-images"))
    given = x.clone()
    globals_before = global_states()
    shape = (draws, len(model.log_prior), n)

    def weights(x: Tensor) -> LogWeights:
        return model.log_weights(x, draws, Seeds(0).generator("gate"))

    def looked(promise: str, is_kept: bool, expected: str, seen: str = "") -> Finding:
        what = promise.partition(" ")[0]
        return _finding(promise, is_kept, expected, seen or f"{promise}: it isn't so",
                        f"{type(model).__qualname__}.{what}; its contract is in GenerativeModel.{what}")  # fmt: skip

    first, second = weights(x), weights(x)
    found = [tuple(part.shape) for part in first[:2]]
    yield looked("log_weights has its shape", all(one == shape for one in found),
                 f"(draws, components, n) = {shape}, twice", f"log_weights: shapes {found}, not {shape}")  # fmt: skip
    if found != [shape, shape]:
        return
    yield looked("log_weights is finite", all(bool(part.isfinite().all()) for part in first[:2]), "finite numbers",
                 "log_weights: not finite")  # fmt: skip
    yield looked("log_weights depends on its generator alone", all(map(torch.equal, first[:2], second[:2])),
                 "equal values from equal generators",
                 "log_weights: the same generator gives other values")  # fmt: skip
    beside_others = weights(torch.cat([x[:1], 1 - x[1:]]))
    alike = (torch.allclose(one[..., 0], other[..., 0], atol=1e-4)
             for one, other in zip(first[:2], beside_others[:2], strict=True))  # fmt: skip
    yield looked("log_weights treats each image by itself", all(alike), "equal values beside other images",
                 "log_weights: an image's value depends on the others in its batch")  # fmt: skip
    mass = float(model.log_prior.logsumexp(0))
    yield looked("log_prior sums to 1", abs(mass) < 1e-5, "log Σ exp = 0", f"log_prior: doesn't sum to 1: {mass:g}")
    yield looked("codes are only ever appended", model.codes >= codes_before, f"{codes_before} codes or more",
                 f"codes: {model.codes} after {codes_before}; codes are only ever appended")  # fmt: skip
    posterior, alone = model.code_log_posterior(x, first), model.code_log_posterior(x)
    shapes = [tuple(posterior.shape), tuple(alone.shape)]
    columns = (n, model.codes)
    yield looked("code_log_posterior has its shape", shapes == [columns, columns], f"(n, codes) = {columns}",
                 f"code_log_posterior: shape {' and '.join(map(str, shapes))}, not {columns}")  # fmt: skip
    if shapes != [columns, columns]:
        return
    yield looked("code_log_posterior sums to 1", bool((posterior.logsumexp(1).abs() < 1e-4).all()), "log Σ exp = 0",
                 "code_log_posterior: doesn't sum to 1")  # fmt: skip
    yield looked("code_log_posterior is a function of the log-weights",
                 torch.equal(posterior, model.code_log_posterior(x, second)), "equal values from equal log-weights",
                 "code_log_posterior: the same log-weights give other values")  # fmt: skip
    yield looked("code_log_posterior without log-weights is the same each time",
                 torch.equal(alone, model.code_log_posterior(x)), "equal values",
                 "code_log_posterior: without log-weights it isn't the same each time")  # fmt: skip
    yield looked("code_log_posterior is the code of log_weights",
                 model.estimates_code or torch.allclose(posterior, alone, atol=1e-4), "equal values",
                 "log_weights: its code isn't code_log_posterior of the same images")  # fmt: skip
    noise = Seeds(0).generator("gate-samples")
    images = {"reconstruct": (model.reconstruct(x), n), "sample": (model.sample(7, generator=noise), 7)}
    for code in range(model.codes):
        images[f"sample of code {code}"] = model.sample(2, code=code, generator=noise), 2
    for what, (made, number) in images.items():
        expected = (number, *x.shape[1:])
        is_image = made.shape == expected and bool(((made >= 0) & (made <= 1)).all())
        seen = f"shape {tuple(made.shape)}, not {expected}" if made.shape != expected else "pixels not in [0, 1]"
        yield looked(f"{what.partition(' ')[0]} makes images", is_image, f"{expected}, in [0, 1]", f"{what}: {seen}")
    yield looked("forward, log_weights and the others leave their input alone", torch.equal(x, given),
                 "the images that were given", "some of the model's methods change x in place")  # fmt: skip
    drawn = sorted(name for name, state in global_states().items() if state != globals_before[name])
    yield looked("log_weights and the others draw from the given generator", not drawn,
                 "the state of the global generators is the same afterwards",
                 f"measuring draws from the global generator of {' and '.join(drawn)}")  # fmt: skip


def _bound(entry: Entry, options: Mapping[str, Any]) -> Iterator[Finding]:
    """The sum over all images of exp(−value) is at most 1 for a bound on −log p(x), in expectation."""
    promise = "its values are bounds"
    stream = toy_stream()
    quick = _quick(entry, options, "architecture")
    try:
        method = _made(entry, {**quick, **options})
        strategy, _ = begun(method, stream, Seeds(0))
        for experience in method.view(stream):
            strategy.train(experience, eval_streams=[])
    except (Exception, SystemExit) as error:
        yield Finding(promise, "skipped", seen=f"its model isn't made for 3 × 3 binary images: {at(error, entry)}")
        return
    if not strategy.model.track.startswith("bernoulli"):
        yield Finding(promise, "skipped", seen=f"of track {strategy.model.track}; nine binary pixels are Bernoulli's")
        return
    for name, masses in toy_masses(strategy.model).items():
        limit = 1 + 3 * float(masses.std()) / math.sqrt(len(masses))
        mass = float(masses.mean())
        finding = _finding(
            f"{promise}: {name}",
            mass <= limit,
            f"on nine binary pixels, the sum of exp(−value) over all 512 images is at most 1, here up to {limit:.3f}",
            f"{name}: the sum is {mass:.3f}: not a bound on −log p(x)",
            "log_weights: log p(x | z), and log p(z) − log q(z | x) of the z that was drawn; log_prior of components",
        )
        yield finding._replace(seen=f"{finding.seen or f'the sum is {mass:.3f}'}{_with(quick)}")


@torch.inference_mode()
def toy_masses(model: GenerativeModel) -> dict[str, Tensor]:
    """Σ over all images of :func:`toy_stream`'s space of exp(−value), for each bound and independent noise."""
    model = copy.deepcopy(model).eval()
    space = torch.tensor(list(product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    generator = Seeds(0).generator("toy")
    sums: list[Tensor] = []
    for _ in range(_TOY_REPETITIONS):
        weights = model.log_weights(space, _TOY_DRAWS, generator)
        values = negative_elbo(weights, model.log_prior).value, importance_bound(weights, model.log_prior)
        sums.append(torch.stack([(-value).double().exp().sum() for value in values]))
    return dict(zip(("negative_elbo", "iwae_nll"), torch.stack(sums).T, strict=True))


def _devices(method: Method, stream: Stream) -> Iterator[Finding]:
    promise = "it trains and is measured on a GPU"
    if not torch.cuda.is_available():
        yield Finding(promise, "skipped", seen="there is none here")
        return
    seeds = Seeds(0)
    try:
        strategy = method.strategy(stream, seeds, "cuda")
        evaluator = Evaluator(stream, seeds, method.view(stream))
        for interval, experience in enumerate(method.view(stream)[:2]):
            strategy.train(experience, eval_streams=[])
            evaluator.measure(strategy, interval, train_seconds=0.0)
    except (Exception, SystemExit) as error:
        yield Finding(promise, "broken", "no error", f"{type(error).__name__}: {error}",
                      "tensors that are made without device=x.device, or kept from the CPU")  # fmt: skip
        return
    yield Finding(promise, "note", seen=strategy.execution)


def _quick(entry: Entry, options: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Some of the options that make a method quick, where the given ones don't say otherwise."""
    return {key: _QUICK[key] for key in keys if key not in options and key in _those_it_has(entry, _QUICK)}


def _with(options: Mapping[str, Any]) -> str:
    return f", with {', '.join(f'{key}={value}' for key, value in options.items())}" if options else ""


def _cost(entry: Entry, options: Mapping[str, Any], size: int) -> Finding:
    """CPU time of training and numbers kept, beside naive's: in turn, when there is a past."""
    stream = conflicting_stream(steps=30, size=size)
    quick = _quick(entry, options, *_QUICK)
    made: Method = entry.target({**quick, **options})
    times: list[list[float]] = [[], []]
    numbers = [0, 0]
    for _ in range(2):
        for i, method in enumerate((made, _naive_like(made))):
            strategy = method.strategy(stream, Seeds(0))
            began = 0.0
            for experience in method.view(stream)[:2]:
                began = process_time()
                strategy.train(experience, eval_streams=[])
            times[i].append((process_time() - began) / strategy.optimizer_steps)
            numbers[i] = strategy.stored_parameters
    ratio = min(times[0]) / min(times[1])
    kept = numbers[0] / numbers[1]
    seen = f"{ratio:.1f} × naive's CPU time a step and {kept:.1f} × its numbers kept"
    return Finding("cost", "note", seen=f"{seen}, in interval 1 on {size} × {size} images{_with(quick)}")

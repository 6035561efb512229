"""The gate: whether a method and its model keep their promises, and whether the method acts at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...contracts.registry import METHODS, Entry
from ...contracts.stream import Interval, Stream
from ...discovery.index import resolve
from ...errors import InputError
from ...measuring.evaluator import Evaluator
from ...measuring.pictures import IntervalPictures
from ...running.checkpoint import Checkpoint
from ...running.state import UnstatableError, read_state
from ...seeds import HARNESS_ROLES, SCENARIO_ROLES, Seeds
from ...store.cell_folder import STATE
from ...training.method import Method
from ...training.template import GenerativeTemplate
from .common import SMALL
from .conflict import Run, begin, conflicting_stream, run, values
from .findings import Finding, Stopped, at, broken, of_documentation, raised, to_the_end, verdict
from .fine_tuning import acts, naive_like
from .model_contract import contract
from .roles import RecordedSeeds, own_roles
from .toy_normalisation import bounds

SIZES = 8, 32
"""Heights and widths of training images; the second is for models that can't take the first."""
_QUICK: Mapping[str, Any] = {"width": 32, "architecture": "mlp"}
"""Options that save minutes with large networks, unless they are given or the method doesn't have them."""


class GateError(AssertionError):
    """A method doesn't act, or it or its model breaks a promise."""


def check_method(method: Entry | str, options: Mapping[str, Any] | None = None) -> None:
    """Send a registered method through the gate: :func:`findings`, up to the first broken promise and without the cost.

    Args:
        method: its entry in the registry, its name, or its file.
        options: options of the method, beside those that make it small.

    Raises:
        GateError: a promise is broken; the text says which.
    """
    if isinstance(method, str):
        registered = {entry.name: entry for entry in METHODS}  # also methods registered only in this process
        method = registered.get(method) or resolve("method", method)[0].entry()
    for finding in to_the_end(_promises(method, options or {}, cost=False), method):
        if finding.status == "broken":
            raise GateError(": ".join(filter(None, [method.name, finding.promise, finding.seen, finding.look])))


def findings(entry: Entry, options: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Check everything that a method promises, up to the first error that it raises.

    The same seed gives the same weights, also after an interruption. After the first interval the method equals
    ``naive``, unless it says why not; after the last its weights differ from those of ``naive``, also of a ``naive``
    that resets its optimiser or restarts its temperature. ``naive`` trains lifegen's model or, if that differs, the
    method's own. A method that differs at once is compared with itself under its ``inert`` options instead. A reference
    needn't act.
    """
    return to_the_end(_promises(entry, options or {}), entry)


def _promises(entry: Entry, options: Mapping[str, Any], cost: bool = True) -> Iterator[Finding]:
    yield of_documentation(entry)
    trained = _trained(entry, options)
    yield trained.finding
    yield from trained.findings
    if any(finding.status == "broken" for finding in trained.findings):
        return  # later findings would only repeat it
    method, stream, result = trained.method, trained.stream, trained.run
    yield verdict(
        "what it is given stays as it is",
        all(map(torch.equal, _images(conflicting_stream(size=stream.image_shape[-1])), _images(stream))),
        "the stream's images and labels are unchanged after training",
        "some have other values",
        "operations in place, such as x.mul_(...), on strategy.mb_x or on what an experience holds: clone first",
    )
    yield _draws(result, method.plugins(stream, Seeds(0)))
    taken = HARNESS_ROLES | SCENARIO_ROLES
    yield own_roles("it draws from seed roles of its own", trained.seeds, taken)
    yield from _again(method, stream, entry, result)
    yield from acts(method, stream, entry, result, lambda inert: _made(entry, {**options, **inert}))
    quick = _quick(entry, options, "architecture")
    yield from bounds(partial(_made, entry, {**quick, **options}), entry, _with(quick))
    yield from _devices(method, stream)
    if cost:
        yield _cost(entry, options, stream.image_shape[-1])


class _Trained(NamedTuple):
    """A method that has learned a stream, and the findings meanwhile."""

    method: Method
    stream: Stream
    seeds: RecordedSeeds
    run: Run
    finding: Finding
    """The finding of the training itself."""
    findings: list[Finding]
    """The findings after each interval."""


def _trained(entry: Entry, options: Mapping[str, Any]) -> _Trained:
    """A method that has learned the first stream whose images it can take.

    Raises:
        Stopped: it can take none.
    """
    promise = "it trains on four small intervals"
    errors: list[BaseException] = []
    for size in SIZES:
        method, stream, seeds = _made(entry, options), conflicting_stream(size=size), RecordedSeeds(0)
        look = _AfterEachInterval(entry, stream)
        try:
            result = run(method, stream, look, seeds)
        except (Exception, SystemExit) as error:
            errors.append(error)
            continue
        seen = f"on {size} × {size} images; on {SIZES[0]} × {SIZES[0]}: {at(errors[0], entry)}" if errors else ""
        finding = Finding(promise, "note" if seen else "kept", seen=seen)
        return _Trained(method, stream, seeds, result, finding, list(look.findings.values()))
    raise Stopped(raised(promise, errors[0], entry, "the line that the error names"))


class _AfterEachInterval:
    """Checks a method after each interval."""

    def __init__(self, entry: Entry, stream: Stream) -> None:
        self.findings: dict[str, Finding] = {}
        """Findings by promise; a promise broken once stays broken."""
        self._entry = entry
        self._stream = stream
        self._interval = 0
        self._codes = 0

    def __call__(self, strategy: GenerativeTemplate, experience: Interval) -> bool:
        wrong = sorted(name for name, value in strategy.model.state_dict().items() if not value.isfinite().all())
        items = [verdict("its weights are finite", not wrong, "finite numbers",
                         f"{', '.join(wrong[:3])} aren't finite after interval {self._interval}",
                         "a logarithm or division of 0, or a loss term that grows without end")]  # fmt: skip
        if not wrong:
            items += _counts(strategy, self._entry, self._interval, experience.steps or 0)
            items += contract(strategy.model, self._codes, self._stream.image_shape)
        for finding in items:
            if self.findings.setdefault(finding.promise, finding).status == "kept":
                self.findings[finding.promise] = finding
        self._interval += 1
        self._codes = strategy.model.codes
        return not wrong


def _counts(strategy: GenerativeTemplate, entry: Entry, interval: int, steps: int) -> list[Finding]:
    real, synthetic = strategy.real_samples, strategy.synthetic_samples
    weights = sum(parameter.numel() for parameter in strategy.model.parameters())
    drawn = f"{real} real and {synthetic} synthetic images in {steps} steps of interval {interval}"
    return [
        verdict("it takes the interval's steps", strategy.optimizer_steps == steps, f"{steps} optimiser steps",
                f"{strategy.optimizer_steps} optimiser steps in an interval of {steps}",
                "a plugin that stops training or steps by itself"),
        verdict("real and synthetic images are counted",
                real >= 0 and synthetic >= 0 and real + synthetic >= steps, "at least one image a step", drawn,
                "synthetic_samples counts images drawn from models, extra_rows training rows beside the batch"),
        verdict("there is nothing synthetic before there is a past", interval > 0 or synthetic == 0,
                "no synthetic image in interval 0", f"{synthetic} synthetic images of the past before there is one",
                "images drawn in before_training_iteration while there is no model of the past"),
        verdict("it says whether it keeps real images",
                strategy.stored_samples == 0 or "past-data" in entry.facts["uses"], "uses=('past-data',)",
                "keeps real images without saying uses=('past-data',)", "@register_method"),
        verdict("it counts the numbers that it keeps", strategy.stored_parameters >= weights,
                f"at least the model's {weights}", f"{strategy.stored_parameters}: fewer numbers than its model has",
                "stored_parameters of its plugins is the number of numbers kept beside the model"),
    ]  # fmt: skip


def _images(stream: Stream) -> list[Tensor]:
    """All images and labels of a stream."""
    parts = [stream.images(part, name) for part in ("train", "valid", "test") for name in stream.distributions]
    return [tensor for images in parts for tensor in images]


def _draws(result: Run, plugins: Iterable[object]) -> Finding:
    promise = "training draws from named generators only"
    seen = f"it draws from the global generator of {' and '.join(sorted(result.draws))}"
    stock = [type(plugin).__name__ for plugin in plugins if _is_stock(plugin)]
    if result.draws and stock:
        return Finding(promise, "note", seen=f"{seen}, as stock plugins such as {stock[0]} do: it is seeded and saved")
    return verdict(promise, not result.draws, "the state of the global generators is the same after training", seen,
                   "pass generator=seeds.generator('a role of yours') to what draws")  # fmt: skip


def _is_stock(plugin: object) -> bool:
    return any(kind.__module__.startswith("avalanche.training.plugins") for kind in type(plugin).__mro__)


def _again(method: Method, stream: Stream, entry: Entry, result: Run) -> Iterator[Finding]:
    """Train it again and save its state after half of the intervals; then train the second half from that state."""
    seeds = Seeds(0)
    view = method.view(stream)
    half = len(view) // 2
    with TemporaryDirectory() as folder:
        file = Path(folder, STATE)
        strategy, checkpoint = begin(method, stream, seeds)
        _train(strategy, view[:half])
        unstated = _stated(checkpoint, file)
        _train(strategy, view[half:])
        yield verdict(
            "the same seed gives the same weights",
            torch.equal(result.last, values(strategy, stream)),
            "equal values from two runs",
            "the same seed gives other weights the second time",
            "draw from seeds.generator('a role of yours'), and make nothing depend on time or on the order of a set",
        )
        why = entry.facts.get("restarts")
        promise = "its state can be saved"
        if unstated and why:
            yield Finding(promise, "note", seen=f"it can't, as restarts= says; interrupted cells begin anew: {why}")
        else:
            yield verdict(promise, not unstated, "tensors, numbers, texts, lists, modules and objects of these",
                          f"its state can't be saved: {unstated}, which isn't tensors or JSON",
                          "keep something else, or register it with restarts='the reason': interrupted, its cells "
                          "begin anew")  # fmt: skip
            if unstated:
                return
        strategy, checkpoint = begin(method, stream, seeds)
        if not unstated:
            try:
                checkpoint.restore(read_state(file))
            except InputError as error:
                yield broken("its state can be brought back", "the objects that were saved", str(error),
                             "attributes that are made later than in __init__, or not always")  # fmt: skip
                return
    _train(strategy, method.view(stream)[0 if unstated else half :])
    yield verdict(
        "interrupted and resumed, it has the same weights",
        torch.equal(result.last, values(strategy, stream)),
        "the weights of an uninterrupted run, bit for bit",
        "interrupted and resumed, it has other weights than without an interruption",
        "memory outside its attributes: in class attributes, closures, module globals, or a generator inside one",
    )


def _train(strategy: GenerativeTemplate, experiences: Iterable[Interval]) -> None:
    for experience in experiences:
        strategy.train(experience, eval_streams=[])


def _stated(checkpoint: Checkpoint, file: Path) -> str:
    """Save the state of a run; returns why that is impossible, or nothing."""
    try:
        checkpoint.write(file, {}, IntervalPictures([], []))
    except UnstatableError as error:
        return str(error)
    return ""


def _devices(method: Method, stream: Stream) -> Iterator[Finding]:
    promise = "it trains and is measured on a GPU"
    if not torch.cuda.is_available():
        yield Finding(promise, "skipped", seen="this machine has no GPU")
        return
    seeds = Seeds(0)
    try:
        strategy = method.strategy(stream, seeds, "cuda")
        evaluator = Evaluator(stream, seeds, method.view(stream))
        for interval, experience in enumerate(method.view(stream)[:2]):
            strategy.train(experience, eval_streams=[])
            evaluator.measure(strategy, interval, train_seconds=0.0)
    except (Exception, SystemExit) as error:
        yield broken(promise, "no error", f"{type(error).__name__}: {error}",
                     "tensors that are made without device=x.device, or kept from the CPU")  # fmt: skip
        return
    yield Finding(promise, "note", seen=strategy.execution)


def _cost(entry: Entry, options: Mapping[str, Any], size: int) -> Finding:
    """CPU time of training and numbers kept, compared with naive's, in interval 1 where there is a past."""
    stream = conflicting_stream(steps=30, size=size)
    quick = _quick(entry, options, *_QUICK)
    own: Method = entry.target({**quick, **options})
    times: list[list[float]] = [[], []]
    numbers = [0, 0]
    for _ in range(2):
        for i, method in enumerate((own, naive_like(own))):
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


def _made(entry: Entry, options: Mapping[str, Any]) -> Method:
    method: Method = entry.target({**_those_it_has(entry, SMALL), **options})
    return method


def _quick(entry: Entry, options: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The options with these names that make a method quick, apart from those given."""
    return {key: _QUICK[key] for key in keys if key not in options and key in _those_it_has(entry, _QUICK)}


def _those_it_has(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    fields = entry.config.model_fields if entry.config else {}
    return {key: value for key, value in options.items() if key in fields}


def _with(options: Mapping[str, Any]) -> str:
    return f", with {', '.join(f'{key}={value}' for key, value in options.items())}" if options else ""

"""The promises of a metric: its values are the same wherever they are measured, and measuring leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from statistics import fmean, median
from time import process_time
from typing import Any, NamedTuple

import torch

from ...contracts.images import Images
from ...contracts.registry import METRICS, Entry
from ...contracts.stream import Stream
from ...measuring.evaluator import Evaluator, own_metrics
from ...measuring.fingerprint import SETTINGS, Watch
from ...measuring.measurement import Measurement
from ...measuring.rows import Row, in_words, is_number, repeated, row_problem
from ...seeds import Seeds
from ...training.template import GenerativeTemplate
from .common import SMALL, begun, halves, made, small_stream
from .derived_metric import ARGUMENTS as _ARGUMENTS
from .derived_metric import DIRECTION as _DIRECTION
from .derived_metric import NUMBER as _NUMBER
from .derived_metric import TWICE as _TWICE
from .derived_metric import derived_promises, gain
from .findings import Finding, Stopped, broken, of_documentation, raised, to_the_end

TRACKS = ("bernoulli-grey", "discretised-logistic")
TRAINED: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("naive", {**SMALL, "norm": "batch"}, TRACKS[0]),  # whose statistics a metric may move
    ("growing-mixture", {**SMALL, "threshold": 0}, TRACKS[0]),
    ("lifelong-vae", SMALL, TRACKS[1]),
)
"""Methods, options and tracks to measure: a fixed code, several components, and a code that grows"""
DAMAGES = (0.5, 1.0, 2.0, 4.0)
"""Sizes of the noise on a damaged model's weights, in root mean squares of each tensor"""
_CIRCUMSTANCES = ("s", "MB")
"""Units of time and memory, which may differ from call to call"""

_RUNS = "it measures after every interval, the first one too"
_ROWS = "it yields rows, each of a number, a distribution of the stream or None, a step or None"
_FINITE = "every value is finite: where it is undefined, there is no row"
_ONCE = "there is one row for each distribution and step"
_TRACE = "model, images and generators are left as they are"
_SOME = "it has values"
_COST = "what measuring costs"
_ZERO = "0 isn't written where it is undefined"
_MOST = "values don't lie above the most"


def check_metric(entry: Entry) -> Iterator[Finding]:
    """See whether a registered metric keeps its promises.

    Args:
        entry: its entry in the registry.
    """
    return to_the_end(_promises(entry), entry)


def _promises(entry: Entry) -> Iterator[Finding]:
    yield of_documentation(entry)
    yield from derived_promises(entry) if entry.facts["derived"] else _measured(entry)


class _Moment(NamedTuple):
    """A strategy after an interval, about to be measured."""

    where: str
    """In words"""
    strategy: GenerativeTemplate
    evaluator: Evaluator
    interval: int

    def measurement(self) -> Measurement:
        return Measurement(self.strategy, self.evaluator, self.interval, train_seconds=1.0)


class _Look(NamedTuple):
    """A metric's rows at one moment, and their cost."""

    moment: _Moment
    rows: list[Row]
    seconds: float
    bound_seconds: float
    """Seconds of negative_elbo"""


def _measured(entry: Entry) -> Iterator[Finding]:
    reported: set[str] = set()
    looks = []
    for kept in _moments():
        moment = deepcopy(kept)  # the metric may change its copy; the next metric gets an untouched one
        rows, seconds, problems = _measured_twice(entry, moment)
        for problem in problems:
            if problem.promise not in reported:
                reported.add(problem.promise)
                yield problem
        with torch.inference_mode():
            _, bound_seconds = _rows(METRICS["negative_elbo"], moment, moment.measurement())
        looks.append(_Look(kept, rows, seconds, bound_seconds))
    for promise in (_RUNS, _ROWS, _FINITE, _ONCE, _TRACE):
        if promise not in reported:
            yield Finding(promise)
    if entry.facts["unit"] in _CIRCUMSTANCES:
        seen = f"it is measured in {entry.facts['unit']}, which depends on the machine, too"
        yield Finding(_TWICE, "skipped", seen=seen)
    elif _TWICE not in reported:
        yield Finding(_TWICE)
    yield from _notes(entry, looks)
    if not {_ROWS, _FINITE} & reported:
        yield _direction(entry)


@cache
def _moments() -> tuple[_Moment, ...]:
    """Small models after each interval of a small stream."""
    moments = []
    for method, options, track in TRAINED:
        strategy, evaluator = begun(made(method, options), _stream(track), Seeds(0))
        for interval, experience in enumerate(evaluator.view):
            strategy.train(experience, eval_streams=[])
            where = f"{method}, {track}, interval {interval}"
            moments.append(_kept(_Moment(where, strategy, evaluator, interval)))
    return tuple(moments)


@cache
def _whole(track: str) -> _Moment:
    """A small model that has learned a whole stream at once, before an interval that doesn't change it."""
    stream = _stream(track)
    method = made("lifelong-vae", {**SMALL, "codes": 3, "mutual_information_weight": 1.0})
    strategy, evaluator = begun(method, stream, Seeds(0))
    joint = stream.joint()[0]
    joint.steps = joint.planned_steps = 60
    strategy.train(joint, eval_streams=[])
    moment = _Moment(f"a trained model, {track}", strategy, evaluator, len(evaluator.view) - 1)
    _kept(moment)  # stores the codes as those of the interval before
    return _kept(moment)


@torch.inference_mode()
def _kept(moment: _Moment) -> _Moment:
    """A copy to be measured. The original remembers its codes, and goes on."""
    model = moment.strategy.model.eval()
    copied = deepcopy(moment)
    moment.evaluator.previous_codes = moment.measurement().codes
    model.train()
    return copied


def _stream(track: str) -> Stream:
    """Dark images, then bright ones, and dark ones again: each interval conflicts with the one before."""

    def images(name: str, part: int, n: int) -> Images:
        is_bright = int(name == "bright")
        generator = Seeds(0).generator("check", n, is_bright)
        return Images(halves(n, (200 * is_bright,) * 2, 8, generator), torch.full((n,), is_bright))

    visits = ("dark", "bright", "dark")
    return small_stream(visits, images, steps=5, track=track, importance_draws=10, importance_images=6)


@torch.inference_mode()
def _measured_twice(entry: Entry, moment: _Moment) -> tuple[list[Row], float, list[Finding]]:
    """Measure twice, and find what that changed; returns rows, seconds and broken promises.

    Raises:
        Stopped: it raises, or returns no rows.
    """
    first = moment.measurement()
    watch = Watch(first.fingerprint)
    rows, seconds = _rows(entry, moment, first)
    changed = watch.changes()
    if any(name.startswith(SETTINGS) for name in changed):  # under changed settings nothing else can be measured
        raise Stopped(_trace(entry, moment, changed))
    Seeds(1).seed_globals()  # as if something else had run before
    second = moment.measurement()
    for own in own_metrics():  # in a run they come first, and cache values that all metrics share
        if not own.facts["derived"]:
            list(own.target(second))
    watch = Watch(second.fingerprint)
    again, _ = _rows(entry, moment, second)
    changed += [name for name in watch.changes() if name not in changed]
    problems = list(_wrong_rows(entry, rows, moment))
    if changed:
        problems.append(_trace(entry, moment, changed))
    if _comparable(again) != _comparable(rows) and entry.facts["unit"] not in _CIRCUMSTANCES:
        look = (
            f"{entry.origin}: draws from a generator with a fixed seed, such as Seeds(0).generator('my-metric'), made "
            "anew in each call, and keeps nothing from call to call"
        )
        expected, seen = _first_difference(rows, again)
        problems.append(broken(_TWICE, expected, f"{moment.where}: {seen}", look))
    return rows, seconds, problems


def _trace(entry: Entry, moment: _Moment, changed: list[str]) -> Finding:
    look = (
        f"{entry.origin}: works on copies (copy.deepcopy(m.model), x.clone()), leaves eval() alone, and draws from a "
        "generator of its own, such as Seeds(0).generator('my-metric')"
    )
    return broken(_TRACE, "as before", f"{moment.where}: changed: {', '.join(changed)}", look)


def _rows(entry: Entry, moment: _Moment, measurement: Measurement) -> tuple[list[Row], float]:
    """A metric's rows, and the seconds that they take.

    Raises:
        Stopped: it raises, or returns no rows.
    """
    began = process_time()
    try:
        rows = entry.target(measurement)
        if isinstance(rows, Iterable):
            return list(rows), process_time() - began
    except (Exception, SystemExit) as error:
        hint = "" if moment.interval else "there is no model before interval 0: m.past and m.previous_codes are empty"
        finding = raised(_RUNS, error, entry, hint)
        raise Stopped(finding._replace(seen=f"{moment.where}: {finding.seen}")) from None
    raise Stopped(broken(_ROWS, "a generator of Rows", f"{rows!r:.80}", f"{entry.origin}: yield Row(value)"))


def _wrong_rows(entry: Entry, rows: Sequence[Any], moment: _Moment) -> Iterator[Finding]:
    """Broken promises of the yielded rows: the first of each kind."""
    for row in rows:
        if problem := row_problem(row, moment.evaluator.stream.distributions):
            look = f"{entry.origin}: yield Row(value), Row(value, distribution) or Row(value, step=step)"
            expected = "Row(float, a name of m.stream.distributions or None, int or None)"
            yield broken(_ROWS, expected, f"{moment.where}: {problem}", look)
            return
    for row in rows:
        if not math.isfinite(row.value):
            look = f"{entry.origin}: yield no row where it is undefined"
            yield broken(_FINITE, "a finite value, or no row", f"{moment.where}: {in_words(row)}", look)
            break
    for row in repeated(rows)[:1]:
        look = f"{entry.origin}: one row is the union's, Row(value); others name their distribution or step"
        seen = f"{moment.where}: several of distribution {row.distribution!r}, step {row.step}"
        yield broken(_ONCE, "one row", seen, look)


def _comparable(rows: Iterable[Any]) -> list[str]:
    return [repr(row) for row in rows]  # so that NaN equals NaN


def _first_difference(rows: Sequence[Any], again: Sequence[Any]) -> tuple[str, str]:
    pairs = zip(_comparable(rows), _comparable(again), strict=False)
    return next(((a, b) for a, b in pairs if a != b), (f"{len(rows)} rows", f"{len(again)} rows"))


def _notes(entry: Entry, looks: Sequence[_Look]) -> Iterator[Finding]:
    """Findings worth knowing that break no promise."""
    rows = [(look, row) for look in looks for row in look.rows if isinstance(row, Row) and is_number(row.value)]
    if not rows:
        seen = "it gave no row for any model that was tried, so little could be checked"
        yield Finding(_SOME, "note", seen=seen)
    seconds, bound = (
        fmean(times) for times in zip(*((look.seconds, look.bound_seconds) for look in looks), strict=True)
    )
    seen = f"{seconds:.4f} s an interval by itself, {bound:.4f} s for negative_elbo; shared parts are computed once"
    yield Finding(_COST, "note", seen=seen)
    first = {row.value for look, row in rows if look.moment.interval == 0}
    if first == {0} and any(row.value for _, row in rows):
        seen = "it is 0 after each first interval: if it is undefined there, yield no row"
        yield Finding(_ZERO, "note", seen=seen)
    most = entry.facts["most"]
    if most is not None and (above := [(look, row) for look, row in rows if row.value > most]):
        look, row = max(above, key=lambda pair: pair[1].value)
        yield Finding(_MOST, "note", seen=f"{look.moment.where}: {in_words(row)} is above {most}, and ranks as it")


def _direction(entry: Entry) -> Finding:
    """A model that has learned the whole stream, unchanged in its last interval, against itself with noisy weights."""
    better, unit = entry.facts["better"], entry.facts["unit"]
    if better is None:
        return Finding(_DIRECTION, "note", seen="it has no better direction: it ranks nothing")
    if unit in _CIRCUMSTANCES:
        return Finding(_DIRECTION, "skipped", seen=f"it is measured in {unit}, which doesn't depend on the weights")
    for track in TRACKS:
        clean, damaged = _damaged(entry, track)
        if clean is not None and damaged:
            break
    else:
        return Finding(_DIRECTION, "skipped", seen="it has no value of a model that has learned the whole stream")
    worst = median(damaged)
    seen = f"{clean:.6g} of a trained model, {worst:.6g} of the same with noise on its weights"
    change = gain(worst, clean, entry)
    if change > 0:
        look = f'{entry.origin}: register_metric(better="{better}"), or the sign of its value'
        return broken(_DIRECTION, f"a value that isn't {better}", seen, look)
    if change == 0:
        why = "it doesn't depend on the weights" if set(damaged) == {clean} else "they rank alike"
        return Finding(_DIRECTION, "note", seen=f"{seen}: {why}")
    return Finding(_DIRECTION, seen=seen)


def _damaged(entry: Entry, track: str) -> tuple[float | None, list[float]]:
    """The metric of a trained model, and of the same with more and more noise on its weights."""

    @torch.inference_mode()
    def value(moment: _Moment) -> float | None:
        return _mean(_rows(entry, moment, moment.measurement())[0])

    clean = value(deepcopy(_whole(track)))
    values = []
    for i, size in enumerate(DAMAGES):
        moment = deepcopy(_whole(track))
        _add_noise(moment.strategy.model, size, Seeds(0).generator("damage", i))
        values.append(value(moment))
    return clean, [value for value in values if value is not None]


@torch.no_grad()
def _add_noise(model: torch.nn.Module, size: float, generator: torch.Generator) -> None:
    for weights in model.parameters():
        scale = size * (weights.square().mean().sqrt() + 0.05)
        weights.add_(scale * torch.randn(weights.shape, generator=generator))


def _mean(rows: Sequence[Any]) -> float | None:
    """The union's value, or the mean of the others; None if there is none that is finite."""
    usable = [row for row in rows if isinstance(row, Row) and is_number(row.value) and math.isfinite(row.value)]
    union = [row.value for row in usable if row.distribution is None and row.step is None]
    values = union or [row.value for row in usable]
    return fmean(values) if values else None


PROMISES = (_RUNS, _ROWS, _FINITE, _ONCE, _TWICE, _TRACE, _DIRECTION, _SOME, _COST, _ZERO, _MOST, _NUMBER, _ARGUMENTS)
"""All promises of a metric; the last two are those of derived metrics."""

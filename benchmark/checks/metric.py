"""What a metric promises: values that mean the same wherever they are measured, and no trace of the measuring."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from itertools import chain
from statistics import fmean, median
from time import process_time
from typing import Any, NamedTuple

import torch

from ..images import Images
from ..measures import Evaluator, Measurement, Row
from ..registry import METRICS, Entry
from ..seeds import Seeds, global_states
from ..stream import Parts, ScenarioConfig, Stream, make_stream
from ..template import GenerativeTemplate
from . import Finding, of_documentation
from .common import SMALL, Stopped, begun, changes, digest, made, raised, to_the_end

TRACKS = ("bernoulli-grey", "discretised-logistic")
TRAINED: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("naive", SMALL, TRACKS[0]),
    ("growing-mixture", {**SMALL, "threshold": 0}, TRACKS[0]),
    ("lifelong-vae", SMALL, TRACKS[1]),
)
"""Methods, options and tracks of what is measured: a fixed code, several components, and a code that grows"""
DAMAGES = (0.5, 1.0, 2.0, 4.0)
"""Sizes of the noise on a damaged model's weights, in root mean squares of each tensor"""
_VISITS = ("dark", "bright", "dark")
_CIRCUMSTANCES = ("s", "MB")
"""Units of what may differ from call to call: time and memory"""

_RUNS = "it measures after every interval, the first one too"
_ROWS = "it yields rows, each of a number, a distribution of the stream or None, a step or None"
_FINITE = "every value is finite: where it is undefined, there is no row"
_ONCE = "there is one row for each distribution and step"
_TWICE = "the same model has the same values twice"
_TRACE = "model, images and generators are left as they are"
_DIRECTION = "what is damaged isn't better"
_SOME = "it has values"
_COST = "what measuring costs"
_ZERO = "0 isn't written where it is undefined"
_MOST = "values don't lie above the most"
_NUMBER = "it is a finite number, or None where it is undefined"
_ARGUMENTS = "the matrix is left as it is"


def check_metric(entry: Entry) -> Iterator[Finding]:
    """See whether a registered metric keeps its promises.

    Args:
        entry: its entry in the registry.
    """
    look = _derived if entry.facts["derived"] else _measured
    return to_the_end(chain(of_documentation(entry), look(entry)), entry)


# Metrics that are measured


class _Moment(NamedTuple):
    """A strategy after an interval, about to be measured."""

    where: str
    """In words"""
    strategy: GenerativeTemplate
    evaluator: Evaluator
    interval: int


class _Look(NamedTuple):
    """What a metric was at one moment."""

    moment: _Moment
    rows: list[Row]
    seconds: float
    bound_seconds: float
    """What negative_elbo took"""


def _measured(entry: Entry) -> Iterator[Finding]:
    told: set[str] = set()
    looks = []
    for kept in _moments():
        moment = deepcopy(kept)  # whatever this metric does to it, the next one finds it as it was
        rows, seconds, problems = _measured_twice(entry, moment)
        for problem in problems:
            if problem.promise not in told:
                told.add(problem.promise)
                yield problem._replace(seen=f"{moment.where}: {problem.seen}")
        _, bound_seconds = _rows(METRICS["negative_elbo"], moment)
        looks.append(_Look(kept, rows, seconds, bound_seconds))
    for promise in (_RUNS, _ROWS, _FINITE, _ONCE, _TRACE):
        if promise not in told:
            yield Finding(promise)
    if entry.facts["unit"] in _CIRCUMSTANCES:
        seen = f"it is measured in {entry.facts['unit']}: what the machine does, too, counts"
        yield Finding(_TWICE, "skipped", seen=seen)
    elif _TWICE not in told:
        yield Finding(_TWICE)
    yield from _notes(entry, looks)
    if not {_ROWS, _FINITE} & told:
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
    _kept(moment)  # leaves the codes of the interval before
    return _kept(moment)


@torch.inference_mode()
def _kept(moment: _Moment) -> _Moment:
    """A copy as it is to be measured. The original remembers its codes, and goes on."""
    _, strategy, evaluator, interval = moment
    strategy.model.eval()
    copied = deepcopy(moment)
    evaluator.previous_codes = Measurement(strategy, evaluator, interval, train_seconds=0.0).codes
    strategy.model.train()
    return copied


def _stream(track: str) -> Stream:
    """Dark images, then bright ones, and dark ones again, 8 × 8: each interval conflicts with the one before."""

    def images(n: int, bright: bool) -> Images:
        x = torch.randint(0, 40, (n, 1, 8, 8), generator=Seeds(0).generator("check", n, int(bright)))
        return Images((x + 200 * bright).to(torch.uint8), torch.full((n,), int(bright)))

    parts = {name: Parts(*(images(n, name == "bright") for n in (40, 6, 12))) for name in dict.fromkeys(_VISITS)}
    options = {"steps": 5, "track": track, "importance_draws": 10, "importance_images": 6}
    return make_stream(parts, _VISITS, ScenarioConfig.model_validate(options), Seeds(0))


def _measured_twice(entry: Entry, moment: _Moment) -> tuple[list[Row], float, list[Finding]]:
    """Measure twice, and see what that did; returns rows, seconds and broken promises.

    Raises:
        Stopped: it raises, or what it returns can't be looked at.
    """
    before = _states(moment)
    rows, seconds = _rows(entry, moment)
    changed = changes(before, _states(moment))
    Seeds(1).seed_globals()  # as if something else had run before
    again, _ = _rows(entry, moment)
    problems = list(_wrong_rows(entry, rows, moment.evaluator.stream))
    if changed:
        look = (
            f"{entry.origin}: works on copies (copy.deepcopy(m.model), x.clone()), leaves eval() alone, and draws from "
            "a generator of its own, such as Seeds(0).generator('my-metric')"
        )
        problems.append(Finding(_TRACE, "broken", "as before", f"changed: {', '.join(changed)}", look))
    if _comparable(again) != _comparable(rows) and entry.facts["unit"] not in _CIRCUMSTANCES:
        look = (
            f"{entry.origin}: draws from a generator with a fixed seed, such as Seeds(0).generator('my-metric'), made "
            "anew in each call, and keeps nothing from call to call"
        )
        problems.append(Finding(_TWICE, "broken", *_first_difference(rows, again), look))
    return rows, seconds, problems


def _rows(entry: Entry, moment: _Moment) -> tuple[list[Row], float]:
    """What a metric yields, and the seconds that it takes.

    Raises:
        Stopped: it raises, or returns no rows.
    """
    measurement = Measurement(moment.strategy, moment.evaluator, moment.interval, train_seconds=1.0)
    began = process_time()
    try:
        with torch.inference_mode():
            rows = entry.target(measurement)
            if isinstance(rows, Iterable):
                return list(rows), process_time() - began
    except (Exception, SystemExit) as error:
        hint = "" if moment.interval else "there is no model before interval 0: m.past and m.previous_codes are empty"
        found = raised(_RUNS, error, entry, hint)
        raise Stopped(found._replace(seen=f"{moment.where}: {found.seen}")) from None
    raise Stopped(Finding(_ROWS, "broken", "a generator of Rows", f"{rows!r:.80}", f"{entry.origin}: yield Row(value)"))


def _states(moment: _Moment) -> dict[str, bytes]:
    """What a metric must leave as it is."""
    model, stream = moment.strategy.model, moment.evaluator.stream
    images = (tensor for part in Parts._fields for name in stream.distributions for tensor in stream.images(part, name))
    drawn = model.generator.get_state() if model.generator is not None else torch.empty(0)
    return {
        "the model's weights or buffers": digest(*model.state_dict().values()),
        "the model's training mode": repr([module.training for module in model.modules()]).encode(),
        "which weights are trained": repr([one.requires_grad for one in model.parameters()]).encode(),
        "m.model.generator, which is training's": digest(drawn),
        "the stream's images": digest(*images),
        "m.previous_codes": digest(*moment.evaluator.previous_codes.values()),
        **{f"the global generator of {name}": state for name, state in global_states().items()},
    }


def _wrong_rows(entry: Entry, rows: Sequence[Any], stream: Stream) -> Iterator[Finding]:
    """Broken promises of what was yielded: the first of each kind."""
    for row in rows:
        if problem := _not_a_row(row, stream):
            look = f"{entry.origin}: yield Row(value), Row(value, distribution) or Row(value, step=step)"
            yield Finding(
                _ROWS, "broken", "Row(float, a name of m.stream.distributions or None, int or None)", problem, look
            )
            return
    for row in rows:
        if not math.isfinite(row.value):
            look = f"{entry.origin}: yield no row where it is undefined"
            yield Finding(_FINITE, "broken", "a finite value, or no row", f"{_shown(row)}", look)
            break
    twice = [key for key, n in Counter((row.distribution, row.step) for row in rows).items() if n > 1]
    if twice:
        distribution, step = twice[0]
        look = f"{entry.origin}: one row is the union's, Row(value); others name their distribution or step"
        yield Finding(_ONCE, "broken", "one row", f"several of distribution {distribution!r}, step {step}", look)


def _not_a_row(row: Any, stream: Stream) -> str:
    """Why something isn't a row that a store can keep; empty if it is."""
    if not isinstance(row, Row):
        return f"a {type(row).__name__}, {row!r:.80}"
    if not _is_number(row.value):
        return f"a value that is a {type(row.value).__name__}, {row.value!r:.80}: float(...) makes a number of it"
    if row.distribution is not None and row.distribution not in stream.distributions:
        return f"distribution {row.distribution!r}, which isn't one of {', '.join(stream.distributions)}"
    if row.step is not None and (not isinstance(row.step, int) or isinstance(row.step, bool)):
        return f"a step that is a {type(row.step).__name__}, {row.step!r:.80}"
    return ""


def _is_number(value: object) -> bool:
    """As JSON has it; numpy's float64 is a float, its float32 and tensors aren't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparable(rows: Iterable[Any]) -> list[str]:
    return [repr(row) for row in rows]  # NaN is like itself


def _first_difference(rows: Sequence[Any], again: Sequence[Any]) -> tuple[str, str]:
    pairs = zip(_comparable(rows), _comparable(again), strict=False)
    return next(((a, b) for a, b in pairs if a != b), (f"{len(rows)} rows", f"{len(again)} rows"))


def _shown(row: Row) -> str:
    of = f" of {row.distribution!r}" if row.distribution is not None else ""
    return f"{row.value}{of}" + (f" at step {row.step}" if row.step is not None else "")


def _notes(entry: Entry, looks: Sequence[_Look]) -> Iterator[Finding]:
    """What is worth knowing, and breaks nothing."""
    rows = [(look, row) for look in looks for row in look.rows if isinstance(row, Row) and _is_number(row.value)]
    if not rows:
        yield Finding(
            _SOME, "note", seen="no row after any interval of any model that was tried: little is known of it"
        )
    seconds, bound = (fmean(times) for times in zip(*((one.seconds, one.bound_seconds) for one in looks), strict=True))
    seen = f"{seconds:.4f} s an interval by itself, {bound:.4f} s for negative_elbo; what they share is computed once"
    yield Finding(_COST, "note", seen=seen)
    first = {row.value for look, row in rows if look.moment.interval == 0}
    if first == {0} and any(row.value for _, row in rows):
        seen = "it is 0 after each first interval: if it is undefined there, yield no row"
        yield Finding(_ZERO, "note", seen=seen)
    most = entry.facts["most"]
    if most is not None and (above := [(look, row) for look, row in rows if row.value > most]):
        look, row = max(above, key=lambda pair: pair[1].value)
        yield Finding(_MOST, "note", seen=f"{look.moment.where}: {_shown(row)} is above {most}, and ranks as it")


def _direction(entry: Entry) -> Finding:
    """A model that has learned the whole stream, unchanged in its last interval, against itself with noisy weights."""
    better, unit = entry.facts["better"], entry.facts["unit"]
    if better is None:
        return Finding(_DIRECTION, "note", seen="it has no better direction: it ranks nothing")
    if unit in _CIRCUMSTANCES:
        return Finding(_DIRECTION, "skipped", seen=f"it is measured in {unit}: that isn't a matter of the weights")
    for track in TRACKS:
        clean, damaged = _damaged(entry, track)
        if clean is not None and damaged:
            break
    else:
        return Finding(_DIRECTION, "skipped", seen="it has no value of a model that has learned the whole stream")
    worst = median(damaged)
    seen = f"{clean:.6g} of a trained model, {worst:.6g} of the same with noise on its weights"
    change = _gain(worst, clean, entry)
    if change > 0:
        look = f'{entry.origin}: register_metric(better="{better}"), or the sign of its value'
        return Finding(_DIRECTION, "broken", f"a value that isn't {better}", seen, look)
    if change == 0:
        why = "it doesn't depend on the weights" if set(damaged) == {clean} else "they rank alike"
        return Finding(_DIRECTION, "note", seen=f"{seen}: {why}")
    return Finding(_DIRECTION, seen=seen)


def _gain(value: float, before: float, entry: Entry) -> float:
    """By how much one value is better than another; what lies above the most ranks as it."""
    most = entry.facts["most"]
    if most is not None:
        value, before = min(value, most), min(before, most)
    return before - value if entry.facts["better"] == "lower" else value - before


def _damaged(entry: Entry, track: str) -> tuple[float | None, list[float]]:
    """The metric of a trained model, and of the same with more and more noise on its weights."""
    clean = _value(_rows(entry, deepcopy(_whole(track)))[0])
    values = []
    for i, size in enumerate(DAMAGES):
        moment = deepcopy(_whole(track))
        _add_noise(moment.strategy.model, size, Seeds(0).generator("damage", i))
        values.append(_value(_rows(entry, moment)[0]))
    return clean, [value for value in values if value is not None]


@torch.no_grad()
def _add_noise(model: torch.nn.Module, size: float, generator: torch.Generator) -> None:
    for weights in model.parameters():
        scale = size * (weights.square().mean().sqrt() + 0.05)
        weights.add_(scale * torch.randn(weights.shape, generator=generator))


def _value(rows: Sequence[Any]) -> float | None:
    """The union's value, or the mean of the others; None if there is none that is finite."""
    usable = [row for row in rows if isinstance(row, Row) and _is_number(row.value) and math.isfinite(row.value)]
    union = [row.value for row in usable if row.distribution is None and row.step is None]
    values = union or [row.value for row in usable]
    return fmean(values) if values else None


# Metrics that are derived from the matrix

Matrix = dict[tuple[int, str], float]


class _Case(NamedTuple):
    """The arguments of a derived metric."""

    visits: Sequence[Sequence[str]]
    """Distributions of each interval"""
    matrix: Matrix

    @property
    def first(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for interval, names in enumerate(self.visits):
            for name in names:
                first.setdefault(name, interval)
        return first

    @property
    def last(self) -> int:
        return len(self.visits) - 1

    def __str__(self) -> str:
        return "visits " + ", ".join("+".join(names) for names in self.visits)


def _cases() -> list[_Case]:
    """Streams in which distributions come once, come back, or come all at once, of one to five intervals."""
    visits: list[Sequence[str]] = ["a", "ab", "aa", "aba", "abc", "aabb", "abca", "abcde", "abab", ("abc",)]
    return [_Case(of, _learned(of)) for of in visits]


def _learned(visits: Sequence[Sequence[str]]) -> Matrix:
    """Whole nats, so that sums are exact: far away before a distribution is met, near after, and then forgotten."""
    matrix = {}
    for j, name in enumerate(sorted({name for names in visits for name in names})):
        met = None
        for t, names in enumerate(visits):
            met = t if name in names else met
            far = 90 + 5 * j + (7 * t + 3 * j) % 5
            matrix[t, name] = float(far if met is None else 20 + 2 * j + 3 * (t - met))
    return matrix


_DERIVED_DAMAGES: tuple[tuple[str, Callable[[int, int, int], bool]], ...] = (
    ("what was learned before the last interval is forgotten", lambda t, first, last: t == last > first),
    ("everything learned is learned worse", lambda t, first, last: t >= first),
    ("what is still to come suffers from what is learned", lambda t, first, last: 0 < t < first),
)
"""Entries R[t, j] that are raised, by t, first[j] and T, and what that means. The first that a metric sees decides."""


def _derived(entry: Entry) -> Iterator[Finding]:
    told: set[str] = set()
    for case in _cases():
        flat = case._replace(matrix=dict.fromkeys(case.matrix, 30.0))
        for one, what in ((case, str(case)), (flat, f"{case}, the whole matrix 30")):
            for problem in _derived_problems(entry, one):
                if problem.promise not in told:
                    told.add(problem.promise)
                    yield problem._replace(seen=f"{what}: {problem.seen}")
    for promise in (_NUMBER, _ARGUMENTS, _TWICE):
        if promise not in told:
            yield Finding(promise)
    if not told:
        yield _derived_direction(entry)


def _derived_problems(entry: Entry, case: _Case) -> Iterator[Finding]:
    matrix, first = dict(case.matrix), case.first
    Seeds(0).seed_globals()
    value = _derived_value(entry, matrix, first, case.last)
    if not (value is None or (_is_number(value) and math.isfinite(value))):
        look = f"{entry.origin}: return None where it is undefined, such as where it would divide by 0"
        yield Finding(_NUMBER, "broken", "a finite float, or None", f"{value!r:.80}", look)
    if list(matrix.items()) != list(case.matrix.items()) or list(first.items()) != list(case.first.items()):
        look = f"{entry.origin}: R and first are shared with other metrics; change a copy, dict(R)"
        yield Finding(_ARGUMENTS, "broken", "R and first as they were", "changed", look)
    Seeds(1).seed_globals()
    again = _derived_value(entry, dict(case.matrix), case.first, case.last)
    if repr(again) != repr(value):
        look = f"{entry.origin}: a function of its arguments alone: nothing drawn, nothing kept from call to call"
        yield Finding(_TWICE, "broken", repr(value), repr(again), look)


def _derived_value(entry: Entry, matrix: Matrix, first: Mapping[str, int], last: int) -> Any:
    try:
        return entry.target(matrix, first, last)
    except (Exception, SystemExit) as error:
        names = "+".join(first)
        hint = "a cell of one interval has T = 0, and nothing may be past: return None where it is undefined"
        found = raised(_NUMBER, error, entry, hint)
        raise Stopped(found._replace(seen=f"T = {last}, distributions {names}: {found.seen}")) from None


def _derived_direction(entry: Entry) -> Finding:
    better = entry.facts["better"]
    if better is None:
        return Finding(_DIRECTION, "note", seen="it has no better direction: it ranks nothing")
    for what, is_raised in _DERIVED_DAMAGES:
        found = [(one, pair) for one in _cases() if (pair := _raised_by(entry, one, is_raised)) is not None]
        gains = [(_gain(after, before, entry), case, before, after) for case, (before, after) in found]
        moved = [one for one in gains if abs(one[0]) > 1e-9]
        if moved:
            gain, case, before, after = max(moved, key=lambda one: one[0])
            seen = f"{case}: {before:.6g}, and {after:.6g} where {what}"
            if gain < 0:
                return Finding(_DIRECTION, seen=seen)
            look = f'{entry.origin}: register_metric(better="{better}"), or the sign; R is in nats, lower is better'
            return Finding(_DIRECTION, "broken", f"a value that isn't {better}", seen, look)
    return Finding(_DIRECTION, "note", seen="none of the damages that were tried to a matrix changes it")


def _raised_by(entry: Entry, case: _Case, is_raised: Callable[[int, int, int], bool]) -> tuple[float, float] | None:
    """The metric before and after some entries are raised by 8 nats; None where it is undefined."""
    first, last = case.first, case.last
    worse = {(t, j): value + 8.0 * is_raised(t, first[j], last) for (t, j), value in case.matrix.items()}
    before = _derived_value(entry, dict(case.matrix), case.first, last)
    after = _derived_value(entry, worse, first, last)
    return None if before is None or after is None else (before, after)

"""The promises of a metric derived from the matrix of negative ELBOs: it is a function of its arguments alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...contracts.registry import Entry
from ...measuring.rows import is_number
from ...seeds import Seeds
from .findings import Finding, Stopped, broken, raised, verdict

NUMBER = "it is a finite number, or None where it is undefined"
ARGUMENTS = "the matrix is left as it is"
TWICE = "the same model has the same values twice"
DIRECTION = "what is damaged isn't better"

Matrix = dict[tuple[int, str], float]
_STREAMS: tuple[Sequence[str], ...] = ("a", "ab", "aa", "aba", "abc", "aabb", "abca", "abcde", "abab", ("abc",))
"""Streams of one to five intervals, in which distributions come once, come back, or come all at once"""
_DAMAGES: tuple[tuple[str, Callable[[int, int, int], bool]], ...] = (
    ("what was learned before the last interval is forgotten", lambda t, first, last: t == last > first),
    ("everything learned is learned worse", lambda t, first, last: t >= first),
    ("what is still to come suffers from what is learned", lambda t, first, last: 0 < t < first),
)
"""Damages in words, and the entries R[t, j] that they raise, by t, first[j] and T. The first with an effect counts."""


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


def derived_promises(entry: Entry) -> Iterator[Finding]:
    """Check a derived metric on matrices of many streams.

    Args:
        entry: its entry in the registry.
    """
    reported: set[str] = set()
    for case in _cases():
        flat = case._replace(matrix=dict.fromkeys(case.matrix, 30.0))
        for one, what in ((case, str(case)), (flat, f"{case}, the whole matrix 30")):
            for problem in _problems(entry, one):
                if problem.promise not in reported:
                    reported.add(problem.promise)
                    yield problem._replace(seen=f"{what}: {problem.seen}")
    for promise in (NUMBER, ARGUMENTS, TWICE):
        if promise not in reported:
            yield Finding(promise)
    if not reported:
        yield _direction(entry)


def gain(value: float, before: float, entry: Entry) -> float:
    """How much better one value of a metric is than another; values above the most count as the most."""
    most = entry.facts["most"]
    if most is not None:
        value, before = min(value, most), min(before, most)
    return before - value if entry.facts["better"] == "lower" else value - before


def _cases() -> list[_Case]:
    return [_Case(visits, _learned(visits)) for visits in _STREAMS]


def _learned(visits: Sequence[Sequence[str]]) -> Matrix:
    """A matrix in whole nats, so that sums are exact: high before a distribution is met, low after, then forgotten."""
    matrix = {}
    for j, name in enumerate(sorted({name for names in visits for name in names})):
        met = None
        for t, names in enumerate(visits):
            met = t if name in names else met
            far = 90 + 5 * j + (7 * t + 3 * j) % 5
            matrix[t, name] = float(far if met is None else 20 + 2 * j + 3 * (t - met))
    return matrix


def _problems(entry: Entry, case: _Case) -> Iterator[Finding]:
    """Broken promises of one case."""
    matrix, first = dict(case.matrix), case.first
    Seeds(0).seed_globals()
    value = _value(entry, matrix, first, case.last)
    Seeds(1).seed_globals()
    again = _value(entry, dict(case.matrix), case.first, case.last)
    is_whole = list(matrix.items()) == list(case.matrix.items()) and list(first.items()) == list(case.first.items())
    findings = [
        verdict(
            NUMBER,
            value is None or (is_number(value) and math.isfinite(value)),
            "a finite float, or None",
            f"{value!r:.80}",
            f"{entry.origin}: return None where it is undefined, such as where it would divide by 0",
        ),
        verdict(
            ARGUMENTS,
            is_whole,
            "R and first as they were",
            "changed",
            f"{entry.origin}: R and first are shared with other metrics; change a copy, dict(R)",
        ),
        verdict(
            TWICE,
            repr(again) == repr(value),
            repr(value),
            repr(again),
            f"{entry.origin}: a function of its arguments alone: nothing drawn, nothing kept from call to call",
        ),
    ]
    return (finding for finding in findings if finding.status == "broken")


def _value(entry: Entry, matrix: Matrix, first: Mapping[str, int], last: int) -> Any:
    try:
        return entry.target(matrix, first, last)
    except (Exception, SystemExit) as error:
        names = "+".join(first)
        hint = "a cell of one interval has T = 0, and nothing may be past: return None where it is undefined"
        finding = raised(NUMBER, error, entry, hint)
        raise Stopped(finding._replace(seen=f"T = {last}, distributions {names}: {finding.seen}")) from None


def _direction(entry: Entry) -> Finding:
    better = entry.facts["better"]
    if better is None:
        return Finding(DIRECTION, "note", seen="it has no better direction: it ranks nothing")
    if entry.facts["of"] != "negative_elbo":
        return Finding(DIRECTION, "note", seen="damages are tried to matrices of negative ELBOs only")
    for what, is_raised in _DAMAGES:
        pairs = [(case, pair) for case in _cases() if (pair := _raised_by(entry, case, is_raised)) is not None]
        gains = [(gain(after, before, entry), case, before, after) for case, (before, after) in pairs]
        moved = [item for item in gains if abs(item[0]) > 1e-9]
        if moved:
            most, case, before, after = max(moved, key=lambda item: item[0])
            seen = f"{case}: {before:.6g}, and {after:.6g} where {what}"
            if most < 0:
                return Finding(DIRECTION, seen=seen)
            look = f'{entry.origin}: register_metric(better="{better}"), or the sign; R is in nats, lower is better'
            return broken(DIRECTION, f"a value that isn't {better}", seen, look)
    return Finding(DIRECTION, "note", seen="none of the damages that were tried to a matrix changes it")


def _raised_by(entry: Entry, case: _Case, is_raised: Callable[[int, int, int], bool]) -> tuple[float, float] | None:
    """The metric before and after some entries are raised by 8 nats; None where it is undefined."""
    first, last = case.first, case.last
    worse = {(t, j): value + 8.0 * is_raised(t, first[j], last) for (t, j), value in case.matrix.items()}
    before = _value(entry, dict(case.matrix), case.first, last)
    after = _value(entry, worse, first, last)
    return None if before is None or after is None else (before, after)

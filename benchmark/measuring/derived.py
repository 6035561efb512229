"""Metrics that follow from a stored matrix alone.

R[t, j] is the negative ELBO, or another metric, of distribution j after interval t; T is the last interval. A
distribution counts from the interval of its first visit, ``first[j]``. These metrics don't exist for a cell of one
interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ..contracts.registry import METRICS, register_metric
from ..errors import brief

Matrix = Mapping[tuple[int, str], float]


@register_metric("forgetting", version=1, unit="nats", better="lower", derived=True)
def forgetting(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """Increase from the best to the last value: mean over j < T of R[T, j] − min_t R[t, j].

    It misleads about methods that learn little: who has learned less has less to forget.
    """
    return _mean(R[T, j] - min(R[t, j] for t in range(T + 1)) for j in first if first[j] < T)


@register_metric("backward_transfer", version=1, unit="nats", better="higher", derived=True)
def backward_transfer(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """Gain from later intervals: mean over j < T of R[j, j] − R[T, j].

    It misleads where a distribution was learned badly at first, and had much to gain.
    """
    return _mean(R[first[j], j] - R[T, j] for j in first if first[j] < T)


@register_metric("forward_transfer", version=1, unit="nats", better="higher", derived=True)
def forward_transfer(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """Gain from earlier intervals: mean over j ≥ 1 of R[0, j] − R[j − 1, j].

    It misleads about slow starters: a model that is bad after interval 0 has much to gain.
    """
    return _mean(R[0, j] - R[first[j] - 1, j] for j in first if first[j] >= 1)


@register_metric("coverage_forgetting", version=1, better="lower", derived=True, of="coverage_of_each", of_samples=True)
def coverage_forgetting(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """Loss of samples' coverage from its best to the last value: mean over j < T of max_t R[t, j] − R[T, j].

    It misleads as forgetting does: who never drew a class can't forget it.
    """
    return _mean(max(R[t, j] for t in range(first[j], T + 1)) - R[T, j] for j in first if first[j] < T)


def matrices() -> set[str]:
    """Return the metrics whose matrices the registered derived metrics need."""
    return {entry.facts["of"] for entry in METRICS if entry.facts["derived"]}


class Derived(NamedTuple):
    """The derived metrics of one cell."""

    rows: list[dict[str, Any]]
    """rows of its last interval"""
    problems: dict[str, str]
    """reasons for missing numbers, by metric"""


def derive(rows: Iterable[Mapping[str, Any]], visits: Sequence[Sequence[str]]) -> Derived:
    """Compute the derived metrics of one cell. A metric that fails, or returns something other than a number, loses
    only its own number.

    Args:
        rows: the cell's measured rows.
        visits: the distributions of each interval.
    """
    first: dict[str, int] = {}
    for interval, distributions in enumerate(visits):
        for distribution in distributions:
            first.setdefault(distribution, interval)
    matrices: dict[str, dict[tuple[int, str], float]] = {}
    for row in rows:
        if row["distribution"] is not None:
            matrices.setdefault(row["metric"], {})[row["interval"], row["distribution"]] = row["value"]
    last = max((interval for matrix in matrices.values() for interval, _ in matrix), default=0)
    derived = Derived([], {})
    for entry in METRICS if last > 0 else ():
        if not entry.facts["derived"] or not (matrix := matrices.get(entry.facts["of"])):
            continue
        if {interval for interval, _ in matrix} == {last}:  # measured later, of the kept model
            continue
        try:
            value = entry.target(dict(matrix), dict(first), last)
            if value is None:
                continue
            if problem := _not_a_number(value):
                derived.problems[entry.name] = problem
            else:
                derived.rows.append({"interval": last, "metric": entry.name, "value": float(value)})
        except (Exception, SystemExit) as error:
            derived.problems[entry.name] = f"it raises {type(error).__name__}: {error}"
    return derived


def _not_a_number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"its value is of type {type(value).__name__}, {brief(value)}: float(...) converts it"
    try:
        is_usable = abs(float(value)) < 1e300  # false for NaN
    except OverflowError:
        is_usable = False
    return "" if is_usable else f"its value is {brief(value)}: return None where it is undefined"


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return fmean(values) if values else None

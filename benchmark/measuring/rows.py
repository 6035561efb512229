"""Rows: what a metric yields, and which of them a store can keep. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from operator import index
from typing import Any, NamedTuple

from ..errors import InputError, brief


class Row(NamedTuple):
    """One value of the metric that yields it."""

    value: float
    distribution: str | None = None
    """None: the union that the metric's name says."""
    step: int | None = None
    """None but for traces within an interval."""


def kept_rows(rows: Any, metric: str, interval: int, distributions: Collection[str]) -> list[Row]:
    """The rows of a metric from outside, with plain numbers.

    Numbers of NumPy and torch become Python's where that loses nothing.

    Args:
        rows: what the metric returned.
        metric: its name.
        interval: after which it was measured.
        distributions: of the stream.

    Raises:
        InputError: they can't be kept; the text says which row, and why.
    """
    if not isinstance(rows, Iterable):
        raise InputError(f"metric {metric} returns {brief(rows)}, not rows: yield Row(value)")
    kept: list[Row] = []
    for row in rows:
        if not isinstance(row, Row):
            raise InputError(f"metric {metric} yields {brief(row)}, which isn't a Row: yield Row(value)")
        plain = _plain(row)
        if problem := row_problem(plain, distributions):
            raise InputError(f"metric {metric} yields what isn't a measurement of this cell: {problem}")
        if not math.isfinite(plain.value):
            raise InputError(
                f"metric {metric} is {in_words(plain)} after interval {interval}: where it is undefined, yield no row"
            )
        kept.append(plain)
    for row in repeated(kept):
        raise InputError(
            f"metric {metric} yields several rows of distribution {row.distribution!r}, step {row.step}, after "
            f"interval {interval}: one row is the union's, Row(value); others name their distribution or step"
        )
    return kept


def row_problem(row: Any, distributions: Collection[str]) -> str:
    """Why something isn't a row of plain numbers; empty if it is one."""
    if not isinstance(row, Row):
        return f"a {type(row).__name__}, {brief(row)}"
    if not is_number(row.value):
        return f"a value that is a {type(row.value).__name__}, {brief(row.value)}: float(...) makes a number of it"
    is_known = isinstance(row.distribution, str) and row.distribution in distributions
    if row.distribution is not None and not is_known:
        return f"distribution {brief(row.distribution)}, which isn't one of {', '.join(distributions)}"
    if row.step is not None and (not isinstance(row.step, int) or isinstance(row.step, bool)):
        return f"a step that is a {type(row.step).__name__}, {brief(row.step)}: int(...) makes a whole number of it"
    return ""


def is_number(value: object) -> bool:
    """Whether JSON has such a number: NumPy's float64 is a float, its float32 and tensors aren't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def repeated(rows: Iterable[Row]) -> list[Row]:
    """One row of each distribution and step that several rows have."""
    return [Row(0.0, *of) for of, n in Counter((row.distribution, row.step) for row in rows).items() if n > 1]


def in_words(row: Row) -> str:
    """A row's value, and what it is of."""
    of = f" of {row.distribution!r}" if row.distribution is not None else ""
    return f"{row.value}{of}" + (f" at step {row.step}" if row.step is not None else "")


def _plain(row: Row) -> Row:
    """The same row with Python's own numbers, as far as they are the same numbers."""
    distribution = str(row.distribution) if isinstance(row.distribution, str) else row.distribution
    return Row(_number(row.value), distribution, _whole(row.step))


def _number(value: Any) -> Any:
    """A number as a float, or as it is if it is Python's own, no number, or none that a float can hold."""
    if type(value) in (int, float) or _is_boolean(value) or getattr(value, "ndim", None):
        return value
    try:
        single = value.item() if hasattr(value, "item") else value
        number = float(single)
        return number if number == single or math.isnan(number) else value
    except (TypeError, ValueError, ArithmeticError):
        return value


def _whole(step: Any) -> Any:
    """A whole number as an int, or as it is if it isn't one."""
    try:
        return step if step is None or _is_boolean(step) else index(step)
    except TypeError:
        return step


def _is_boolean(value: object) -> bool:
    """Whether something is true or false, also NumPy's and torch's."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")

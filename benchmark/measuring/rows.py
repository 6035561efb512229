"""Rows of metrics, and checks whether a store can keep them."""

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
    """None stands for the union of distributions."""
    step: int | None = None
    """None unless the value is part of a trace within an interval."""


def kept_rows(rows: Any, metric: str, interval: int, distributions: Collection[str]) -> list[Row]:
    """Check the rows of an extension metric and return them with plain numbers.

    Numbers of NumPy and torch become Python's if that loses nothing.

    Args:
        rows: the metric's return value.
        metric: its name.
        interval: the interval after which it was measured.
        distributions: the stream's distributions.

    Raises:
        InputError: a row can't be kept; the text says which one, and why.
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
    """Say why something isn't a row of plain numbers; empty if it is one."""
    if not isinstance(row, Row):
        return f"a {type(row).__name__}, {brief(row)}"
    if not is_number(row.value):
        return f"a value that is a {type(row.value).__name__}, {brief(row.value)}: float(...) converts it"
    is_known = isinstance(row.distribution, str) and row.distribution in distributions
    if row.distribution is not None and not is_known:
        return f"distribution {brief(row.distribution)}, which isn't one of {', '.join(distributions)}"
    if row.step is not None and (not isinstance(row.step, int) or isinstance(row.step, bool)):
        return f"a step that is a {type(row.step).__name__}, {brief(row.step)}: int(...) converts it"
    return ""


def is_number(value: object) -> bool:
    """Whether a value is a JSON number: NumPy's float64 is a float, its float32 and tensors aren't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def repeated(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each distribution and step that occurs several times."""
    return [Row(0.0, *of) for of, n in Counter((row.distribution, row.step) for row in rows).items() if n > 1]


def in_words(row: Row) -> str:
    """Write a row's value, distribution and step for a message."""
    of = f" of {row.distribution!r}" if row.distribution is not None else ""
    return f"{row.value}{of}" + (f" at step {row.step}" if row.step is not None else "")


def _plain(row: Row) -> Row:
    """Return the row with Python's own numbers where they are equal."""
    distribution = str(row.distribution) if isinstance(row.distribution, str) else row.distribution
    return Row(_number(row.value), distribution, _whole(row.step))


def _number(value: Any) -> Any:
    """Return a number as a float; unchanged if it is Python's own, not a number, or too large for a float."""
    if type(value) in (int, float) or _is_boolean(value) or getattr(value, "ndim", None):
        return value
    try:
        single = value.item() if hasattr(value, "item") else value
        number = float(single)
        return number if number == single or math.isnan(number) else value
    except (TypeError, ValueError, ArithmeticError):
        return value


def _whole(step: Any) -> Any:
    """Return a whole number as an int, and anything else unchanged."""
    try:
        return step if step is None or _is_boolean(step) else index(step)
    except TypeError:
        return step


def _is_boolean(value: object) -> bool:
    """Whether a value is a boolean of Python, NumPy or torch."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")

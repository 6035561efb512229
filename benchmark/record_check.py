"""Whether what a finished cell says of itself has the form that readers count on. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

_ALWAYS: dict[str, dict[str, Any]] = {
    "": {"protocol": int, "precision": str, "seed": int, "status": str},
    "scenario": {"name": str, "label": str, "version": int, "config": dict, "track": str},
    "method": {"name": str, "label": str, "version": int, "config": dict},
}
_MOST = 1_000_000
"""Above any version: one that were so high would make all other cells stale."""
_DONE: dict[str, dict[str, Any]] = {"": {"device": str, "metrics": dict, "visits": list, "rows": int}}


def record_problem(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a cell's record, or None; most is looked at where the cell is done."""
    if problem := _of_types(record, _ALWAYS):
        return problem
    if not (record.get("suite") is None or _are_texts([record["suite"]])):
        return "suite isn't a name"
    if record["status"] != "done":
        return None
    return _of_types(record, _DONE) or _problem_when_done(record)


def _of_types(record: Mapping[str, Any], needed: Mapping[str, Mapping[str, Any]]) -> str | None:
    for part, fields in needed.items():
        values = record.get(part) if part else record
        if not isinstance(values, Mapping):
            return f"{part} isn't an object"
        for key, kind in fields.items():
            if type(values.get(key)) is not kind:
                return f"{f'{part}.' if part else ''}{key} is to be of type {kind.__name__}"
            if kind is str and not (values[key] and values[key].isprintable()):
                return f"{key} is empty, or can't be printed"
    return None


def _problem_when_done(record: Mapping[str, Any]) -> str | None:
    visits, method = record["visits"], record["method"]
    if not visits or not all(isinstance(visit, list) and visit and _are_texts(visit) for visit in visits):
        return "visits isn't a list of lists of names"
    versions = [record["protocol"], record["scenario"]["version"], method["version"], *record["metrics"].values()]
    if not all(type(version) is int and 0 <= version < _MOST for version in versions):
        return "it has versions that are no versions"
    if not isinstance(method.get("uses", []), list) or not _are_texts(method.get("uses", [])):
        return "method.uses isn't a list of names"
    if method.get("reference", "") not in (None, "upper", "lower"):
        return "method.reference isn't upper, lower or null"
    numbers = record.get("numbers")
    if numbers is not None and not (
        isinstance(numbers, dict) and all(value is None or _is_number(value) for value in numbers.values())
    ):
        return "numbers isn't a number for each metric"
    for key in ("machine", "versions"):
        facts = record.get(key, {})
        if not isinstance(facts, dict) or any(isinstance(value, dict | list) for value in facts.values()):
            return f"{key} isn't values by name"
    if not _is_number(record.get("seconds", 0)):
        return "seconds isn't a number"
    try:
        if datetime.fromisoformat(record["finished"]) < datetime.fromisoformat(record["started"]):
            return "it finished before it started"
    except (KeyError, TypeError, ValueError):
        return "started and finished aren't times"
    return None


def odd_row(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """What is wrong with the first row that can't be a measurement of a cell of such visits, or None."""
    names = {name for visit in visits for name in visit}
    for number, row in enumerate(rows, 1):
        if problem := _row_problem(row, len(visits), names):
            return f"row {number} isn't a measurement of this cell: {problem}: {str(row)[:200]}"
    return None


def _row_problem(row: Any, intervals: int, distributions: Collection[str]) -> str:
    """Why something can't be a row of a cell; empty if it can."""
    try:
        interval, distribution, step, metric = row["interval"], row["distribution"], row["step"], row["metric"]
        value = row["value"]
    except (LookupError, TypeError):
        return "it lacks one of interval, distribution, step, metric and value"
    if type(interval) is not int or not 0 <= interval < intervals:
        return f"its interval isn't one of 0 to {intervals - 1}"
    if not (distribution is None or (isinstance(distribution, str) and distribution in distributions)):
        return "its distribution isn't one of the cell's"
    if not (step is None or type(step) is int):
        return f"its step is a {type(step).__name__}, not a whole number"
    if type(metric) is not str or not metric.isprintable():
        return "its metric isn't a name"
    if type(value) not in (int, float):
        return f"its value is a {type(value).__name__}, not a number"
    return "" if _is_number(value) else "its value isn't finite, or has more than 300 digits"


def rows_problem(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """What is wrong with the rows of a cell of such visits, or None."""
    if problem := odd_row(rows, visits):
        return problem
    names = {name for visit in visits for name in visit}
    of_elbo = (row for row in rows if row["metric"] == "negative_elbo" and row["step"] is None)
    matrix = {(row["interval"], row["distribution"]) for row in of_elbo if row["distribution"] is not None}
    if matrix and (lacking := {(i, name) for i in range(len(visits)) for name in names} - matrix):
        interval, name = min(lacking)
        return f"there is no negative_elbo of {name!r} after interval {interval}"
    return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300  # not a number: no comparison holds


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) and value.isprintable() for value in values)

"""Grids in suites: one entry of a list that stands for a scenario or method at every combination of some values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from ..discovery.plugin_file import file_in
from ..errors import InputError, brief

_MOST = 1_000
"""Most combinations of one grid."""
_WORD = re.compile(r"(?!(?:true|false|null|NaN|Infinity)\Z)[A-Za-z][\w.-]*", re.ASCII)


def texts_of(entry: Any) -> list[Any]:
    """Return the texts, ``NAME:option=value,...``, that an entry of a suite's list stands for.

    Args:
        entry: such as ``{"name": "ewc", "strength": [1, 10, 100]}``: each option has one value, or a list of values.
            Anything else stands for itself.

    Raises:
        InputError: a table is no grid.
    """
    if not isinstance(entry, Mapping):
        return [entry]
    name = entry.get("name")
    if not isinstance(name, str):
        raise InputError('a table needs a name, such as { name = "ewc", strength = [1, 10, 100] }')
    if "label" in entry:
        raise InputError('a table has no label; the suite gives titles: labels = { "ewc:strength=10" = "Ours" }')
    choices = {key: value if isinstance(value, list) else [value] for key, value in entry.items() if key != "name"}
    for key, values in choices.items():
        if not key.isidentifier():
            raise InputError(f"{brief(key)} isn't the name of an option")
        if not values:
            raise InputError(f"the list of {key} is empty")
    if (number := math.prod(map(len, choices.values()))) > _MOST:
        raise InputError(f"it has {number:,} combinations; at most {_MOST:,}")
    ways = product(*([f"{key}={_written(key, value)}" for value in values] for key, values in choices.items()))
    file = file_in(name)
    has_options = file[2] if file else ":" in name
    return [name + ("," if has_options else ":") * bool(way) + ",".join(way) for way in ways]


def _written(option: str, value: Any) -> str:
    """Write a value so that the option's type reads it: in JSON, but for plain words."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"{brief(value)} can't be a value of {option}") from None

"""Values in TOML files that don't fit, in words."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from ..errors import brief

_EXPECTED = {
    "string_type": "a text in quotes",
    "list_type": "a list in brackets",
    "dict_type": "a table in braces",
    "model_type": "a table in braces",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "greater_than_equal": "at least {ge:,}",
    "less_than_equal": "at most {le:,}",
    "invalid-json-value": "a number, a text, true, false, or a list or table of these",
}
"""What was expected, by pydantic's type of the error."""


def misfit(error: ErrorDetails) -> str:
    """Say what doesn't fit, and what is expected in its place."""
    if error["type"] == "missing":
        return "it is missing"
    if error["type"] == "extra_forbidden":
        return "it is unknown"
    if error["type"] == "too_short":
        return "the list is empty"
    known = _EXPECTED.get(error["type"])
    expected = known.format(**error.get("ctx", {})) if known else error["msg"]
    return f"{brief(error['input'])} doesn't fit; expected: {expected}"

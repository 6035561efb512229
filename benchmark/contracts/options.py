"""Options of methods and scenarios."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python


class Options(BaseModel):
    """A frozen, validated set of options. The line under a field is its meaning in ``lifegen list NAME``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def searched(low: float = 0.0, high: float = 0.0, *, log: bool = True, among: Sequence[Any] = ()) -> Any:
    """Declare what `lifegen tune` tries of an option, as in ``strength: Annotated[float, searched(1, 1e4)] = 10.0``.

    Args:
        low: the lowest value.
        high: the highest value.
        log: whether values are spread evenly over their logarithms.
        among: the values themselves, in place of a range.
    """
    if not among and not (low < high and (low > 0 or not log)):
        raise ValueError(f"a search from {low} to {high} needs low < high and, on logarithms, low > 0")
    what: dict[str, Any] = {"among": list(among)} if among else {"low": low, "high": high, "log": log}
    return Field(json_schema_extra={"search": what})


def later() -> Any:
    """Declare an option that came after results were computed: ``passes: Annotated[float | None, later()] = None``.

    At its default it is no part of a cell's identity, so that cells from before it keep their names.
    """
    return Field(json_schema_extra={"later": True})


def schemas_of(options: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each option by name, complete in itself, with the default, if any, as a JSON value.

    Raises:
        pydantic.PydanticUserError: an option's type has no JSON schema.
        ValueError: a default isn't JSON.
    """
    with warnings.catch_warnings(action="ignore"):  # defaults that aren't JSON are an error below
        schema = options.model_json_schema()
    schemas: dict[str, dict[str, Any]] = _inlined(schema, schema.get("$defs", {}))["properties"]
    defaults = options.model_construct()  # calls the factories of defaults
    for name, field in options.model_fields.items():
        option = schemas.get(field.validation_alias if isinstance(field.validation_alias, str) else name)
        if option is None or field.is_required():
            continue
        if "default" not in option:
            option["default"] = to_jsonable_python(getattr(defaults, name))
        if option.get("uniqueItems"):  # a set has another order in each process
            option["default"] = sorted(option["default"], key=json.dumps)
    return schemas


def _inlined(schema: Any, definitions: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """Put the definitions that a schema refers to in their places. A model that contains itself may be anything there:
    pydantic checks it."""
    if isinstance(schema, list):
        return [_inlined(element, definitions, within) for element in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in within:
            return {}
        # The text below an option is its meaning, not its type's docstring.
        definition = {key: value for key, value in definitions[name].items() if key not in ("title", "description")}
        return _inlined(
            {**definition, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions, (*within, name)
        )
    schema = {
        key: _inlined(value, definitions, within) if key in _OF_SCHEMAS else value for key, value in schema.items()
    }
    if "properties" in schema:
        schema["properties"] = {key: _inlined(part, definitions, within) for key, part in schema["properties"].items()}
        schema.setdefault("additionalProperties", False)  # pydantic would ignore a misspelt name
    return schema


_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "items", "prefixItems", "additionalProperties", "propertyNames")
"""Keys whose values contain schemas, besides "properties"."""

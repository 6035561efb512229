"""What a user asked for: a name and options, ``split-mnist:steps=1000,classes_per_interval=2``, checked before use."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .catalogue import Description, find
from .errors import InputError, brief, unknown
from .plugin_file import PluginFile
from .registry import Entry

_COMMA = re.compile(r",(?![^\[]*\])")  # not inside a list
_LONGEST = 10_000
"""Characters of what may be asked for: the pattern above takes quadratic time."""


@dataclass(frozen=True)
class Choice:
    """A method or scenario with its whole configuration, as JSON values."""

    description: Description
    config: Mapping[str, Any]
    label: str
    """The name, with the options that aren't at their defaults: what tables and plots show."""

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def version(self) -> int:
        return self.description.version

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.description.facts

    @property
    def file(self) -> PluginFile | None:
        return self.description.file

    def entry(self) -> Entry:
        """Import it.

        Raises:
            InputError: its file can't be run.
        """
        return self.description.entry()


def choose(
    kind: str, text: str, overrides: Mapping[str, Any] | None = None, last: Mapping[str, Any] | None = None
) -> Choice:
    """Read ``NAME`` or ``NAME:option=value,...``, where the name may be a file's.

    Args:
        kind: "method" or "scenario".
        text: what the user typed. Values are JSON (``0.3``, ``true``, ``null``, ``[1,2]``); anything else is a string.
        overrides: options that were given another way; the text's own win.
        last: options that win over the text's; those that there aren't are left out.

    Raises:
        InputError: an unknown name or option, or a value that the option can't take.
    """
    if len(text) > _LONGEST:
        raise InputError(f"{kind} {brief(text)} has {len(text):,} characters; at most {_LONGEST:,}")
    description, rest = find(kind, text)
    name = description.name
    own: dict[str, Any] = {}
    for part in _COMMA.split(rest) if rest else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise InputError(f"{kind} {name!r}: {brief(part)} isn't of the form option=value")
        if key in own:
            raise InputError(f"{kind} {name!r}: option {brief(key)} is given twice")
        own[key] = _value(value.strip())
    given = dict(overrides or {}) | own
    return configure(description, given | {key: v for key, v in (last or {}).items() if key in description.options})


def configure(description: Description, given: Mapping[str, Any]) -> Choice:
    """Put given options over the defaults.

    Raises:
        InputError: an unknown option, or a value that the option can't take.
    """
    import jsonschema

    config = {key: schema.get("default") for key, schema in description.options.items()}
    for key, value in given.items():
        if key not in config:
            raise unknown(f"option of {description.kind} {description.name!r}:", key, config)
        schema = description.options[key]
        if not jsonschema.Draft202012Validator(schema).is_valid(value):
            problem: str | None = f"doesn't fit; expected: {_expected(schema)}"
        elif not (problem := _unusable(value)):
            default, canonical = schema.get("default"), _canonical(value, schema)
            # The default, said aloud, is the default: 1300 and 1300.0 must not make two cells.
            is_default = canonical == default and isinstance(default, bool) == isinstance(value, bool)
            config[key] = default if is_default else canonical
            problem = _unusable(config[key])  # 1e300 is a whole number
        if problem:
            raise InputError(f"{description.kind} {description.name!r}, option {key!r}: {brief(value)} {problem}")
    changed = [f"{key}={_text(config[key])}" for key, schema in description.options.items()
               if config[key] != schema.get("default")]  # fmt: skip
    label = description.name + (":" + ",".join(changed) if changed else "")
    return Choice(description, config, label)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _unusable(value: Any) -> str | None:
    """What schemas let through: no numbers, whole ones that no tensor can count to, and what breaks a table's lines."""
    if isinstance(value, list):
        return next(filter(None, map(_unusable, value)), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "isn't a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "is too large: whole numbers have at most 64 bits"
    if isinstance(value, str) and not value.isprintable():
        return "has characters that can't be printed"
    return None


def _canonical(value: Any, schema: Mapping[str, Any]) -> Any:
    """Equal values alike: 1 for a real number is 1.0, so that it makes no second cell."""
    kinds = schema.get("anyOf", [schema])
    if isinstance(value, list):
        items: Mapping[str, Any] = next((one.get("items", {}) for one in kinds if one.get("type") == "array"), {})
        return [_canonical(one, items) for one in value]
    types = {one.get("type") for one in kinds}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if "integer" in types else float(value)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).removesuffix(".0")


def _expected(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words: "integer above 0, or null"."""
    if "anyOf" in schema:
        return " or ".join(filter(None, map(_expected, schema["anyOf"])))
    if "enum" in schema:
        return "one of " + ", ".join(map(_text, schema["enum"]))
    if "const" in schema:
        return _text(schema["const"])
    words = str(schema.get("type", ""))
    if words == "array":
        words = f"list of {_expected(schema.get('items', {})) or 'values'}"
    for key, phrase in (("exclusiveMinimum", "above"), ("minimum", "at least"), ("exclusiveMaximum", "below"),
                        ("maximum", "at most")):  # fmt: skip
        if key in schema:
            words += f" {phrase} {schema[key]}"
    return words

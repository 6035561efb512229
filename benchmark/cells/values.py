"""Values of options: reading their text, checking them, and writing them in labels.

The option's type, a JSON schema, decides. If it asks for a text, a text that looks like a number stays a text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import InputError, brief, unknown

Schema = Mapping[str, Any]

_MARK = re.compile(r'(?<![^\s=,:\[{])"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
"""A quoted text at the beginning of a value, or a bracket."""
_OPENING = {"]": "[", "}": "{"}
DEEPEST = 30
"""How deep lists and objects may lie in each other: a limit of our own, since Python's differs between its versions."""
_LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "multipleOf": "a multiple of {}",
    "minItems": "with at least {} element(s)",
    "maxItems": "with at most {} element(s)",
    "uniqueItems": "without repetition",
    "minLength": "of at least {} character(s)",
    "maxLength": "of at most {} character(s)",
    "pattern": "that matches {}",
}


def split(text: str, at: str = ",") -> list[str]:
    """Split a text at separators outside brackets and quoted texts."""
    closed = _closed(text)
    parts, begin, i = [], 0, 0
    while i < len(text):
        if text[i] == at:
            parts.append(text[begin:i])
            begin = i + 1
        i = closed.get(i, i + 1)
    return [*parts, text[begin:]]


def _closed(text: str) -> dict[int, int]:
    """Return the end of each quoted text and bracket, by its start; unclosed brackets don't count."""
    closed: dict[int, int] = {}
    opened: list[int] = []
    depth = {"[": 0, "{": 0}
    for mark in _MARK.finditer(text):
        if mark[0][0] == '"':
            closed[mark.start()] = mark.end()
        elif mark[0] in depth:
            depth[mark[0]] += 1
            opened.append(mark.start())
        elif depth[opening := _OPENING[mark[0]]]:
            while text[begin := opened.pop()] != opening:
                depth[text[begin]] -= 1
            depth[opening] -= 1
            closed[begin] = mark.end()
    return closed


def read(text: str, schema: Schema) -> Any:
    """Read a text as JSON, as a list or an object of such texts, or as the text itself.

    The first of these values that the option can take is returned; if it can take none, the first value.
    """
    values: list[Any] = []
    with suppress(ValueError, RecursionError):
        values.append(json.loads(text, object_pairs_hook=_object))
    values += [*_collections(text, schema), text]
    return next((value for value in values if fits(value, schema)), values[0])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(values := dict(pairs)) < len(pairs):
        raise ValueError("a name is given twice")
    return values


def _collections(text: str, schema: Schema) -> Iterator[Any]:
    """Read a text as the lists and objects that it may stand for, each element by its own type."""
    parts = split(text[1:-1]) if text[1:-1].strip() else []
    for kind in _alternatives(schema):
        if (text[:1], text[-1:], kind.get("type")) == ("[", "]", "array"):
            yield [read(part.strip(), _of_element(kind, i)) for i, part in enumerate(parts)]
        elif (text[:1], text[-1:], kind.get("type")) == ("{", "}", "object"):
            pairs = [(split(part, ":")[0], part) for part in parts]
            names = [str(read(name.strip(), {"type": "string"})) for name, _ in pairs]
            values = [part[len(name) + 1 :].strip() for name, part in pairs]
            if len({*names}) == len(pairs) and all(len(name) < len(part) for name, part in pairs):
                yield {name: read(value, _of_field(kind, name)) for name, value in zip(names, values, strict=True)}


def fits(value: Any, schema: Schema) -> bool:
    """Whether a value fits an option's schema."""
    import jsonschema

    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def checked(value: Any, schema: Schema, name: str, of: str) -> Any:
    """Check a value and return it in one form, so that 1300 and 1300.0 don't make two cells.

    Args:
        value: a JSON value.
        schema: the option's schema.
        name: the option's name.
        of: the owner of the option, such as ``method 'naive'``.

    Raises:
        InputError: the option can't take the value; the text names the wrong part, such as ``'network.width'``.
    """
    if _depth(value) > DEEPEST:
        raise InputError(f"{of}, option {name!r}: its lists lie too deep in each other (more than {DEEPEST})")
    if not fits(value, schema):
        raise _refusal(value, schema, name, of)
    if problem := _unusable(value):
        raise InputError(f"{of}, option {name!r}: {brief(value)} {problem}")
    kept = _canonical(value, schema)
    if problem := _unusable(kept):  # 1e300 is a whole number
        raise InputError(f"{of}, option {name!r}: {brief(value)} {problem}")
    return schema["default"] if "default" in schema and equal(kept, schema["default"]) else kept


def _depth(value: Any) -> int:
    """How deep lists and objects lie in each other, without recursion."""
    depth, level = 0, [value]
    while collections := [each for each in level if isinstance(each, (list, dict))]:
        depth += 1
        level = [inner for each in collections for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _refusal(value: Any, schema: Schema, name: str, of: str) -> InputError:
    """The error for a value that doesn't fit, about the innermost wrong part."""
    kind = "array" if isinstance(value, list) else "object" if isinstance(value, dict) else None
    within = [part for part in _alternatives(schema) if kind and part.get("type") == kind]
    if len(within) == 1 and kind == "array":
        for i, element in enumerate(value):
            if not fits(element, _of_element(within[0], i)):
                return _refusal(element, _of_element(within[0], i), f"{name}[{i}]", of)
    elif len(within) == 1:
        fields = within[0].get("properties", {})
        for key, element in value.items():
            if key not in fields and within[0].get("additionalProperties") is False:
                return unknown(f"option of {of}:", f"{name}.{key}", (f"{name}.{field}" for field in fields))
            if not fits(element, _of_field(within[0], key)):
                return _refusal(element, _of_field(within[0], key), f"{name}.{key}", of)
        if missing := [key for key in within[0].get("required", ()) if key not in value]:
            return InputError(f"{of}, option {name!r}: {brief(value)} lacks {', '.join(missing)}")
    return InputError(f"{of}, option {name!r}: {brief(value)} doesn't fit; expected: {expected(schema)}")


def _unusable(value: Any) -> str | None:
    """Say why a value can't be used that schemas let through: NaN, integers too large for a tensor, line breaks."""
    if isinstance(value, dict):
        return next(filter(None, map(_unusable, [*value, *value.values()])), None)
    if isinstance(value, list):
        return next(filter(None, map(_unusable, value)), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "isn't a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "is too large: whole numbers have at most 64 bits"
    if isinstance(value, str) and not value.isprintable():
        return "has characters that can't be printed"
    return None


def _canonical(value: Any, schema: Schema) -> Any:
    fitting = [kind for kind in _alternatives(schema) if fits(value, kind)]
    # An integer where the type allows one. Defaults aren't checked and needn't fit.
    schema = min(fitting, key=lambda kind: kind.get("type") == "number", default=schema)
    for allowed in schema.get("enum", [schema["const"]] if "const" in schema else []):
        if equal(value, allowed):
            return allowed
    if isinstance(value, list):
        elements = [_canonical(element, _of_element(schema, i)) for i, element in enumerate(value)]
        return sorted(elements, key=json.dumps) if schema.get("uniqueItems") else elements
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        whole = {key: field["default"] for key, field in fields.items() if "default" in field} | value
        names = [*(key for key in fields if key in whole), *sorted(whole.keys() - fields.keys())]
        return {key: _canonical(whole[key], _of_field(schema, key)) for key in names}
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole_number = schema.get("type") == "integer" or (schema.get("type") is None and value == int(value))
        return int(value) if whole_number else float(value)
    return value


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, 1 and true aren't."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def written(value: Any, schema: Schema) -> str:
    """Write a value for labels so that :func:`read` returns it: in quotes if it would be read as another value."""
    exact = json.dumps(value, separators=(",", ":"))
    plain = value if isinstance(value, str) else exact.removesuffix(".0")
    # Nor may it open a bracket that later text would close.
    is_one = plain == plain.strip() and all(split(f"{plain},{mark}") == [plain, mark] for mark in '"]}')
    same = is_one and fits(again := read(plain, schema), schema) and equal(_canonical(again, schema), value)
    return plain if same else exact


def expected(schema: Schema) -> str:
    """Describe a type in a few words: "integer above 0 or null"."""
    if len(alternatives := _alternatives(schema)) > 1:
        return " or ".join(filter(None, map(expected, alternatives)))
    if "enum" in schema:
        return "one of " + ", ".join(written(value, schema) for value in schema["enum"])
    if "const" in schema:
        return written(schema["const"], schema)
    words = str(schema.get("type", ""))
    if "prefixItems" in schema:
        return f"[{', '.join(expected(element) or 'value' for element in schema['prefixItems'])}]"
    if words == "array":
        words = f"list of {expected(schema.get('items', {})) or 'values'}"
    elif words == "object" and schema.get("properties"):
        fields = (f"{key}: {expected(field) or 'value'}" for key, field in schema["properties"].items())
        words = f"{{{', '.join(fields)}}}"
    elif words == "object":
        words = f"{{name: {expected(_of_field(schema, '')) or 'value'}, ...}}"
    limits = " and ".join(phrase.format(schema[key]) for key, phrase in _LIMITS.items() if key in schema)
    return f"{words} {limits}".strip()


def _alternatives(schema: Schema) -> list[Schema]:
    """List the types of a union, also of unions in it; another type is its only one."""
    members = schema.get("anyOf") or schema.get("oneOf")
    return [inner for member in members for inner in _alternatives(member)] if members else [schema]


def _of_element(schema: Schema, i: int) -> Schema:
    """The type of a list's element."""
    first = schema.get("prefixItems", ())
    element = first[i] if i < len(first) else schema.get("items", {})
    return element if isinstance(element, Mapping) else {}


def _of_field(schema: Schema, name: str) -> Schema:
    """The type of an object's value."""
    field = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return field if isinstance(field, Mapping) else {}

"""A spec: a name with options, such as ``split-mnist:steps=1000,classes_per_interval=2``, checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contracts.registry import Entry
from ..discovery.index import resolve
from ..discovery.index_entry import IndexEntry
from ..discovery.plugin_file import PluginFile
from ..errors import InputError, brief, unknown
from .values import checked, equal, expected, read, split, written

_LONGEST = 10_000
"""Most characters of a spec."""


@dataclass(frozen=True)
class Spec:
    """A method or scenario with its whole configuration, as JSON values."""

    description: IndexEntry
    config: Mapping[str, Any]
    label: str
    """The name for tables and plots, with the options that aren't at their defaults."""

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
            InputError: the file can't be run.
        """
        return self.description.entry()


def with_precision(label: str, precision: str) -> str:
    """A method's name in tables and figures: its label, with the precision of its cell if that isn't float32."""
    return f"{label} ({precision})" if precision != "float32" else label


def parse_spec(
    kind: str,
    text: str,
    overrides: Mapping[str, Any] | None = None,
    last: Mapping[str, Any] | None = None,
    usual: Mapping[str, Any] | None = None,
) -> Spec:
    """Read ``NAME`` or ``NAME:option=value,...``, where the name may be a file's.

    Args:
        kind: "method" or "scenario".
        text: what the user typed. The option's type decides how a value is read: ``0.3`` is a number or a text.
        overrides: options given in another way; the text's own options win.
        last: options that win over the text's; unknown ones are ignored.
        usual: options in place of defaults; unknown ones are ignored, and presets ignore all.

    Raises:
        InputError: an unknown name or option, or a value that the option can't take.
    """
    if len(text) > _LONGEST:
        raise InputError(f"{kind} {brief(text)} has {len(text):,} characters; at most {_LONGEST:,}")
    description, rest = resolve(kind, text)
    name = description.name
    own: dict[str, Any] = {}
    for part in split(rest) if rest else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise InputError(f"{kind} {name!r}: {brief(part)} isn't of the form option=value")
        if key in own:
            raise InputError(f"{kind} {name!r}: option {brief(key)} is given twice")
        own[key] = read(value.strip(), description.options.get(key, {}))

    def known(options: Mapping[str, Any] | None) -> dict[str, Any]:
        return {key: value for key, value in (options or {}).items() if key in description.options}

    given = {} if description.facts.get("preset") else known(usual)
    return configure(description, given | dict(overrides or {}) | own | known(last))


def configure(description: IndexEntry, given: Mapping[str, Any]) -> Spec:
    """Put given options over the defaults.

    Raises:
        InputError: an unknown option, or a value that the option can't take.
    """
    of = f"{description.kind} {description.name!r}"
    schemas = description.options
    config = {key: schema["default"] for key, schema in schemas.items() if "default" in schema}
    for key, value in given.items():
        if key not in schemas:
            raise unknown(f"option of {of}:", key, schemas)
        config[key] = checked(value, schemas[key], key, of)
    for key, schema in schemas.items():
        if key not in config:
            raise InputError(f"{of} needs its option {key!r}: {description.name}:{key}=... ({expected(schema)})")
    changed = [f"{key}={written(config[key], schema)}" for key, schema in schemas.items()
               if "default" not in schema or not equal(config[key], schema["default"])]  # fmt: skip
    label = description.name + (":" + ",".join(changed) if changed else "")
    return Spec(description, config, label)

"""Tuned options: the file that ``lifegen tune`` writes, and that a suite may name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ..errors import InputError
from ..files import read_at_most
from .misfits import misfit
from .spec import Spec

_LARGEST = 100_000
"""Most bytes of the file."""


class Tuned(BaseModel):
    """Options that were chosen on validation parts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scenario: str
    """The scenario of the final comparison."""
    trials: int = Field(ge=1)
    """Trials of each method, its defaults included."""
    methods: dict[str, dict[str, JsonValue]]
    """The chosen options by the label of a method with a suite's conventions, where they aren't its own already."""


def read_tuned(path: Path) -> Tuned:
    """Read a file of tuned options.

    Raises:
        InputError: it isn't one.
    """
    return _tuned(path, read_at_most(path, _LARGEST, f"tuned options {path}", "`lifegen tune` writes such a file"))


@lru_cache(maxsize=8)  # a suite asks for each of its methods
def _tuned(path: Path, content: bytes) -> Tuned:
    try:
        return Tuned.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"tuned options {path}, {place}: {misfit(first)}") from None
    except ValueError as error:  # it isn't UTF-8, or no TOML
        raise InputError(f"tuned options {path} can't be read: {error}") from None


def changes(defaults: Spec, best: Spec) -> dict[str, JsonValue]:
    """Return the options in which a method's best trial differs from its defaults."""
    return {name: value for name, value in best.config.items() if value != defaults.config[name]}


def kept(path: Path, scenario: str, trials: int) -> dict[str, dict[str, JsonValue]]:
    """Return the options in an earlier file of the same comparison, by method; none if there is no such file."""
    try:
        earlier = read_tuned(path)
    except InputError:
        return {}
    return earlier.methods if (earlier.scenario, earlier.trials) == (scenario, trials) else {}


def to_toml(scenario: str, trials: int, methods: Mapping[str, Mapping[str, JsonValue]]) -> str:
    """Write the file.

    Args:
        scenario: label of the final comparison's scenario.
        trials: trials of each method.
        methods: chosen options, by the label of each method.
    """
    lines = [
        '# Written by lifegen tune: options chosen by negative_elbo_valid. A suite names this file: tuned = "..."',
        f"scenario = {json.dumps(scenario)}",
        f"trials = {trials}",
        "",
        "[methods]",
    ]
    for label, chosen in methods.items():
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in chosen.items())
        lines.append(f"{json.dumps(label)} = {{ {options} }}")
    text = "\n".join(lines) + "\n"
    Tuned.model_validate(tomllib.loads(text))
    return text

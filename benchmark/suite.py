"""Suites: named sets of scenarios, methods and seeds, one TOML file each in the folder ``suites``. No torch."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputError, unknown


class Suite(BaseModel):
    """What to run. Scenarios and methods are written as on the command line, ``NAME:option=value,...``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    summary: str
    scenarios: list[str]
    methods: list[str]
    seeds: list[int]


def suites() -> dict[str, Suite]:
    """The suites that come with lifegen, by name."""
    folder = files("lifegen.benchmark") / "suites"
    return {
        file.name.removesuffix(".toml"): _read(file.name, file.read_text())
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def suite(name: str) -> Suite:
    """A suite by its name, or from a TOML file.

    Raises:
        InputError: there is none, or the file isn't a suite.
    """
    if name.endswith(".toml"):
        try:
            return _read(name, Path(name).read_text())
        except OSError as error:
            raise InputError(f"suite {name} can't be read: {error.strerror}") from None
    known = suites()
    if name not in known:
        raise unknown("suite", name, known)
    return known[name]


def _read(name: str, text: str) -> Suite:
    try:
        return Suite.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"suite {name} isn't valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"suite {name}, {where}: {first['msg']}") from None

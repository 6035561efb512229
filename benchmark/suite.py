"""Suites: named sets of scenarios, methods and seeds, one TOML file each in the folder ``suites``; and their cells. No
torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .catalogue import describe
from .cell import Cell, plan
from .choice import choose
from .errors import InputError, unknown


class Smoke(BaseModel):
    """The small size, to see that everything runs: one seed, with these options in place of the suite's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scenario: dict[str, int | float | str] = {}
    method: dict[str, int | float | str] = {}


class Suite(BaseModel):
    """What to run. Scenarios and methods are written as on the command line, ``NAME:option=value,...``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    summary: str
    budget: str
    """What it takes, and how to ask for more."""
    scenarios: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    figures: list[str] = []
    """Names of the figures to look at: metrics, or those of ``plots.PICTURES``. ``lifegen plot`` draws every figure."""
    keep_models: bool = False
    smoke: Smoke


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
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"suite {name} can't be read: {error}") from None
    known = suites()
    if name not in known:
        raise unknown("suite", name, known)
    return known[name]


@cache
def named_variants() -> frozenset[str]:
    """Labels of the methods with options that suites name: they are ranked beside the methods as they come."""
    # A suite's method may be a plug-in that isn't installed here.
    known = {name for name, entry in describe("method").items() if not entry.error}
    texts = {text for one in suites().values() for text in one.methods if ":" in text}
    return frozenset(choose("method", text).label for text in texts if text.partition(":")[0] in known)


def cells_of(
    suite_name: str | None = None,
    scenarios: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    smoke: bool = False,
) -> list[Cell]:
    """The cells of a suite, or of given scenarios × methods × seeds.

    Args:
        suite_name: as for :func:`suite`; None if the rest says it all.
        scenarios: ``NAME:option=value,...`` each; replace the suite's.
        methods: likewise; "all" stands for every method but presets.
        seeds: replace the suite's; 0, 1 and 2 without a suite.
        steps: optimiser steps per interval, in place of the suite's; a scenario given here may say its own.
        smoke: whether to run the suite's small size.

    Raises:
        InputError: something doesn't exist, or nothing is asked for.
    """
    if smoke and not suite_name:
        raise InputError("--smoke is the small size of a suite: say which with --suite NAME")
    suite_scenarios, suite_methods = (bool(suite_name) and not given for given in (scenarios, methods))
    small = suite(suite_name).smoke if suite_name and smoke else Smoke()
    if suite_name:
        chosen = suite(suite_name)
        scenarios, methods = scenarios or chosen.scenarios, methods or chosen.methods
        seeds = (chosen.seeds[:1] if smoke else chosen.seeds) if seeds is None else seeds
    if not scenarios or not methods:
        raise InputError("say what to run: --suite NAME, or -s SCENARIO and -m METHOD (`lifegen list` shows them)")
    given = {"steps": steps} if steps else {}
    last = small.scenario | (given if suite_scenarios else {})
    cells = plan(
        [choose("scenario", text, given, last) for text in scenarios],
        [choose("method", text, last=small.method) for text in _expanded(methods)],
        (0, 1, 2) if seeds is None else seeds,
    )
    return [replace(cell, suite=suite_name) for cell in cells] if suite_methods else cells


def _expanded(methods: Sequence[str]) -> list[str]:
    every = sorted(name for name, entry in describe("method").items() if not (entry.error or entry.facts["preset"]))
    return [name for text in methods for name in (every if text == "all" else [text])]


def _read(name: str, text: str) -> Suite:
    try:
        return Suite.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"suite {name} isn't valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"suite {name}, {where}: {first['msg']}") from None

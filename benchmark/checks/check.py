"""Whether a method, scenario or metric, in or out of the tree, keeps what it promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..catalogue import Description, describe, file_in, find
from ..choice import choose
from ..errors import InputError, unknown
from ..plugin_file import PluginFile
from ..registry import REGISTRIES
from . import Finding


def check(text: str, data_root: Path | None = None) -> Iterator[Finding]:
    """Look at every promise of what a name or a file stands for.

    Args:
        text: as for :func:`targets`.
        data_root: where data sets are.

    Raises:
        InputError: there is no such thing, or it can't be imported.
    """
    for description, options in targets(text):
        yield from findings(description, options, data_root)


def targets(text: str) -> list[tuple[Description, Mapping[str, Any]]]:
    """What ``NAME``, ``file.py`` or ``file.py:Class`` stands for, each with the options behind it that aren't at their
    defaults. A file without a class stands for all that it registers, a name for what has it, of any kind.

    Raises:
        InputError: there is no such thing, or it can't be imported.
    """
    path, thing, rest = file_in(text) or (None, None, "")
    if path is not None:
        loaded = PluginFile.read(path).load()  # here, so that nothing else has to import torch
        if not loaded:
            raise InputError(f"{path} registers nothing; @register_method(...) above a class does, for example")
        kinds = {entry.kind for entry in loaded if thing in (None, entry.name, entry.target.__qualname__)}
        if not kinds:
            raise unknown(f"thing in {path}:", str(thing), (entry.target.__qualname__ for entry in loaded))
        names = [(entry.kind, f"{path}:{entry.name}{f':{rest}' if rest else ''}") for entry in loaded
                 if thing in (None, entry.name, entry.target.__qualname__)]  # fmt: skip
    else:
        name = text.partition(":")[0]
        names = [(kind, text) for kind in REGISTRIES if name in describe(kind)]
        if not names:
            raise unknown("name", name, (one for kind in REGISTRIES for one in describe(kind)))
    return [_with_options(kind, one) for kind, one in names]


def _with_options(kind: str, text: str) -> tuple[Description, Mapping[str, Any]]:
    if kind in ("metric", "data source"):
        return find(kind, text)[0], {}
    choice = choose(kind, text)
    defaults = {key: schema.get("default") for key, schema in choice.description.options.items()}
    return choice.description, {key: value for key, value in choice.config.items() if value != defaults[key]}


def findings(description: Description, options: Mapping[str, Any], data_root: Path | None = None) -> Iterator[Finding]:
    """Look at every promise of one thing."""
    entry = description.entry()
    if entry.kind == "method":
        from .method import findings as of_method

        return of_method(entry, options)
    if entry.kind == "scenario":
        from .scenario import check_scenario

        return check_scenario(entry, options, data_root)
    if entry.kind == "data source":
        from .source import check_source

        return check_source(entry, data_root)
    from .metric import check_metric

    return check_metric(entry)

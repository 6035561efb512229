"""Targets: the registered things that ``lifegen check`` is asked to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cells.spec import parse_spec
from ...contracts.registry import REGISTRIES
from ...discovery.index import describe, resolve
from ...discovery.index_entry import IndexEntry
from ...discovery.plugin_file import PluginFile, file_in
from ...errors import InputError, unknown


def check_known(text: str) -> None:
    """Check that ``NAME`` is registered or a file exists, without torch and Avalanche, whose import takes seconds.

    Raises:
        InputError: it doesn't exist.
    """
    if named := file_in(text):
        PluginFile.read(named[0])
    elif not any((name := text.partition(":")[0]) in describe(kind) for kind in REGISTRIES):
        raise unknown("name", name, (known for kind in REGISTRIES for known in describe(kind)))


def targets(text: str) -> list[tuple[IndexEntry, Mapping[str, Any]]]:
    """The index entries of ``NAME``, ``file.py`` or ``file.py:Class``, each with the options that aren't at their
    defaults. A file without a class stands for all that it registers, a name for the entries of any kind with it.

    Raises:
        InputError: it doesn't exist, or can't be imported.
    """
    check_known(text)
    path, thing, rest = file_in(text) or (None, None, "")
    if path is not None:
        loaded = PluginFile.read(path).load()  # here, so that nothing else has to import torch
        if not loaded:
            raise InputError(f"{path} registers nothing; put @register_method(...) above a class, for example")
        chosen = [entry for entry in loaded if thing in (None, entry.name, entry.target.__qualname__)]
        if not chosen:
            raise unknown(f"thing in {path}:", str(thing), (entry.target.__qualname__ for entry in loaded))
        names = [(entry.kind, f"{path}:{entry.name}{f':{rest}' if rest else ''}") for entry in chosen]
    else:
        name = text.partition(":")[0]
        names = [(kind, text) for kind in REGISTRIES if name in describe(kind)]
    return [_with_options(kind, target) for kind, target in names]


def _with_options(kind: str, text: str) -> tuple[IndexEntry, Mapping[str, Any]]:
    if kind in ("metric", "data source"):
        return resolve(kind, text)[0], {}
    choice = parse_spec(kind, text)
    defaults = {key: schema.get("default") for key, schema in choice.description.options.items()}
    return choice.description, {key: value for key, value in choice.config.items() if value != defaults[key]}

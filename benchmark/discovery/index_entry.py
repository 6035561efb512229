"""An entry of the index: a registered thing, described without importing it here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from ..contracts.registry import REGISTRIES, Entry
from ..errors import InputError
from .plugin_file import PluginFile


@dataclass(frozen=True)
class IndexEntry:
    """A registered thing as tables, checks and the command line need it."""

    kind: str
    name: str
    version: int
    summary: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    """JSON schema of the ``Config``'s fields, by name, each with its default."""
    facts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """The reason why it can't be used; the other fields are then guesses."""
    passing: bool = False
    """Whether the error may be gone next time, such as a lack of memory."""
    origin: str = ""
    """``package.module.Class``, or ``file.py:Class``"""
    provider: str = "lifegen"
    """The installed package that it belongs to, or the name of its file."""
    provider_version: str = ""
    """The package's version, or the digest of the file's text."""
    file: PluginFile | None = None
    """Its file, if it isn't installed."""
    details: str = ""
    """The rest of its docstring, a paragraph a line."""

    def entry(self) -> Entry:
        """Import it, and return its entry in the registry.

        Raises:
            InputError: the file can't be run, or the module can't be imported.
        """
        if self.file:
            return next(entry for entry in self.file.load() if (entry.kind, entry.name) == (self.kind, self.name))
        try:
            importlib.import_module(self.module)
        except Exception as error:
            reason = f"importing {self.module} fails: {type(error).__name__}: {error}"
            raise InputError(f"{self.kind} {self.name!r} can't be used: {reason}") from error
        return REGISTRIES[self.kind][self.name]

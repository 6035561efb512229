"""A registered thing as it is known without importing it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from ..contracts.registry import REGISTRIES, Entry
from ..errors import InputError
from .plugin_file import PluginFile


@dataclass(frozen=True)
class IndexEntry:
    """A registered thing as tables, checks and the command line see it."""

    kind: str
    name: str
    version: int
    summary: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    """JSON schema of the ``Config``'s fields, by name, each with its default."""
    facts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """Why it can't be used; the other fields are then guesses."""
    passing: bool = False
    """Whether the error may be gone at the next look, as too little memory may."""
    origin: str = ""
    """``package.module.Class``, or ``file.py:Class``"""
    provider: str = "lifegen"
    """The installed package that it comes with, or the name of its file."""
    provider_version: str = ""
    """The package's, or the digest of the file's text."""
    file: PluginFile | None = None
    """The file that it is, if it isn't installed."""

    def entry(self) -> Entry:
        """Import it, and return its entry in the registry.

        Raises:
            InputError: its file can't be run, or its module can't be imported.
        """
        if self.file:
            return next(entry for entry in self.file.load() if (entry.kind, entry.name) == (self.kind, self.name))
        try:
            importlib.import_module(self.module)
        except Exception as error:
            reason = f"importing {self.module} fails: {type(error).__name__}: {error}"
            raise InputError(f"{self.kind} {self.name!r} can't be used: {reason}") from error
        return REGISTRIES[self.kind][self.name]

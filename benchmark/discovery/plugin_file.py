"""A plug-in that is one file: a method, scenario or metric that isn't installed.

What is run is the file's text as it was read, in every process and on every machine, whatever happens to the file in
the meantime. Cells keep the text, and their identity has its digest: an edited file makes other cells. That is why such
a file can't import what lies beside it: the digest would not see it. No torch.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..contracts.registry import FILE_MODULES, REGISTRIES, Entry
from ..errors import InputError, brief, not_a_name

_END_OF_FILE = re.compile(r"\.py(?=:|\Z)")
_OPTION = re.compile(r":\s*[^\W\d]\w*\s*=")
_BEHIND_FILE = re.compile(
    rf"(:(?P<thing>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?<!\.py)(?=:|\Z))?((?={_OPTION.pattern}|:\Z):(?P<rest>.*))?", re.DOTALL
)
"""``:Class``, ``:option=value,...``, both, or neither"""
_LONGEST = 1_000_000
"""Bytes of a file: each cell keeps it."""
_entries: dict[str, list[Entry]] = {}


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` is the home folder; as it is where there is no such home, or no such name."""
    try:
        return Path(os.path.expanduser(path))
    except ValueError:  # a null byte
        return Path(path)


@dataclass(frozen=True)
class PluginFile:
    """A file's name and text."""

    name: str
    """Without its folder, which is no part of what it does."""
    text: str

    @classmethod
    def read(cls, path: str | Path) -> PluginFile:
        """Read a file.

        Raises:
            InputError: it can't be read, or isn't text.
        """
        path = expanded(path)
        if problem := not_a_name(path.stem):
            raise InputError(f"plug-in {brief(str(path))}: the name of its file {problem}")
        try:
            with path.open("rb") as file:
                content = file.read(_LONGEST + 1)
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"plug-in {path} isn't text: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a null byte in its folder's name
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(
                f"plug-in {path} can't be read: {reason}; `lifegen new-method NAME` writes a file to start with"
            ) from None
        if len(content) > _LONGEST:
            raise InputError(f"plug-in {path} has more than {_LONGEST:,} bytes")
        return cls(path.name, text)

    @property
    def digest(self) -> str:
        """What tells texts apart: 12 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def module(self) -> str:
        """The name that the file has as a module: the same in every process, so that states find its classes."""
        return f"{FILE_MODULES}{self.digest}"

    @property
    def is_loaded(self) -> bool:
        """Whether it was run in this process."""
        return self.module in _entries

    def load(self) -> list[Entry]:
        """Run the text, once in a process, and return what it registers; what its imports register isn't its own.

        Raises:
            InputError: it raises; the text has the line.
        """
        if self.module not in _entries:
            lines = self.text.splitlines(keepends=True)
            # So that tracebacks, and the docstrings of options, find the text that is run, not a newer one.
            linecache.cache[self.name] = (len(self.text), None, lines, self.name)
            module = ModuleType(self.module)
            module.__file__ = self.name
            sys.modules[self.module] = module
            before = {kind: list(registry) for kind, registry in REGISTRIES.items()}
            try:
                exec(compile(self.text, self.name, "exec", dont_inherit=True), module.__dict__)
            except BaseException as error:
                del sys.modules[self.module]
                for kind, registry in REGISTRIES.items():
                    registry.forget_unfinished(before[kind])
                if isinstance(error, Exception | SystemExit):
                    raise InputError(self._told(error)) from error
                raise
            _entries[self.module] = [
                entry for registry in REGISTRIES.values() for entry in registry if entry.module == self.module
            ]
        return _entries[self.module]

    def _told(self, error: BaseException) -> str:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.name]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == self.name else (lines or [None])[-1]
        where = f"{self.name}, line {line}" if line else self.name
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = (
                ". A plug-in file can import installed modules only, not what lies beside it: that takes a package"
                " (`lifegen new-method NAME --package`)"
            )
        return f"{where}: {type(error).__name__}: {what}{hint}"


def file_in(text: str) -> tuple[str, str | None, str] | None:
    """File, class and options of ``file.py[:Class][:option=value,...]``; None if it names no file.

    The file's folders may have colons in their names, and an option's value may end in ".py".
    """
    option = _OPTION.search(text)
    ends = [match.end() for match in _END_OF_FILE.finditer(text)]
    existing = [end for end in ends if os.path.isfile(expanded(text[:end]))]
    # Behind an option's name there is its value, which may end like a file.
    possible = existing + [end for end in ends if not option or end < option.end()]
    for end in possible:
        if behind := _BEHIND_FILE.fullmatch(text, end):
            return text[:end], behind["thing"], behind["rest"] or ""
    return (text[: possible[0]], None, text[possible[0] + 1 :]) if possible else None


def files_of(record: Mapping[str, Any]) -> dict[str, PluginFile]:
    """The files that a cell's record keeps, by digest.

    Raises:
        ValueError: they aren't files.
    """
    files = {digest: PluginFile(one["name"], one["text"]) for digest, one in record.get("files", {}).items()}
    for digest, file in files.items():
        if not (isinstance(file.name, str) and isinstance(file.text, str) and file.digest == digest):
            raise ValueError("a file isn't a name and a text of its digest")
        if not_a_name(file.name) or not file.name.endswith(".py"):
            raise ValueError(f"{brief(file.name)} isn't the name of a Python file")
    return files

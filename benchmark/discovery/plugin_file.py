"""An extension in one file: a method, scenario or metric that isn't installed.

Every process on every machine runs the file's text as it was first read, whatever happens to the file in the meantime.
Cells keep the text, and their identity has its digest: an edited file makes other cells, unless a store has cells of a
text that does the same (see :func:`code_digest`). An extension file can't import its neighbours, since the
digest doesn't cover them.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..contracts.registry import FILE_MODULES, REGISTRIES, Entry
from ..errors import InputError, brief, not_a_name
from ..files import read_at_most

_END_OF_FILE = re.compile(r"\.py(?=:|\Z)")
_OPTION = re.compile(r":\s*[^\W\d]\w*\s*=")
_BEHIND_FILE = re.compile(
    rf"(:(?P<thing>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?<!\.py)(?=:|\Z))?((?={_OPTION.pattern}|:\Z):(?P<rest>.*))?", re.DOTALL
)
"""``:Class``, ``:option=value,...``, both, or neither"""
_LONGEST = 1_000_000
"""Most bytes of a file, since each cell keeps it."""
_entries: dict[str, list[Entry]] = {}


def expanded(path: str | Path) -> Path:
    """Replace ``~`` by the home folder, if there is one."""
    try:
        return Path(os.path.expanduser(path))
    except ValueError:  # a null byte
        return Path(path)


@dataclass(frozen=True)
class PluginFile:
    """A file's name and text."""

    name: str
    """The name without the folder, which has no effect on the numbers."""
    text: str

    @classmethod
    def read(cls, path: str | Path) -> PluginFile:
        """Read a file.

        Raises:
            InputError: the file can't be read, or isn't text.
        """
        path = expanded(path)
        if problem := not_a_name(path.stem):
            raise InputError(f"extension {brief(str(path))}: the name of its file {problem}")
        advice = "`lifegen new-method NAME` writes a file to start with"
        content = read_at_most(path, _LONGEST, f"extension {path}", advice)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"extension {path} isn't text: {error}") from None
        return cls(path.name, text)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that identify the text."""
        return _digest(self.text)

    @property
    def code_digest(self) -> str:
        """Equal for texts that do the same: see :func:`code_digest`."""
        return code_digest(self.text)

    @property
    def module(self) -> str:
        """The file's module name: the same in every process, so that saved states find its classes."""
        return f"{FILE_MODULES}{self.digest}"

    @property
    def is_loaded(self) -> bool:
        """Whether it was run in this process."""
        return self.module in _entries

    def load(self) -> list[Entry]:
        """Run the text, once in a process, and return the entries that it registers, without those of its imports.

        Raises:
            InputError: the text raises; the message has the line.
        """
        if self.module not in _entries:
            lines = self.text.splitlines(keepends=True)
            # Tracebacks and the docstrings of options must find this text, not a newer one on the disk.
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
                    raise InputError(self._message(error)) from error
                raise
            _entries[self.module] = [
                entry for registry in REGISTRIES.values() for entry in registry if entry.module == self.module
            ]
        return _entries[self.module]

    def _message(self, error: BaseException) -> str:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.name]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == self.name else (lines or [None])[-1]
        where = f"{self.name}, line {line}" if line else self.name
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = (
                ". An extension file can import installed modules only, not files beside it; make it a package"
                " (`lifegen new-method NAME --package`)"
            )
        return f"{where}: {type(error).__name__}: {what}{hint}"


_LOOKS_AT_ITSELF = ("__doc__", "getsource", "getdoc", "torch.jit", "__file__", "__code__")
"""Words of texts whose docstrings, comments or lines may matter."""


@lru_cache(maxsize=256)  # a store has the same few texts in all of its cells
def code_digest(text: str) -> str:
    """12 hexadecimal digits that identify what a text does: equal for texts that differ by comments, docstrings, blank
    lines and the like, which is what Python's parser drops. A text that may look at itself has the digest of its
    characters.

    They aren't part of any name, since another version of Python may make another tree of the same text. A text that
    can't be parsed has the digest of its characters.
    """
    if any(word in text for word in _LOOKS_AT_ITSELF):
        return _digest(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as on escapes; running the text shows them
            tree = _WithoutDocstrings().visit(ast.parse(text))
        return _digest(ast.dump(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _digest(text)


class _WithoutDocstrings(ast.NodeTransformer):
    """Removes the texts that are statements, below definitions and below options."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_in(text: str) -> tuple[str, str | None, str] | None:
    """Split ``file.py[:Class][:option=value,...]`` into file, class and options; None if it names no file.

    The file's folders may have colons in their names, and an option's value may end in ".py".
    """
    option = _OPTION.search(text)
    ends = [match.end() for match in _END_OF_FILE.finditer(text)]
    existing = [end for end in ends if os.path.isfile(expanded(text[:end]))]
    # After an option's name comes its value, which may end like a file.
    possible = existing + [end for end in ends if not option or end < option.end()]
    for end in possible:
        if match := _BEHIND_FILE.fullmatch(text, end):
            return text[:end], match["thing"], match["rest"] or ""
    return (text[: possible[0]], None, text[possible[0] + 1 :]) if possible else None


def files_of(record: Mapping[str, Any]) -> dict[str, PluginFile]:
    """Return the files in a cell's record, by digest.

    Raises:
        ValueError: an item isn't a file.
    """
    files = {digest: PluginFile(file["name"], file["text"]) for digest, file in record.get("files", {}).items()}
    for digest, file in files.items():
        if not (isinstance(file.name, str) and isinstance(file.text, str) and file.digest == digest):
            raise ValueError("a file isn't a name and a text of its digest")
        if not_a_name(file.name) or not file.name.endswith(".py"):
            raise ValueError(f"{brief(file.name)} isn't the name of a Python file")
    return files

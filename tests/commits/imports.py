"""Who imports whom in lifegen, read from the text of its modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("benchmark", "methods", "scenarios")


class Import(NamedTuple):
    """One module imports another."""

    importer: str
    imported: str
    is_at_top: bool
    """Whether it happens when the importer is imported: neither in a function nor for type checkers only."""


def modules(root: Path) -> dict[str, Path]:
    """The files of lifegen below a checkout's root, by their modules' names."""
    files = {path: path.relative_to(root) for name in PACKAGES for path in (root / name).rglob("*.py")}
    return {".".join(["lifegen", *where.with_suffix("").parts]).removesuffix(".__init__"): path
            for path, where in sorted(files.items())}  # fmt: skip


def imports(files: Mapping[str, Path]) -> set[Import]:
    """Imports of modules of lifegen by one another; those of a package's names count as imports of the package."""
    found = set()
    for module, file in files.items():
        for name, is_at_top in all_imports(module, file):
            parts = name.split(".")
            known = (".".join(parts[:end]) for end in range(len(parts), 1, -1))
            if (imported := next((one for one in known if one in files), module)) != module:
                found.add(Import(module, imported, is_at_top))
    return found


def all_imports(module: str, file: Path) -> Iterator[tuple[str, bool]]:
    """Everything that a file imports, with the names that it takes of it; and whether that happens at its top."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(file.read_text())
    later = set()
    for node in ast.walk(tree):
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            later |= set(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(filter(None, [base, node.module]))
            yield from ((f"{origin}.{alias.name}", node not in later) for alias in node.names)

"""Files to start with: an extension that runs as it is, or an installable package around it; and a suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..cells.suite import suites
from ..contracts.registry import REGISTRIES
from ..discovery.index import describe
from ..errors import InputError, not_a_name

Kind = Literal["method", "scenario", "metric"]


def new(kind: Kind, name: str, folder: Path, package: bool = False) -> list[Path]:
    """Write an extension that registers itself under a name.

    Args:
        kind: method, scenario or metric.
        name: its name in tables.
        folder: the folder to write ``NAME.py``, or the package's folder ``lifegen-NAME``, into.
        package: whether to write a package with an entry point and a test.

    Returns:
        the files, after the folder of a package.

    Raises:
        InputError: the name isn't valid or is taken, or a file is in the way.
    """
    REGISTRIES[kind].check(name)
    if taken := describe(kind).get(name):
        raise InputError(f"there is a {kind} {name!r} already: {taken.origin}; choose another name")
    snake, dashed = name.replace("-", "_"), name.replace("_", "-")
    if not snake.isidentifier():  # it begins with a digit
        snake = f"{kind}_{snake}"
    words = {
        "kind": kind,
        "name": name,
        "snake": snake,
        "dashed": dashed,
        "file": f"{snake}.py",
        "camel": "".join(word.capitalize() for word in snake.split("_")),
        "title": dashed.replace("-", " ").capitalize(),
    }
    root = folder / f"lifegen-{dashed}"
    home = root / "src" / f"lifegen_{snake}"
    if not package:
        files = {folder / words["file"]: f"new_{kind}.py"}
    else:
        files = {
            root / "pyproject.toml": "new_pyproject.toml",
            root / "README.md": "new_readme.md",
            home / "__init__.py": "",
            home / words["file"]: f"new_{kind}.py",
            root / "tests" / f"test_{snake}.py": "new_test.py",
        }
    _write(files, words, [root] if package else files)
    return [root, *files] if package else list(files)


def new_suite(name: str, folder: Path) -> Path:
    """Write a suite that runs as it is.

    Args:
        name: its name, that of its store.
        folder: the folder to write ``NAME.toml`` into.

    Raises:
        InputError: the name isn't valid or is taken, or a file is in the way.
    """
    name = name.removesuffix(".toml")
    if problem := not_a_name(name):
        raise InputError(f"suite {name!r}: the name {problem}")
    if name in suites():
        raise InputError(f"there is a suite {name!r} already: `lifegen list {name}` shows it; choose another name")
    file = folder / f"{name}.toml"
    title = name.replace("-", " ").replace("_", " ").replace('"', "").capitalize()
    _write({file: "new_suite.toml"}, {"name": name, "title": title}, [file])
    return file


def _write(files: Mapping[Path, str], words: Mapping[str, str], absent: Iterable[Path]) -> None:
    """Write files from templates.

    Raises:
        InputError: one that must be absent is there.
    """
    for path in absent:
        if path.exists():
            raise InputError(f"{path} exists already and isn't overwritten; choose another name, or move it away")
    templates = Environment(
        loader=PackageLoader("lifegen.benchmark.authoring"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    for path, template in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(templates.get_template(f"{template}.j2").render(words) if template else "", encoding="utf-8")

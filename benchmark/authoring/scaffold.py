"""Files of a new extension: one that runs as it is, or an installable package around it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..contracts.registry import REGISTRIES
from ..discovery.index import describe
from ..errors import InputError

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
    for path in [root] if package else files:
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
    return [root, *files] if package else list(files)

"""Environments as users have them: lifegen and other packages installed from wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmark", "methods", "scenarios")


class Environment(NamedTuple):
    """A virtual environment."""

    python: Path
    libraries: Path
    variables: dict[str, str]

    def run(self, command: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, such as "lifegen"."""
        line = [self.python.with_name(command), *arguments]
        return subprocess.run(line, capture_output=True, text=True, env=self.variables, cwd=cwd, check=False)


def built(source: Path, folder: Path) -> Path:
    """The wheel of a project, built from a copy so that the checkout stays clean."""
    copy = folder / "source"
    if source == ROOT:
        for name in FOLDERS:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy / name)
    else:
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    subprocess.run(command, cwd=copy, check=True)
    return next((copy / "dist").glob("*.whl"))


def fresh_environment(folder: Path, wheels: Iterable[Path]) -> Environment:
    """An environment with these wheels, without dependencies: it sees this one's libraries, but not its editable
    lifegen."""
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    where = "import site; print(site.getsitepackages()[0])"
    libraries = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    outer = [folder for folder in map(Path, sys.path) if folder.name in ("site-packages", "dist-packages")]
    # Read in the order of names: before the shim that needs it.
    (libraries / "a-outer.pth").write_text("".join(f"{folder}\n" for folder in outer))
    # Of the outer environment's own .pth files this one is a library's, not an editable lifegen's: without it there is
    # no distutils from Python 3.12 on.
    for shim in [file for folder in outer for file in folder.glob("distutils-precedence.pth")][:1]:
        shutil.copy(shim, libraries)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", *map(str, wheels)]
    subprocess.run(install, check=True)
    return Environment(python, libraries, {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")})

"""A commit of this repository in a folder of its own, and running its lifegen with this environment's libraries."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("benchmark", "methods", "scenarios")


@dataclass(frozen=True)
class Checkout:
    """The files of one commit."""

    commit: str
    folder: Path

    def lifegen(self, *arguments: str | Path) -> str:
        """Run a command of this commit's lifegen, and return what it prints.

        Raises:
            subprocess.CalledProcessError: it ends with another exit code than 0.
        """
        scripts = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]["scripts"]
        module, function = scripts["lifegen"].split(":")  # commits differ in where it lies
        return self.python("-c", f"from {module} import {function}; {function}()", *arguments)

    def python(self, *arguments: str | Path) -> str:
        """Run Python with this commit's lifegen, and return what it prints."""
        variables = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout


def checked_out(commit: str, folder: Path) -> Checkout:
    """Unpack a commit into a new folder.

    Args:
        commit: as git names it; the empty string stands for the working tree, with what isn't committed.
        folder: where to.
    """
    if commit:
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
    else:
        folder.mkdir(parents=True)
        for name in PACKAGES:
            shutil.copytree(ROOT / name, folder / name)  # it may be edited meanwhile
        shutil.copy(ROOT / "pyproject.toml", folder)
    # As the installed packages are called: a folder "lifegen" on the path comes before an editable installation.
    (folder / "lifegen").mkdir()
    for name in PACKAGES:
        (folder / "lifegen" / name).symlink_to(folder / name)
    return Checkout(commit or "working tree", folder)

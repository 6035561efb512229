"""The environment of lifegen's own processes. A notebook, an IDE or a login shell sets variables for itself; processes
started from there inherit them, and some variables break lifegen or change its behaviour.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

_OWN = {"MPLBACKEND": "Agg"}
"""lifegen shows no windows, and a notebook's backend needn't be installed beside it."""
_LEFT = ("PYTHONOPTIMIZE", "PYTHONINSPECT")
"""Variables to drop: the first strips docstrings, which are summaries; the second makes a finished process wait."""
_INHERITED_BACKEND = os.environ.get("MPLBACKEND", "")


def in_notebook() -> bool:
    """Whether a notebook's kernel started this process: Jupyter names itself, others at least their backend."""
    return "JPY_PARENT_PID" in os.environ or "inline" in _INHERITED_BACKEND


def own_environment() -> dict[str, str]:
    """Return the environment to pass to a process that lifegen starts."""
    # A git hook or alias may name another repository.
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT and not name.startswith("GIT_")}
    return kept | _OWN


def adopt_own_environment() -> None:
    """Make this process one of lifegen's own. Users of lifegen as a library keep their environment: no import calls
    this."""
    for name in os.environ.keys() - own_environment().keys():
        del os.environ[name]
    os.environ.update(_OWN)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns if the home folder can't hold its cache


@contextmanager
def home_for_avalanche() -> Iterator[None]:
    """Provide a home folder for Avalanche's configuration during its import: the import fails without that, and without
    a home it makes a folder called "~" in the current one. lifegen doesn't use the configuration.
    """
    home = os.environ.get("HOME")
    if _has_room_for_avalanche(Path(os.path.expanduser("~/.avalanche"))):  # as Avalanche itself finds it
        yield
        return
    with TemporaryDirectory(prefix="lifegen-") as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home


def _has_room_for_avalanche(folder: Path) -> bool:
    try:
        if (file := folder / "config.json").exists():
            return "dataset_location" in json.loads(file.read_text(encoding="utf-8"))
        if not folder.is_absolute():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError, TypeError):
        return False

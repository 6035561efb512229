"""The environment of lifegen's own processes. A notebook, an IDE or a login shell sets variables for itself; what is
called from there inherits them, and some break it or change what it does. No torch.
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
"""lifegen shows no windows, and what draws a notebook's figures needn't be installed beside it."""
_LEFT = ("PYTHONOPTIMIZE", "PYTHONINSPECT")
"""The first strips the docstrings that summaries are made of, the second makes a finished process wait for input."""


def own_environment() -> dict[str, str]:
    """This process's environment, as a process of lifegen's own has it: pass it where one is started."""
    # A hook or an alias of git's may name another repository.
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT and not name.startswith("GIT_")}
    return kept | _OWN


def adopt_own_environment() -> None:
    """Make this process one of lifegen's own. Whoever uses lifegen as a library keeps his environment: nothing that he
    imports calls this."""
    for name in os.environ.keys() - own_environment().keys():
        del os.environ[name]
    os.environ.update(_OWN)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home where its cache can't be


@contextmanager
def home_for_avalanche() -> Iterator[None]:
    """A home in which Avalanche finds or can make its configuration, for as long as its import takes: it fails without
    that, and without a home it makes a folder called "~" in the current one. lifegen needs nothing of it.
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
            return "dataset_location" in json.loads(file.read_text())
        if not folder.is_absolute():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError, TypeError):
        return False

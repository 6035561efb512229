"""A method that is held in the middle of a cell until a test lets it go, however fast or slow the machine is.

It is a text, since commands know methods of files and of installed packages.
"""

from __future__ import annotations

from pathlib import Path

METHOD = '''
"""Fine-tuning that waits."""

import time
from pathlib import Path

from avalanche.core import SupervisedPlugin

from lifegen.benchmark import register_method
from lifegen.methods.models.method import VAEMethod


class Hold(SupervisedPlugin):
    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def before_training_exp(self, strategy, **_):
        if strategy.experience.interval == 1 and Path(f"hold-{self.seed}").exists():
            Path(f"held-{self.seed}").touch()
            while Path(f"hold-{self.seed}").exists():
                time.sleep(0.02)


@register_method("held", version=1)
class Held(VAEMethod):
    """Fine-tuning that waits before its second interval as long as there is a file "hold-SEED"."""

    def plugins(self, stream, seeds):
        return [*super().plugins(stream, seeds), Hold(seeds.seed)]
'''


def write_held(folder: Path, *seeds: int) -> None:
    """Write held.py, and hold the cells of these seeds. One that is held makes a file "held-SEED"."""
    (folder / "held.py").write_text(METHOD)
    for seed in seeds:
        (folder / f"hold-{seed}").touch()


def let_go(folder: Path) -> None:
    for file in folder.glob("hold-*"):
        file.unlink()

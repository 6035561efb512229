"""Methods that go wrong in the ways that methods do, or wait for each other. Imported by name in worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from glob import glob
from pathlib import Path
from typing import Any

import torch
from avalanche.core import SupervisedPlugin

from lifegen.benchmark.cells.spec import Spec
from lifegen.benchmark.contracts.registry import register_method
from lifegen.benchmark.contracts.stream import Stream
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.method import VAEMethod
from lifegen.methods.models.vae import CodeStyleVAE

from .waiting import HANG, until

FACTS = {"uses": [], "reference": None}


class Trouble(SupervisedPlugin):
    def __init__(self, kind: str, after: str) -> None:
        super().__init__()
        self.kind = kind
        self.waits_for = after

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        if strategy.experience.interval != 1:
            return
        if self.waits_for:
            until(lambda: glob(self.waits_for))
        print("about to go wrong", flush=True)
        if self.kind == "visible":
            seen = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('PIPES')}"
            print(f"visible {seen}, CUDA initialised: {torch.cuda.is_initialized()}")
        if self.kind == "raise":
            raise RuntimeError("this method is broken")
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "exit":
            sys.exit(7)
        if self.kind == "end":
            os._exit(0)
        if self.kind == "hang":
            time.sleep(10 * HANG)
        if self.kind == "diverge":
            strategy.model.decoder_input.weight.data.fill_(float("nan"))


@register_method("bad", version=1)
class Bad(VAEMethod):
    """Goes wrong in interval 1."""

    class Config(VAEMethod.Config):
        kind: str = "raise"
        after: str = ""
        """A file that it waits for before; a pattern."""

    def model(self, stream: Stream, seeds: Seeds) -> CodeStyleVAE:
        model = super().model(stream, seeds)
        if self.config.kind == "other-track":
            model.track = "another"
        return model

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), Trouble(self.config.kind, self.config.after)]


def bad(kind: str, after: Path | None = None) -> Spec:
    description = IndexEntry("method", "bad", 1, "", __name__, facts=FACTS)
    return Spec(description, {"kind": kind, "after": str(after or ""), "width": 8}, f"bad:kind={kind}")


@register_method("meeting", version=1)
class Meeting(VAEMethod):
    """Prints what GPU it is shown, and waits until so many cells have come to the same place."""

    class Config(VAEMethod.Config):
        place: str
        cells: int = 2

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        print(f"visible: {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
        place = Path(self.config.place)
        place.mkdir(exist_ok=True)
        (place / str(seeds.seed)).touch()
        until(lambda: len(list(place.iterdir())) >= self.config.cells)
        return super().plugins(stream, seeds)


def meeting(place: Path) -> Spec:
    """Of two cells with different seeds."""
    description = IndexEntry("method", "meeting", 1, "", __name__, facts=FACTS)
    return Spec(description, {"place": str(place), "width": 8}, "meeting")

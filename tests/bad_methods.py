"""Methods that go wrong in the ways that methods do. Imported by name in worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import torch
from avalanche.core import SupervisedPlugin

from lifegen.benchmark.cells.spec import Choice
from lifegen.benchmark.contracts.registry import register_method
from lifegen.benchmark.contracts.stream import Stream
from lifegen.benchmark.discovery.index_entry import Description
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.method import VAEMethod
from lifegen.methods.models.vae import CodeStyleVAE


class Trouble(SupervisedPlugin):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        if strategy.experience.interval != 1:
            return
        print("about to go wrong", flush=True)
        if self.kind == "visible":
            print(f"visible {os.environ.get('CUDA_VISIBLE_DEVICES')}, CUDA initialised: {torch.cuda.is_initialized()}")
        if self.kind == "raise":
            raise RuntimeError("this method is broken")
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "exit":
            sys.exit(7)
        if self.kind == "hang":
            time.sleep(600)
        if self.kind == "diverge":
            strategy.model.decoder_input.weight.data.fill_(float("nan"))


@register_method("bad", version=1)
class Bad(VAEMethod):
    """Goes wrong in interval 1."""

    class Config(VAEMethod.Config):
        kind: str = "raise"

    def model(self, stream: Stream, seeds: Seeds) -> CodeStyleVAE:
        model = super().model(stream, seeds)
        if self.config.kind == "other-track":
            model.track = "another"
        return model

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), Trouble(self.config.kind)]


def bad(kind: str) -> Choice:
    facts = {"uses": [], "reference": None}
    description = Description("method", "bad", 1, "", __name__, facts=facts)
    return Choice(description, {"kind": kind, "width": 8}, f"bad:kind={kind}")

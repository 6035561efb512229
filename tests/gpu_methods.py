"""A method that says which GPU it is shown. Imported by name in worker processes."""

from __future__ import annotations

import os

from lifegen.benchmark.cells.spec import Choice
from lifegen.benchmark.contracts.registry import register_method
from lifegen.benchmark.contracts.stream import Stream
from lifegen.benchmark.discovery.index_entry import Description
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.method import VAEMethod
from lifegen.methods.models.vae import CodeStyleVAE


@register_method("seeing", version=1)
class Seeing(VAEMethod):
    """Prints what it sees."""

    def model(self, stream: Stream, seeds: Seeds) -> CodeStyleVAE:
        print(f"visible: {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
        return super().model(stream, seeds)


FACTS = {"uses": [], "reference": None}
SEEING = Choice(Description("method", "seeing", 1, "", __name__, facts=FACTS), {"width": 8}, "seeing")

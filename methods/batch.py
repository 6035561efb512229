"""The upper reference of every table: one VAE on the union of all distributions at once."""

from __future__ import annotations

from collections.abc import Sequence

from lifegen.benchmark import Interval, Stream, register_method

from .models.method import VAEMethod


@register_method(
    "batch",
    version=2,
    uses=("past-data",),
    reference="upper",
    look={"colour": "#029e73", "marker": "^", "dash": "dash-dot"},
)
class Batch(VAEMethod):
    """One VAE on all distributions together, with the whole stream's optimiser steps."""

    def view(self, stream: Stream) -> Sequence[Interval]:
        return stream.joint()

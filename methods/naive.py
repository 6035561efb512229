"""The lower reference of every table, plain fine-tuning: the same network learns one interval after another."""

from __future__ import annotations

from lifegen.benchmark import register_method

from .models.method import VAEMethod


@register_method("naive", version=2, reference="lower", look={"colour": "#949494", "marker": "v", "dash": "dotted"})
class Naive(VAEMethod):
    """Fine-tuning on each interval in turn, with nothing against forgetting."""

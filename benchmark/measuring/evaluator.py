"""Measuring a strategy after each interval: every metric of lifegen's own, and those that a cell names beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..contracts.registry import METRICS, Entry
from ..training.template import GenerativeTemplate
from . import bounds, codes, costs  # noqa: F401  (importing them registers lifegen's own metrics)
from .fingerprint import Watch
from .measurement import EvaluatorState, Measurement
from .rows import Row, kept_rows


@dataclass
class Evaluator(EvaluatorState):
    """Measures a strategy after each interval."""

    metrics: Sequence[Entry] = ()
    """What is measured beside lifegen's own."""

    def measure(self, strategy: GenerativeTemplate, interval: int, train_seconds: float) -> list[dict[str, Any]]:
        """Run every metric that is measured.

        Returns:
            rows as in the store: interval, distribution, step, metric, value. Undefined values make no row.
        """
        measurement = Measurement(strategy, self, interval, train_seconds)
        measured = [entry for entry in (*own_metrics(), *self.metrics) if not entry.facts["derived"]]
        measured.sort(key=lambda entry: entry.name == "eval_seconds")  # the last, so that it sees the others' time
        training = strategy.model.training
        strategy.model.eval()
        with torch.inference_mode():
            values = _Values(measurement, is_watched=not all(map(_is_own, measured)))
            rows = [
                {"interval": interval, "metric": entry.name, **row._asdict()}
                for entry in measured
                for row in values.of(entry)
            ]
            self.previous_codes = measurement.codes
        strategy.model.train(training)
        for row in rows:
            if not math.isfinite(row["value"]):
                raise FloatingPointError(f"{row['metric']} is {row['value']} after interval {interval}")
        return rows


def own_metrics() -> list[Entry]:
    """Lifegen's own: others may be registered in this process, too, which not every run is to measure."""
    return list(filter(_is_own, METRICS))


def _is_own(entry: Entry) -> bool:
    return str(entry.target.__module__).startswith("lifegen.")


class _Values:
    """The rows of metrics. A metric that isn't lifegen's own is watched: what it changed would change later numbers."""

    def __init__(self, measurement: Measurement, is_watched: bool) -> None:
        self._measurement = measurement
        self._watch = Watch(measurement.fingerprint) if is_watched else None
        self._is_looked_at = False

    def of(self, entry: Entry) -> list[Row]:
        """The rows of one metric.

        Raises:
            RuntimeError: it changes something.
            InputError: it yields what isn't a row, or can't be kept.
        """
        m = self._measurement
        if _is_own(entry) or self._watch is None:
            return list(entry.target(m))
        if not self._is_looked_at:  # by lifegen's own metrics, which come first and change nothing
            self._watch.overlook()
            self._is_looked_at = True
        rows = kept_rows(entry.target(m), entry.name, m.interval, m.stream.distributions)
        if changed := self._watch.changes():
            raise RuntimeError(
                f"metric {entry.name} changes {' and '.join(changed)}: a metric may look, and draw from generators of"
                " its own; `lifegen check` says more"
            )
        return rows

"""Measurement of a strategy after each interval, by lifegen's own metrics and the extension metrics of its cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..contracts.registry import METRICS, Entry
from ..training.template import GenerativeTemplate
from . import bounds, codes, costs, latents, sample_metrics, traces  # noqa: F401  (importing registers lifegen's own metrics)
from .fingerprint import Watch
from .measurement import EvaluatorState, Measurement
from .rows import Row, kept_rows
from .sample_metrics import COMPARISONS


@dataclass
class Evaluator(EvaluatorState):
    """Measures a strategy after each interval."""

    metrics: Sequence[Entry] = ()
    """Extension metrics to measure."""
    classes: list[list[int]] = field(default_factory=list)
    """Samples of each class, by the expert's word, after each interval so far."""
    _last: Measurement | None = field(default=None, init=False)
    """The measurement after the last interval."""

    def measure(
        self, strategy: GenerativeTemplate, interval: int, train_seconds: float, train_cpu_seconds: float | None = None
    ) -> list[dict[str, Any]]:
        """Run all metrics that aren't derived.

        Args:
            strategy: the strategy, trained on the interval.
            interval: the interval's number.
            train_seconds: wall time of its training.
            train_cpu_seconds: processor time of its training; None where another processor trained.

        Returns:
            rows as in the store: interval, distribution, step, metric, value. An undefined value has no row.
        """
        measurement = Measurement(strategy, self, interval, train_seconds, train_cpu_seconds)
        measured = [entry for entry in (*own_metrics(), *self.metrics) if not entry.facts["derived"]]
        # Traces come first, since whoever watches a cell looks for bounds among its last rows; eval_seconds comes last,
        # to include the others' time.
        measured.sort(key=lambda entry: (entry.module != traces.__name__, entry.name == "eval_seconds"))
        training = strategy.model.training
        strategy.model.eval()
        with torch.inference_mode():
            values = _Values(measurement, is_watched=not all(map(_is_own, measured)))
            rows = list(traces.term_rows(measurement, {entry.name for entry in measured}))
            rows += [
                {"interval": interval, "metric": entry.name, **row._asdict()}
                for entry in measured
                for row in values.of(entry)
            ]
            self.previous_codes = measurement.codes
            if measurement.is_last:
                self._last = measurement
            if measurement.samples:
                self.classes.append([int(n) for n in measurement.samples.of_all.histograms[1].tolist()])
        strategy.model.train(training)
        for row in rows:
            if not math.isfinite(row["value"]):
                raise FloatingPointError(f"{row['metric']} is {row['value']} after interval {interval}")
        return rows

    def final_values(self, strategy: GenerativeTemplate) -> dict[str, np.ndarray]:
        """Return the negative ELBO of every test image after the last interval, nats.

        Returns:
            float32, (images,) by the number of the distribution in the stream's order; nothing where the full test set
            is that of other distributions.
        """
        if self.stream.tested != self.stream.distributions:
            return {}
        # None where the run was interrupted after this measurement.
        last = self._last or Measurement(strategy, self, len(self.view) - 1, 0.0)
        strategy.model.eval()
        with torch.inference_mode():
            passes = [last.evaluate("test", name) for name in self.stream.distributions]
        return {str(number): one.values.float().cpu().numpy() for number, one in enumerate(passes)}

    def facts_of_samples(self, at_the_end: bool = False) -> dict[str, Any]:
        """Return facts for the cell's record: the gallery's, and the samples of each class so far; at the end also the
        values of comparisons for training images in place of samples.
        """
        if self.gallery is None:
            return {}
        facts = self.gallery.facts | {"classes": self.classes}
        if at_the_end:
            floor = {name: compare(self.gallery.floor) for name, compare in COMPARISONS.items()}
            facts["floor"] = {name: value for name, value in floor.items() if value is not None}
        return facts


def own_metrics() -> list[Entry]:
    """Return lifegen's own metrics, without others that happen to be registered in this process."""
    return list(filter(_is_own, METRICS))


def _is_own(entry: Entry) -> bool:
    return entry.module.startswith("lifegen.")


class _Values:
    """The rows of metrics. Extension metrics are watched, since their changes to the run would change later numbers."""

    def __init__(self, measurement: Measurement, is_watched: bool) -> None:
        self._measurement = measurement
        self._watch = Watch(measurement.fingerprint) if is_watched else None
        self._is_looked_at = False

    def of(self, entry: Entry) -> list[Row]:
        """Return the rows of one metric.

        Raises:
            RuntimeError: the metric changes something.
            InputError: it yields something other than a row, or a row that can't be stored.
        """
        m = self._measurement
        if _is_own(entry) or self._watch is None:
            return list(entry.target(m))
        if not self._is_looked_at:  # lifegen's own metrics come first and change nothing that counts
            self._watch.overlook()
            self._is_looked_at = True
        rows = kept_rows(entry.target(m), entry.name, m.interval, m.stream.distributions)
        if changed := self._watch.changes():
            raise RuntimeError(
                f"metric {entry.name} changes {' and '.join(changed)}: a metric may look, and draw from generators of"
                " its own; `lifegen check` shows details"
            )
        return rows

"""lifegen's metrics as Avalanche ``PluginMetric``s, for any Avalanche strategy that trains a ``GenerativeModel``.

evaluator = EvaluationPlugin(NegativeELBO(), PosteriorConsistency(), SampleCounts(), loggers=[InteractiveLogger()])
"""

from __future__ import annotations

from typing import Any

import torch
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import MetricValue
from avalanche.evaluation.metric_utils import get_metric_name
from torch import Tensor

from ..contracts.model import negative_elbo
from ..training.counting import extra_rows, synthetic_samples
from .measurement import DRAWS


class _PerExperience(PluginMetric):
    """A number for each evaluated experience: the mean of ``per_image`` over its images."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = 0.0
        self._images = 0

    def reset(self) -> None:
        self._sum, self._images = 0.0, 0

    def result(self) -> float | None:
        return self._sum / self._images if self._images else None

    def per_image(self, strategy: Any) -> Tensor | None:
        """Return one value for each image of the current batch; None if it is undefined."""
        raise NotImplementedError

    def before_eval_exp(self, strategy: Any) -> None:
        self.reset()

    def after_eval_iteration(self, strategy: Any) -> None:
        values = self.per_image(strategy)
        if values is not None:
            self._sum += float(values.double().sum())
            self._images += len(values)

    def after_eval_exp(self, strategy: Any) -> list[MetricValue]:
        value = self.result()
        return [] if value is None else [_packed(self, strategy, value)]

    def __str__(self) -> str:
        return type(self).__name__


class NegativeELBO(_PerExperience):
    """Negative ELBO of each evaluated experience, nats per image, with hard codes and sampled styles."""

    def __init__(self, draws: int = DRAWS, generator: torch.Generator | None = None) -> None:
        """Make the metric.

        Args:
            draws: number of draws per image, S.
            generator: the source of noise, on the model's device; None stands for torch's global generator.
        """
        super().__init__()
        self._draws = draws
        self._generator = generator

    def per_image(self, strategy: Any) -> Tensor:
        weights = strategy.model.log_weights(strategy.mb_x, self._draws, self._generator)
        return negative_elbo(weights, strategy.model.log_prior).value


class PosteriorConsistency(_PerExperience):
    """Share of each evaluated experience's images whose most likely code is the same as in the last evaluation.

    An experience has a value from its second evaluation on. Its images must come in the same order each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[tuple[str, int], Tensor] = {}
        self._now: list[Tensor] = []

    def before_eval_exp(self, strategy: Any) -> None:
        super().before_eval_exp(strategy)
        self._now = []

    def per_image(self, strategy: Any) -> Tensor | None:
        codes = strategy.model.code_log_posterior(strategy.mb_x).argmax(1)
        start = sum(map(len, self._now))
        self._now.append(codes)
        before = self._before.get(self._key(strategy))
        return None if before is None else codes == before[start : start + len(codes)]

    def after_eval_exp(self, strategy: Any) -> list[MetricValue]:
        self._before[self._key(strategy)] = torch.cat(self._now)
        return super().after_eval_exp(strategy)

    @staticmethod
    def _key(strategy: Any) -> tuple[str, int]:
        return strategy.experience.origin_stream.name, strategy.experience.current_experience


class SampleCounts(PluginMetric):
    """Real and synthetic images that entered the training steps of each experience."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self._rows = 0
        self._extra_before = 0
        self._synthetic_before = 0

    def result(self) -> int:
        return self._rows

    def before_training_exp(self, strategy: Any) -> None:
        self._rows = 0
        self._extra_before = extra_rows(strategy)
        self._synthetic_before = synthetic_samples(strategy)

    def after_training_iteration(self, strategy: Any) -> None:
        self._rows += len(strategy.mb_x)

    def after_training_exp(self, strategy: Any) -> list[MetricValue]:
        synthetic = synthetic_samples(strategy) - self._synthetic_before
        rows = self._rows + extra_rows(strategy) - self._extra_before
        return [
            _packed("RealSamples", strategy, rows - synthetic),
            _packed("SyntheticSamples", strategy, synthetic),
        ]


def _packed(metric: Any, strategy: Any, value: float) -> MetricValue:
    name = get_metric_name(metric, strategy, add_experience=True, add_task=False)
    return MetricValue(metric, name, value, strategy.clock.train_iterations)

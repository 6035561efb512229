"""Avalanche plugins that several methods share. Each works in any Avalanche strategy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any, Literal, TypeVar

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from lifegen.benchmark import Options, Stream, interval_steps

Kind = TypeVar("Kind", bound=Options)
RealShare = Literal["half", "equal", "added"]
"""Real images of a batch of B with replay: half of it, one part in K distributions met, or B with B replayed beside."""


class TemperaturePlugin(SupervisedPlugin):
    """Anneals ``model.temperature`` of a relaxed code: max(floor, start · exp(−rate · step)).

    Source: LGM's public TensorFlow code, with start 1, floor 0.5 and rate 3e-5. At a short budget the temperature then
    stays far from its floor, so the default rate reaches the floor at half of the interval's steps.
    """

    capturable = True

    def __init__(self, start: float = 1.0, floor: float = 0.5, rate: float | None = None, restart: bool = True) -> None:
        """Make the plugin.

        Args:
            start: temperature at step 0.
            floor: lowest temperature.
            rate: decay per step; None reaches the floor at half of the (first) interval's steps.
            restart: whether the schedule starts anew with each interval.
        """
        super().__init__()
        self._start = start
        self._floor = floor
        self._rate = rate
        self._restart = restart
        self._step = 0
        self._current_rate: float | None = None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        if self._restart:
            self._step = 0
        if self._rate is not None:
            self._current_rate = self._rate
        elif self._restart or self._current_rate is None:
            self._current_rate = log(self._start / self._floor) / max(1, interval_steps(strategy) // 2)

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        assert self._current_rate is not None
        strategy.model.temperature = max(self._floor, self._start * exp(-self._current_rate * self._step))
        self._step += 1


def options_of(kind: type[Kind], options: Kind | None, named: Mapping[str, Any]) -> Kind:
    """The options of a plugin, which are given as one object or by their names.

    Args:
        kind: their class.
        options: all of them, or None.
        named: single ones.

    Raises:
        TypeError: they are given in both ways.
        pydantic.ValidationError: an unknown name, or a value that its field can't take.
    """
    if options is not None and named:
        raise TypeError(f"options are given as {type(options).__name__} and by name: {', '.join(named)}")
    return kind.model_validate(named if options is None else options)


def with_replay(strategy: Any, replayed: Tensor, real: int | None = None) -> list[Tensor]:
    """A strategy's batch whose last images are replaced by replayed ones, with the label −1.

    The first images stay: they are those that a method without replay sees. lifegen's loader gets the others back,
    which matters where the length of an interval is a number of passes.

    Args:
        strategy: the strategy, before a training iteration.
        replayed: images in [0, 1], (n, channels, height, width).
        real: images that stay; by default all but n, so that the batch keeps its size.

    Raises:
        TypeError: a batch is given, as lifegen took it before 2026-11-27.
    """
    if not hasattr(strategy, "mbatch"):
        raise TypeError("with_replay takes the strategy, not its batch: with_replay(strategy, replayed)")
    batch = len(strategy.mb_x)
    real = batch - len(replayed) if real is None else real
    hand_back(strategy, batch, real)
    return mixed(strategy.mbatch, replayed, real)


def hand_back(strategy: Any, batch: int, real: int) -> None:
    """Give the images of a batch that aren't trained on back to lifegen's loader.

    Args:
        strategy: the strategy, before a training iteration.
        batch: images of the batch.
        real: images that stay. If none does, the batch counts as read, or passes over the images would never end.
    """
    if real and (take_back := getattr(strategy.dataloader, "hand_back", None)):
        take_back(batch - real)


def mixed(batch: Sequence[Tensor], replayed: Tensor, real: int) -> list[Tensor]:
    """The first real images of a batch and replayed ones, with the label −1; arguments as for :func:`with_replay`."""
    x, y, *rest = batch
    labels = torch.cat([y[:real], y.new_full((len(replayed),), -1)])
    if len(labels) != len(x):
        rest = [tensor[torch.arange(len(labels), device=y.device) % len(x)] for tensor in rest]
    return [torch.cat([x[:real], replayed]), labels, *rest]


def real_parts(distributions: int, share: RealShare) -> int:
    """Equal parts of a batch of replay, of which one is real.

    Args:
        distributions: distributions met, the current one included.
        share: "half" of the batch, or as much as each distribution has ("equal"); with "added" all of it is real.
    """
    return {"half": min(distributions, 2), "equal": distributions, "added": 1}[share]


def parts_of(batch: int, distributions: int, share: RealShare) -> tuple[int, int]:
    """Numbers of real images, at least one, and of replayed ones; arguments as for :func:`real_parts`."""
    real = max(1, batch // real_parts(distributions, share))
    return real, batch if share == "added" else batch - real


def replays_draws(replay_images: Literal["mean", "draw"] | None, stream: Stream) -> bool:
    """Whether replayed images are draws from p(x | z) instead of its means.

    By default they are draws where real images are draws as well, among which means would look too good. On grey levels
    under Bernoulli, real images are means themselves.
    """
    return replay_images == "draw" if replay_images else stream.track != "bernoulli-grey"


class ResetOptimizerPlugin(SupervisedPlugin):
    """Forgets the optimiser's moments and step counts at the start of each interval."""

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        strategy.optimizer.state = defaultdict(dict)

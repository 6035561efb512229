"""Dynamically growing conditional VAE with self-memory: **a reconstruction** of arXiv 2004.12731.

Reference: Lifelong Learning Process: Self-Memory Supervising and Dynamically Growing Networks (arXiv 2004.12731). Only
its abstract and summary were available, so architecture, schedule and weights are lifegen's reading of them: parameters
split into a mixed part and one column per category; the model's own images of categories no longer visible, memory
playback; and images that go round the circle again, before the interval as warm-up and beside every batch. Its numbers
say nothing about the authors' system.

Memory: the model and, from the second interval on, its snapshot at the boundary; no real image of the past.
"""

from __future__ import annotations

from copy import deepcopy
from math import ceil
from typing import Annotated, Any, Literal, Self

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor

from lifegen.benchmark.images import to_unit
from lifegen.benchmark.registry import register_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream, images_of
from lifegen.benchmark.template import count_state, interval_steps

from .models.conditional_vae import ConditionalVAE
from .models.method import NetworkMethod, acts
from .models.mixture import Prior
from .models.networks import norm_statistics_kept
from .models.plugins import replays_draws, with_replay

_PROBE = 1000
"""Images of an interval whose distribution comes back that its category is recognised by."""


class SelfMemoryPlugin(SupervisedPlugin):
    """Grows a :class:`ConditionalVAE` by the categories that an interval brings, and supervises it by its own memory.

    The condition is the distribution of the interval, or the label. A batch of B images with ``new`` categories in the
    interval and ``old`` others holds ⌊B · new/(new + old)⌋ real ones, at least one and at least B/(1 + ρ), and for the
    rest samples of the snapshot, from each old category alike.
    """

    def __init__(
        self,
        seeds: Seeds,
        *,
        labels: bool = False,
        playback: bool = True,
        circulatory: bool = True,
        most_playback: float = 9.0,
        warmup: float = 0.05,
        code_weight: float = 1.0,
        lap_weight: float = 0.1,
        draw: bool = False,
    ) -> None:
        """Make the plugin.

        Args:
            seeds: where columns, playback and warm-up come from.
            labels: whether the condition is the label instead of the interval's distribution.
            playback: whether batches hold images of old categories.
            circulatory: whether there are a warm-up and a second lap.
            most_playback: ρ, images of playback for one real image, at most.
            warmup: share of an interval's steps, its first, that see the snapshot's images of old categories only.
            code_weight: λ_c, weight of ‖mean of q(z | x̂, c) − z‖² / d in the warm-up, for x̂ decoded from z.
            lap_weight: β_c, weight of the negative ELBO of the batch's reconstructions.
            draw: whether the snapshot's images are drawn from p(x | z, c) instead of being its means.
        """
        super().__init__()
        self.snapshot: ConditionalVAE | None = None
        """Frozen model of the boundary; none in the first interval, or if nothing is played back."""
        self.synthetic_samples = 0
        """Images drawn from snapshots so far."""
        self._labels = labels
        self._playback = playback
        self._circulatory = circulatory
        self._most_playback = most_playback
        self._warmup = warmup
        self._code_weight = code_weight
        self._lap_weight = lap_weight
        self._draw = draw
        self._seeds = seeds
        self._init = seeds.generator("growth")
        self._replay: torch.Generator | None = None
        self._lap: torch.Generator | None = None
        self._known: dict[int, int] = {}
        """category by label, if labels are used"""
        self._current: list[int] = []
        """categories of the interval"""
        self._old = torch.empty(0, dtype=torch.int64)
        """all others"""
        self._category_of_label: Tensor | None = None
        self._warmup_steps = 0
        self._style: Tensor | None = None

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers of the snapshot."""
        return 0 if self.snapshot is None else count_state(self.snapshot)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: what grows here, Avalanche hands to the optimiser afterwards.
        model: ConditionalVAE = strategy.model
        model.categories = None
        remembers = model.codes and (self._playback or self._circulatory)
        memory = deepcopy(model).eval().requires_grad_(False) if remembers else None
        if self._labels:
            self._meet_labels(strategy)
        else:
            self._meet_distribution(strategy)
        others = [category for category in range(model.codes) if category not in self._current]
        self._old = torch.tensor(others, dtype=torch.int64, device=strategy.device)
        self.snapshot = memory if others else None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        warm = self._circulatory and self.snapshot is not None
        self._warmup_steps = ceil(self._warmup * interval_steps(strategy)) if warm else 0

    def _meet_labels(self, strategy: Any) -> None:
        labels = torch.tensor(list(strategy.experience.dataset.targets))
        for label, images in zip(*labels.unique(return_counts=True), strict=True):
            if int(label) not in self._known:
                self._known[int(label)] = strategy.model.meet(self._init)
            if getattr(strategy.experience, "is_new", True):
                strategy.model.count(self._known[int(label)], int(images))
        self._current = [self._known[int(label)] for label in labels.unique()]
        numbers = torch.zeros(1 + max(self._known), dtype=torch.int64)
        numbers[list(self._known)] = torch.tensor(list(self._known.values()))
        self._category_of_label = numbers.to(strategy.device)

    def _meet_distribution(self, strategy: Any) -> None:
        model: ConditionalVAE = strategy.model
        dataset = strategy.experience.dataset
        if getattr(strategy.experience, "is_new", True) or not model.codes:
            category = model.meet(self._init)
            model.count(category, len(dataset))
        else:  # it isn't told which one comes back
            x = to_unit(images_of(dataset, _PROBE).to(strategy.device))
            category = int(model.recognise(x).bincount(minlength=model.codes).argmax())
        self._current = [category]

    @torch.no_grad()
    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        y = strategy.mb_y
        if self._replay is None:  # on the model's device, which is known only now
            self._replay = self._seeds.generator("replay", device=y.device)
            self._lap = self._seeds.generator("second-lap", device=y.device)
        conditions = torch.full_like(y, self._current[0])
        if self._category_of_label is not None:
            conditions = self._category_of_label[y]
        self._style = None
        warm = strategy.clock.train_exp_iterations < self._warmup_steps
        if self.snapshot is not None and (warm or self._playback):
            conditions = self._play_back(strategy, self.snapshot, conditions, warm)
        strategy.model.categories = conditions

    def _play_back(self, strategy: Any, snapshot: ConditionalVAE, conditions: Tensor, warm: bool) -> Tensor:
        """Put the snapshot's images into the batch; returns the categories of all."""
        device = conditions.device
        real = 0 if warm else self._real_count(len(conditions))
        n, old = len(conditions) - real, len(self._old)
        # In the warm-up at random; then from each alike, the remainder to some at random.
        which = torch.randint(old, (n if warm else 1,), generator=self._replay, device=device)
        if not warm:
            which = (which + torch.arange(n, device=device)) % old
        categories = self._old[which]
        style = torch.randn(n, snapshot.style, generator=self._replay, device=device)
        images = snapshot.images_of(snapshot.decode(style, categories), self._replay, self._draw)
        strategy.mbatch = with_replay(strategy.mbatch, images)
        self.synthetic_samples += n
        self._style = style if warm else None
        return torch.cat([conditions[:real], categories])

    def _real_count(self, batch: int) -> int:
        new, old = len(self._current), len(self._old)
        return max(1, batch * new // (new + old), ceil(batch / (1 + self._most_playback)))

    def before_backward(self, strategy: Any, **_: Any) -> None:
        model, output = strategy.model, strategy.mb_output
        if self._style is not None:
            error = (output.mean - self._style).square().mean(1)
            strategy.loss = strategy.loss + self._code_weight * error.mean()
        elif self._circulatory:
            again = model.images_of(output.parameters.detach(), self._lap, self._draw)
            with norm_statistics_kept([model]):  # these count for images, not for reconstructions
                lap = model.forward_given(again, model.categories).negative_elbo().mean()
            strategy.loss = strategy.loss + self._lap_weight * lap

    def after_backward(self, strategy: Any, **_: Any) -> None:
        if self.snapshot is None or not (self._playback or self._style is not None):
            # Without a gradient Adam leaves a column alone; with a zero one its momentum goes on.
            for columns in (strategy.model.encoder_columns, strategy.model.decoder_columns):
                for category, column in enumerate(columns):
                    if category not in self._current:
                        column.grad = None

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        strategy.model.categories = None


_FACTS: dict[str, Any] = {
    "differs_at_once": "its first layers have columns of their own for each category",
    "inert": {"playback": False, "circulatory": False},
    "reconstruction": True,
}


@register_method("growing-cvae", version=1, uses=("boundaries",), **_FACTS, look={"colour": "#f0a3c4", "marker": "s"})
class GrowingCVAE(NetworkMethod):
    """Conditional VAE with a column per distribution and self-memory: a reconstruction of arXiv 2004.12731."""

    class Config(NetworkMethod.Config):
        growth: bool = True
        """Whether columns are appended as categories come, or all there from the start (the stream's number)."""
        playback: bool = True
        """Whether batches hold the snapshot's images of categories that are no longer visible."""
        circulatory: bool = True
        """Whether the model's images are fed to it again: as warm-up, and as a second lap of each batch."""
        most_playback: NonNegativeFloat = 9.0
        """ρ, images of playback for one real image, at most."""
        warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
        """Share of an interval's steps that the warm-up takes."""
        code_weight: NonNegativeFloat = 1.0
        """λ_c, weight of the re-encoding error in the warm-up."""
        lap_weight: NonNegativeFloat = 0.1
        """β_c, weight of the second lap."""
        replay_images: Literal["mean", "draw"] | None = None
        """Decoder means or draws from the likelihood as memory; null: means on grey levels."""
        prior: Prior = "data"
        """Prior weights of the categories: their shares of the images met, or equal."""

        @model_validator(mode="after")
        def _acts(self) -> Self:
            return acts(self, self.playback, "playback", "most_playback") and acts(
                self, self.circulatory, "circulatory", "warmup", "code_weight", "lap_weight"
            )

    labels = False

    def model(self, stream: Stream, seeds: Seeds) -> ConditionalVAE:
        columns = 0 if self.config.growth else self.categories(stream)
        init = seeds.generator("initialisation")
        prior = self.config.prior
        return ConditionalVAE(stream.image_shape, columns=columns, prior=prior, init=init, **self.network(stream))

    def categories(self, stream: Stream) -> int:
        """Categories of the whole stream."""
        return len(stream.distributions)

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        plugin = SelfMemoryPlugin(
            seeds,
            labels=self.labels,
            playback=config.playback,
            circulatory=config.circulatory,
            most_playback=config.most_playback,
            warmup=config.warmup,
            code_weight=config.code_weight,
            lap_weight=config.lap_weight,
            draw=replays_draws(config.replay_images, stream),
        )
        return [*super().plugins(stream, seeds), plugin]


@register_method(
    "growing-cvae-labels",
    version=1,
    uses=("boundaries", "labels"),
    **_FACTS,
    look={"colour": "#f0a3c4", "marker": "P", "dash": "dashed"},
)
class GrowingCVAELabels(GrowingCVAE):
    """The growing conditional VAE with a column per label, which it is told in training; a reconstruction as well."""

    labels = True

    def categories(self, stream: Stream) -> int:
        return len({int(label) for name in stream.distributions for label in stream.images("train", name).y.unique()})

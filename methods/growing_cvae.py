"""Dynamically growing conditional VAE with self-memory: **a reconstruction** of arXiv 2004.12731.

Reference: Lifelong Learning Process: Self-Memory Supervising and Dynamically Growing Networks (arXiv 2004.12731). Only
its abstract and summary were available, so architecture, schedule and weights are lifegen's reading of them: parameters
split into a mixed part and one column per category; memory playback, the model's own images of categories that are no
longer visible; and images that go round the circle again, as a warm-up before the interval and beside every batch. Its
numbers say nothing about the authors' system.

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

from lifegen.benchmark import (
    Seeds,
    Stream,
    add_term,
    count_state,
    images_of,
    interval_steps,
    register_method,
    searched,
    to_unit,
)

from .models.conditional_vae import ConditionalVAE
from .models.method import NetworkMethod, acts
from .models.mixture import Prior
from .models.networks import norm_statistics_kept
from .models.plugins import replays_draws, with_replay

_PROBE = 1000
"""Images by which the category of a distribution that comes back is recognised, at most."""


class CategoriesPlugin(SupervisedPlugin):
    """Grows a :class:`ConditionalVAE` by an interval's new categories, and tells it the category of each image.

    The interval's distribution is the category. Columns of categories that aren't in the batch get no gradient.
    """

    def __init__(self, seeds: Seeds) -> None:
        """Make the plugin.

        Args:
            seeds: where new columns come from.
        """
        super().__init__()
        self.current: list[int] = []
        """Categories of the interval"""
        self.others = torch.empty(0, dtype=torch.int64)
        """All other categories met so far"""
        self._init = seeds.generator("growth")
        self._are_current = True

    def after_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # Still before Avalanche hands the parameters to the optimiser, and after SelfMemoryPlugin has copied the model.
        self.current = self.meet(strategy)
        others = [category for category in range(strategy.model.codes) if category not in self.current]
        self.others = torch.tensor(others, dtype=torch.int64, device=strategy.device)

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        strategy.model.categories = self.of(strategy.mb_y)
        self._are_current = True

    def after_backward(self, strategy: Any, **_: Any) -> None:
        if self._are_current:
            # Without a gradient Adam leaves a column alone; with a zero one its momentum goes on.
            for columns in (strategy.model.encoder_columns, strategy.model.decoder_columns):
                for category, column in enumerate(columns):
                    if category not in self.current:
                        column.grad = None

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        strategy.model.categories = None

    def meet(self, strategy: Any) -> list[int]:
        """Make room for the interval's new categories, count its images, and return its categories."""
        model: ConditionalVAE = strategy.model
        dataset = strategy.experience.dataset
        if getattr(strategy.experience, "is_new", True) or not model.codes:
            category = model.meet(self._init)
            model.count(category, len(dataset))
        else:  # nobody says which distribution comes back
            x = to_unit(images_of(dataset, _PROBE, self._init).to(strategy.device))
            category = int(model.recognise(x).bincount(minlength=model.codes).argmax())
        return [category]

    def of(self, labels: Tensor) -> Tensor:
        """The category of each image of the interval, (n,), from their labels."""
        return torch.full_like(labels, self.current[0])

    def replace_last(self, model: ConditionalVAE, categories: Tensor) -> None:
        """Tell the model the categories of the batch's last images, which were replaced."""
        assert model.categories is not None
        kept = len(model.categories) - len(categories)
        model.categories = torch.cat([model.categories[:kept], categories])
        self._are_current = False


class LabelCategoriesPlugin(CategoriesPlugin):
    """:class:`CategoriesPlugin` whose categories are the labels."""

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(seeds)
        self._category: dict[int, int] = {}
        """By label"""
        self._by_label = torch.empty(0, dtype=torch.int64)
        """The same, on the device"""

    def meet(self, strategy: Any) -> list[int]:
        model: ConditionalVAE = strategy.model
        labels = torch.tensor(list(strategy.experience.dataset.targets))
        for label, images in zip(*labels.unique(return_counts=True), strict=True):
            if int(label) not in self._category:
                self._category[int(label)] = model.meet(self._init)
            if getattr(strategy.experience, "is_new", True):
                model.count(self._category[int(label)], int(images))
        by_label = torch.zeros(1 + max(self._category), dtype=torch.int64)
        by_label[list(self._category)] = torch.tensor(list(self._category.values()))
        self._by_label = by_label.to(strategy.device)
        return [self._category[int(label)] for label in labels.unique()]

    def of(self, labels: Tensor) -> Tensor:
        return self._by_label[labels]


class SelfMemoryPlugin(SupervisedPlugin):
    """Supervises a :class:`ConditionalVAE` by images of the model as it was at the boundary, its snapshot.

    A batch of B images with ``new`` categories in the interval and ``old`` others holds ⌊B · new/(new + old)⌋ real
    ones, at least one and at least B/(1 + ρ), and for the rest samples of the snapshot, from each old category alike.
    In a warm-up at the interval's beginning, all images of a batch are the snapshot's.
    """

    def __init__(
        self,
        categories: CategoriesPlugin,
        seeds: Seeds,
        *,
        playback: bool = True,
        most_playback: float = 9.0,
        warmup: float = 0.05,
        draw: bool = False,
    ) -> None:
        """Make the plugin.

        Args:
            categories: the plugin that grows the model; it must come first in the strategy's list.
            seeds: where playback and warm-up come from.
            playback: whether batches after the warm-up hold images of old categories.
            most_playback: ρ, images of playback for one real image, at most.
            warmup: share of an interval's steps, its first, that see the snapshot's images of old categories only.
            draw: whether the snapshot's images are drawn from p(x | z, c) instead of being its means.
        """
        super().__init__()
        self.snapshot: ConditionalVAE | None = None
        """Frozen model of the boundary; none in the first interval, or if there is no old category."""
        self.style: Tensor | None = None
        """Styles that the batch's images were decoded from, in the warm-up only, (n, style)."""
        self.synthetic_samples = 0
        """Images drawn from snapshots so far."""
        self._categories = categories
        self._playback = playback
        self._most_playback = most_playback
        self._warmup = warmup
        self._draw = draw
        self._replay = seeds.late_generator("replay")
        self._warmup_steps = 0

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers of the snapshot."""
        return 0 if self.snapshot is None else count_state(self.snapshot)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: the model hasn't grown yet.
        model: ConditionalVAE = strategy.model
        self.snapshot = deepcopy(model).eval().requires_grad_(False) if model.codes else None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        if not len(self._categories.others):
            self.snapshot = None
        self._warmup_steps = 0 if self.snapshot is None else ceil(self._warmup * interval_steps(strategy))

    @torch.no_grad()
    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.style = None
        is_warmup = strategy.clock.train_exp_iterations < self._warmup_steps
        if self.snapshot is None or not (is_warmup or self._playback):
            return
        batch, device = len(strategy.mb_x), strategy.mb_x.device
        noise = self._replay.on(device)
        n = batch if is_warmup else batch - self._real_count(batch)
        old = self._categories.others
        # In the warm-up at random; then from each alike, the remainder to some at random.
        which = torch.randint(len(old), (n if is_warmup else 1,), generator=noise, device=device)
        if not is_warmup:
            which = (which + torch.arange(n, device=device)) % len(old)
        categories = old[which]
        style = torch.randn(n, self.snapshot.style, generator=noise, device=device)
        images = self.snapshot.images_of(self.snapshot.decode(style, categories), noise, self._draw)
        strategy.mbatch = with_replay(strategy, images)
        self._categories.replace_last(strategy.model, categories)
        self.style = style if is_warmup else None
        self.synthetic_samples += n

    def replayed(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Return means of n images of the snapshot, of each old category alike; None where batches hold no playback."""
        if self.snapshot is None or not self._playback:
            return None
        old = self._categories.others
        style = torch.randn(n, self.snapshot.style, generator=generator, device=old.device)
        return self.snapshot.images_of(self.snapshot.decode(style, old[torch.arange(n) % len(old)]), generator, False)

    def _real_count(self, batch: int) -> int:
        new, old = len(self._categories.current), len(self._categories.others)
        return max(1, batch * new // (new + old), ceil(batch / (1 + self._most_playback)))


class CirculationPlugin(SupervisedPlugin):
    """Feeds a :class:`ConditionalVAE` with its own images, in the warm-up and as a second lap of each batch after it.

    In the warm-up it adds λ_c ‖mean of q(z | x̂, c) − z‖² / d, for x̂ decoded by the snapshot from z; then β_c times the
    negative ELBO of the batch's reconstructions.
    """

    def __init__(
        self,
        memory: SelfMemoryPlugin,
        seeds: Seeds,
        *,
        code_weight: float = 1.0,
        lap_weight: float = 0.1,
        draw: bool = False,
    ) -> None:
        """Make the plugin.

        Args:
            memory: the plugin that has the warm-up; it must come first in the strategy's list.
            seeds: where drawn reconstructions come from.
            code_weight: λ_c.
            lap_weight: β_c.
            draw: whether reconstructions are drawn from p(x | z, c) instead of being its means.
        """
        super().__init__()
        self._memory = memory
        self._code_weight = code_weight
        self._lap_weight = lap_weight
        self._draw = draw
        self._lap = seeds.late_generator("second-lap")

    def before_backward(self, strategy: Any, **_: Any) -> None:
        model, output = strategy.model, strategy.mb_output
        if self._memory.style is not None:
            error = (output.mean - self._memory.style).square().mean(1)
            add_term(strategy, "code_error", self._code_weight * error.mean())
            return
        again = model.images_of(output.parameters.detach(), self._lap.on(output.x.device), self._draw)
        with norm_statistics_kept([model]):  # statistics are of images, not of reconstructions
            lap = model.forward_given(again, model.categories).negative_elbo().mean()
        add_term(strategy, "second_lap", self._lap_weight * lap)


_FACTS: dict[str, Any] = {
    "differs_at_once": "its first layers have columns of their own for each category",
    "inert": {"playback": False, "circulatory": False},
    "reconstruction": True,
}


@register_method("growing-cvae", version=2, uses=("boundaries",), **_FACTS, look={"colour": "#f0a3c4", "marker": "s"})
class GrowingCVAE(NetworkMethod):
    """Conditional VAE with a column per distribution and self-memory: a reconstruction of arXiv 2004.12731."""

    class Config(NetworkMethod.Config):
        growth: bool = True
        """Whether a column is added with each new category; otherwise all exist from the start."""
        playback: bool = True
        """Whether batches hold the snapshot's images of categories that are no longer visible."""
        circulatory: bool = True
        """Whether the model's images are fed to it again: as warm-up, and as a second lap of each batch."""
        most_playback: NonNegativeFloat = 9.0
        """ρ, images of playback for one real image, at most."""
        warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
        """Share of an interval's steps that the warm-up takes."""
        code_weight: Annotated[NonNegativeFloat, searched(0.1, 10)] = 1.0
        """λ_c, weight of the re-encoding error in the warm-up."""
        lap_weight: Annotated[NonNegativeFloat, searched(0.01, 1)] = 0.1
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

    categories_plugin: type[CategoriesPlugin] = CategoriesPlugin

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
        draw = replays_draws(config.replay_images, stream)
        categories = self.categories_plugin(seeds)
        plugins = [*super().plugins(stream, seeds), categories]
        if config.playback or config.circulatory:
            warmup = config.warmup if config.circulatory else 0.0
            memory = SelfMemoryPlugin(
                categories,
                seeds,
                playback=config.playback,
                most_playback=config.most_playback,
                warmup=warmup,
                draw=draw,
            )
            plugins.append(memory)
            if config.circulatory:
                weights = {"code_weight": config.code_weight, "lap_weight": config.lap_weight}
                plugins.append(CirculationPlugin(memory, seeds, draw=draw, **weights))
        return plugins


@register_method(
    "growing-cvae-labels",
    version=2,
    uses=("boundaries", "labels"),
    **_FACTS,
    look={"colour": "#f0a3c4", "marker": "P", "dash": "dashed"},
)
class GrowingCVAELabels(GrowingCVAE):
    """The growing conditional VAE with a column per label, which it is told in training; a reconstruction as well."""

    categories_plugin = LabelCategoriesPlugin

    def categories(self, stream: Stream) -> int:
        return len({int(label) for name in stream.distributions for label in stream.images("train", name).y.unique()})

"""Growing mixture: a new component where the data are new, replay into an old one where they aren't; and its student.

Reference: Ye and Bors, Lifelong Infinite Mixture Model (ICCV 2021), equation 8, and its extension, the Growing Mixture
Model, equation 17 (novelty) and 27 (student), with their public code. Deliberate differences: novelty is tested at the
beginning of an interval on its own data, where the code looks ahead at the next interval's; the prior weight of a
component is charged, per image, where the papers choose one component for a whole test set at no cost (here the
unranked metric ``negative_elbo_group``); replay is fresh for each batch and shared by distributions, where the code
draws 50,000 images once; latent samples come from the prior N(0, I), where the code draws uniformly from [−1, 1]; batch
norm normalises (``norm=none`` is nearer to the code, whose batch norm never does), in the frozen trunk by the first
distribution's statistics. A discrepancy is in nats of the track's likelihood; on ``discretised-logistic`` images of
a component's own distribution can seem newer than others, since samples are easier than real images (specification,
1.4).

Memory: the shared trunk and all components; a copy of a component while it is trained again.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lifegen.benchmark import (
    GenerativeModel,
    Seeds,
    Stream,
    count_state,
    images_of,
    negative_elbo,
    register_method,
    searched,
    to_unit,
)

from .models.method import NetworkMethod
from .models.mixture import Prior, VAEMixture
from .models.plugins import RealShare, parts_of, replays_draws, with_replay
from .models.vae import CodeStyleVAE


class GrowingPlugin(SupervisedPlugin):
    """At the beginning of each interval decides which component of a :class:`VAEMixture` learns it.

    If the least discrepancy of any component exceeds the threshold, it is a new component. Otherwise it is the
    component with the least discrepancy, and its own past is replayed to it: with m distributions served before, a
    batch of B images holds max(1, ⌊B/(m + 1)⌋) real ones or, with ``real_share=half``, half of them, also where the
    distribution comes back, since nobody says which distribution it is. All other components are frozen and need no
    replay.
    """

    capturable = True

    def __init__(
        self,
        seeds: Seeds,
        threshold: float,
        *,
        probe: int = 1000,
        draw: bool = False,
        real_share: RealShare = "equal",
        trust_boundaries: bool = False,
    ) -> None:
        """Make the plugin.

        Args:
            seeds: where new weights, probes and replay come from.
            threshold: nats; 0 makes a component for each interval, infinity a single component.
            probe: images of the interval that novelty is tested on, and as many samples of each component.
            draw: whether samples are drawn from p(x | z) instead of being its means.
            real_share: real images of a batch of a component that is trained again.
            trust_boundaries: whether the stream is trusted to say which distribution is new, and novelty isn't tested:
                a new distribution gets a component, a known one goes to the component with the lowest negative ELBO
                of it, and nothing is replayed.
        """
        super().__init__()
        self.discrepancies: list[float] = []
        """F of each component at the beginning of this interval; none in the first, or if
        boundaries are trusted."""
        self.source: CodeStyleVAE | None = None
        """Frozen copy of a component that is trained again."""
        self.served: list[int] = []
        """Distributions that each component was trained on."""
        self.synthetic_samples = 0
        """Images drawn for replay so far."""
        self._threshold = threshold
        self._probe = probe
        self._draw = draw
        self._real_share: RealShare = real_share
        self._trust_boundaries = trust_boundaries
        self._seeds = seeds
        self._init = seeds.generator("growth")
        self._replay = seeds.late_generator("replay")
        self._served_before = 0
        self._model: VAEMixture | None = None

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers of the copy, beyond what it shares with the model."""
        if self.source is None or self._model is None:
            return 0
        return count_state(nn.ModuleList([self._model, self.source])) - count_state(self._model)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: Avalanche hands the grown model's parameters to the optimiser afterwards.
        model: VAEMixture = getattr(strategy.model, "mixture", strategy.model)
        self._model, self.source, self.discrepancies = model, None, []
        is_first, is_new = not self.served, getattr(strategy.experience, "is_new", True)
        component = 0 if is_first else self._choose(strategy, model, is_new)
        if component == len(self.served):
            if not is_first:
                model.append(self._init)
            self.served.append(0)
            is_new = True  # to the mixture it is
        elif not self._trust_boundaries:
            # It shares the trunk, which no longer changes, and nothing else.
            copied = deepcopy(model.component(component), {id(module): module for module in model.trunk()})
            self.source = copied.eval().requires_grad_(False)
        model.activate(component, trunk_frozen=not is_first)
        if is_new:
            model.count(component, len(strategy.experience.dataset))
        self._served_before = self.served[component]
        self.served[component] += is_new

    def _choose(self, strategy: Any, model: VAEMixture, is_new: bool) -> int:
        """The component that learns the interval; the number of components stands for a new component."""
        if self._trust_boundaries and is_new:
            return model.codes
        interval = strategy.clock.train_exp_counter
        probe = images_of(
            strategy.experience.dataset, self._probe, self._seeds.generator("novelty", interval, "pixels")
        )
        x = to_unit(probe.to(strategy.device))
        noise = self._seeds.generator("novelty", interval, device=strategy.device)
        model.eval()
        with torch.no_grad():
            if self._trust_boundaries:
                values = [mean_negative_elbo(model.component(k), x, noise) for k in range(model.codes)]
            else:
                values = self.discrepancies = discrepancies(model, x, noise, self._draw)
        model.train()
        best = min(range(model.codes), key=values.__getitem__)
        return model.codes if not self._trust_boundaries and values[best] > self._threshold else best

    @torch.no_grad()
    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.source is None:
            return
        batch = len(strategy.mb_x)
        real, n = parts_of(batch, self._served_before + 1, self._real_share)
        replayed = self.source.sample(n, generator=self._replay.on(strategy.mb_x.device), draw=self._draw)
        strategy.mbatch = with_replay(strategy, replayed, real)
        self.synthetic_samples += len(replayed)


def discrepancies(model: VAEMixture, x: Tensor, noise: torch.Generator, draw: bool = False) -> list[float]:
    """Knowledge discrepancy of each component, |mean of L_j over x − mean of L_j over as many of its own samples|, nats
    (GMM, equation 17; LIMix, equation 8), with L_j the negative ELBO of component j for one latent draw.

    Args:
        model: the mixture, in evaluation mode.
        x: images in [0, 1], (n, channels, height, width).
        noise: source of latent draws and samples.
        draw: whether samples are drawn from p(x | z) instead of being its means.
    """
    values = []
    for k in range(model.codes):
        component = model.component(k)
        own = component.sample(len(x), generator=noise, draw=draw)
        values.append(abs(mean_negative_elbo(component, x, noise) - mean_negative_elbo(component, own, noise)))
    return values


def mean_negative_elbo(component: CodeStyleVAE, x: Tensor, noise: torch.Generator) -> float:
    """The mean negative ELBO of images in [0, 1], for one latent draw, nats."""
    return float(negative_elbo(component.log_weights(x, 1, noise), component.log_prior).value.mean())


class MixtureMethod(NetworkMethod):
    """A method whose model is a :class:`VAEMixture`."""

    class Config(NetworkMethod.Config):
        prior: Prior = "data"
        """Prior weights of the components: their shares of the images met, or equal."""

    def mixture(self, stream: Stream, seeds: Seeds, share: bool) -> dict[str, Any]:
        """Arguments of the model."""
        init = seeds.generator("initialisation")
        sizes = {"share": share, "prior": self.config.prior, **self.network(stream)}
        return {"image_shape": stream.image_shape, "init": init, **sizes}


@register_method("growing-mixture", version=2, uses=("boundaries",), look={"colour": "#882255", "marker": "D"})
class GrowingMixture(MixtureMethod):
    """Growing mixture of VAEs on a shared trunk, with a novelty test at each boundary."""

    class Config(MixtureMethod.Config):
        threshold: Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["inf"], searched(3, 60)] = (
            10.0
        )
        """λ, nats: a distribution that differs by more from all components gets a component of its own."""
        share: Literal["frozen", "none"] = "frozen"
        """Whether components share the first hidden layers, which are frozen after the first interval."""
        probe_images: PositiveInt = 1000
        """Images of the interval that novelty is tested on, and samples of each component."""
        replay_images: Literal["mean", "draw"] | None = None
        """Decoder means or draws from the likelihood, in test and replay; null: means on grey levels."""
        real_share: RealShare = "equal"
        """Real images of a batch in which a component is trained again: one part in the number of its distributions;
        half of it; or all of it, with as many replayed images added."""

    def model(self, stream: Stream, seeds: Seeds) -> GenerativeModel:
        return VAEMixture(**self.mixture(stream, seeds, self.config.share == "frozen"))

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        draw = replays_draws(config.replay_images, stream)
        plugin = GrowingPlugin(
            seeds, float(config.threshold), probe=config.probe_images, draw=draw, real_share=config.real_share
        )
        return [*super().plugins(stream, seeds), plugin]

"""Mixtures Σ_k π_k p_k(x) whose components are learned one after another; the code of an image is its component."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lifegen.benchmark import GenerativeModel, LogWeights, responsibilities

from .vae import CodeStyleVAE, Noise, VAEOutput

Prior = Literal["data", "uniform"]

_DRAWS = 10
"""Draws of a responsibility where no log-weights are given: as many as those of the negative ELBO."""


class Mixture(GenerativeModel):
    """Components with prior weights. Bounds, responsibilities, samples and reconstructions follow from them.

    The bound charges log π: the most suitable component without it, max_k p_k, isn't a density, and a component per
    test set isn't a bound on p(x) either.
    """

    estimates_code = True
    images: Tensor

    def __init__(self, image_shape: tuple[int, int, int], style: int, track: str, prior: Prior) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.style = style
        self.track = track
        self.codes = 0
        self.prior: Prior = prior
        self.register_buffer("images", torch.zeros(0, dtype=torch.float64))  # n_k, real images met by each component

    def count(self, component: int, images: int) -> None:
        """Add to the number of real images that a component has met, which is its prior weight. Each counts once."""
        self.images[component] += images

    @property
    def log_prior(self) -> Tensor:
        """log π, (components,): n_k / N, or uniform."""
        weights = self.images if self.prior == "data" else torch.ones_like(self.images)
        return (weights / weights.sum()).log().float()

    @abstractmethod
    def component_log_weights(self, component: int, x: Tensor, noise: Noise) -> LogWeights:
        """One component's log-weights, (draws, 1, n) each."""

    @abstractmethod
    def component_sample(self, component: int, n: int, generator: torch.Generator | None, draw: bool) -> Tensor:
        """n images of one component."""

    @abstractmethod
    def component_reconstruct(self, component: int, x: Tensor) -> Tensor:
        """Images decoded from one component's posterior means."""

    def log_weights(self, x: Tensor, draws: int, generator: torch.Generator | None = None) -> LogWeights:
        style = torch.randn(draws, len(x), self.style, generator=generator, device=x.device)
        noise = Noise(style, torch.zeros(draws, len(x), device=x.device))
        parts = [self.component_log_weights(k, x, noise) for k in range(self.codes)]
        return LogWeights(
            torch.cat([part.likelihood for part in parts], 1), torch.cat([part.divergence for part in parts], 1)
        )

    def code_log_posterior(self, x: Tensor, weights: LogWeights | None = None) -> Tensor:
        """Log-responsibilities, (n, components), from given log-weights of x or from ten draws of a fixed seed."""
        if weights is None:
            weights = self.log_weights(x, _DRAWS, torch.Generator(x.device).manual_seed(0))
        return responsibilities(weights, self.log_prior)

    def sample(
        self, n: int, code: int | None = None, generator: torch.Generator | None = None, draw: bool = False
    ) -> Tensor:
        if code is not None:
            return self.component_sample(code, n, generator, draw)
        chosen = torch.multinomial(self.log_prior.exp(), max(n, 1), replacement=True, generator=generator)[:n]
        images = self.images.new_empty(n, *self.image_shape, dtype=torch.float32)
        for k in chosen.unique().tolist():
            images[chosen == k] = self.component_sample(k, int((chosen == k).sum()), generator, draw)
        return images

    def reconstruct(self, x: Tensor) -> Tensor:
        chosen = self.code_log_posterior(x).argmax(1)
        images = torch.empty_like(x)
        for k in chosen.unique().tolist():
            images[chosen == k] = self.component_reconstruct(k, x[chosen == k])
        return images


class VAEMixture(Mixture):
    """VAEs without a discrete code, which may share the first hidden layer of encoder and decoder, the trunk.

    ``forward`` trains the active component. All others are frozen and normalise by their running statistics, so they
    stay exactly as they were.
    """

    capturable = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        components: int = 1,
        share: bool = True,
        prior: Prior = "data",
        init: torch.Generator | None = None,
        **network: Any,
    ) -> None:
        """Make the mixture.

        Args:
            image_shape: channels, height, width.
            components: how many to begin with.
            share: whether components share the trunk.
            prior: whether prior weights are the components' shares of the images met, or equal.
            init: source of the initial weights.
            network: the other arguments of :class:`CodeStyleVAE`.
        """
        super().__init__(image_shape, network["style"], network["track"], prior)
        self.share = share
        self.active = 0
        self.trunk_frozen = False
        self._made_of = network
        self.components = nn.ModuleList()
        for _ in range(components):
            self.append(init)
        self.activate(0, trunk_frozen=False)

    def recipe(self) -> dict[str, Any]:
        sizes = {"components": self.codes, "share": self.share, "prior": self.prior}
        return {"image_shape": list(self.image_shape), **sizes, **self._made_of}

    def component(self, k: int) -> CodeStyleVAE:
        component = self.components[k]
        assert isinstance(component, CodeStyleVAE)
        return component

    def head(self, init: torch.Generator | None) -> CodeStyleVAE:
        """A fresh VAE on the shared trunk, or on a trunk of its own if there is nothing to share."""
        fresh = CodeStyleVAE(self.image_shape, codes=1, init=init, **self._made_of).to(self.images.device)
        if self.share and len(self.components):
            first = self.component(0)
            for i in range(len(first.encoder_trunk)):
                fresh.encoder[i] = first.encoder[i]
            fresh.decoder_input = first.decoder_input
            for i in range(len(first.decoder_trunk)):
                fresh.decoder[i] = first.decoder[i]
        return fresh

    def append(self, init: torch.Generator | None) -> None:
        """Add a component."""
        self.components.append(self.head(init))
        self.images = torch.cat([self.images, self.images.new_zeros(1)])
        self.codes += 1

    def trunk(self) -> list[nn.Module]:
        """The shared modules."""
        first = self.component(0)
        return [*first.encoder_trunk, first.decoder_input, *first.decoder_trunk] if self.share else []

    def activate(self, component: int, trunk_frozen: bool) -> None:
        """Choose the component that learns.

        Args:
            component: the component.
            trunk_frozen: whether the shared trunk no longer learns.
        """
        self.active, self.trunk_frozen = component, trunk_frozen
        self.requires_grad_(False)
        self.components[component].requires_grad_(True)
        for module in self.trunk():
            module.requires_grad_(not trunk_frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> VAEMixture:
        super().train(mode)
        for component in self.components:
            component.eval()
        self.components[self.active].train(mode)
        if self.trunk_frozen:
            for module in self.trunk():
                module.eval()
        return self

    def forward(self, x: Tensor) -> VAEOutput:
        component = self.component(self.active)
        component.generator, component.latent_noise = self.generator, self.latent_noise
        output: VAEOutput = component(x)
        return output

    def component_log_weights(self, component: int, x: Tensor, noise: Noise) -> LogWeights:
        return self.component(component).log_weights_given(x, noise)

    def component_sample(self, component: int, n: int, generator: torch.Generator | None, draw: bool) -> Tensor:
        return self.component(component).sample(n, generator=generator, draw=draw)

    def component_reconstruct(self, component: int, x: Tensor) -> Tensor:
        return self.component(component).reconstruct(x)

    def style_grid(self, code: int, points: int) -> Tensor | None:
        return self.component(code).style_grid(0, points)

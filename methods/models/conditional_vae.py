"""A VAE conditioned on a category, with parameters that belong to one category each."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lifegen.benchmark import LogWeights

from .divergences import gaussian_to_standard
from .likelihoods import LIKELIHOODS, Likelihood
from .mixture import Mixture, Prior
from .networks import NETWORKS, linear
from .vae import Noise, style_log_ratio, style_points


class ConditionalOutput(NamedTuple):
    """A training pass, with its input."""

    x: Tensor
    mean: Tensor
    """of q(z | x, c), (n, style)"""
    reconstruction: Tensor
    """−log p(x | z, c) for one draw, (n,)"""
    divergence: Tensor
    """KL[q(z | x, c) ‖ N(0, I)], (n,)"""
    parameters: Tensor
    """Parameters of the likelihood, (n, outputs)"""

    def negative_elbo(self) -> Tensor:
        return self.reconstruction + self.divergence


class ConditionalVAE(Mixture):
    """p(x | z, c) and q(z | x, c), whose first layers are act(W z + b + u_c) and act(V x + d + v_c).

    W, V, b and d are the mixed part of all categories, the columns u_c and v_c the conditional part of one: other
    categories' images have no gradient for them. Over categories with prior π it is a mixture, whose responsibilities
    q(c | x) recognise. The code is the category.

    Reconstruction of arXiv 2004.12731, whose body wasn't available: it isn't the authors' network.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        components: int = 0,
        columns: int = 0,
        prior: Prior = "data",
        init: torch.Generator | None = None,
        **network: Any,
    ) -> None:
        """Make the model.

        Args:
            image_shape: channels, height, width.
            components: categories met.
            columns: columns to begin with; they grow with the categories if they are fewer.
            prior: whether prior weights are the categories' shares of the images met, or equal.
            init: source of the initial weights.
            network: style, width, architecture, norm, activation and track, as for :class:`CodeStyleVAE`.
        """
        super().__init__(image_shape, network["style"], network["track"], prior)
        self._made_of = network
        self.likelihood: Likelihood = LIKELIHOODS[self.track]()
        kind = NETWORKS[network["architecture"]]
        layers = kind(
            image_shape, self.likelihood.parameters_per_pixel, network["width"], network["norm"], network["activation"]
        )
        encoder = layers.encoder(init)
        self.encoder_first = encoder[:2]  # up to V x + d
        self.encoder_rest = encoder[2:]
        self.encoder_head = linear(layers.features, 2 * self.style, init)
        self.decoder_input = linear(self.style, layers.inputs, init)
        self.decoder = layers.decoder(init)
        self._column_sizes = layers.width, layers.inputs
        self.encoder_columns = nn.ParameterList()
        """v_c, (width,) each"""
        self.decoder_columns = nn.ParameterList()
        """u_c, (decoder inputs,) each"""
        self.categories: Tensor | None = None
        """Categories of the images that ``forward`` is about to see, (n,); None: it recognises them."""
        for _ in range(columns):
            self._append_columns(init)
        for _ in range(components):
            self.meet(init)

    def recipe(self) -> dict[str, Any]:
        sizes = {"components": self.codes, "columns": len(self.decoder_columns), "prior": self.prior}
        return {"image_shape": list(self.image_shape), **sizes, **self._made_of}

    def meet(self, init: torch.Generator | None) -> int:
        """Make room for another category and return its number. Everything else stays exactly as it is."""
        self.images = torch.cat([self.images, self.images.new_zeros(1)])
        self.codes += 1
        if self.codes > len(self.decoder_columns):
            self._append_columns(init)
        return self.codes - 1

    def _append_columns(self, init: torch.Generator | None) -> None:
        """Append a column each. The first columns are zero, later ones near the mean of the columns before."""
        for columns, size in zip((self.encoder_columns, self.decoder_columns), self._column_sizes, strict=True):
            column = torch.zeros(size, device=self.images.device)
            if len(columns):
                noise = 0.01 * torch.randn(size, generator=init)
                column = torch.stack([column.detach() for column in columns]).mean(0) + noise.to(column.device)
            columns.append(nn.Parameter(column))

    def encode(self, x: Tensor, category: Tensor | int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x, c), (n, style) each, for categories (n,) or one for all."""
        first = self.encoder_first(x)
        shift = _columns(self.encoder_columns, category)
        shift = shift.reshape(*shift.shape, *(1,) * (first.ndim - 2))  # filters have a height and a width
        # float: under bfloat16 a GPU's products are bfloat16
        mean, raw = self.encoder_head(self.encoder_rest(first + shift)).float().chunk(2, 1)
        return mean, functional.softplus(raw) + 1e-6

    def decode(self, style: Tensor, category: Tensor | int) -> Tensor:
        """The likelihood's parameters, (n, outputs), of styles, (n, style), and categories, (n,) or one for all."""
        parameters: Tensor = self.decoder(self.decoder_input(style) + _columns(self.decoder_columns, category))
        return parameters.float()

    def forward(self, x: Tensor) -> ConditionalOutput:
        return self.forward_given(x, self.recognise(x) if self.categories is None else self.categories)

    def forward_given(self, x: Tensor, category: Tensor) -> ConditionalOutput:
        """:meth:`forward` for given categories, (n,)."""
        mean, std = self.encode(x, category)
        style = mean
        if self.latent_noise:
            style = mean + std * torch.randn(mean.shape, generator=self.generator, device=x.device)
        parameters = self.decode(style, category)
        reconstruction = -self.likelihood.log_prob(x.flatten(1), parameters)
        return ConditionalOutput(x, mean, reconstruction, gaussian_to_standard(mean, std), parameters)

    def component_log_weights(self, component: int, x: Tensor, noise: Noise) -> LogWeights:
        mean, std = self.encode(x, component)
        style = mean + std * noise.style
        divergence = style_log_ratio(noise.style, style, std)
        parameters = self.decode(style.flatten(0, 1), component).unflatten(0, style.shape[:2])
        likelihood = self.likelihood.log_prob(x.flatten(1), parameters)
        return LogWeights(likelihood[:, None], divergence[:, None])

    def component_sample(self, component: int, n: int, generator: torch.Generator | None, draw: bool) -> Tensor:
        style = torch.randn(n, self.style, generator=generator, device=self.images.device)
        return self.images_of(self.decode(style, component), generator, draw)

    def component_reconstruct(self, component: int, x: Tensor) -> Tensor:
        return self.images_of(self.decode(self.encode(x, component)[0], component))

    def images_of(self, parameters: Tensor, generator: torch.Generator | None = None, draw: bool = False) -> Tensor:
        """Mean images of the likelihood's parameters, or draws, (n, channels, height, width)."""
        pixels = self.likelihood.draw(parameters, generator) if draw else self.likelihood.mean(parameters)
        images: Tensor = pixels.unflatten(1, self.image_shape)
        return images

    @torch.no_grad()
    def recognise(self, x: Tensor) -> Tensor:
        """The most likely category of each image, argmax q(c | x), (n,)."""
        mode = self.training
        self.eval()
        chosen = [self.code_log_posterior(part).argmax(1) for part in x.split(500)]
        self.train(mode)
        return torch.cat(chosen)

    def style_grid(self, code: int, points: int) -> Tensor | None:
        if self.style != 2:
            return None
        return self.images_of(self.decode(style_points(points, self.images.device), code))


def _columns(columns: nn.ParameterList, category: Tensor | int) -> Tensor:
    """The column of one category, (width,), or of each image's, (n, width).

    Columns are gathered, not multiplied by one-hot codes: a value doesn't depend on how many columns there are.
    """
    if isinstance(category, int):
        column: Tensor = columns[category]
        return column
    each: Tensor = torch.stack(list(columns))[category]
    return each

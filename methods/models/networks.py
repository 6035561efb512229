"""The networks on either side of the latent variables: fully connected, or convolutional.

A network describes both: its encoder maps images to ``features`` numbers, its decoder maps ``inputs`` numbers to the
likelihood's parameters, flattened. The two linear layers between them belong to the model, which may grow them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["batch", "group", "none"]
Activation = Literal["elu", "selu", "tanh", "relu"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
NORMS = (*BATCH_NORMS, nn.GroupNorm)
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "elu": nn.ELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Network(Protocol):
    """Encoder and decoder of images of one shape."""

    features: int
    """Outputs of the encoder."""
    inputs: int
    """Inputs of the decoder."""
    width: int
    """Units, or filters, of the encoder's first layer, which is ``encoder[:2]`` with the reshaping before it."""
    encoder_trunk: int
    """Modules of the encoder that a mixture's components may share, from its first on."""
    decoder_trunk: int
    """Modules of the decoder that a mixture's components may share, from its first on."""

    def encoder(self, init: torch.Generator | None) -> nn.Sequential:
        """(n, channels, height, width) to (n, features), with weights drawn from ``init``."""
        ...

    def decoder(self, init: torch.Generator | None) -> nn.Sequential:
        """(n, inputs), straight from a linear layer, to (n, outputs)."""
        ...


class FullyConnected:
    """Two hidden layers of ``width`` units each way (paper: 2 × 512)."""

    encoder_trunk = 4  # the first hidden layer
    decoder_trunk = 2  # the norm and activation of the first hidden layer, which is the model's

    def __init__(
        self, image_shape: tuple[int, int, int], per_pixel: int, width: int, norm: Norm, activation: Activation
    ) -> None:
        self.features = self.inputs = self.width = width
        self._pixels = math.prod(image_shape)
        self._outputs = self._pixels * per_pixel
        self._norm: Norm = norm
        self._activation: Activation = activation

    def encoder(self, init: torch.Generator | None) -> nn.Sequential:
        first, second = linear(self._pixels, self.features, init), linear(self.features, self.features, init)
        return nn.Sequential(nn.Flatten(), first, *self._after(), second, *self._after())

    def decoder(self, init: torch.Generator | None) -> nn.Sequential:
        hidden, last = linear(self.inputs, self.inputs, init), linear(self.inputs, self._outputs, init)
        return nn.Sequential(*self._after(), hidden, *self._after(), last)

    def _after(self) -> tuple[nn.Module, nn.Module]:
        return _norm(self._norm, self.features, 1), _ACTIVATIONS[self._activation]()


class Convolutional:
    """The strided convolutional network of the paper's public code, for 32 × 32 images.

    The encoder has kernels 5, 4, 4, 4, 4, 1 with strides 1, 2, 1, 2, 1, 1 and filters doubling from ``width``; the
    decoder goes the same way back, from 16 · width filters of 4 × 4, and ends in a 1 × 1 projection. Images of another
    size are resized bilinearly there and back. Each doubling of the size beyond 32 adds one layer of stride 2 at either
    end.
    """

    encoder_trunk = -4  # all but the 1 × 1 convolution
    decoder_trunk = 9  # the first two transposed convolutions

    def __init__(
        self, image_shape: tuple[int, int, int], per_pixel: int, width: int, norm: Norm, activation: Activation
    ) -> None:
        self._channels, *self._size = image_shape
        self._outputs = self._channels * per_pixel
        self._doublings = max(0, round(math.log2(max(self._size) / 32)))
        self.width = width
        self._norm: Norm = norm
        self._activation: Activation = activation
        self.features = 16 * width
        self.inputs = 16 * width * 4 * 4

    def encoder(self, init: torch.Generator | None) -> nn.Sequential:
        w = self.width
        side = 32 * 2**self._doublings
        layers: list[nn.Module] = [Resize(side, side)]
        filters = self._channels
        for _ in range(self._doublings):
            layers += self._layer(nn.utils.skip_init(nn.Conv2d, filters, w, 4, 2, 1), w, init)
            filters = w
        for outputs, kernel, stride in ((w, 5, 1), (2 * w, 4, 2), (4 * w, 4, 1), (8 * w, 4, 2), (16 * w, 4, 1),
                                        (16 * w, 1, 1)):  # fmt: skip
            layers += self._layer(nn.utils.skip_init(nn.Conv2d, filters, outputs, kernel, stride), outputs, init)
            filters = outputs
        return _InPieces(*layers, nn.Flatten())

    def decoder(self, init: torch.Generator | None) -> nn.Sequential:
        w = self.width
        layers: list[nn.Module] = [nn.Unflatten(1, (16 * w, 4, 4)), *self._after(16 * w)]
        filters = 16 * w
        for outputs, kernel, stride in ((8 * w, 4, 2), (4 * w, 4, 1), (2 * w, 4, 2), (2 * w, 5, 1)):
            transposed = nn.utils.skip_init(nn.ConvTranspose2d, filters, outputs, kernel, stride)
            layers += self._layer(transposed, outputs, init)
            filters = outputs
        for _ in range(self._doublings):
            layers += self._layer(nn.utils.skip_init(nn.ConvTranspose2d, filters, filters, 4, 2, 1), filters, init)
        projection = glorot(nn.utils.skip_init(nn.Conv2d, filters, self._outputs, 1), init)
        return _InPieces(*layers, projection, Resize(*self._size), nn.Flatten())

    def _layer(self, convolution: nn.Module, filters: int, init: torch.Generator | None) -> list[nn.Module]:
        return [glorot(convolution, init), *self._after(filters)]

    def _after(self, filters: int) -> tuple[nn.Module, nn.Module]:
        return _norm(self._norm, filters, 2), _ACTIVATIONS[self._activation]()


NETWORKS: dict[str, type[FullyConnected | Convolutional]] = {"mlp": FullyConnected, "conv": Convolutional}


class _InPieces(nn.Sequential):
    """Convolves many images a piece at a time in evaluation: on a CPU more would leave its cache, which takes twice the
    time, on a GPU it would need gigabytes."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            whole: Tensor = super().forward(x)
            return whole
        pieces = x.split(2000 if x.is_cuda else 200)
        return torch.cat([super(_InPieces, self).forward(piece) for piece in pieces])


class Resize(nn.Module):
    """Resizes images bilinearly to a height and width."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] == self.size:
            return x
        return functional.interpolate(x, self.size, mode="bilinear", align_corners=False)


def linear(inputs: int, outputs: int, init: torch.Generator | None) -> nn.Linear:
    """A layer with Glorot's uniform weights and zero bias, drawn from ``init`` alone."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    glorot(layer, init)
    return layer


def glorot(layer: nn.Module, init: torch.Generator | None) -> nn.Module:
    """Draw a layer's weights anew, on the CPU: the same on every device."""
    assert isinstance(layer, _WEIGHTED)
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(nn.init.xavier_uniform_(torch.empty(layer.weight.shape), generator=init))
        layer.bias.zero_()
    return layer


def reinitialise(module: nn.Module, init: torch.Generator | None) -> None:
    """Start every layer of a module anew, normalisation included."""
    for layer in module.modules():
        if isinstance(layer, _WEIGHTED):
            glorot(layer, init)
        elif isinstance(layer, NORMS):
            layer.reset_parameters()


@contextmanager
def norm_statistics_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Passes within this context leave batch norm's running means and variances as they are."""
    norms = [layer for module in modules for layer in module.modules() if isinstance(layer, BATCH_NORMS)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _norm(kind: Norm, width: int, dimensions: int) -> nn.Module:
    if kind == "batch":
        return BATCH_NORMS[dimensions - 1](width)
    if kind == "group":  # 32 groups (Wu and He, arXiv 1803.08494) or fewer, so that each has four channels or more
        groups = [n for n in (32, 16, 8, 4, 2) if width % n == 0 and width // n >= 4]
        return nn.GroupNorm(groups[0] if groups else 1, width)
    return nn.Identity()

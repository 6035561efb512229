"""Pictures of a model, as arrays, so that figures need neither the model nor the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..contracts.images import to_unit
from ..contracts.model import GenerativeModel
from ..contracts.stream import Stream, redraw
from ..seeds import Seeds
from .samples import Replays, in_bytes

VERSION = 2
"""Higher whenever there are other pictures."""
SAMPLES = 10
"""Samples of each code at the end, and of the whole model after each interval."""
RECONSTRUCTIONS = 8
"""Reconstructed test images of each distribution, spread evenly over its test part."""
DRAWS = 50
"""Draws of the latent variables for the deviation of a reconstruction."""
GRID = 20
"""Styles along either axis of a grid over [−3, 3]² (paper, section 5.3)."""


class IntervalPictures(NamedTuple):
    """Pictures taken after each interval so far."""

    samples: list[np.ndarray]
    """of the whole model; see :func:`take_samples`"""
    replayed: list[np.ndarray | None]
    """of what the interval replayed; see :func:`take_replayed`"""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``samples_over_intervals``, and of a method that replays ``replayed_over_intervals``, uint8,
        (intervals, SAMPLES, channels, height, width); black where an interval replayed nothing."""
        samples = np.stack(self.samples)
        arrays = {"samples_over_intervals": samples}
        if any(images is not None for images in self.replayed):
            nothing = np.zeros_like(samples[0])
            arrays["replayed_over_intervals"] = np.stack([nothing if one is None else one for one in self.replayed])
        return arrays


@torch.inference_mode()
def take_pictures(model: GenerativeModel, stream: Stream, seeds: Seeds, device: torch.device) -> dict[str, np.ndarray]:
    """Take all pictures, uint8, by name.

    Returns:
        ``samples``, (codes, SAMPLES, channels, height, width); ``originals`` and ``reconstructions`` in the stream's
        order, (distributions, RECONSTRUCTIONS, channels, height, width); of a model that draws them also the
        ``deviations`` of reconstructions over draws of the latent variables, of that shape, 255 for a deviation of a
        half, the largest possible (paper, figure 6); of one whose style has two dimensions also ``style_grid``,
        (codes, GRID², channels, height, width), row by row.
    """
    model.eval()
    generator = seeds.generator("samples", device=device)
    samples = _per_code(model, lambda code: model.sample(SAMPLES, code=code, generator=generator))
    originals = torch.stack([stream.images("test", name).spread(RECONSTRUCTIONS).x for name in stream.distributions])
    if stream.config.redraws:
        originals = redraw(originals.flatten(0, 1), seeds.generator("pixels", "pictures")).view_as(originals)
    x = to_unit(originals.flatten(0, 1).to(device))
    rebuilt = model.reconstruct(x).unflatten(0, originals.shape[:2])
    pictures = {"samples": samples, "originals": originals.numpy(), "reconstructions": _uint8(rebuilt)}
    generator = seeds.generator("reconstructions", device=device)
    drawn = [one for _ in range(DRAWS) if (one := model.reconstruct_drawn(x, generator)) is not None]
    if drawn:
        deviation = torch.stack(drawn).double().std(0, correction=0)
        pictures["deviations"] = _uint8(2 * deviation.unflatten(0, originals.shape[:2]))
    if model.style_grid(0, GRID) is not None:
        pictures["style_grid"] = _per_code(model, lambda code: model.style_grid(code, GRID))
    return pictures


@torch.inference_mode()
def take_samples(model: GenerativeModel, seeds: Seeds, device: torch.device) -> np.ndarray:
    """Sample the whole model, uint8, (SAMPLES, channels, height, width), with the same noise after each interval, so
    that only the model changes."""
    model.eval()
    return _uint8(model.sample(SAMPLES, generator=seeds.generator("interval-samples", device=device)))


@torch.no_grad()
def take_replayed(
    replays: Replays | None, shape: tuple[int, int, int], seeds: Seeds, device: torch.device
) -> np.ndarray | None:
    """Draw images of the kind that the interval replayed, uint8, (SAMPLES, *shape), always with the same noise; None if
    nothing was replayed.

    Raises:
        ValueError: they aren't in [0, 1], or not of that shape.
    """
    if replays is None:
        return None
    images = replays(SAMPLES, seeds.generator("interval-samples", "replayed", device=device))
    if images is None:
        return None
    if images.shape != (SAMPLES, *shape):
        raise ValueError(f"replayed returns {SAMPLES} images as {tuple(images.shape)}, not {(SAMPLES, *shape)}")
    array: np.ndarray = in_bytes(images, "replayed").cpu().numpy()
    return array


def _per_code(model: GenerativeModel, images: Callable[[int], Tensor | None]) -> np.ndarray:
    rows = [row for code in range(model.codes) if (row := images(code)) is not None]
    return _uint8(torch.stack(rows))


def _uint8(images: Tensor) -> np.ndarray:
    array: np.ndarray = images.mul(255).round().byte().cpu().numpy()
    return array

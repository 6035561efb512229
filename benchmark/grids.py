"""Figures made of images. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def sample_grid(samples: np.ndarray, title: str) -> Figure:
    """Samples of a model, one row per code.

    Args:
        samples: uint8, (codes, samples, channels, height, width).
        title: of the figure.
    """
    return _rows(samples, [str(code) for code in range(len(samples))], "code", title)


def reconstructions(originals: np.ndarray, rebuilt: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Test images, left, and their reconstructions, right, one row per distribution.

    Args:
        originals: uint8, (distributions, images, channels, height, width).
        rebuilt: likewise.
        names: of the distributions.
        title: of the figure.
    """
    return _rows(np.concatenate([originals, rebuilt], 1), names, "", f"{title}: images, reconstructions", split=True)


def style_grids(grids: np.ndarray, title: str) -> Figure:
    """Images of each code for styles on a square grid over [−3, 3]², one panel per code (paper, section 5.3).

    Args:
        grids: uint8, (codes, points², channels, height, width), row by row.
        title: of the figure.
    """
    points = round(np.sqrt(grids.shape[1]))
    columns = min(len(grids), 4)
    lines = -(-len(grids) // columns)
    figure = Figure(figsize=(3.5 * columns, 3.7 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel in panels:
        panel.axis("off")
    for code, (panel, images) in enumerate(zip(panels, grids, strict=False)):
        _show(panel, _tiled(images.reshape(points, points, *images.shape[1:])))
        panel.set_title(f"code {code}")
    figure.suptitle(title)
    return figure


def _rows(images: np.ndarray, names: Sequence[str], label: str, title: str, split: bool = False) -> Figure:
    rows, n, _, height, width = images.shape
    figure = Figure(figsize=(0.55 * n + 1 + 0.1 * max(map(len, names)), 0.55 * rows + 1), layout="constrained")
    axes = figure.subplots()
    _show(axes, _tiled(images))
    axes.set_yticks((np.arange(rows) + 0.5) * height - 0.5, list(names))
    axes.set(xticks=[], ylabel=label, title=title)
    axes.grid(visible=False)
    for row in range(1, rows):
        axes.axhline(row * height - 0.5, color="white", linewidth=1)
    if split:
        axes.axvline(n // 2 * width - 0.5, color="white", linewidth=3)
    return figure


def _tiled(images: np.ndarray) -> np.ndarray:
    """(rows, columns, channels, height, width) as one image, (rows · height, columns · width, channels)."""
    rows, columns, channels, height, width = images.shape
    return images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)


def _show(axes: object, image: np.ndarray) -> None:
    axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)  # type: ignore[attr-defined]

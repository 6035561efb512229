"""Heat maps: numbers as colours, in a panel per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from .drawing import Scene
from .layout import LINE, fit, panel_title, text_width
from .panels import canvas
from .style import Style

_MOST_NUMBERS = 10
"""Columns of a heat map whose numbers are written into it."""
_SMALLEST = 4.5
"""Points of the labels of columns for which panels are made wider."""


def heat_maps(
    scene: Scene,
    grids: Mapping[str, np.ndarray],
    names: Sequence[str],
    ends: tuple[float, float],
    what: str,
    label: str,
) -> tuple[Figure, dict[str, Axes]]:
    """Draw a heat map per method, with a row per interval.

    Args:
        scene: the scenario, whose style decides the sizes.
        grids: numbers of each method, (intervals, columns).
        names: names of the columns.
        ends: the values of the darkest and of the lightest colour.
        what: what a column is, in a word.
        label: what the numbers are, in words.

    Returns:
        the figure, and its panels by method.
    """
    style, methods = scene.style, list(grids)
    columns = min(4, len(methods))
    while columns > 1 and 0.8 * (style.wide - 0.9) / columns / len(names) < LINE * _SMALLEST / 72:
        columns -= 1
    wide = columns > 1 or 0.8 * (style.width - 0.9) / len(names) < LINE * _SMALLEST / 72
    lines = -(-len(methods) // columns)
    side = (style.wide - 0.9) / columns if wide else style.width - 0.9
    # Below the last line of panels, and below panels that have none below them.
    labelled = labels_height(names, 0.8 * side / len(names), style) * (1 if len(methods) % columns == 0 else 2)
    titles = max(_title_lines(scene, method, 0.9 * side) for method in methods) * LINE * 0.9 * style.font / 72
    height = (0.75 * side + titles) * lines + 0.3 + 2 * style.font / 72 + labelled
    figure, panels = canvas(scene, shape=(lines, columns), wide=wide, height=height, sharex=True, sharey=True)
    by_method = dict(zip(methods, panels.flat, strict=False))
    for method, panel in by_method.items():
        grid = grids[method]
        cell = 0.8 * side / grid.shape[1], 0.7 * side / len(grid)
        colours = heat_map(panel, grid, *ends, cell, style)
        panel.set_aspect("auto")
        panel_title(panel, scene.named(method), 0.9 * side, style)
        label_columns(panel, names, cell[0], style)
        panel.set_yticks(spread_ticks(len(grid), 1.2 * style.font / 72, cell[1]))
    for panel in panels.flat[len(methods) :]:
        panel.remove()
    for i in range(len(methods)):
        if i + columns >= len(methods):
            panels.flat[i].set_xlabel(what)
            panels.flat[i].tick_params(labelbottom=True)
    for line in panels:
        line[0].set_ylabel(fit("after interval", 0.75 * side, style.font))
    label = fit(label, (0.75 * side + titles) * lines, style.font)
    figure.colorbar(colours, ax=list(figure.axes), label=label, extend="max", aspect=14 * lines + 6)
    return figure, by_method


def heat_map(
    axes: Axes, grid: np.ndarray, low: float, high: float, cell: tuple[float, float], style: Style, form: str = ".0f"
) -> AxesImage:
    """Draw values as colours, dark ones low, and write the numbers in where they are few and the cells large enough.

    Args:
        axes: the panel.
        grid: (rows, columns); a NaN stays empty.
        low: the value of the darkest colour.
        high: the value of the lightest colour, which larger values have, too.
        cell: inches that a column is wide and a row high.
        style: decides the largest letters.
        form: the format of the numbers.
    """
    image = axes.imshow(grid, cmap=matplotlib.colormaps["viridis"], vmin=low, vmax=high)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    texts = [format(value, form) for value in grid.flat if not np.isnan(value)]
    widest = max(text_width(text, 10) for text in texts) / 10
    size = min(0.75 * style.font, 0.9 * cell[0] / widest, 0.9 * cell[1] * 72)
    if grid.shape[1] <= _MOST_NUMBERS and size >= 0.45 * style.font:
        for (row, column), value in np.ndenumerate(grid):
            if not np.isnan(value):
                dark = (value - low) / ((high - low) or 1) < 0.6
                axes.text(column, row, format(value, form), ha="center", va="center", fontsize=size,
                          color="white" if dark else "black")  # fmt: skip
    return image


def _title_lines(scene: Scene, method: str, width: float) -> int:
    """Lines of a panel's title: one, or two."""
    return 1 if text_width(scene.named(method), 0.9 * scene.style.font) <= width else 2


def label_columns(axes: Axes, names: Sequence[str], cell: float, style: Style) -> None:
    """Label every column, upright and in smaller letters where the columns are narrow.

    Args:
        axes: the panel.
        names: names of the columns.
        cell: inches of a column.
        style: decides the largest letters.
    """
    size, angle = _column_letters(names, cell, style)
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=angle)


def labels_height(names: Sequence[str], cell: float, style: Style) -> float:
    """Inches that :func:`label_columns` takes below the height of a line."""
    size, angle = _column_letters(names, cell, style)
    return max(text_width(name, size) for name in names) if angle else 0


def _column_letters(names: Sequence[str], cell: float, style: Style) -> tuple[float, int]:
    size = 0.9 * style.font
    if max(text_width(name, size) for name in names) + 0.06 <= cell:
        return size, 0
    return min(size, cell * 72 / LINE), 90


def spread_ticks(n: int, need: float, cell: float) -> list[int]:
    """The indices of cells that get a label: every k-th of n, so that labels don't run into each other.

    Args:
        n: number of cells.
        need: inches that a label takes.
        cell: inches of a cell.
    """
    return list(range(0, n, max(1, int(np.ceil(need / cell)))))

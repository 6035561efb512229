"""Texts that fit, and axes: letters are measured before a figure's size is chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .style import Style

LINE = 1.3
"""Height of a line of text, in sizes of its letters."""
AROUND = 7.0
"""Height of a title of two lines, an axis label, tick labels and gaps, in sizes of letters."""


def log_axis(axes: Axes, which: Literal["x", "y"], span: float) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks.

    Args:
        axes: the panel.
        which: which of its two axes.
        span: the largest value divided by the smallest.
    """
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if 3 < span < 100 else (1,) if span >= 100 else range(1, 10)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axes: Axes, width: float, style: Style) -> None:
    """Put ticks at whole numbers of the horizontal axis, as many as a panel of this width in inches has room for."""
    axes.xaxis.set_major_locator(MaxNLocator(min(9, max(1, int(width * 72 / (2.2 * style.font)))), integer=True))


def limits(values: Iterable[float], log: bool = False) -> tuple[float, float]:
    """The ends of an axis that shows every seed's value. The interval of two seeds may reach far beyond, and is cut."""
    array = np.log10([value for value in values if value > 0]) if log else np.array(list(values))
    low, high = array.min(), array.max()
    margin = 0.12 * (high - low) or (0.1 if log else 0.5 * abs(high) or 1)
    ends = low - margin, high + margin
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


def panel_title(panel: Axes, text: str, width: float, style: Style) -> None:
    """Write a title over a panel of this width in inches; a long one in two lines, or in smaller letters."""
    size = 0.9 * style.font
    text = " ".join(text.split())
    if text_width(text, size) > width:
        text = textwrap.fill(text, max(18, int(width * 72 / (0.6 * size))))
    panel.set_title(text, fontsize=size * min(1, width / text_width(text, size)))


def set_title(figure: Figure, parts: Sequence[str], style: Style) -> None:
    """Write a title in one line if that fits, otherwise in lines for each part, in smaller letters if need be."""
    available = 0.98 * (figure.get_figwidth() - 0.2)
    text, size = parts[0] + "".join(f" ({part})" for part in parts[1:]), style.font
    if text_width(text, size) > available:
        text = "\n".join(fit(part, available, 0.85 * size) for part in parts)
        size *= min(1, available / text_width(text, size))
    figure.suptitle(text, fontsize=size)
    lines = text.count("\n") + 1
    if figure.get_layout_engine() is None:
        _heighten(figure, (LINE * lines + 0.8) * size / 72)
    elif lines > 2:  # of which there is room for two
        figure.set_figheight(figure.get_figheight() + (lines - 2) * LINE * size / 72)


def _heighten(figure: Figure, inches: float) -> None:
    """Make a figure higher at its top; its panels stay where they are."""
    before = figure.get_figheight()
    figure.set_figheight(before + inches)
    for axes in figure.axes:
        x, y, width, height = axes.get_position(original=True).bounds
        share = before / (before + inches)
        axes.set_position((x, y * share, width, height * share))


def fit(text: str, inches: float, size: float) -> str:
    """Fold a text into lines of at most so many inches in letters of this size in points; a longer word is broken."""
    text = folded = " ".join(text.split())
    characters = len(text)
    while text_width(folded, size) > inches and characters > 4:
        characters -= 1
        folded = textwrap.fill(text, characters)
    return folded


def text_width(text: str, size: float) -> float:
    """Inches that the longest line of a text takes in letters of this size in points."""
    font = findfont(FontProperties())
    return max(_width_of_100(line, font) for line in text.split("\n")) * size / 7200


@cache
def _width_of_100(text: str, font: str) -> float:
    """Points that a line of text takes in letters of 100 points of a font, which is the one that is set now."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0])


def clipped(axes: Axes, which: Literal["x", "y"], at: Iterable[float], low: Iterable[float], high: Iterable[float],
            colour: str, size: float) -> bool:  # fmt: skip
    """Mark intervals that go on beyond the ends of an axis by arrow heads at its ends.

    Args:
        axes: the panel, with its limits.
        which: the axis that the intervals lie along.
        at: their places on the other axis.
        low: their lower ends; a NaN has none.
        high: their upper ends.
        colour: the colour of the heads.
        size: points of a head.

    Returns:
        whether there are any.
    """
    first, last = axes.get_xlim() if which == "x" else axes.get_ylim()
    found = False
    for place, start, end in zip(at, low, high, strict=True):
        beyond = [(first, "<" if which == "x" else "v")] if start < first else []
        beyond += [(last, ">" if which == "x" else "^")] if end > last else []
        for edge, marker in beyond:
            point = ([edge], [place]) if which == "x" else ([place], [edge])
            axes.plot(*point, marker, color=colour, markersize=size, markeredgewidth=0, clip_on=False, zorder=4)
            found = True
    return found

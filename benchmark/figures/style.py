"""How a method looks, the same in every figure of every store; and the styles that figures are drawn in. No torch."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import matplotlib.style

from ..catalogue import base_name
from ..errors import unknown

_BLUE, _ORANGE, _GREEN, _GREY = "#0173b2", "#de8f05", "#029e73", "#949494"  # the paper's four methods
_WINE, _PINK, _BLACK, _BROWN, _SKY, _INDIGO = "#882255", "#f0a3c4", "#000000", "#6b3d00", "#56b4e9", "#332288"
_SOLID, _DASHED, _DOTTED, _DASH_DOT = "-", (0, (5, 1.6)), (0, (1, 1.3)), (0, (6, 1.4, 1, 1.4))
_OTHER_COLOURS = (_WINE, _PINK, _BROWN, _SKY, _INDIGO)
_OTHER_MARKERS = ("<", ">", "d", "p")
"""Of methods that don't come with lifegen: none of one that does."""
_HOLLOW_MARKERS = ("o", "s", "^", "v", "<", ">", "D", "P", "X", "*")
"""Of variants."""
_OTHER_DASHES = (_SOLID, _DASHED, _DOTTED, _DASH_DOT)
_SALT = 6222
"""The least that gives no two variants of a method in a suite that comes with lifegen the same marker."""


@dataclass(frozen=True)
class Look:
    """A method's colour, marker and dash."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[float, ...]] = _SOLID
    hollow: bool = False

    @property
    def line(self) -> dict[str, Any]:
        """As matplotlib's arguments of a line without markers."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def point(self) -> dict[str, Any]:
        """As matplotlib's arguments of a marker."""
        face = "white" if self.hollow else self.colour
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour}


_LOOKS = {
    # A colour for each kind of memory; a marker of his own for each method; a dash for each of one colour.
    "lifelong-vae": Look(_BLUE, "o"),
    "lgm-iclr": Look(_BLUE, "P", _DASHED),
    "lgm-2019": Look(_BLUE, "X", _DASH_DOT),
    "generative-replay": Look(_ORANGE, "s", _DASHED),
    "avalanche-generative-replay": Look(_ORANGE, "D", _DOTTED),
    "batch": Look(_GREEN, "^", _DASH_DOT),
    "naive": Look(_GREY, "v", _DOTTED),
    "growing-mixture": Look(_WINE, "D"),
    "growing-mixture-student": Look(_WINE, "o", _DASHED),
    "growing-cvae": Look(_PINK, "s"),
    "growing-cvae-labels": Look(_PINK, "P", _DASHED),
    "experts": Look(_BLACK, "*", _DASHED),
    "exact-replay": Look(_SKY, "X"),
    "avalanche-replay": Look(_SKY, "o", _DASHED),
    "ewc": Look(_BROWN, "v"),
    "avalanche-ewc": Look(_BROWN, "P", _DASHED),
    "synaptic-intelligence": Look(_BROWN, "s", _DOTTED),
    "avalanche-gem": Look(_INDIGO, "s", _DASH_DOT),
    "avalanche-agem": Look(_INDIGO, "X", _DASHED),
}


def look(label: str) -> Look:
    """How a method looks, by its label alone, whatever else a figure shows.

    One that comes with lifegen has a place in a fixed table; any other has a look by a hash of its name. A variant,
    ``name:option=value`` or with its precision behind it, keeps its method's colour and has a hollow marker, which
    follows with its dash from a hash of the label.
    """
    if label in _LOOKS:
        return _LOOKS[label]
    name = base_name(label)
    own, whole = (hashlib.sha256(f"{_SALT} {text}".encode()).digest() for text in (name, label))
    colour = _LOOKS[name].colour if name in _LOOKS else _OTHER_COLOURS[own[0] % len(_OTHER_COLOURS)]
    is_variant = label != name
    markers = _HOLLOW_MARKERS if is_variant else _OTHER_MARKERS
    marker, dash = markers[whole[1] % len(markers)], _OTHER_DASHES[whole[2] % len(_OTHER_DASHES)]
    return Look(colour, marker, dash, hollow=is_variant)


@dataclass(frozen=True)
class Style:
    """Sizes of figures for one purpose."""

    name: str
    font: float
    """Points."""
    width: float
    """Of a figure of one panel, inches; where a legend stands beside it, without that."""
    wide: float
    """Of a figure of several panels, inches."""
    height: float
    """Of a panel, inches."""
    line: float
    """Points."""
    marker: float
    """Points."""
    dpi: int
    beside: bool
    """Whether the legend of a single panel stands beside it, else below."""
    titled: bool
    """Whether a figure says what it shows; else only of how many seeds: the caption says the rest."""
    settings: dict[str, Any] = field(default_factory=dict)

    def context(self) -> AbstractContextManager[None]:
        """Matplotlib's settings of this style, whatever the user's own are, until the context is left."""
        small = 0.9 * self.font
        settings = {
            "font.size": self.font,
            "axes.titlesize": self.font,
            "axes.labelsize": self.font,
            "xtick.labelsize": small,
            "ytick.labelsize": small,
            "legend.fontsize": small,
            "figure.titlesize": self.font,
            "lines.linewidth": self.line,
            "lines.markersize": self.marker,
            "axes.linewidth": 0.5 * self.line,
            "axes.edgecolor": "0.35",
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": "0.88",
            "grid.linewidth": 0.4 * self.line,
            "xtick.major.width": 0.5 * self.line,
            "ytick.major.width": 0.5 * self.line,
            "xtick.major.size": 0.3 * self.font,
            "ytick.major.size": 0.3 * self.font,
            "legend.frameon": False,
            "legend.handlelength": 2.3,
            "legend.handletextpad": 0.5,
            "legend.labelspacing": 0.35,
            "legend.columnspacing": 0.9,
            "figure.constrained_layout.w_pad": 0.006 * self.font,
            "figure.constrained_layout.h_pad": 0.006 * self.font,
            "image.interpolation": "nearest",
            "pdf.fonttype": 42,  # letters stay letters: a printer's condition
            "svg.fonttype": "none",  # likewise
            "svg.hashsalt": "lifegen",  # equal data, equal file
        }
        return matplotlib.style.context(["default", settings])


STYLES = {
    style.name: style
    for style in (
        Style("screen", 11, 6.6, 11, 4.2, 1.6, 5, 120, beside=True, titled=True),
        Style("slides", 16, 7.8, 13.3, 5.4, 2.8, 8, 120, beside=True, titled=True),
        Style("paper", 7.5, 3.3, 6.9, 2.1, 1.0, 3, 300, beside=False, titled=False),
    )
}
"""``screen`` to look at, ``slides`` to be read from afar, ``paper`` for a column or the width of a two-column page."""


def style_of(name: str) -> Style:
    """A style by name.

    Raises:
        InputError: there is none.
    """
    if name not in STYLES:
        raise unknown("style", name, STYLES)
    return STYLES[name]

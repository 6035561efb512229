"""The look of each method, the same in every figure of every store; and the styles that figures are drawn in."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.font_manager import FontProperties, findfont, get_font

from ...discovery.index import base_name, describe
from ...errors import InputError, unknown

_LINE_STYLES = {"solid": "-", "dashed": (0, (5, 1.6)), "dotted": (0, (1, 1.3)), "dash-dot": (0, (6, 1.4, 1, 1.4))}
"""Matplotlib's argument for each of ``looks.DASHES``."""
_OTHER_COLOURS = ("#882255", "#f0a3c4", "#6b3d00", "#56b4e9", "#332288")
_OTHER_MARKERS = ("<", ">", "d", "p")
"""Markers of methods that state no look; none of lifegen's own methods uses them."""
_HOLLOW_MARKERS = ("o", "s", "^", "v", "<", ">", "D", "P", "X", "*")
"""Markers of variants."""
_SALT = 1_379_400
"""Chosen so that few variants of a method in lifegen's suites get the same marker."""
_OF_REFERENCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "upper": (("^", ">", "*"), ("dash-dot", "solid")),
    "lower": (("v", "<", "h"), ("dotted", "dashed")),
}
"""Markers and dashes of references that state no look, and of their variants: two ends of a scale share none."""
_WIDTHS, _FONTS = (1.5, 40.0), (4.0, 48.0)
"""Inches and points that one may ask for."""
_LEAST_HEIGHT = 20.0
"""Height of a panel at least, in sizes of letters: beside it stands the name of its axis."""


@dataclass(frozen=True)
class DrawnLook:
    """A colour, marker and dash as matplotlib takes them."""

    colour: str
    marker: str
    dash: str = "solid"
    hollow: bool = False

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of a line without markers."""
        return {"color": self.colour, "linestyle": _LINE_STYLES[self.dash]}

    @property
    def point(self) -> dict[str, Any]:
        """Arguments of a marker."""
        face = "white" if self.hollow else self.colour
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour}


def look(label: str, reference: str | None = None) -> DrawnLook:
    """The look of a method. It depends on the label alone, not on the rest of a figure.

    An installed method may state its look; otherwise a hash of its name gives one. A variant, ``name:option=value`` or
    a label that ends with a precision, keeps its method's colour; a hash of the label gives its hollow marker and dash.

    Args:
        label: the method's label.
        reference: "upper" or "lower", if its record says that it is a reference; an installed method says so itself.
    """
    name = base_name(label)
    method = describe("method").get(name)
    stated = method.facts.get("look") if method else None
    reference = reference or (method.facts.get("reference") if method else None)
    if stated and label == name:
        return DrawnLook(**stated)
    of_name, of_label = (hashlib.sha256(f"{_SALT} {text}".encode()).digest() for text in (name, label))
    colour = stated["colour"] if stated else _OTHER_COLOURS[of_name[0] % len(_OTHER_COLOURS)]
    is_variant = label != name
    others = _HOLLOW_MARKERS if is_variant else _OTHER_MARKERS, tuple(_LINE_STYLES)
    markers, dashes = _OF_REFERENCES[reference] if reference else others
    marker, dash = markers[of_label[1] % len(markers)], dashes[of_label[2] % len(dashes)]
    return DrawnLook(colour, marker, dash, hollow=is_variant)


def looks(labels: Iterable[str], references: Mapping[str, str]) -> dict[str, DrawnLook]:
    """The looks of the methods of one figure: those of :func:`look`, except that of two variants of a method with equal
    markers the one whose label comes later gets the next free one, as long as there are any.

    Args:
        labels: the methods' labels.
        references: "upper" or "lower" of references, by label.
    """
    found = {label: look(label, references.get(label)) for label in sorted(labels)}
    taken: dict[str, set[str]] = {}
    equal = []
    for label, own in found.items():
        markers = taken.setdefault(base_name(label), set())
        if own.hollow and own.marker in markers:
            equal.append(label)
        markers.add(own.marker)
    for label in equal:
        own, markers = found[label], taken[base_name(label)]
        if free := [marker for marker in _HOLLOW_MARKERS if marker not in markers]:
            after = _HOLLOW_MARKERS[_HOLLOW_MARKERS.index(own.marker) :] if own.marker in _HOLLOW_MARKERS else ()
            found[label] = replace(own, marker=next((marker for marker in after if marker in free), free[0]))
            markers.add(found[label].marker)
    return found


@dataclass(frozen=True)
class Style:
    """Sizes of figures for one purpose."""

    name: str
    font: float
    """Points."""
    width: float
    """Inches of a figure of one panel, without the legend that may stand beside it."""
    wide: float
    """Inches of a figure of several panels."""
    height: float
    """Inches of a panel."""
    line: float
    """Points."""
    marker: float
    """Points."""
    dpi: int
    beside: bool
    """Whether the legend of a single panel stands beside it; otherwise it stands below."""
    titled: bool
    """Whether the title says what the figure shows; otherwise it says the number of seeds, and a caption the rest."""
    headed: bool = True
    """Whether there is a title at all."""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """A user's own settings of matplotlib, which win over those below."""

    @contextmanager
    def context(self) -> Iterator[None]:
        """A context with matplotlib's settings of this style, whatever the user's own are."""
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
            "pdf.fonttype": 42,  # letters stay letters, as printers demand
            "svg.fonttype": "none",  # letters stay letters, and can be searched
            "svg.hashsalt": "lifegen",  # equal data give an equal file
        }
        # Letters are measured before they are drawn, so not by TeX; and "tight" would change the width.
        own = {**self.settings, "text.usetex": False, "text.parse_math": False, "savefig.bbox": None}
        if "font.family" in own:  # another font may lack the marks of references
            own["font.family"] = [*own["font.family"], "DejaVu Sans"]
        with warnings.catch_warnings(), matplotlib.style.context(["default", settings, own]):
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # at each letter; `lacking` says it once
            yield

    def lacking(self, texts: Iterable[str]) -> list[str]:
        """The characters of texts that the style's fonts don't have, so that figures show boxes."""
        with self.context():
            families = matplotlib.rcParams["font.family"]
            fonts = [get_font(findfont(FontProperties(family=[family]))) for family in families]
        characters = sorted({character for text in texts for character in text if not character.isspace()})
        return [one for one in characters if not any(font.get_char_index(ord(one)) for font in fonts)]


STYLES = {
    style.name: style
    for style in (
        Style("screen", 11, 6.6, 11, 4.2, 1.6, 5, 120, beside=True, titled=True),
        Style("slides", 16, 7.8, 13.3, 5.4, 2.8, 8, 120, beside=True, titled=True),
        Style("paper", 7.5, 3.3, 6.9, 2.1, 1.0, 3, 300, beside=False, titled=False),
        Style("neurips", 8, 5.5, 5.5, 2.3, 1.0, 3, 300, beside=False, titled=False),
        Style("icml", 7.5, 3.25, 6.75, 2.1, 1.0, 3, 300, beside=False, titled=False),
    )
}
"""``screen`` to look at, ``slides`` to be read from afar, ``paper`` for a column or the width of a two-column page,
``neurips`` for the one column of NeurIPS and ICLR, ``icml`` for a column or the page of ICML."""


def style_of(name: str, width: float | None = None, font: float | None = None, title: bool = True) -> Style:
    """A style by name, or from matplotlib's style file.

    Args:
        name: one of :data:`STYLES`, or the path of a file that ends in .mplstyle: sizes that it lacks are the screen's.
        width: inches of every figure, in place of the style's.
        font: points of letters, in place of the style's.
        title: whether figures have a title.

    Raises:
        InputError: there is no such style, the file can't be read, or a size can't be drawn.
    """
    if name.endswith(".mplstyle"):
        style = _of_file(name)
    elif name in STYLES:
        style = STYLES[name]
    else:
        raise unknown("style", name, [*STYLES, "FILE.mplstyle"])
    for what, size, (least, most), unit in (("width", width, _WIDTHS, "inches"), ("font", font, _FONTS, "points")):
        if size is not None and not least <= size <= most:
            raise InputError(f"--{what} {size:g}: a figure's {what} is between {least:g} and {most:g} {unit}")
    font, height = font or style.font, style.height
    if width is not None:
        height *= min(1, width / style.width)
        style = replace(style, width=width, wide=width, beside=False)
    return replace(style, font=font, height=max(height, _LEAST_HEIGHT * font / 72), headed=title)


def _of_file(name: str) -> Style:
    if not (file := Path(name).expanduser()).is_file():  # matplotlib would fetch an address
        raise InputError(f"style {name} isn't a file; styles by name are {', '.join(STYLES)}")
    try:
        settings = matplotlib.rc_params_from_file(file, fail_on_error=True, use_default_template=False)
    except (OSError, ValueError) as error:
        raise InputError(f"style {name} can't be read: {error}") from None
    given: dict[Any, Any] = {
        key: settings[key] for key in settings if not key.startswith(("backend", "interactive", "toolbar"))
    }
    screen = STYLES["screen"]
    width, height = given.pop("figure.figsize", (None, screen.height))
    dpi = given.pop("figure.dpi", screen.dpi), given.pop("savefig.dpi", "figure")
    style = replace(
        screen,
        name=file.stem,
        font=given.pop("font.size", screen.font),
        height=height,
        line=given.pop("lines.linewidth", screen.line),
        marker=given.pop("lines.markersize", screen.marker),
        dpi=int(dpi[0] if dpi[1] == "figure" else dpi[1]),
        settings=given,
    )
    return replace(style, width=width, wide=width, beside=False) if width else style

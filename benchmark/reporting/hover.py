"""Curves of a page that say their method and value under the pointer: what a drawing's curves are, for its SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..discovery.index import shown
from .figures.drawing import Drawing

_MOST = 100
"""Points of a curve that say their value; of a longer curve, as many, evenly spread."""
_POINTS_PER_INCH = 72
_SVG = "{http://www.w3.org/2000/svg}"


class Curve(NamedTuple):
    """A method's curve in a drawing."""

    method: str
    line: Line2D
    axes: Axes


def named_curves(drawing: Drawing) -> dict[str, Curve]:
    """Give an id to each curve of a drawing that is labelled with a method.

    Args:
        drawing: the figure; its curves are changed.

    Returns:
        the curves, by their ids in the SVG.
    """
    methods = set(map(str, drawing.data["method"])) if "method" in drawing.data else set()
    curves: dict[str, Curve] = {}
    for axes in drawing.figure.axes:
        for line in axes.lines:
            if line.get_label() in methods:
                curves[f"curve-{len(curves)}"] = Curve(str(line.get_label()), line, axes)
                line.set_gid(f"curve-{len(curves) - 1}")
    return curves


def describe_curves(root: ElementTree.Element, drawing: Drawing, curves: Mapping[str, Curve]) -> None:
    """Write each curve's method and points into its element, which is how ``report.js`` finds them. Without JavaScript
    the method shows alone.

    Args:
        root: the drawing's SVG, which is changed.
        drawing: the drawing, which must have been saved: that lays it out.
        curves: its curves, by id.
    """
    height = float(root.attrib["viewBox"].split()[3])
    halves = _halves(drawing)
    for element in root.iter(f"{_SVG}g"):
        if curve := curves.get(element.get("id", "")):
            title = ElementTree.Element(f"{_SVG}title")
            title.text = shown(curve.method)
            element.insert(0, title)
            element.set("data-points", ";".join(_points(curve, drawing, height, halves)))


def _halves(drawing: Drawing) -> dict[tuple[str, float], float]:
    """Half of the interval of each mean drawn, by method and mean; none of a mean that has several."""
    if not {"mean", "low", "high"} <= set(drawing.data):
        return {}
    table = drawing.data.assign(half=(drawing.data["high"] - drawing.data["low"]) / 2).dropna(subset="mean")
    found = table.groupby([table["method"].map(str), "mean"])["half"].agg(
        ["first", lambda halves: halves.nunique(False)]
    )
    unique = found[found.iloc[:, 1] == 1].iloc[:, 0].dropna()
    return {(str(method), float(mean)): float(half) for (method, mean), half in unique.items()}


def _points(curve: Curve, drawing: Drawing, height: float, halves: Mapping[tuple[str, float], float]) -> Iterator[str]:
    """Each point as x, y in the SVG, and its text."""
    values = np.asarray(curve.line.get_xydata(), dtype=float)
    values = values[np.isfinite(values).all(axis=1)]
    values = values[:: max(1, -(-len(values) // _MOST))]
    places = curve.line.get_transform().transform(values) * _POINTS_PER_INCH / drawing.figure.dpi
    data = drawing.data[drawing.data["method"].map(str) == curve.method]
    is_level = "interval" in data and data["interval"].nunique() == 1  # one interval, drawn across all
    for (x, y), (at, value) in zip(places, values, strict=True):
        half = halves.get((curve.method, value), 0.0)
        text = f"{value:.4g}" + (f" ± {half:.2g}" if half > 0 else "")
        where = "" if is_level else f", {curve.axes.get_xlabel()} {at:.4g}"
        yield f"{x:.1f} {height - y:.1f} {text}{where.replace(';', ',')}"

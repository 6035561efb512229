"""Figures as parts of a page: SVG without names that could clash, or PNG, and their data as a link."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, replace
from urllib.parse import quote
from xml.etree import ElementTree

from markupsafe import Markup
from PIL import Image

from .figures.drawing import Drawing
from .hover import describe_curves, named_curves

_SVG_LIMIT, _CSV_LIMIT = 300_000, 150_000
"""Bytes. A larger drawing becomes a PNG, and a larger table isn't put into the page."""
_GREYS, _COLOURS = 16, 64
"""Colours of a PNG: with so few it takes a quarter of the bytes, and the difference is hard to see."""
_GRID_DPI = 72
"""Dots per inch of images side by side: enough for more than one pixel of the screen per pixel of an image."""
_FAMILIES = re.compile(r"'DejaVu Sans'.*?sans-serif")
_DIGITS = re.compile(r"(\.\d\d)\d+")


@dataclass(frozen=True)
class PageFigure:
    """A figure in a page."""

    number: int
    """Unique in the page."""
    kind: str
    name: str
    caption: str
    """Its title without the scenario, which the page says once."""
    content: Markup
    """One element, ``svg`` or ``img``."""
    data: str | None
    """A link that holds the CSV; None if that is too large."""

    @property
    def anchor(self) -> str:
        return f"figure-{self.number}"


def page_figure(drawing: Drawing, number: int, as_image: bool) -> PageFigure:
    """Make a drawing a part of a page. The drawing loses its title, which the page shows as a caption.

    Args:
        drawing: the figure; it is changed.
        number: its number in the page.
        as_image: whether to make it a PNG in any case.
    """
    drawing.figure.suptitle("")
    if as_image:
        content = _png(replace(drawing, style=replace(drawing.style, dpi=_GRID_DPI)))
    elif len(content := _svg(drawing, f"f{number}-")) > _SVG_LIMIT:
        content = _png(drawing)
    csv = drawing.data.to_csv(index=False, float_format="%.9g")
    link = f"data:text/csv;charset=utf-8,{quote(csv, safe=',:;()=')}" if len(csv) <= _CSV_LIMIT else None
    caption = drawing.title.removeprefix(f"{drawing.heading}: ")
    return PageFigure(number, drawing.kind, drawing.name, caption, Markup(content), link)


def _svg(drawing: Drawing, prefix: str) -> str:
    """A drawing as SVG, without the parts that an HTML page doesn't need. Ids get a prefix; unused ids are left out."""
    buffer = io.BytesIO()
    curves = named_curves(drawing)
    drawing.save(buffer, "svg")
    root = ElementTree.fromstring(buffer.getvalue())
    describe_curves(root, drawing, curves)
    used_ids = set(re.findall(rb"#([^\"')]+)", buffer.getvalue()))
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2]  # HTML's parser knows the namespaces
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # the page has the style, and metadata name web addresses
                parent.remove(child)
            elif not (child.tail or "").strip():
                child.tail = None
        if not (parent.text or "").strip():
            parent.text = None
        parent.attrib = {
            name.partition("}")[2] or name: _shorter(name, _renamed(name, value, prefix))
            for name, value in parent.attrib.items()
            if name != "id" or value.encode() in used_ids
        }
    width = drawing.figure.get_figwidth() * 96
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{width:.0f}",
        "style": f"--width: {width:.0f}px",
        "role": "img",
        "aria-label": drawing.title,
    }
    return ElementTree.tostring(root, "unicode")


def _renamed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name.endswith("href"):
        return value.replace("#", f"#{prefix}", 1) if value.startswith("#") else value
    return value.replace("url(#", f"url(#{prefix}")


def _shorter(name: str, value: str) -> str:
    """An attribute with coordinates to a hundredth of a point, and with two fonts of one width in place of ten."""
    if name == "style":
        return _FAMILIES.sub("'DejaVu Sans',Verdana,sans-serif", value)
    if name in ("d", "x", "y", "points") or (name == "transform" and "scale" not in value):
        return _DIGITS.sub(r"\1", " ".join(value.split()))
    return value


def _png(drawing: Drawing) -> str:
    buffer, smaller = io.BytesIO(), io.BytesIO()
    drawing.save(buffer, "png")
    image = Image.open(buffer).convert("RGB")
    is_grey = image.convert("L").convert("RGB") == image
    image.quantize(_GREYS if is_grey else _COLOURS, dither=Image.Dither.NONE).save(smaller, "png", optimize=True)
    width, height = (round(96 * inches) for inches in drawing.figure.get_size_inches())
    source = base64.b64encode(smaller.getvalue()).decode()
    return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" style="--width: {}px" alt="{}">').format(
        source, width, height, width, drawing.title
    )

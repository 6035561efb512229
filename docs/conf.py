"""Sphinx: Markdown pages and the docstrings' reference, as a site that needs no network."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from pydantic import BaseModel

import lifegen.benchmark.store.record  # noqa: F401  (autodoc sets TYPE_CHECKING, and pydantic then refuses its models)

project = "lifegen"
author = "the lifegen contributors"
version = release = version_of("lifegen")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
html_theme = "furo"
html_title = f"lifegen {version}"
html_show_sourcelink = html_copy_source = html_show_copyright = False
html_theme_options = {"light_css_variables": {"font-stack": "system-ui, sans-serif"}}
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
autoclass_content = "both"  # what a class is, and what it is made with
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config"}
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_math_renderer = "mathml"


def _inline(writer: Any, node: nodes.math) -> None:
    _formula(writer, node, as_block=False)


def _block(writer: Any, node: nodes.math_block) -> None:
    _formula(writer, node, as_block=True)


def _formula(writer: Any, node: nodes.Element, as_block: bool) -> None:
    """A formula as MathML, which browsers set by themselves: nothing is fetched, and no LaTeX is needed."""
    writer.body.append(tex2mathml(node.astext(), as_block=as_block))
    raise nodes.SkipNode


def _told(_app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings, before napoleon reads them."""
    # It takes what stands before the first colon of an attribute's for a type. Here it's a sentence, and an empty type
    # before it says so.
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"
    # What pydantic says of the making of each of its models.
    for i in [i for i, line in enumerate(lines) if line.startswith("Create a new model by parsing")]:
        del lines[i:]


def _signature(_app: Any, _what: str, _name: str, obj: Any, *_: Any) -> tuple[str, None] | None:
    """Options say their types and defaults below."""
    return ("", None) if isinstance(obj, type) and issubclass(obj, BaseModel) else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _told, priority=400)  # napoleon's is 500
    app.connect("autodoc-process-signature", _signature)
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))

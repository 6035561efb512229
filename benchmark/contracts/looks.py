"""The look of a method in figures, stated where the method is registered.

lifegen's own methods give each kind of memory a colour, each method a marker of its own, and each method of one colour
a dash of its own, so that figures can be read in grey and by people who see few colours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict, get_args

from ..errors import InputError, brief, unknown

Dash = Literal["solid", "dashed", "dotted", "dash-dot"]
DASHES: tuple[Dash, ...] = get_args(Dash)
MARKERS = tuple("os^v<>dDpPhHX*8")
"""Matplotlib's markers with an inside: a variant of a method has its marker hollow."""
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_EXAMPLE = '{"colour": "#0173b2", "marker": "o", "dash": "dashed"}'


class Look(TypedDict):
    """The look of a method in figures."""

    colour: str
    """The colour as #rrggbb, such as "#0173b2"."""
    marker: str
    """One of :data:`MARKERS`."""
    dash: NotRequired[Dash]
    """The dash of its curves; solid by default."""


def checked_look(method: str, look: Look) -> dict[str, str]:
    """Return a look with its dash, if figures can draw it.

    Args:
        method: the method's name, for the message.
        look: the look given at registration.

    Raises:
        InputError: a key is missing or superfluous, or a value can't be drawn.
    """
    if not (isinstance(look, Mapping) and {"colour", "marker"} <= look.keys() <= {"colour", "marker", "dash"}):
        raise InputError(f"method {method!r}: a look has a colour, a marker and, if wanted, a dash, such as {_EXAMPLE};"
                         f" not {brief(look)}")  # fmt: skip
    colour, marker, dash = look["colour"], look["marker"], look.get("dash", "solid")
    if not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
        raise InputError(f"method {method!r}: the colour of its look is of the form #rrggbb; not {brief(colour)}")
    if marker not in MARKERS:
        raise unknown(f"marker in the look of method {method!r}:", str(marker), MARKERS)
    if dash not in DASHES:
        raise unknown(f"dash in the look of method {method!r}:", str(dash), DASHES)
    return {"colour": colour, "marker": marker, "dash": dash}

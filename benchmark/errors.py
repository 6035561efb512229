"""The one error that means: what came from outside cannot be used."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input from outside that cannot be used. Its text is one line, written for the person who gave the input."""


def unknown(kind: str, asked: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist: what was asked, what exists and what was probably meant."""
    names = sorted(known)
    near = get_close_matches(asked, names, n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {asked!r}; there are: {', '.join(names) or 'none'}.{meant}")

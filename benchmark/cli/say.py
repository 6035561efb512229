"""Printing. Texts of other people's stores and plug-ins come past here, so nothing in them acts on the terminal."""

from __future__ import annotations

import click

from ..errors import visible


def say(text: object, error: bool = False, end: bool = True) -> None:
    """Print a text, with escapes for the characters that a terminal would obey.

    Args:
        text: the text.
        error: whether it goes to standard error.
        end: whether to end the line.
    """
    click.echo(visible(text), err=error, nl=end)

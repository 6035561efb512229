"""The error for input that can't be used, and the rule for names from outside."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

_MOST_NAMES = 20
"""Most names that a message lists."""
_LISTED = {"name": "", "method": " methods", "scenario": " scenarios", "suite": " suites", "metric": " metrics"}
"""Kinds of names that ``lifegen list`` shows, and what it is then given."""
_LONGEST_NAME = 200
"""Most bytes of a name: a file name may have 255, and endings and marks are added to it."""

_LONGEST_LINE = 4000


class InputError(ValueError):
    """Input from outside that cannot be used. Its text is one line, written for the person who gave the input.

    Unprintable characters, such as a line break in a file's name, become escapes; a very long line is cut.
    """

    def __init__(self, text: object) -> None:
        super().__init__(one_line(text))


class UnreadableError(InputError):
    """Input that can't be read now, though it may be whole."""


def one_line(text: object) -> str:
    """Turn a text into one printable line."""
    line = "".join(map(_printable, str(text)))
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"


def visible(text: object) -> str:
    """Turn the characters of a text that a terminal would obey into escapes; lines and tabs stay."""
    return "".join(_escaped(one) if _acts(one) else one for one in str(text))


def _acts(character: str) -> bool:
    """Whether it controls a terminal, or the direction of the text that follows."""
    directs = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return directs or (unicodedata.category(character) == "Cc" and character not in "\n\t")


def unknown(kind: str, asked: str, known: Iterable[str]) -> InputError:
    """Make the error for a name that does not exist: it has the name, the probable ones and those that exist.

    Of many names those are shown that are most like it, or the command that lists them all.
    """
    names = sorted(known)
    spelt = {name.lower(): name for name in names}
    is_long = len(names) > _MOST_NAMES
    near = get_close_matches(asked[:_LONGEST_NAME].lower(), spelt, n=3 if is_long else 1, cutoff=0.5)
    start = f"unknown {kind} {brief(asked)}"
    start += f". Did you mean {' or '.join(repr(spelt[name]) for name in near)}?" if near else ";"
    if is_long and kind in _LISTED:
        return InputError(f"{start} `lifegen list{_LISTED[kind]}` shows them all.")
    start += " There are" if near else " there are"
    shown, more = names, ""
    if is_long:
        shown = get_close_matches(asked[:_LONGEST_NAME], names, n=_MOST_NAMES, cutoff=0)
        more = f", and {len(names) - len(shown)} more"
    return InputError(f"{start}: {', '.join(shown) or 'none'}{more}.")


def brief(value: object) -> str:
    """Write a value for a message, without the middle of a long one."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # lists in lists without end; integers with thousands of digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 120 else f"{text[:80]} … {text[-20:]}"


def counted(number: int, noun: str, verb: str = "") -> str:
    """Write a number of things, such as ``1 cell`` and ``2 cells``; with the verb "is", ``1 cell is`` and ``2 cells
    are``."""
    verbs = verb if number == 1 else {"is": "are", "has": "have"}.get(verb, verb)
    return f"{number:,} {noun}{'' if number == 1 else 's'}{f' {verbs}' if verb else ''}"


def not_a_name(name: object) -> str | None:
    """Say why something can't be a name in tables and of files, such as a distribution's; None if it can."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not a string"
    if not name.strip():
        return "is empty"
    if not name.isprintable():
        return "has characters that can't be printed"
    if "/" in name or "\\" in name or name.startswith("."):
        return "has a path separator, or begins with a dot"
    if name != name.strip():
        return "begins or ends with a space"
    if (n := len(name.encode())) > _LONGEST_NAME:
        return f"has {n} bytes; at most {_LONGEST_NAME}"
    return None


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _escaped(character)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()

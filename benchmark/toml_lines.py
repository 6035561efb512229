"""Where things stand in a TOML text: neither tomllib nor tomlkit says it of text that is valid. No torch."""

from __future__ import annotations

import re
import tomllib

Place = tuple[str | int, ...]
"""Keys, and indices of arrays."""
_DEEPEST = 8

_TOKEN = re.compile(
    r"""
      \"{3} (?:\\.|[^\\])*? \"{3} \"{0,2}      # strings of several lines may end in quotes of their own
    | '{3} .*? '{3} '{0,2}
    | " (?:\\.|[^"\\])* "
    | ' [^']* '
    | \#[^\n]*
    | [\n\[\]{},=.]
    | [^\s\[\]{},=."'\#]+
    """,
    re.VERBOSE | re.DOTALL,
)


def toml_lines(text: str) -> dict[Place, int]:
    """The line, from 1, of each key, table and element of an array, by its path such as ``("methods", 3)``;
    down to eight keys in one.

    Args:
        text: what ``tomllib`` reads; of anything else the answer has no meaning.
    """
    return _Reader(text).document()


class _Reader:
    """Goes through the tokens of a valid text, which it needn't check again."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._tokens: list[tuple[str, int]] = []
        self._next = 0
        line, end = 1, 0
        for match in _TOKEN.finditer(text):
            line, end = line + text.count("\n", end, match.start()), match.start()
            if not match[0].startswith("#"):
                self._tokens.append((match[0], line))

    def document(self) -> dict[Place, int]:
        table: Place = ()
        last: dict[Place, int] = {}  # the newest element of each array of tables
        while self._next < len(self._tokens):
            if self._peek() == "\n":
                self._take()
            elif self._peek() == "[":
                self._take()
                if is_element := self._peek() == "[":
                    self._take()
                table, line, keys = (), self._line(), self._key()
                for i, key in enumerate(keys):
                    table += (key,)
                    self._lines.setdefault(table, line)
                    if is_element and i == len(keys) - 1:
                        last[table] = last.get(table, -1) + 1
                        self._lines[*table, last[table]] = line
                    if table in last:
                        table += (last[table],)
                self._next += 2 if is_element else 1
            else:
                self._pair(table)
        return self._lines

    def _pair(self, table: Place) -> None:
        path, line = table, self._line()
        for key in self._key():
            path += (key,)
            self._lines.setdefault(path, line)
        self._take()  # =
        self._value(path)

    def _key(self) -> list[str]:
        keys = [self._name()]
        while self._peek() == ".":
            self._take()
            keys.append(self._name())
        return keys[:_DEEPEST]

    def _name(self) -> str:
        token = self._take()
        return str(tomllib.loads(f"key = {token}")["key"]) if token[0] in "\"'" else token

    def _value(self, path: Place) -> None:
        if self._peek() == "[":
            self._take()
            count = 0
            while (token := self._peek()) != "]":
                if token in ("\n", ","):
                    self._take()
                    continue
                self._lines[(*path, count)] = self._line()
                self._value((*path, count))
                count += 1
            self._take()
        elif self._peek() == "{":
            self._take()
            while (token := self._peek()) != "}":
                if token in ("\n", ","):
                    self._take()
                else:
                    self._pair(path)
            self._take()
        else:  # numbers and dates may be of several tokens
            while self._peek() not in ("\n", ",", "]", "}", ""):
                self._take()

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _line(self) -> int:
        return self._tokens[self._next][1]

    def _take(self) -> str:
        token = self._tokens[self._next][0]
        self._next += 1
        return token

"""Fuzz the reader of suites: ``python -m tests.fuzz.fuzz_suite --seconds 600 [--seed N]``."""

from __future__ import annotations

import json
import random
import tempfile
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.suite import cells_of
from lifegen.benchmark.toml_lines import toml_lines

from .mutation import changed, damaged, fuzz

EXAMPLES = [
    file.read_bytes() for file in (files("lifegen.benchmark") / "suites").iterdir() if file.name.endswith(".toml")
]


def mutate(rng: random.Random) -> dict[str, bytes]:
    content = rng.choice(EXAMPLES)
    if rng.random() < 0.5:
        tree = changed(rng, tomllib.loads(content.decode()))
        content = "".join(f"{toml_text(key)} = {toml(value)}\n" for key, value in tree.items()).encode()
    if rng.random() < 0.6:
        content = damaged(rng, content, EXAMPLES)
    return {"suite.toml": content}


def read(inputs: Mapping[str, bytes]) -> None:
    """Read a suite and plan its cells. Whatever is refused is refused with its line, and what isn't can be stored."""
    content = inputs["suite.toml"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "suite.toml")
        file.write_bytes(content)
        try:
            cells = [*cells_of(str(file)), *cells_of(str(file), smoke=True)]
        except InputError as refused:
            text = str(refused).removeprefix(f"suite {file}")
            assert text.startswith((", line ", ": key ", " can't be read: a number", " has more than")), text
            if text.startswith(", line "):
                number = int(text.removeprefix(", line ").partition(",")[0].partition(":")[0].partition(" ")[0])
                assert 1 <= number <= content.count(b"\n") + 1, text
            raise
        finally:
            _check_lines(content)
    for cell in cells:
        assert len(cell.name.encode()) <= 255, cell.name
        assert Path(cell.name).name == cell.name, cell.name
        assert str(cell).isprintable(), cell


def _check_lines(content: bytes) -> None:
    """Every key and element of whatever tomllib reads has a line."""
    try:
        text = content.decode()
        tree = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert not (missing := places(tree) - toml_lines(text).keys()), missing


def places(tree: Any, place: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Of all keys and elements, down to eight levels."""
    if len(place) == 8:
        return set()
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {one for key, value in parts for one in ((*place, key), *places(value, (*place, key)))}


def toml(value: Any) -> str:
    """A value in TOML, or in what comes closest to it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_text(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return toml_text(value)
    return repr(value).lower()


def toml_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


if __name__ == "__main__":
    fuzz("suite", mutate, read)

"""Fuzz the reader of suites: ``python -m tests.fuzz.fuzz_suite --seconds 600 [--seed N]``."""

from __future__ import annotations

import json
import random
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from lifegen.benchmark.cells.suite import cells_of, suite
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reporting.figure_kinds import check_figures

from .mutation import changed, damaged, fuzz

EXAMPLES = [
    file.read_bytes() for file in (files("lifegen.benchmark.cells") / "suites").iterdir() if file.name.endswith(".toml")
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
    """Read a suite and plan its cells. A refusal names a key that is there, or a line; a cell can be stored."""
    content = inputs["suite.toml"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "suite.toml")
        file.write_bytes(content)
        try:
            cells = [*cells_of(str(file)), *cells_of(str(file), smoke=True)]
            check_figures(suite(str(file)))
        except InputError as refused:
            _check_place(str(refused).removeprefix(f"suite {file}"), content)
            raise
    for cell in cells:
        assert len(cell.name.encode()) <= 255, cell.name
        assert Path(cell.name).name == cell.name, cell.name
        assert str(cell).isprintable(), cell


def _check_place(text: str, content: bytes) -> None:
    """See whether a refusal says where: which key, which line, or that it is about the whole file."""
    if text.startswith((": key ", " can't be read: a number", " has more than")):
        return
    if line := re.match(r", line (\d+): ", text):
        assert 1 <= int(line[1]) <= content.count(b"\n") + 1, text
        return
    tree = tomllib.loads(content.decode())
    # As an error prints it: a key may have any characters.
    assert any(text.startswith(str(InputError(f", {path}: "))) for path in places(tree)), text


def places(tree: Any, path: str = "", levels: int = 4) -> Iterator[str]:
    """The paths of all keys and elements down to four levels, such as ``methods[3]``; long keys are cut."""
    if isinstance(tree, dict):
        parts = [(f"{path}.{key if len(key) <= 40 else key[:40] + '…'}", value) for key, value in tree.items()]
    else:
        parts = [(f"{path}[{i}]", value) for i, value in enumerate(tree)] if isinstance(tree, list) else []
    for place, value in parts if levels else []:
        yield place.removeprefix(".")
        yield from places(value, place, levels - 1)


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

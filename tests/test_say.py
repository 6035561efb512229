"""What reaches the terminal: nothing in other people's texts acts on it."""

from __future__ import annotations

import os
import pty
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark.errors import visible
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store

from .commands import LIFEGEN
from .stores import write

EVIL = "a\x1b[2J\x1b]0;title\x07b\x9b31m\x00"


@given(st.text())
def test_a_text_is_visible_and_keeps_its_lines(text):
    shown = visible(text)
    assert all(one in "\n\t" or unicodedata.category(one) != "Cc" for one in shown)
    assert shown.count("\n") == text.count("\n")
    if text.isprintable():
        assert shown == text


@pytest.fixture
def store(tmp_path) -> Store:
    """Another's store, with control sequences where texts are free: a reason, names of folders and of plans."""
    store = Store.create(tmp_path / "s")
    write(store, "good", 0, 30)
    write(store, "bad", 0, 30, status="failed")
    cell = store.cell("split-x-bad-1-0")
    write_record(cell.folder, cell.record | {"error": EVIL})
    (store.path / "cells" / EVIL.replace("\x00", "")).mkdir()
    (store.path / "plans").mkdir()
    (store.path / "plans" / f"{EVIL.replace(chr(0), '')}.json").write_text("{")
    return store


@pytest.mark.parametrize("command", ["status", "leaderboard", "plot"])
def test_texts_of_a_foreign_store_are_shown_and_not_obeyed(store, tmp_path, command):
    terminal, inside = pty.openpty()
    done = subprocess.Popen([*LIFEGEN, command, str(store.path), *(["final"] if command == "plot" else [])],
                            stdout=inside, stderr=inside, cwd=tmp_path)  # fmt: skip
    os.close(inside)
    said = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # its end is closed
            break
        if not part:
            break
        said += part
    os.close(terminal)
    assert done.wait() == 0, said
    for sequence in (b"\x1b[2J", b"\x1b]0;", b"\x07", b"\xc2\x9b", b"\x00"):
        assert sequence not in said
    if command == "status":
        assert b"a\\x1b[2J\\x1b]0;title\\x07b\\x9b31m" in said

"""Help texts of the commands."""

from __future__ import annotations

import re

import pytest

from lifegen.benchmark.cli.main import cli

from .commands import lifegen


@pytest.fixture(autouse=True)
def _of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_each_command_stands_under_one_heading_with_its_whole_summary():
    text = lifegen("--help").stdout
    listed = re.findall(r"^  ([a-z][a-z-]*)  +\S", text, re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)
    assert "..." not in text.partition("\n")[2]
    words = " ".join(text.split())
    for command in cli.commands.values():
        assert command.get_short_help_str(limit=1000) in words
    assert "Others:" not in text
    assert "Examples:" in text


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_each_option_stands_in_the_help_once_and_lines_fit(command):
    text = lifegen(command, "--help").stdout.partition("\nOptions:\n")[2]
    assert max(map(len, text.splitlines())) <= 80
    for parameter in cli.commands[command].params:
        for name in parameter.opts:
            if name.startswith("--"):
                assert len(re.findall(rf"^  (?:-\w, )?{name}\b(?!-)", text, re.MULTILINE)) == 1, name


def test_what_is_about_ray_stands_apart():
    before, _, after = lifegen("run", "--help").stdout.partition("\nRay:\n")
    assert re.findall(r"^  (--[a-z-]+)", after, re.MULTILINE) == [
        "--executor", "--address", "--cpus", "--gpu-share", "--memory", "--share",
    ]  # fmt: skip
    assert "\nMachine:\n" in before

"""Help texts of the commands."""

from __future__ import annotations

import re

import pytest

from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.errors import counted

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


@pytest.mark.parametrize("columns", [60, 120])
def test_options_are_listed_with_their_whole_names_whatever_the_width(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = lifegen("list", "lifelong-vae").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if re.match(r" [a-z_]+_weight\b", line)] == [
        "consistency_weight", "likelihood_consistency_weight", "mutual_information_weight",
    ]  # fmt: skip


def test_one_thing_is_counted_in_the_singular():
    assert counted(1, "cell") == "1 cell"
    assert counted(1, "cell", "is") == "1 cell is"
    assert counted(0, "cell", "has") == "0 cells have"
    assert counted(1000, "cell") == "1,000 cells"

"""The documentation: its code runs, its commands exist, nothing registered is missing from it, and it builds."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lifegen import benchmark
from lifegen.benchmark import check
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import suite, suites
from lifegen.benchmark.cli.listing import KINDS
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.contracts.registry import REGISTRIES
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.measuring.sample_metrics import COMPARISONS
from lifegen.benchmark.reporting.figure_kinds import figure_name

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = {page: page.read_text() for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "README.md"]}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
named = pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)


def blocks(page: Path, *languages: str) -> Iterator[tuple[str, str, int]]:
    """Language, text, and the number of lines before it."""
    for found in BLOCK.finditer(TEXTS[page]):
        if found[1] in languages:
            yield found[1], found[2], TEXTS[page].count("\n", 0, found.start(2))


# Code


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what a reader's own plugins come to use
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))], ids=lambda page: page.name)
def test_the_code_of_a_page_runs_in_its_order(page, tmp_path, monkeypatch, capsys):
    """As a reader does it who copies block after block: ``python`` runs, ``pycon`` prints what stands there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    module = f"docs_{page.stem.replace('-', '_')}"
    names = {"__name__": module}
    try:
        for language, text, line in blocks(page, "python", "pycon"):
            if language == "python":
                exec(compile("\n" * line + text, str(page), "exec", dont_inherit=True), names)
            else:
                session = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line)
                runner = doctest.DocTestRunner(optionflags=OPTIONS)
                runner.run(session, clear_globs=False)
                assert not runner.failures, capsys.readouterr().out
                names |= session.globs
    finally:
        for registry in REGISTRIES.values():
            for name in [entry.name for entry in registry if entry.target.__module__ == module]:
                del registry._entries[name]


@pytest.mark.parametrize("name", ["add-a-method", "add-a-scenario", "add-a-metric"])
def test_the_file_that_a_page_builds_keeps_its_promises(name, tmp_path, monkeypatch):
    """Its parts are the definitions up to the one that registers: what stands between them tries them out."""
    monkeypatch.chdir(tmp_path)
    texts = [text for _, text, _ in blocks(ROOT / "docs" / f"{name}.md", "python")]
    last = next(i for i, text in enumerate(texts) if "@register_" in text)
    parts = [text for text in texts[: last + 1] if re.search("^(def|class) ", text, re.MULTILINE)]
    Path("plug_in.py").write_text("\n\n".join(parts))
    assert not [finding for finding in check("plug_in.py") if finding.status == "broken"]


# Commands


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``lifegen`` in the page: in blocks, within other commands, and in the text."""
    text = TEXTS[page]
    lines = [line for _, block, _ in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^    (lifegen .*)$", text.replace("\\\n", " "), re.MULTILINE)  # indented blocks
    lines += [line for line in re.findall(r"`(lifegen [^`]+)`", text) if "..." not in line]
    for line in lines:
        words = shlex.split(line, comments=True)
        inner = [shlex.split(word) for word in words if word.startswith("lifegen ")]
        for part in [words, *inner]:
            while "lifegen" in part:
                part = part[part.index("lifegen") + 1 :]
                ends = [i for i, word in enumerate(part) if word in ("&&", "||", "|", ">", "lifegen")]
                yield part[: ends[0]] if ends else part


@named
def test_the_commands_of_a_page_exist_with_their_options_and_names(page):
    own = {name.replace("_", "-") for name in re.findall(r'register_\w+\(\s*"([^"]+)"', TEXTS[page])}
    for arguments in commands(page):
        try:
            check_command(arguments, own)
        except (click.ClickException, ValueError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            pytest.fail(f"{page.name}: lifegen {shlex.join(arguments)}: {message}")


def check_command(arguments: list[str], own: set[str]) -> None:
    """See whether a command line could be run, but for the files that it names."""
    if not arguments or arguments[0].startswith("-"):
        return
    name, *rest = arguments
    if name not in cli.commands:
        raise ValueError("no such command")
    if not rest and name not in ("list", "doctor", "data"):
        return  # in a text: the command as such
    try:
        given = cli.commands[name].make_context(name, rest).params
    except click.exceptions.Exit:
        return  # --help

    def known(kind: str, text: str) -> None:
        base = text.partition(":")[0].partition(" ")[0]
        if not (base.endswith(".py") or base in own or base.isupper() or base == "all"):
            parse_spec(kind, text)

    if (asked := given.get("suite_name")) and not (asked.isupper() or asked.endswith(".toml")):
        suite(asked)
    for text in given.get("scenarios", ()):
        known("scenario", text)
    for text in [*given.get("methods", ()), *(given[key] for key in ("a", "b") if key in given)]:
        known("method", text)
    for text in [*given.get("metrics", ()), *([given["metric"]] if "metric" in given else [])]:
        if not (text.isupper() or text.endswith(".py") or text.replace("_", "-") in own or text in describe("metric")):
            raise ValueError(f"no metric {text}")
    for kind in given.get("kinds", ()):
        figure_name(kind, describe("metric"))
    if name == "data" and not set(given["names"]) <= {*describe("data source"), "NAME", "FILE"}:
        raise ValueError(f"no such data: {given['names']}")
    if name == "list" and (what := given["what"]) and not what.isupper():
        entries = [*KINDS, *suites(), *(one for kind in ("method", "scenario", "metric") for one in describe(kind))]
        if what not in entries and what not in own:
            raise ValueError(f"nothing is called {what}")


# What must be in it


def test_every_metric_is_explained():
    told = set(re.findall(r"\*\*`(\w+)`\*\*", TEXTS[ROOT / "docs" / "metrics.md"]))
    # Explained together for all comparisons.
    of_unions = {f"{name}{ending}" for name in COMPARISONS for ending in ("_seen", "_replayed", "_10k")}
    assert told == {name for name, one in describe("metric").items() if one.provider == "lifegen"} - of_unions


def test_every_command_is_listed():
    rows = [line for line in TEXTS[ROOT / "docs" / "quickstart.md"].splitlines() if line.startswith("| `lifegen")]
    assert {name for row in rows for name in re.findall(r"`lifegen ([\w-]+)`", row)} == set(cli.commands)


def test_every_suite_is_listed():
    rows = [line for line in TEXTS[ROOT / "docs" / "reproduce.md"].splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])} == set(suites())


def test_every_public_name_is_in_the_reference():
    text = TEXTS[ROOT / "docs" / "api.md"]
    assert not [name for name in benchmark.__all__ if not re.search(rf":: ([\w.]+\.)?{name}$", text, re.M)]


# The site


@named
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", BLOCK.sub("", TEXTS[page]))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def test_the_site_builds_without_a_warning(tmp_path):
    for module in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} isn't installed: pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "doctrees"]
    built = subprocess.run(
        [*command, "-b", "html", ROOT / "docs", tmp_path / "site"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    pages = "".join(file.read_text() for file in (tmp_path / "site").glob("*.html"))
    assert "MathML" in pages
    fetched = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="(?:https?:)?//[^"]*"', pages)
    assert not fetched, "the site is to be read without a network"

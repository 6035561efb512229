"""The commands of the tutorials, given one after another by somebody who has just installed lifegen.

They are given word for word, in a shell, from an empty folder, each in a process to which lifegen is new. Only budgets
are smaller: methods, steps, seeds, images and draws.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import PROGRAMS, at_home
from .test_docs import ROOT, blocks

SIZE = "steps=2,test_images=10,importance_draws=1,importance_images=1"
SMALLER = [
    (r"--suite quick\b", "--suite quick --smoke -m lifelong-vae -m generative-replay --out runs/quick"),
    (r"-s split-digits(?=\s)", f"-s split-digits:classes_per_interval=5,{SIZE}"),
    (r"-s negative_digits\.py(?=\s)", f"-s negative_digits.py:{SIZE}"),
    (r"(?<=comes_back=false,)steps=100", SIZE),
    (r"--seeds 0-4", "--seeds 0-1"),
    (r"--trials 4 --steps 100", "--trials 2 --steps 1"),
]
ELSEWHERE = re.compile(r"^(make|source|lifegen data)\b")
"""What installs lifegen, or fetches data."""


def commands(page: str) -> str:
    """The page's commands as a script that ends at the first one that fails."""
    text = "\n".join(text for _, text, _ in blocks(ROOT / "docs" / f"{page}.md", "bash"))
    for pattern, smaller in SMALLER:
        text = re.sub(pattern, smaller, text)
    return "set -ex\n" + "\n".join(line for line in text.splitlines() if not ELSEWHERE.match(line))


def file_of(page: str) -> str:
    """The file that a page builds: its definitions up to the one that registers."""
    texts = [text for _, text, _ in blocks(ROOT / "docs" / f"{page}.md", "python")]
    last = next(i for i, text in enumerate(texts) if "@register_" in text)
    return "\n\n".join(text for text in texts[: last + 1] if re.search("^(def|class) ", text, re.MULTILINE))


def follow(page: str, folder: Path, variables: dict[str, str]) -> str:
    variables = variables | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", commands(page)], capture_output=True, text=True, check=False, cwd=folder, env=variables
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_quickstart_works_in_an_empty_home(tmp_path):
    """It builds the index, which the others find."""
    said = follow("quickstart", tmp_path, at_home(tmp_path / "home"))
    assert "lifelong-vae" in said
    assert (tmp_path / "runs" / "quick" / "report.html").exists()
    assert list((tmp_path / "runs" / "quick").glob("figures/**/*.png"))
    assert list((tmp_path / "home").glob(".cache/**/*.json"))


@pytest.mark.parametrize(
    ("page", "file", "shown"),
    [
        ("add-a-method", "keep_style.py", "method keep-style ("),
        ("add-a-metric", "mean_image_gap.py", "metric mean_image_gap ("),
        ("add-a-scenario", "negative_digits.py", "scenario negative-digits ("),
    ],
)
def test_a_tutorial_works_as_it_stands(page, file, shown, tmp_path, home):
    (tmp_path / file).write_text(file_of(page))
    said = follow(page, tmp_path, home)
    assert "BROKEN" not in said
    assert shown in said

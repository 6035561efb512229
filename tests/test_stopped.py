"""A process that is stopped in the middle of a change takes no result with it; see ``stopped``."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from .stopped import NO_COMPILER


def test_an_owner_that_is_stopped_at_a_change_loses_nothing():
    methods = ["--method", "naive:width=2", "--method", "generative-replay:width=2"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.stopped", *methods, "--every", "150"],
        capture_output=True,
        text=True,
        check=False,
    )
    if NO_COMPILER in done.stderr:
        pytest.skip(NO_COMPILER)
    assert re.search("^[0-9]+ trials, 0 losses$", done.stdout, re.MULTILINE), done.stdout + done.stderr

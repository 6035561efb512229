"""Commands as they are typed: in this process, or in one to which lifegen is new."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from lifegen.benchmark.cli import main

from .waiting import HANG

LIFEGEN = [str(Path(sys.executable).with_name("lifegen"))]
Done = subprocess.CompletedProcess[str]


def lifegen(*arguments: object, cwd: Path = Path()) -> Done:
    """Run a command in this process. Its server of processes is this process's, too, and imports torch once for all.

    The tutorials' commands, which are most of them, run in processes of their own in test_tutorials.
    """
    line = ["lifegen", *map(str, arguments)]
    out, error = io.StringIO(), io.StringIO()
    with (
        mock.patch("sys.argv", line),
        mock.patch.dict(os.environ),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Done(line, code, out.getvalue(), error.getvalue())


def lifegen_elsewhere(*arguments: object, **options: object) -> Done:
    """Run a command in a process of its own."""
    line = [*LIFEGEN, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=HANG, check=False, **options)

"""What the harness costs around the training step: start-up, the store, evaluation."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from lifegen.benchmark.cell import plan
from lifegen.benchmark.choice import choose
from lifegen.benchmark.store import Store, load
from lifegen.benchmark.worker import run_cell

from .conftest import ROUNDS, Row, median

LIFEGEN = [sys.executable, "-m", "lifegen.benchmark.cli"]


def cpu_seconds(*arguments: str | Path) -> float:
    """CPU time of a command, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(Path(sys.executable).with_name("lifegen")), *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

"""Processes of lifegen's own, whatever a notebook, a login shell or a container has put into their environment."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifegen.benchmark import pool
from lifegen.benchmark.cli.doctor import _commit
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.environment import adopt_own_environment, home_for_avalanche, own_environment
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.folders import NOWHERE, cache_folder, data_folder
from lifegen.benchmark.store.store import Store

from .commands import lifegen_elsewhere
from .stores import write
from .test_run import TINY

SMALL = f"{TINY},test_images=20,importance_draws=2,importance_images=2"


def odd_environment(folder: Path) -> dict[str, str]:
    """All at once: each of these has ended a command, or put something on its terminal."""
    (folder / "home").write_text("a file")
    long = folder / ("x" * 120)
    long.mkdir()
    cache = cache_folder().parent  # with the index of what is registered: this isn't about how long making it takes
    return {
        **os.environ,
        "MPLBACKEND": "module://a_module_that_nobody_has",
        "MPLCONFIGDIR": "/proc/nowhere",
        "OMP_NUM_THREADS": "",
        "MKL_NUM_THREADS": "all",
        "TMPDIR": str(long),
        "PYTHONIOENCODING": "ascii",
        "PYTHONWARNINGS": "error",
        "COLUMNS": "wide",
        "GIT_DIR": str(folder),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(cache),
    }


def test_commands_run_in_an_odd_environment(tmp_path):
    odd, out = odd_environment(tmp_path), tmp_path / "s"
    for arguments in (
        ["run", "-s", SMALL, "-m", "naive:width=8", "--seeds", "0-1", "--jobs", "1", "--device", "cpu", "--out", out],
        ["leaderboard", out],
        ["plot", out, "final"],
    ):
        done = lifegen_elsewhere(*arguments, env=odd)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert {file.name for file in tmp_path.iterdir()} == {"home", "x" * 120, "s"}


def test_whoever_draws_with_the_library_keeps_his_backend(tmp_path):
    write(store := Store.create(tmp_path), "naive", 0, 20.0)
    code = """
import os, sys
from pathlib import Path
before = dict(os.environ)
import matplotlib
from lifegen.benchmark import load
from lifegen.benchmark.reporting.plots import plot
from lifegen.benchmark.store import Store
assert len(load(sys.argv[1]))
assert list(plot(Store.open(sys.argv[1]), Path(sys.argv[1], "figures"), ["final"], ["svg"], "screen"))
print(matplotlib.get_backend(), dict(os.environ) == before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, store.path], capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "pdf"}
    )
    assert done.stdout.split() == ["pdf", "True"], done.stderr


def test_a_process_of_lifegens_own_is_changed_and_no_other(monkeypatch):
    for name, value in {"MPLBACKEND": "x", "PYTHONOPTIMIZE": "2", "GIT_DIR": "/x", "LIFEGEN_TEST": "1"}.items():
        monkeypatch.setenv(name, value)
    own = own_environment()
    assert (own["MPLBACKEND"], own["LIFEGEN_TEST"], os.environ["MPLBACKEND"]) == ("Agg", "1", "x")
    assert not {"PYTHONOPTIMIZE", "GIT_DIR"} & own.keys()
    assert _commit() != "none: an installed package"
    level = logging.getLogger("matplotlib").level
    adopt_own_environment()
    assert dict(os.environ) == own
    logging.getLogger("matplotlib").setLevel(level)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "1"), ("", "1"), ("all", "1"), ("0", "1"), ("-2", "1"), ("4", "4"), ("4, 2", "4, 2")]
)
def test_threads_are_as_the_user_says_if_he_says_a_number(monkeypatch, value, expected):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, value or "")
    if value is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    pool.use_one_thread()
    assert os.environ["OMP_NUM_THREADS"] == expected


# Homes


@pytest.fixture
def homeless(monkeypatch):
    def none(name: str) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_cache_path", none)
    monkeypatch.delenv("LIFEGEN_DATA", raising=False)


def test_without_a_home_there_is_no_cache_and_no_data_root(homeless, tmp_path, monkeypatch):
    assert data_folder(tmp_path) == tmp_path
    assert data_folder().is_relative_to(NOWHERE)
    with pytest.raises(InputError, match="give --data-root FOLDER or set LIFEGEN_DATA"):
        cli(["data"], standalone_mode=False)
    with pytest.raises(OSError, match="give --data-root FOLDER or set LIFEGEN_DATA"):
        (data_folder() / "mnist").mkdir(parents=True)
    monkeypatch.setenv("LIFEGEN_DATA", "~nobody-has-this-name/data")
    with pytest.raises(InputError, match="~nobody-has-this-name/data: there is no such home folder"):
        data_folder()


def test_a_relative_cache_folder_is_none(monkeypatch):
    """Of versions of platformdirs that know no better: it would be another one in each folder."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~/.cache") / name)
    assert cache_folder() == NOWHERE


@pytest.mark.parametrize("home", [None, "", "a relative one", "/proc/nowhere", "{}/file", "{}/torn", "{}/good"])
def test_avalanche_finds_a_home(tmp_path, monkeypatch, home):
    (tmp_path / "file").touch()
    for name, content in (("torn", ""), ("good", '{"dataset_location": "x"}')):
        (tmp_path / name / ".avalanche").mkdir(parents=True)
        (tmp_path / name / ".avalanche" / "config.json").write_text(content)
    monkeypatch.chdir(tmp_path)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", os.environ.get("HOME", "~")))
    else:
        monkeypatch.setenv("HOME", home := home.format(tmp_path))
    with home_for_avalanche():
        lent = Path(os.environ["HOME"])
        assert lent.is_dir()
        assert (str(lent) == home) == (home == f"{tmp_path}/good")
    assert os.environ.get("HOME") == home
    assert {file.name for file in tmp_path.iterdir()} == {"file", "torn", "good"}

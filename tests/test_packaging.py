"""What is installed: the wheel, and packages of plug-ins beside it."""

from __future__ import annotations

import json
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from lifegen.benchmark.authoring.scaffold import new

from .fresh_environment import FOLDERS, ROOT, Environment, built, fresh_environment

WRITTEN = {"method": "written-method", "metric": "written_metric"}
"""What packages are written for, and installed beside lifegen."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("lifegen"))


def test_the_wheel_has_every_file(wheel):
    """Packages and data are listed by hand in pyproject.toml: a forgotten one is found here."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"lifegen/{path.relative_to(ROOT).as_posix()}"
        for name in FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected = {name.replace("/benchmark/package/", "/") for name in expected}
    assert expected <= packed
    assert not {name for name in packed if name.startswith("lifegen/")} - expected
    assert all(f"lifegen/{name}/py.typed" in packed for name in FOLDERS)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Lifegen, and a package of plug-ins that somebody else has written."""
    folder = tmp_path_factory.mktemp("installed")
    written = [new(kind, name, folder, package=True)[0] for kind, name in WRITTEN.items()]
    projects = [ROOT / "tests" / "plugin_package", *written]
    wheels = [built(project, folder / f"build-{i}") for i, project in enumerate(projects)]
    return fresh_environment(folder, [wheel, *wheels])


@pytest.fixture(scope="module")
def listed(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found there. Each listing imports everything again where some of it is broken."""
    return json.loads(installed.run("lifegen", "list", "--json", cwd=tmp_path_factory.mktemp("empty")).stdout)


def test_the_wheel_works_when_installed_elsewhere(installed, listed, tmp_path):
    where = "import lifegen; print(lifegen.__version__, lifegen.benchmark.__file__, lifegen.methods.__file__)"
    number, *files = installed.run("python", "-c", where, cwd=tmp_path).stdout.split()
    assert number == metadata.version("lifegen")
    assert len(files) == 2
    for file in files:
        assert Path(file).is_relative_to(installed.libraries)
    assert "lifelong-vae" in listed["methods"]
    assert "split-digits" in listed["scenarios"]
    assert "negative_elbo" in listed["metrics"]
    assert "quick" in listed["suites"]


def test_another_packages_plug_ins_are_listed_with_their_provider_and_what_is_wrong_with_them(
    installed, listed, tmp_path
):
    usable = [("methods", "anchored", 4), ("scenarios", "stripes", 1), ("metrics", "negative_elbo_best", 2)]
    for kind, name, version in usable:
        entry = listed[kind][name]
        assert (entry["error"], entry["version"]) == (None, version)
        assert (entry["provider"], entry["provider_version"]) == ("lifegen-test-plugins", "0.3")
    methods = listed["methods"]
    assert methods["naive"]["provider"] == "lifegen"
    assert methods["naive"]["error"] is None
    assert "No module named 'a_library_that_nobody_has'" in methods["broken"]["error"]
    assert methods["absent"]["error"] == "lifegen_test_plugins.methods has no Absent"
    double = methods["naive (lifegen-test-plugins)"]["error"]
    assert "by lifegen.methods.naive.Naive and by lifegen_test_plugins.double.Naive" in double
    lines = installed.run("lifegen", "list", cwd=tmp_path).stdout
    assert "[lifegen-test-plugins 0.3]" in lines
    assert "can't be used: importing lifegen_test_plugins.broken fails" in " ".join(lines.split())


def test_packages_that_lifegen_writes_are_found_and_pass_their_own_test(installed, listed, tmp_path):
    for kind, name in WRITTEN.items():
        entry = listed[f"{kind}s"][name]
        package = f"lifegen-{name.replace('_', '-')}"
        assert (entry["error"], entry["provider"], entry["provider_version"]) == (None, package, "0.1.0")
    tests = (
        installed.libraries.parents[3] / package / "tests"
    )  # of the last; what it says of the others test_new looks at
    done = installed.run("python", "-m", "pytest", "-q", tests, cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_another_packages_plug_ins_are_run_measured_and_ranked(installed, tmp_path):
    run = ["run", "-s", "stripes:steps=3", "-m", "anchored:width=8", "-m", "naive:width=8", "--seeds", "0"]
    done = installed.run("lifegen", *run, "--device", "cpu", "--out", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("s/cells/stripes--anchored--0--*/run.json")
    record = json.loads(file.read_text())
    package = {"name": "lifegen-test-plugins", "version": "0.3"}
    assert record["method"]["provider"] == record["scenario"]["provider"] == package
    told = record["plug-in metrics"]["negative_elbo_best"]
    assert {key: told[key] for key in package} == package
    assert told["facts"]["better"] == "lower"
    assert record["metrics"]["negative_elbo_best"] == 2
    assert record["versions"]["lifegen-test-plugins"] == "0.3"
    table = installed.run("lifegen", "leaderboard", "s", "--metric", "negative_elbo_best", cwd=tmp_path).stdout
    assert "anchored" in table
    refused = installed.run("lifegen", "run", "-s", "stripes", "-m", "broken", cwd=tmp_path)
    assert refused.returncode == 2
    assert "method 'broken' can't be used: importing lifegen_test_plugins.broken fails" in refused.stderr

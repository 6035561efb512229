"""What is installed, and what may import what."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lifegen.benchmark
from lifegen.benchmark.scaffold import new

from .fresh_environment import FOLDERS, ROOT, Environment, built, fresh_environment

pytestmark = pytest.mark.xdist_group("packaging")  # one wheel for all
WRITTEN = {"method": "written-method", "metric": "written_metric"}
"""What packages are written for, and installed beside lifegen."""
LIGHT = ("catalogue", "cell", "checks.check", "choice", "cli", "compare", "data_sources", "derived", "leaderboard",
         "plots", "plugin_file", "pool", "progress", "provenance", "providers", "publish", "registry", "report", "run",
         "runs", "scaffold", "statistics", "store", "suite", "tables")  # fmt: skip


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


def test_the_wheel_works_when_installed_elsewhere(installed, tmp_path):
    where = "import lifegen.benchmark, lifegen.methods; print(lifegen.benchmark.__file__, lifegen.methods.__file__)"
    for file in installed.run("python", "-c", where, cwd=tmp_path).stdout.split():
        assert Path(file).is_relative_to(installed.libraries)
    done = installed.run("lifegen", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("lifelong-vae", "split-digits", "quick", "negative_elbo"):
        assert word in done.stdout


def test_another_packages_plug_ins_are_listed_with_their_provider_and_what_is_wrong_with_them(installed, tmp_path):
    found = json.loads(installed.run("lifegen", "list", "--json", cwd=tmp_path).stdout)
    usable = [("methods", "anchored", 4), ("scenarios", "stripes", 1), ("metrics", "negative_elbo_best", 2)]
    for kind, name, version in usable:
        entry = found[kind][name]
        assert (entry["error"], entry["version"]) == (None, version)
        assert (entry["provider"], entry["provider_version"]) == ("lifegen-test-plugins", "0.3")
    methods = found["methods"]
    assert methods["naive"]["provider"] == "lifegen"
    assert methods["naive"]["error"] is None
    assert "No module named 'a_library_that_nobody_has'" in methods["broken"]["error"]
    assert methods["absent"]["error"] == "lifegen_test_plugins.methods has no Absent"
    double = methods["naive (lifegen-test-plugins)"]["error"]
    assert "by lifegen.methods.naive.Naive and by lifegen_test_plugins.double.Naive" in double
    lines = installed.run("lifegen", "list", cwd=tmp_path).stdout
    assert "[lifegen-test-plugins 0.3]" in lines
    assert "can't be used: importing lifegen_test_plugins.broken fails" in " ".join(lines.split())


def test_packages_that_lifegen_writes_are_found_and_pass_their_own_test(installed, tmp_path):
    for kind, name in WRITTEN.items():
        found = json.loads(installed.run("lifegen", "list", name, "--json", cwd=tmp_path).stdout)
        entry = found[f"{kind}s"][name]
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


def test_what_does_not_train_imports_neither_torch_nor_avalanche():
    """``lifegen list``, ``leaderboard`` and ``plot`` start at once: importing Avalanche costs seconds."""
    modules = ", ".join(f"lifegen.benchmark.{name}" for name in LIGHT)
    code = f"import sys, lifegen.benchmark, {modules}; print([m for m in ('torch', 'avalanche') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_has_a_home():
    assert set(lifegen.benchmark.__all__) == set(lifegen.benchmark._HOME)
    assert all(getattr(lifegen.benchmark, name) is not None for name in lifegen.benchmark.__all__)


def imported(file: Path) -> set[str]:
    """Modules of lifegen that a file imports, absolute."""
    package = "lifegen." + ".".join(file.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = ".".join(filter(None, [base if node.level else "", node.module]))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("lifegen.")}


@pytest.mark.parametrize("folder", ["methods", "scenarios"])
def test_methods_and_scenarios_import_the_facade_and_their_own_folder_only(folder):
    """No module of the harness by its own name, which may change; nor each other."""
    facade = {"lifegen.benchmark", *(f"lifegen.benchmark.{name}" for name in lifegen.benchmark.__all__)}
    for file in (ROOT / folder).rglob("*.py"):
        others = imported(file) - facade
        assert all(name.startswith(f"lifegen.{folder}") for name in others), f"{file.name}: {others}"


def test_the_harness_knows_no_method():
    for file in (ROOT / "benchmark").glob("*.py"):
        assert not {name for name in imported(file) if name.startswith("lifegen.methods")}, file.name

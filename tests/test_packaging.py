"""What is installed, and what may import what."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmark", "methods", "scenarios")
LIGHT = ("cli", "catalogue", "cell", "choice", "compare", "derived", "leaderboard", "plots", "progress", "provenance",
         "publish", "registry", "report", "run", "runs", "statistics", "store", "suite", "tables")  # fmt: skip
CONTRACTS = {"errors", "images", "method", "model", "options", "registry", "seeds", "stream", "template"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    subprocess.run(command, cwd=source, check=True)
    return next((source / "dist").glob("lifegen-*.whl"))


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


def test_the_wheel_works_when_installed_elsewhere(wheel, tmp_path):
    """Without dependencies, in a fresh environment that sees this one's libraries, but not its editable lifegen."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    libraries = Path(
        subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    )
    outer = Path(sysconfig.get_paths()["purelib"])
    (libraries / "outer.pth").write_text(f"{outer}\n")
    # Of the outer environment's own .pth files this one is a library's, not an editable lifegen's: without it there is
    # no distutils on Python 3.12.
    for shim in outer.glob("distutils-precedence.pth"):
        shutil.copy(shim, libraries)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    where = "import lifegen.benchmark, lifegen.methods; print(lifegen.benchmark.__file__, lifegen.methods.__file__)"
    for file in subprocess.check_output([python, "-c", where], text=True, cwd=tmp_path).split():
        assert Path(file).is_relative_to(libraries)
    command = [tmp_path / "env" / "bin" / "lifegen", "list"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("lifelong-vae", "split-digits", "quick", "negative_elbo"):
        assert word in done.stdout


def test_what_does_not_train_imports_neither_torch_nor_avalanche():
    """``lifegen list``, ``leaderboard`` and ``plot`` start at once: importing Avalanche costs seconds."""
    modules = ", ".join(f"lifegen.benchmark.{name}" for name in LIGHT)
    code = f"import sys, lifegen.benchmark, {modules}; print([m for m in ('torch', 'avalanche') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


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
def test_methods_and_scenarios_know_the_contracts_only(folder):
    """Never the harness's store, statistics or report; nor each other."""
    allowed = {f"lifegen.benchmark.{name}" for name in CONTRACTS} | {f"lifegen.{folder}"}
    for file in (ROOT / folder).rglob("*.py"):
        for name in imported(file):
            assert any(name == prefix or name.startswith(prefix + ".") for prefix in allowed), f"{file.name}: {name}"


def test_the_harness_knows_no_method():
    for file in (ROOT / "benchmark").glob("*.py"):
        assert not {name for name in imported(file) if name.startswith("lifegen.methods")}, file.name

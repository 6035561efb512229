"""The rules of the layout: who may import whom, and what. CONTRIBUTING.md says what each package is for."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import lifegen.benchmark
from lifegen.benchmark import _moved

from .commits.checkout import ROOT
from .commits.imports import all_imports, imports, modules
from .commits.layout import circles

LEAVES = {"_moved", "environment", "errors", "files", "folders", "processes", "seeds"}
FLOORS = (
    LEAVES,
    {"contracts"},
    {"discovery", "training"},
    {"cells", "measuring"},
    {"store"},
    {"reading"},
    {"reporting", "running"},
    {"authoring", "functions"},
    {"cli", "façade", "package"},
)
"""Packages of ``benchmark/``, from the ground up. Those of one floor don't import each other, but for the leaves."""
HEAVY = {"contracts", "training", "measuring", "running", "authoring"}
"""Packages whose modules may import torch and Avalanche when they are imported."""
LIGHT_IN_HEAVY = {
    "contracts": {"", "data_sources", "options", "registry"},
    "measuring": {"", "derived"},
    "running": {"", "devices", "executor", "local", "machine", "ray", "ray_files", "rerun"},
    "authoring": {"", "scaffold", "checks", "checks.findings", "checks.targets"},
}
"""Modules of heavy packages that import neither all the same, since the command line needs them."""

FILES = modules(ROOT)
IMPORTS = sorted(imports(FILES))


def room(module: str) -> str:
    """The package of ``benchmark/`` that a module is in, or else the folder."""
    parts = module.split(".")
    if parts[1] != "benchmark":
        return parts[1]
    return parts[2] if len(parts) > 2 else "façade"


def test_every_package_has_a_floor():
    rooms = {room(module) for module in FILES} - {"methods", "scenarios"}
    assert rooms == set().union(*FLOORS)


def test_a_package_imports_lower_floors_only():
    """In functions and for type checkers too."""
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    upwards = [
        f"{one.importer} imports {one.imported}"
        for one in IMPORTS
        if (here := room(one.importer)) != (there := room(one.imported))
        and not {here, there} & {"methods", "scenarios"}
        and floors[there] >= floors[here]
        and not {here, there} <= LEAVES
    ]
    assert upwards == []


def test_methods_and_scenarios_import_the_facade_and_their_own_folder():
    deeper = [
        f"{one.importer} imports {one.imported}"
        for one in IMPORTS
        if (here := room(one.importer)) in ("methods", "scenarios") and room(one.imported) not in (here, "façade")
    ]
    assert deeper == []


def test_the_harness_names_no_method_and_no_scenario():
    named = [one for one in IMPORTS if room(one.imported) in ("methods", "scenarios") and room(one.importer)
             not in ("methods", "scenarios")]  # fmt: skip
    assert named == []


def test_no_modules_import_each_other():
    assert circles((one.importer, one.imported) for one in IMPORTS) == []


@pytest.mark.parametrize(
    ("library", "where"),
    [("click", {"cli"}), ("rich", {"cli", "reporting.tables", "reporting.terminal"}), ("ray", {"running.ray"})],
)
def test_a_library_stays_in_its_room(library, where):
    users = {module for module, file in FILES.items() for name, _ in all_imports(module, file)
             if name.partition(".")[0] == library}  # fmt: skip
    allowed = tuple(f"lifegen.benchmark.{one}" for one in where)
    assert users  # a renamed room would make this test empty
    assert [module for module in users if not module.startswith(allowed)] == []


def light() -> list[str]:
    """Modules that import neither torch nor Avalanche."""
    names = []
    for module in FILES:
        parts = module.split(".")
        home = room(module)
        if parts[1] == "benchmark" and (home not in HEAVY or ".".join(parts[3:]) in LIGHT_IN_HEAVY.get(home, ())):
            names.append(module)
    return names


def test_what_does_not_train_imports_neither_torch_nor_avalanche():
    """``lifegen list``, ``leaderboard`` and ``plot`` start at once: importing Avalanche costs seconds."""
    code = """
import sys
from importlib import import_module
for module in sys.argv[1:]:
    import_module(module)
    if heavy := {"torch", "avalanche"} & sys.modules.keys():
        sys.exit(f"{module} imports {heavy}")
"""
    done = subprocess.run([sys.executable, "-c", code, *light()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_has_a_home():
    assert set(lifegen.benchmark.__all__) == set(lifegen.benchmark._HOME)
    assert all(getattr(lifegen.benchmark, name) is not None for name in lifegen.benchmark.__all__)


def test_old_paths_are_the_same_modules():
    """Records keep the texts of plug-in files, and authors have files: both go on importing what they once imported."""
    for old, new in _moved.WHOLE.items():
        assert import_module(old) is import_module(new)
        assert import_module(new).__spec__.name == new
    for old, homes in (_moved.SPLIT | _moved.PACKAGES).items():
        for home in map(import_module, homes):
            own = {name for name, value in vars(home).items() if getattr(value, "__module__", "") == home.__name__}
            for name in (name for name in own if not name.startswith("_")):
                assert getattr(import_module(old), name) is getattr(home, name)


@pytest.mark.parametrize(
    "line",
    [
        "from lifegen.benchmark.measures import DRAWS, Evaluator, Means, Measurement, Row",
        "from lifegen.benchmark.registry import register_method, register_metric, register_scenario",
        "from lifegen.benchmark.template import GenerativeTemplate, count_state, interval_steps",
        "from lifegen.benchmark.stream import Interval, Parts, ScenarioConfig, Stream, images_of, make_stream",
        "from lifegen.benchmark.store import Store, load",
        "from lifegen.benchmark.cli import main",
        "import lifegen.benchmark.plugin_metrics",
        "from lifegen.scenarios.parts import class_parts, held_out",
        "from lifegen.scenarios.sources import LabelledData, Source, source",
        "from lifegen.scenarios.avalanche import register_benchmark",
        "from lifegen.methods.avalanche_plugins import AvalancheEWC, AvalancheReplay, SynapticIntelligence",
        "from lifegen.methods.models.stock import StockMethod",
    ],
)
def test_an_import_that_authors_have_written_works(line):
    exec(line, {})


def test_names_complete_and_can_be_had():
    """``dir`` is what Tab shows, in a process that has imported nothing else."""
    code = """
import lifegen
assert dir(lifegen) == sorted(["__version__", "benchmark", "methods", "scenarios"]), dir(lifegen)
assert lifegen.__version__[0].isdigit()
assert dir(lifegen.benchmark) == sorted(lifegen.benchmark.__all__)
assert {"lifelong_vae", "naive", "models"} <= set(dir(lifegen.methods))
assert {"split", "data_sets"} <= set(dir(lifegen.scenarios))
assert lifegen.methods.naive.Naive
for package in (lifegen, lifegen.benchmark, lifegen.methods, lifegen.scenarios):
    assert not hasattr(package, "no_such_name")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

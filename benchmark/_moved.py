"""Old import paths, which stored texts of extensions and authors' files still use.

A cell's record keeps the text of an extension file, which is run again on resume and by ``load_model``. So an old path
is data: it resolves to the same module object as the new one, or, if a module was split, to a module that takes its
names from its parts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WHOLE: Mapping[str, str] = {
    "lifegen.benchmark._preload": "lifegen.benchmark.running.preload",
    "lifegen.benchmark.capture": "lifegen.benchmark.training.capture",
    "lifegen.benchmark.catalogue": "lifegen.benchmark.discovery.index",
    "lifegen.benchmark.cell": "lifegen.benchmark.cells.cell",
    "lifegen.benchmark.checkpoint": "lifegen.benchmark.running.checkpoint",
    "lifegen.benchmark.checks": "lifegen.benchmark.authoring.checks",
    "lifegen.benchmark.checks.check": "lifegen.benchmark.authoring.checks.check",
    "lifegen.benchmark.checks.common": "lifegen.benchmark.authoring.checks.common",
    "lifegen.benchmark.checks.method": "lifegen.benchmark.authoring.checks.method",
    "lifegen.benchmark.checks.metric": "lifegen.benchmark.authoring.checks.metric",
    "lifegen.benchmark.checks.scenario": "lifegen.benchmark.authoring.checks.scenario",
    "lifegen.benchmark.choice": "lifegen.benchmark.cells.spec",
    "lifegen.benchmark.cli_plugins": "lifegen.benchmark.cli.authoring",
    "lifegen.benchmark.cli_run": "lifegen.benchmark.cli.running",
    "lifegen.benchmark.compare": "lifegen.benchmark.reading.compare",
    "lifegen.benchmark.derived": "lifegen.benchmark.measuring.derived",
    "lifegen.benchmark.doctor": "lifegen.benchmark.cli.doctor",
    "lifegen.benchmark.early_stopping": "lifegen.benchmark.training.early_stopping",
    "lifegen.benchmark.figures": "lifegen.benchmark.reporting.figures",
    "lifegen.benchmark.figures.comparisons": "lifegen.benchmark.reporting.figures.comparisons",
    "lifegen.benchmark.figures.critical_difference": "lifegen.benchmark.reporting.figures.critical_difference",
    "lifegen.benchmark.figures.curves": "lifegen.benchmark.reporting.figures.curves",
    "lifegen.benchmark.figures.drawing": "lifegen.benchmark.reporting.figures.drawing",
    "lifegen.benchmark.figures.grids": "lifegen.benchmark.reporting.figures.grids",
    "lifegen.benchmark.figures.matrix": "lifegen.benchmark.reporting.figures.matrix",
    "lifegen.benchmark.figures.style": "lifegen.benchmark.reporting.figures.style",
    "lifegen.benchmark.finite_loss": "lifegen.benchmark.training.finite_loss",
    "lifegen.benchmark.images": "lifegen.benchmark.contracts.images",
    "lifegen.benchmark.inline": "lifegen.benchmark.reporting.page_figures",
    "lifegen.benchmark.leaderboard": "lifegen.benchmark.reading.leaderboard",
    "lifegen.benchmark.method": "lifegen.benchmark.training.method",
    "lifegen.benchmark.model": "lifegen.benchmark.contracts.model",
    "lifegen.benchmark.on_ray": "lifegen.benchmark.running.ray",
    "lifegen.benchmark.options": "lifegen.benchmark.contracts.options",
    "lifegen.benchmark.pictures": "lifegen.benchmark.measuring.pictures",
    "lifegen.benchmark.plots": "lifegen.benchmark.reporting.plots",
    "lifegen.benchmark.plugin_file": "lifegen.benchmark.discovery.plugin_file",
    "lifegen.benchmark.plugin_metrics": "lifegen.benchmark.measuring.avalanche_metrics",
    "lifegen.benchmark.pool": "lifegen.benchmark.processes",
    "lifegen.benchmark.precision": "lifegen.benchmark.training.precision",
    "lifegen.benchmark.progress": "lifegen.benchmark.cli.progress",
    "lifegen.benchmark.provenance": "lifegen.benchmark.reading.provenance",
    "lifegen.benchmark.providers": "lifegen.benchmark.discovery.entry_points",
    "lifegen.benchmark.publish": "lifegen.benchmark.reporting.publish",
    "lifegen.benchmark.record_check": "lifegen.benchmark.store.row_check",
    "lifegen.benchmark.registry": "lifegen.benchmark.contracts.registry",
    "lifegen.benchmark.report": "lifegen.benchmark.reporting.report",
    "lifegen.benchmark.rerun": "lifegen.benchmark.running.rerun",
    "lifegen.benchmark.run": "lifegen.benchmark.running.local",
    "lifegen.benchmark.saved_model": "lifegen.benchmark.running.saved_model",
    "lifegen.benchmark.scaffold": "lifegen.benchmark.authoring.scaffold",
    "lifegen.benchmark.state": "lifegen.benchmark.running.state",
    "lifegen.benchmark.statistics": "lifegen.benchmark.reading.statistics",
    "lifegen.benchmark.stream": "lifegen.benchmark.contracts.stream",
    "lifegen.benchmark.suite": "lifegen.benchmark.cells.suite",
    "lifegen.benchmark.summary": "lifegen.benchmark.reading.summary",
    "lifegen.benchmark.tables": "lifegen.benchmark.reporting.tables",
    "lifegen.benchmark.worker": "lifegen.benchmark.running.worker",
    "lifegen.scenarios.avalanche": "lifegen.scenarios.from_avalanche",
    "lifegen.scenarios.parts": "lifegen.scenarios.holding_out",
}
"""New path of each module that moved in one piece, by its old path."""

SPLIT: dict[str, Sequence[str]] = {
    "lifegen.benchmark.cell_folder": [
        "lifegen.benchmark.store.cell_folder",
        "lifegen.benchmark.store.cell_writer",
        "lifegen.benchmark.store.lock",
        "lifegen.benchmark.files",
    ],
    "lifegen.benchmark.measures": [
        "lifegen.benchmark.measuring.measurement",
        "lifegen.benchmark.measuring.evaluator",
        "lifegen.benchmark.measuring.rows",
        "lifegen.benchmark.measuring.bounds",
        "lifegen.benchmark.measuring.codes",
        "lifegen.benchmark.measuring.costs",
        "lifegen.benchmark.measuring.traces",
        "lifegen.benchmark.measuring.information",
    ],
    "lifegen.benchmark.planning": ["lifegen.benchmark.store.plans", "lifegen.benchmark.reading.overview"],
    "lifegen.benchmark.runs": ["lifegen.benchmark.reading.scores"],
    "lifegen.benchmark.template": [
        "lifegen.benchmark.training.template",
        "lifegen.benchmark.training.counting",
        "lifegen.benchmark.training.loader",
    ],
    "lifegen.methods.avalanche_plugins": [
        "lifegen.methods.avalanche_ewc",
        "lifegen.methods.synaptic_intelligence",
        "lifegen.methods.avalanche_agem",
        "lifegen.methods.avalanche_gem",
        "lifegen.methods.avalanche_replay",
        "lifegen.methods.avalanche_generative_replay",
    ],
    "lifegen.scenarios.sources": [
        "lifegen.scenarios.data_sets",
        "lifegen.benchmark.contracts.data_sources",
        "lifegen.benchmark.discovery.index",
    ],
}
"""Present homes of the names of each module that was split, by its old path."""


PACKAGES: dict[str, Sequence[str]] = {
    "lifegen.benchmark.store": ["lifegen.benchmark.store.store", "lifegen.benchmark.reading.table"],
}
"""The same for modules whose old path is now a package's."""


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in WHOLE:
            return ModuleSpec(name, _SameModule())
        if name in SPLIT:
            return ModuleSpec(name, _SplitModule())
        return None


class _SameModule(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(WHOLE[spec.name])
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has replaced it by the old path's


class _SplitModule(Loader):
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = partial(attribute, module.__name__)


def attribute(old: str, name: str) -> Any:
    """Find a name of a module that was split or is now a package.

    Raises:
        AttributeError: the module never had it.
    """
    for home in () if name.startswith("__") else map(import_module, (SPLIT | PACKAGES)[old]):
        if name in vars(home):
            return vars(home)[name]
    raise AttributeError(f"module {old!r} has no attribute {name!r}")


def install() -> None:
    """Let old paths be imported in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # first, else the path finder imports the new package's files a second time

"""lifegen's harness. Import what you need from here: each name is loaded when it is first used.

To add a method: ``Method``, ``register_method``, ``GenerativeModel``, ``GenerativeTemplate``, ``Seeds``,
``images_of``, ``count_state``, ``interval_steps``, ``add_term``, ``trace_term``, ``check``, ``check_method``.
To add a scenario: ``ScenarioConfig``, ``Stream``, ``make_stream``, ``register_scenario``, ``source``.
To add a data source: ``Source``, ``LabelledData``, ``register_source``.
To add a metric: ``Measurement``, ``Row``, ``register_metric``, ``Evaluator``.
To run and to read results: ``run``, ``leaderboard``, ``findings``, ``compare``, ``plot``, ``score``, ``load``,
``load_model``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _moved

if TYPE_CHECKING:
    from .authoring.checks.check import check
    from .authoring.checks.method import GateError, check_method
    from .contracts.data_sources import LabelledData, Source
    from .contracts.images import Images, to_unit
    from .contracts.model import Bound, GenerativeModel, LogWeights, importance_bound, negative_elbo, responsibilities
    from .contracts.options import Options, later, searched
    from .contracts.registry import register_method, register_metric, register_scenario, register_source
    from .contracts.stream import Interval, Parts, ScenarioConfig, Stream, images_of, make_stream
    from .discovery.index import source
    from .errors import InputError, brief, unknown
    from .functions import findings, leaderboard, plot, run
    from .measuring.avalanche_metrics import NegativeELBO, PosteriorConsistency, SampleCounts
    from .measuring.evaluator import Evaluator
    from .measuring.measurement import Measurement
    from .measuring.rows import Row
    from .reading.compare import compare
    from .reading.table import load
    from .running.saved_model import load_model
    from .running.scoring import score
    from .seeds import Seeds
    from .training.counting import count_state, interval_steps
    from .training.method import Method
    from .training.template import GenerativeTemplate, negative_elbo_loss
    from .training.traces import add_term, trace_term

_HOME = {
    "source": "discovery.index",
    "LabelledData": "contracts.data_sources",
    "Source": "contracts.data_sources",
    "InputError": "errors",
    "brief": "errors",
    "unknown": "errors",
    "check": "authoring.checks.check",
    "GateError": "authoring.checks.method",
    "check_method": "authoring.checks.method",
    "Method": "training.method",
    "Bound": "contracts.model",
    "GenerativeModel": "contracts.model",
    "LogWeights": "contracts.model",
    "importance_bound": "contracts.model",
    "negative_elbo": "contracts.model",
    "responsibilities": "contracts.model",
    "Options": "contracts.options",
    "later": "contracts.options",
    "searched": "contracts.options",
    "NegativeELBO": "measuring.avalanche_metrics",
    "PosteriorConsistency": "measuring.avalanche_metrics",
    "SampleCounts": "measuring.avalanche_metrics",
    "register_method": "contracts.registry",
    "register_metric": "contracts.registry",
    "register_scenario": "contracts.registry",
    "register_source": "contracts.registry",
    "load_model": "running.saved_model",
    "findings": "functions",
    "leaderboard": "functions",
    "plot": "functions",
    "run": "functions",
    "compare": "reading.compare",
    "score": "running.scoring",
    "Seeds": "seeds",
    "load": "reading.table",
    "Images": "contracts.images",
    "to_unit": "contracts.images",
    "Evaluator": "measuring.evaluator",
    "Measurement": "measuring.measurement",
    "Row": "measuring.rows",
    "Interval": "contracts.stream",
    "Parts": "contracts.stream",
    "ScenarioConfig": "contracts.stream",
    "Stream": "contracts.stream",
    "images_of": "contracts.stream",
    "make_stream": "contracts.stream",
    "GenerativeTemplate": "training.template",
    "count_state": "training.counting",
    "interval_steps": "training.counting",
    "negative_elbo_loss": "training.template",
    "add_term": "training.traces",
    "trace_term": "training.traces",
}
# A literal, which type checkers read: without it they refuse to import these names from here.
__all__ = [
    "Bound",
    "Evaluator",
    "GateError",
    "GenerativeModel",
    "GenerativeTemplate",
    "Images",
    "InputError",
    "Interval",
    "LabelledData",
    "LogWeights",
    "Measurement",
    "Method",
    "NegativeELBO",
    "Options",
    "Parts",
    "PosteriorConsistency",
    "Row",
    "SampleCounts",
    "ScenarioConfig",
    "Seeds",
    "Source",
    "Stream",
    "add_term",
    "brief",
    "check",
    "check_method",
    "compare",
    "count_state",
    "findings",
    "images_of",
    "importance_bound",
    "interval_steps",
    "later",
    "leaderboard",
    "load",
    "load_model",
    "make_stream",
    "negative_elbo",
    "negative_elbo_loss",
    "plot",
    "register_method",
    "register_metric",
    "register_scenario",
    "register_source",
    "responsibilities",
    "run",
    "score",
    "searched",
    "source",
    "to_unit",
    "trace_term",
    "unknown",
]

_moved.install()


def __getattr__(name: str) -> Any:
    # Importing the package must stay cheap: half of these need torch and Avalanche, ten seconds on a cold start.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""lifegen's harness. Import what you need from here: each name is loaded when it is first used.

For whoever adds a method: ``Method``, ``register_method``, ``GenerativeModel``, ``GenerativeTemplate``, ``Seeds``,
``images_of``, ``count_state``, ``interval_steps``, ``check``, ``check_method``.
For whoever adds a scenario: ``ScenarioConfig``, ``Stream``, ``make_stream``, ``register_scenario``, ``source``.
For whoever adds a data source: ``Source``, ``LabelledData``, ``register_source``.
For whoever adds a metric: ``Measurement``, ``Row``, ``register_metric``.
For whoever reads results: ``load``, ``load_model``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import source
    from .checks.check import check
    from .checks.method import GateError, check_method
    from .data_sources import LabelledData, Source
    from .errors import InputError, brief, unknown
    from .images import Images, to_unit
    from .measures import Measurement, Row
    from .method import Method
    from .model import Bound, GenerativeModel, LogWeights, importance_bound, negative_elbo, responsibilities
    from .options import Options
    from .plugin_metrics import NegativeELBO, PosteriorConsistency, SampleCounts
    from .registry import register_method, register_metric, register_scenario, register_source
    from .saved_model import load_model
    from .seeds import Seeds
    from .store import load
    from .stream import Interval, Parts, ScenarioConfig, Stream, images_of, make_stream
    from .template import GenerativeTemplate, count_state, interval_steps, negative_elbo_loss

_HOME = {
    "source": "catalogue",
    "LabelledData": "data_sources",
    "Source": "data_sources",
    "InputError": "errors",
    "brief": "errors",
    "unknown": "errors",
    "check": "checks.check",
    "GateError": "checks.method",
    "check_method": "checks.method",
    "Method": "method",
    "Bound": "model",
    "GenerativeModel": "model",
    "LogWeights": "model",
    "importance_bound": "model",
    "negative_elbo": "model",
    "responsibilities": "model",
    "Options": "options",
    "NegativeELBO": "plugin_metrics",
    "PosteriorConsistency": "plugin_metrics",
    "SampleCounts": "plugin_metrics",
    "register_method": "registry",
    "register_metric": "registry",
    "register_scenario": "registry",
    "register_source": "registry",
    "load_model": "saved_model",
    "Seeds": "seeds",
    "load": "store",
    "Images": "images",
    "to_unit": "images",
    "Measurement": "measures",
    "Row": "measures",
    "Interval": "stream",
    "Parts": "stream",
    "ScenarioConfig": "stream",
    "Stream": "stream",
    "images_of": "stream",
    "make_stream": "stream",
    "GenerativeTemplate": "template",
    "count_state": "template",
    "interval_steps": "template",
    "negative_elbo_loss": "template",
}
# A literal, which type checkers read: without it they refuse to import these names from here.
__all__ = [
    "Bound",
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
    "brief",
    "check",
    "check_method",
    "count_state",
    "images_of",
    "importance_bound",
    "interval_steps",
    "load",
    "load_model",
    "make_stream",
    "negative_elbo",
    "negative_elbo_loss",
    "register_method",
    "register_metric",
    "register_scenario",
    "register_source",
    "responsibilities",
    "source",
    "to_unit",
    "unknown",
]


def __getattr__(name: str) -> Any:
    # Importing the package must stay cheap: half of these need torch and Avalanche, ten seconds on a cold start.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Facts on metrics for readers: of installed metrics, and of others from the records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..discovery.index import describe

TERM = "loss_"
"""Beginning of the names of traces that no metric is registered for: terms that plugins added to the loss."""


class MetricFacts(BaseModel):
    """A metric's facts for tables and figures."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    over_intervals: Literal["last", "mean", "sum", "max"] = "last"
    """How a cell's one number is made from the values per interval."""
    over_seeds: Literal["mean", "median"] = "mean"
    """What tables show of a method's seeds: the mean with its interval, or the median without one."""
    derived: bool = False
    """Whether it is computed from the stored matrix."""
    most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The best value; higher ones rank as this one."""
    of_samples: bool = False
    """Whether its values depend on the expert that looked at samples."""
    summary: str = ""


def metric_facts(facts: Mapping[str, Any]) -> MetricFacts | None:
    """Read a metric's registered facts from a record or a published folder; None if they can't be read."""
    try:
        return MetricFacts.model_validate(facts)
    except ValidationError:
        return None


def installed_metrics() -> dict[str, MetricFacts]:
    """Return the facts of the installed, usable metrics, by name."""
    metrics = {}
    for name, entry in describe("metric").items():
        if not entry.error and (facts := metric_facts({**entry.facts, "summary": entry.summary})):
            metrics[name] = facts
    return metrics

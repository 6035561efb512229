"""What readers need to know of a metric: from the installed ones, or from what records say of others. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..discovery.index import describe


class MetricFacts(BaseModel):
    """A metric as tables and figures use it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    over_intervals: Literal["last", "sum", "max"] = "last"
    """How one number of a whole cell comes from the values per interval."""
    derived: bool = False
    """Whether it is computed from the stored matrix."""
    most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The value that is as good as it gets: what lies above ranks as it."""
    summary: str = ""


def metric_facts(facts: Mapping[str, Any]) -> MetricFacts | None:
    """A metric's facts as they were registered, from a record or a published folder; None if they aren't any."""
    try:
        return MetricFacts.model_validate(facts)
    except ValidationError:
        return None


def installed_metrics() -> dict[str, MetricFacts]:
    """The metrics that are installed and can be used, by name."""
    found = {}
    for name, entry in describe("metric").items():
        if not entry.error and (facts := metric_facts({**entry.facts, "summary": entry.summary})):
            found[name] = facts
    return found

"""Quality against the steps of an interval, over scenarios that differ in nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from ...cells.spec import parse_spec
from ...errors import InputError
from ...reading.scores import Scores
from .drawing import Drawing, Scene, estimates, seeds_note
from .ends import curve_panels
from .layout import limits, log_axis

_QUALITY = "negative_elbo"


def budget(scores: Scores, scene: Scene) -> Iterator[Drawing]:
    """Negative ELBO at the end against the steps of an interval, a line per method.

    Raises:
        InputError: no two scenarios differ in their steps alone.
    """
    final = scores.numbers[scores.numbers["metric"] == _QUALITY].dropna(subset="value")
    lengths = {label: length for label in final["scenario"].unique() if (length := _length(label))}
    final = final[final["scenario"].isin(lengths)]
    final = final.assign(
        steps=[lengths[label][1] for label in final["scenario"]],
        family=[lengths[label][0] for label in final["scenario"]],
    )
    families = [(str(family), of) for family, of in final.groupby("family") if len(of["steps"].unique()) > 1]
    if not families:
        raise InputError("no two scenarios differ in their steps alone")
    for i, (family, of) in enumerate(families):
        of_family = replace(scene, scenario=family.partition(" ")[0])
        yield _drawing(of_family, f"budget-{i + 1}" if i else "budget", of)


def _length(label: str) -> tuple[str, int] | None:
    """A scenario's name with its other options, and its steps; None if it isn't installed here, or has no steps."""
    try:
        spec = parse_spec("scenario", label)
    except InputError:
        return None
    others = {key: value for key, value in spec.config.items() if key != "steps"}
    steps = spec.config.get("steps")
    if not isinstance(steps, int) or spec.config.get("passes") is not None:
        return None
    return f"{spec.name} {json.dumps(others, sort_keys=True)}", steps


def _drawing(scene: Scene, name: str, final: pd.DataFrame) -> Drawing:
    table = estimates(final, ["method", "steps"], "value")
    figure, panels, ends = curve_panels(scene, sorted(table["method"].unique()))
    panel = panels[0, 0]
    panel.set(xlabel="steps an interval", ylabel=scene.axis_label(_QUALITY), ylim=limits(table["mean"]))
    log_axis(panel, "x", table["steps"].max() / table["steps"].min())
    is_cut, points = False, {}
    for method, group in table.groupby("method"):
        is_cut |= ends.curve(panel, str(method), group["steps"], group)
        points[str(method)] = tuple(group[["steps", "mean"]].iloc[-1])
    ends.label(panel, points)
    title = "negative ELBO after the last interval, against the steps of an interval"
    return scene.drawing(name, figure, title, seeds_note(table["n"], is_cut), table, "budget")

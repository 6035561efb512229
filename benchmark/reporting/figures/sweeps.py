"""Figures of a numeric option in which variants of one method differ."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from ...reading.current import CurrentCell
from .drawing import Drawing, Scene, estimates, in_words, seeds_note
from .ends import curve_panels
from .heat_maps import spread_ticks
from .layout import limits, text_width

_METRICS = ("components", "negative_elbo")
_COMMA = re.compile(r",(?![^\[]*\])")  # not inside a list


def options(scene: Scene) -> Iterator[Drawing]:
    """Components at the end, where a model has several, and the negative ELBO against each option that variants of a
    method differ in by a number.
    """
    for option, sweep in sweeps(scene).items():
        metrics = [metric for metric in _METRICS if sweep[metric].notna().any()]
        if "components" in metrics and sweep["components"].max() <= 1:
            metrics.remove("components")
        if metrics:
            yield _drawing(scene, option, sweep, metrics)


def sweeps(scene: Scene) -> dict[str, pd.DataFrame]:
    """A table for each option in which variants differ only by a number: a row per cell, with the columns method
    (without this option), level, components and negative_elbo.
    """
    by_method: defaultdict[tuple[str, str], list[CurrentCell]] = defaultdict(list)
    for cell in scene.cells:
        by_method[cell.record["method"]["name"], cell.record["precision"]].append(cell)
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for cells in by_method.values():
        for option, variants in _variants(cells):
            for cell, level in variants:
                values = (cell.numbers.get(metric) for metric in _METRICS)
                rows[option].append((_without(cell, option), level, *values))
    return {option: pd.DataFrame(rows[option], columns=["method", "level", *_METRICS]) for option in sorted(rows)}


def _variants(cells: list[CurrentCell]) -> Iterator[tuple[str, list[tuple[CurrentCell, float]]]]:
    """Each option, with the cells of one method that differ in it alone and their numbers."""
    configs = [cell.record["method"]["config"] for cell in cells]
    names = dict.fromkeys(option for config in configs for option in config)
    texts = [{option: json.dumps(config.get(option), sort_keys=True) for option in names} for config in configs]
    varied = [option for option in names if len({text[option] for text in texts}) > 1]
    for option in varied:
        by_rest: defaultdict[tuple[str, ...], list[tuple[CurrentCell, float]]] = defaultdict(list)
        for cell, config, text in zip(cells, configs, texts, strict=True):
            if (level := _number(config.get(option))) is not None:
                by_rest[tuple(text[other] for other in varied if other != option)].append((cell, level))
        for variants in by_rest.values():
            if len({level for _, level in variants}) > 1:
                yield option, variants


def _number(value: Any) -> float | None:
    """An option's value as a number; None if it isn't one. JSON has no infinity: options say it in a word."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    is_number = math.isinf(number) if isinstance(value, str) else not math.isnan(number)
    return number if is_number else None


def _without(cell: CurrentCell, option: str) -> str:
    """A cell's method as figures name it, without one of its options."""
    label = str(cell.record["method"]["label"])
    name, _, text = label.partition(":")
    rest = ",".join(part for part in _COMMA.split(text) if part and not part.startswith(f"{option}="))
    return name + (f":{rest}" if rest else "") + cell.method.removeprefix(label)


def _drawing(scene: Scene, option: str, sweep: pd.DataFrame, metrics: list[str]) -> Drawing:
    """A panel for each metric; the levels at equal distances, since the last may be infinite."""
    tables = {
        metric: estimates(sweep.dropna(subset=[metric]), ["method", "level"], metric).assign(metric=metric)
        for metric in metrics
    }
    levels = sorted(sweep["level"].unique())
    names = [f"{level:g}".replace("inf", "∞") for level in levels]
    methods = sorted(sweep["method"].unique())
    figure, panels, ends = curve_panels(scene, methods, (1, len(metrics)), wide=len(metrics) > 1)
    is_cut = False
    for panel, (metric, table) in zip(panels[0], tables.items(), strict=True):
        panel.set(xlabel=in_words(option), ylabel=scene.axis_label(metric), ylim=limits(sweep[metric].dropna()))
        points = {}
        for method, group in table.groupby("method"):
            at = [levels.index(level) for level in group["level"]]
            is_cut |= ends.curve(panel, str(method), at, group)
            points[str(method)] = at[-1], group["mean"].iloc[-1]
        ends.label(panel, points)
        space = 0.8 * figure.get_figwidth() / len(metrics) / len(levels)
        ticks = spread_ticks(len(levels), max(text_width(name, scene.style.font) for name in names), space)
        panel.set_xticks(ticks, [names[i] for i in ticks])
        if metric == "components":
            panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    data = pd.concat(tables.values()).rename(columns={"level": option})
    what = f"{' and '.join(map(in_words, metrics))} after the last interval, against {in_words(option)}"
    return scene.drawing(f"options-{option}", figure, what, seeds_note(data["n"], is_cut), data, "options")

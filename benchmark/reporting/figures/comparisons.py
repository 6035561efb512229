"""Figures that compare methods after the last interval: quality, forgetting, and the cost of quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .drawing import (
    Drawing,
    Scene,
    canvas,
    estimates,
    in_words,
    limits,
    line_handle,
    log_axis,
    point_handle,
    seeds_note,
    text_width,
)
from .heat_maps import heat_map, spread_ticks
from .matrix import final_forgetting
from .style import look

_QUALITY = "negative_elbo"
_NUMBER_BYTES = 4
"""Bytes of a stored number, a float32. A stored image takes one byte a pixel and channel."""


def final(scene: Scene) -> Iterator[Drawing]:
    """Negative ELBO and forgetting after the last interval: a row per method, best first, with its seeds as small dots
    and its 95 % t interval; the references also as vertical lines.
    """
    metrics = [metric for metric in (_QUALITY, "forgetting") if _has(scene, metric)]
    if _QUALITY not in metrics:
        return
    data = pd.concat([_final(scene, metric).assign(metric=metric) for metric in metrics])
    order = _best_first(data[data["metric"] == _QUALITY])
    figure, panels = canvas(scene, shape=(1, len(metrics)), wide=len(metrics) > 1, height=_rows_height(scene, order),
                            sharey=True)  # fmt: skip
    for panel, metric in zip(panels[0], metrics, strict=True):
        for reference, method in (
            scene.final[["reference", "method"]].dropna().drop_duplicates().itertuples(index=False)
        ):
            for mean in data[(data["metric"] == metric) & (data["method"] == method)]["mean"]:
                panel.axvline(mean, color=look(method).colour, linestyle="--", linewidth=0.7 * scene.style.line,
                              label=reference)  # fmt: skip
        _dots(panel, data[data["metric"] == metric], scene, metric, order)
        panel.set(xlabel=scene.axis_label(metric), xlim=limits(scene.final[metric].dropna()))
    _name_rows(panels[0, 0], scene, order)
    seeds = scene.final.melt(["method", "seed"], metrics, "metric").dropna(subset=["value"])
    data = data.assign(
        seeds=[
            " ".join(f"{seed}:{value:.6g}" for seed, value in own[["seed", "value"]].itertuples(index=False))
            for metric, method in data[["metric", "method"]].itertuples(index=False)
            for own in [seeds[(seeds["metric"] == metric) & (seeds["method"] == method)].sort_values("seed")]
        ]
    )
    yield scene.drawing(
        "final", figure, f"{' and '.join(map(in_words, metrics))} after the last interval", seeds_note(data["n"]), data
    )


def forgetting(scene: Scene) -> Iterator[Drawing]:
    """The rise of each distribution's negative ELBO from its best to its last value, and the mean over past ones."""
    table = final_forgetting(scene)
    if table.empty or not _has(scene, "forgetting"):
        return
    parts = estimates(table, ["method", "position", "distribution"])
    means = _final(scene, "forgetting")
    order = _best_first(means)
    grid = parts.pivot_table("mean", "method", "position").loc[order]
    names = parts.drop_duplicates("position").set_index("position")["distribution"]
    figure, panels = canvas(scene, shape=(1, 2), wide=True, height=_rows_height(scene, order), sharey=True)
    left, right = panels[0]
    row = 1.75 * scene.style.font / 72
    label_width = max(text_width(scene.named(method), 0.9 * scene.style.font) for method in order)
    cell = (0.55 * figure.get_figwidth() - 0.7 * label_width) / grid.shape[1]
    colours = heat_map(left, grid.to_numpy(), 0, float(np.nanquantile(grid, 0.95)) or 1, (cell, row), scene.style)
    figure.colorbar(colours, ax=left, label="forgetting (nats)", extend="max", location="left", pad=0.02)
    left.set(xlabel="distribution", aspect="auto")
    need = max(text_width(name, 0.9 * scene.style.font) for name in names) + 0.06
    ticks = spread_ticks(grid.shape[1], need, cell)
    left.set_xticks(ticks, [names[grid.columns[i]] for i in ticks])
    _dots(right, means, scene, "forgetting", order)
    right.axvline(0, color="0.35", linewidth=0.5 * scene.style.line)
    right.set(xlabel="mean over past distributions (nats)", xlim=limits([*scene.final["forgetting"].dropna(), 0]))
    _name_rows(left, scene, order)
    both = pd.concat([parts, means.assign(distribution="mean of the past")]).drop(columns="position")
    what = "forgetting of each distribution after the last interval"
    yield scene.drawing("forgetting", figure, what, seeds_note(means["n"]), both)


def memory(scene: Scene) -> Iterator[Drawing]:
    """Negative ELBO against the megabytes kept, numbers and real images together, with the Pareto front."""
    needed = {"stored_parameters", "stored_samples", _QUALITY}
    if not needed <= set(scene.final.columns):
        return
    images = scene.final["stored_samples"].fillna(0)
    image_bytes = _image_bytes(scene) if images.any() else 0
    if image_bytes is None:
        return
    megabytes = (_NUMBER_BYTES * scene.final["stored_parameters"] + image_bytes * images) / 1e6
    yield from _trade_off(scene, "memory", megabytes, "memory kept at the end (MB)", "quality against memory",
                          across=("upper",))  # fmt: skip


def compute(scene: Scene) -> Iterator[Drawing]:
    """Negative ELBO against the seconds of training, with the Pareto front."""
    if _has(scene, "train_seconds") and _has(scene, _QUALITY):
        label = "training, all intervals (s)"
        # The median, without an interval over seeds: the machine's load decides seconds as well.
        seconds = scene.final.groupby("method")["train_seconds"].transform("median")
        yield from _trade_off(scene, "compute", seconds, label, "quality against time")


def precision_recall(scene: Scene) -> Iterator[Drawing]:
    """Precision of samples against their recall after the last interval, with lines of equal F1."""
    if not (_has(scene, "precision") and _has(scene, "recall")):
        return
    precision, recall = _final(scene, "precision"), _final(scene, "recall")
    data = precision.merge(recall.drop(columns="n"), on="method", suffixes=("", "_recall"))
    floor = next((cell.facts.samples.floor for cell in scene.cells if cell.facts.samples and not cell.hidden), {})
    figure, panels = canvas(scene, list(data["method"]), handle=point_handle)
    axes = panels[0, 0]
    for f in (0.2, 0.4, 0.6, 0.8):
        along = np.linspace(f / (2 - f), 1, 100)  # from a precision of 1 on
        axes.plot(along, f * along / (2 * along - f), color="0.8", linewidth=0.5 * scene.style.line, zorder=0)
        axes.annotate(f"F1 = {f}", (1, f / (2 - f)), color="0.5", fontsize=0.7 * scene.style.font, ha="right", va="top")
    for row in data.itertuples():
        bars: dict[str, Any] = {}
        if not np.isnan(row.low):
            bars = {"xerr": [[row.mean_recall - row.low_recall], [row.high_recall - row.mean_recall]],
                    "yerr": [[row.mean - row.low], [row.high - row.mean]]}  # fmt: skip
        _point(axes, row.method, row.mean_recall, row.mean, bars, scene)
    if {"precision", "recall"} <= floor.keys():
        axes.plot(floor["recall"], floor["precision"], "*", color="0.3", markersize=2 * scene.style.marker)
        axes.annotate("real images", (floor["recall"], floor["precision"]), color="0.3", ha="right", va="bottom",
                      fontsize=0.8 * scene.style.font, xytext=(-4, 4), textcoords="offset points")  # fmt: skip
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="recall of samples", ylabel="precision of samples")
    yield scene.drawing("precision_recall", figure, "precision and recall of samples", seeds_note(data["n"]), data)


def _point(axes: Axes, method: str, x: float, y: float, bars: dict[str, Any], scene: Scene) -> None:
    """Draw a method's point with its intervals."""
    own = look(method)
    axes.errorbar(x, y, **bars, **own.point, linestyle="none", ecolor=own.colour,
                  elinewidth=0.6 * scene.style.line, markersize=1.3 * scene.style.marker)  # fmt: skip


def _trade_off(
    scene: Scene, name: str, cost: pd.Series, label: str, what: str, across: tuple[str, ...] = ()
) -> Iterator[Drawing]:
    """Quality against a cost on a logarithmic axis, with 95 % t intervals along both.

    Args:
        scene: the scenario to draw.
        name: name of the drawing.
        cost: the cost of each row of ``scene.final``.
        label: label of its axis.
        what: content of the figure, in words.
        across: references whose cost isn't measured or means nothing, drawn as horizontal lines.
    """
    cells = scene.final.assign(cost=cost).dropna(subset=["cost", _QUALITY])
    costs, qualities = estimates(cells, ["method"], "cost"), estimates(cells, ["method"], _QUALITY)
    data = costs.merge(qualities.drop(columns="n"), on="method", suffixes=("_cost", ""))
    references = dict(scene.final[["method", "reference"]].dropna().itertuples(index=False))
    data["reference"] = data["method"].map(references)
    shown = ~data["reference"].isin(across)
    if not (data["mean_cost"][shown] > 0).any():
        return
    data["on_front"] = _on_front(data.where(data["reference"].isna())[["mean_cost", "mean"]].to_numpy())
    figure, panels = canvas(
        scene, list(data["method"]),
        handle=lambda method: (line_handle if references.get(method) in across else point_handle)(method),
    )  # fmt: skip
    axes = panels[0, 0]
    xlim = limits(cells["cost"][~cells["reference"].isin(across)], log=True)
    for row in data[~shown].itertuples():
        axes.axhline(row.mean, **look(row.method).line)
    front = data[data["on_front"]].sort_values("mean_cost")
    axes.step([*front["mean_cost"], xlim[1]], [*front["mean"], front["mean"].min()], where="post", color="0.6",
              linewidth=0.8 * scene.style.line, zorder=1)  # fmt: skip
    for row in data[shown].itertuples():
        bars: dict[str, Any] = {}
        if not np.isnan(row.low):
            bars = {"xerr": [[row.mean_cost - row.low_cost], [row.high_cost - row.mean_cost]],
                    "yerr": [[row.mean - row.low], [row.high - row.mean]]}  # fmt: skip
        _point(axes, row.method, row.mean_cost, row.mean, bars, scene)
    log_axis(axes, "x", xlim[1] / xlim[0])
    axes.set(xlim=xlim, ylim=limits(cells[_QUALITY]), xlabel=label, ylabel=scene.axis_label(_QUALITY))
    note = f"{seeds_note(data['n'])}; grey: Pareto front"
    yield scene.drawing(name, figure, what, note, data)


def _on_front(points: np.ndarray) -> np.ndarray:
    """Whether each point is on the Pareto front: no other is as good in both numbers and better in one; less is better.

    Args:
        points: (n, 2); a row with a NaN is never on the front.
    """
    as_good = np.all(points[None] <= points[:, None], axis=2)
    better = np.any(points[None] < points[:, None], axis=2)
    front: np.ndarray = ~np.any(as_good & better, axis=1) & ~np.any(np.isnan(points), axis=1)
    return front


def _image_bytes(scene: Scene) -> int | None:
    """Bytes of one of the scenario's images, one a pixel and channel; None if no cell has a picture."""
    for cell in scene.cells:
        if (originals := scene.pictures(cell).get("originals")) is not None:
            return int(np.prod(originals.shape[-3:]))
    return None


def _has(scene: Scene, metric: str) -> bool:
    return metric in scene.final.columns and bool(scene.final[metric].notna().any())


def _final(scene: Scene, metric: str) -> pd.DataFrame:
    return estimates(scene.final.dropna(subset=[metric]), ["method"], metric)


def _best_first(table: pd.DataFrame) -> list[str]:
    return [str(method) for method in table.sort_values(["mean", "method"])["method"]]


def _rows_height(scene: Scene, methods: list[str]) -> float:
    """Height in inches of the panels of a figure with a row per method."""
    lines = max(scene.named(method).count("\n") for method in methods)
    return ((1.75 + 1.3 * lines) * max(4, len(methods)) + 6) * scene.style.font / 72


def _name_rows(axes: Axes, scene: Scene, methods: list[str]) -> None:
    axes.set_yticks(range(len(methods)), [scene.named(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params("y", length=0)


def _dots(axes: Axes, table: pd.DataFrame, scene: Scene, metric: str, order: list[str]) -> None:
    """Draw a row per method: its seeds as small dots, and the mean with its interval."""
    size = scene.style.marker
    for row in table.itertuples():
        own, at = look(row.method), order.index(row.method)
        seeds = scene.final[scene.final["method"] == row.method][metric].dropna()
        axes.plot(seeds, [at + 0.3] * len(seeds), "o", color=own.colour, alpha=0.6, markersize=0.5 * size,
                  markeredgewidth=0)  # fmt: skip
        if not np.isnan(row.low):
            axes.plot([row.low, row.high], [at, at], color=own.colour, linewidth=scene.style.line)
        axes.plot([row.mean], [at], **own.point, linestyle="none", markersize=1.3 * size)
    axes.grid(visible=False, axis="y")
    axes.tick_params("y", length=0)

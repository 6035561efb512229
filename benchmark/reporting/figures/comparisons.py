"""Figures that compare methods after the last interval: quality, forgetting, and the cost of quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .drawing import REFERENCES, Drawing, Scene, estimates, in_words, seeds_note
from .heat_maps import heat_map, label_columns, labels_height
from .layout import LINE, clipped, fit, limits, log_axis, text_width
from .matrix import final_forgetting
from .panels import canvas, line_handle, point_handle
from .style import Style

_QUALITY = "negative_elbo"
_NAMES = 0.38
"""Share of a figure's width that the names of rows may take."""
_NUMBER_BYTES = 4
"""Bytes of a stored number, a float32. A stored image takes one byte a pixel and channel."""


def final(scene: Scene) -> Iterator[Drawing]:
    """Negative ELBO and forgetting after the last interval: a row per method, best first, with its seeds as small dots
    and its 95 % t interval; the references also as vertical lines.
    """
    metrics = [metric for metric in (_QUALITY, "forgetting") if _has(scene, metric)]
    if _QUALITY in metrics:
        yield _rows(scene, "final", metrics)


def last_values(scene: Scene, metric: str) -> Iterator[Drawing]:
    """A metric after the last interval, as in :func:`final`."""
    if _has(scene, metric):
        yield _rows(scene, metric, [metric])


def _rows(scene: Scene, name: str, metrics: list[str]) -> Drawing:
    """A panel for each metric; the first one orders the rows."""
    data = pd.concat([_final(scene, metric).assign(metric=metric) for metric in metrics])
    facts = scene.metrics.get(metrics[0])
    order = _best_first(data[data["metric"] == metrics[0]], facts.better if facts else None)
    wide = len(metrics) > 1
    names = _row_names(scene, order, wide)
    figure, panels = canvas(scene, shape=(1, len(metrics)), wide=wide, height=_rows_height(scene, names), sharey=True)
    style, is_cut = scene.style, False
    room = (figure.get_figwidth() - _width(names, style)) / len(metrics) - 0.2
    for panel, metric in zip(panels[0], metrics, strict=True):
        for reference, method in (
            scene.final[["reference", "method"]].dropna().drop_duplicates().itertuples(index=False)
        ):
            for mean in data[(data["metric"] == metric) & (data["method"] == method)]["mean"]:
                panel.axvline(mean, **scene.look(method).line, linewidth=0.7 * style.line, label=reference)
                panel.annotate(REFERENCES[reference].strip(), (mean, 1), xycoords=("data", "axes fraction"),
                               color=scene.look(method).colour, ha="center", va="bottom",
                               fontsize=0.7 * scene.style.font)  # fmt: skip
        panel.set(xlabel=fit(scene.axis_label(metric), room, style.font), xlim=limits(scene.final[metric].dropna()))
        is_cut |= _dots(panel, data[data["metric"] == metric], scene, metric, order)
    _name_rows(panels[0, 0], names)
    seeds = scene.final.melt(["method", "seed"], metrics, "metric").dropna(subset=["value"])
    data = data.assign(
        seeds=[
            " ".join(f"{seed}:{value:.6g}" for seed, value in own[["seed", "value"]].itertuples(index=False))
            for metric, method in data[["metric", "method"]].itertuples(index=False)
            for own in [seeds[(seeds["metric"] == metric) & (seeds["method"] == method)].sort_values("seed")]
        ]
    )
    what = f"{' and '.join(map(in_words, metrics))} after the last interval"
    return scene.drawing(name, figure, what, seeds_note(data["n"], is_cut), data, "final")


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
    of_columns = [names[column] for column in grid.columns]
    of_rows = _row_names(scene, order, wide=True)
    style = scene.style
    side = (style.wide - _width(of_rows, style) - 6 * style.font / 72) / 2
    cell = side / grid.shape[1]
    longest = text_width("distributions", style.font)  # a word isn't broken
    label = fit("mean over past distributions (nats)", max(side, longest), style.font)
    below = max(labels_height(of_columns, cell, style), LINE * label.count("\n") * style.font / 72)
    figure, panels = canvas(scene, shape=(1, 2), wide=True, height=_rows_height(scene, of_rows) + below, sharey=True)
    left, right = panels[0]
    row = 1.75 * style.font / 72
    colours = heat_map(left, grid.to_numpy(), 0, float(np.nanquantile(grid, 0.95)) or 1, (cell, row), style)
    figure.colorbar(colours, ax=left, label="forgetting (nats)", extend="max", location="left", pad=0.02)
    left.set(xlabel="distribution", aspect="auto")
    label_columns(left, of_columns, cell, style)
    right.axvline(0, color="0.35", linewidth=0.5 * style.line)
    right.set(xlabel=label, xlim=limits([*scene.final["forgetting"].dropna(), 0]))
    is_cut = _dots(right, means, scene, "forgetting", order)
    _name_rows(left, of_rows)
    both = pd.concat([parts, means.assign(distribution="mean of the past")]).drop(columns="position")
    what = "forgetting of each distribution after the last interval"
    yield scene.drawing("forgetting", figure, what, seeds_note(means["n"], is_cut), both)


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
    f1 = 2 / (1 / data["mean"].clip(lower=1e-9) + 1 / data["mean_recall"].clip(lower=1e-9))
    data = data.loc[f1.sort_values(ascending=False, kind="stable").index]
    floor = next((cell.facts.samples.floor for cell in scene.cells if cell.facts.samples and not cell.hidden), {})
    figure, panels = canvas(scene, list(data["method"]), handle=point_handle)
    axes = panels[0, 0]
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="recall of samples", ylabel="precision of samples")
    is_cut = False
    for f in (0.2, 0.4, 0.6, 0.8):
        along = np.linspace(f / (2 - f), 1, 100)  # from a precision of 1 on
        axes.plot(along, f * along / (2 * along - f), color="0.8", linewidth=0.5 * scene.style.line, zorder=0)
        axes.annotate(f"F1 = {f}", (1, f / (2 - f)), color="0.5", fontsize=0.7 * scene.style.font, ha="right", va="top")
    for row in data.itertuples():
        is_cut |= _point(axes, row.method, (row.mean_recall, row.low_recall, row.high_recall),
                         (row.mean, row.low, row.high), scene)  # fmt: skip
    if {"precision", "recall"} <= floor.keys():
        axes.plot(floor["recall"], floor["precision"], "*", color="0.3", markersize=2 * scene.style.marker)
        axes.annotate("real images", (floor["recall"], floor["precision"]), color="0.3", ha="right", va="bottom",
                      fontsize=0.8 * scene.style.font, xytext=(-4, 4), textcoords="offset points")  # fmt: skip
    note = seeds_note(data["n"], is_cut)
    yield scene.drawing("precision_recall", figure, "precision and recall of samples", note, data)


def _point(
    axes: Axes, method: str, x: tuple[float, float, float], y: tuple[float, float, float], scene: Scene
) -> bool:  # fmt: skip
    """Draw a method's point with its intervals, each a mean with its ends; return whether one goes on beyond the panel.

    The panel has its scales and limits already.
    """
    own, size = scene.look(method), scene.style.marker
    bars: dict[str, Any] = {}
    if not np.isnan(y[1]):
        bars = {"xerr": [[x[0] - x[1]], [x[2] - x[0]]], "yerr": [[y[0] - y[1]], [y[2] - y[0]]]}
    axes.errorbar(x[0], y[0], **bars, **own.point, linestyle="none", ecolor=own.colour,
                  elinewidth=0.6 * scene.style.line, markersize=1.3 * size)  # fmt: skip
    return clipped(axes, "x", y[:1], x[1:2], x[2:], own.colour, size) | clipped(
        axes, "y", x[:1], y[1:2], y[2:], own.colour, size
    )


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
    data = data.sort_values(["on_front", "mean"], ascending=[False, True])
    shown, front = shown[data.index], data[data["on_front"]].sort_values("mean_cost")
    on_front = list(front["method"])
    style = scene.style
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": 2.3 * style.marker,
        "markerfacecolor": "none",
        "markeredgecolor": "0.25",
    }
    line: dict[str, Any] = {"color": "0.25", "linewidth": 0.8 * style.line, "markeredgewidth": 0.7 * style.line}
    figure, panels = canvas(
        scene, list(data["method"]), bold=on_front,
        handle=lambda scene, method: (line_handle if references.get(method) in across else point_handle)(scene, method),
        first=Line2D([], [], **ring, **line, label="Pareto front") if on_front else None,
    )  # fmt: skip
    axes = panels[0, 0]
    xlim = limits(cells["cost"][~cells["reference"].isin(across)], log=True)
    log_axis(axes, "x", xlim[1] / xlim[0])
    axes.set(xlim=xlim, ylim=limits(cells[_QUALITY]), xlabel=label, ylabel=scene.axis_label(_QUALITY))
    for row in data[~shown].itertuples():
        axes.axhline(row.mean, **scene.look(row.method).line)
    axes.step([*front["mean_cost"], xlim[1]], [*front["mean"], front["mean"].min()], where="post", zorder=1, **line)
    axes.plot(front["mean_cost"], front["mean"], linestyle="none", zorder=3, **ring,
              markeredgewidth=0.7 * style.line)  # fmt: skip
    is_cut = False
    for row in data[shown].itertuples():
        is_cut |= _point(axes, row.method, (row.mean_cost, row.low_cost, row.high_cost), (row.mean, row.low, row.high),
                         scene)  # fmt: skip
    note = f"{seeds_note(data['n'], is_cut)}; bold: on the Pareto front"
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


def _best_first(table: pd.DataFrame, better: str | None = "lower") -> list[str]:
    by = table.assign(mean=-table["mean"] if better == "higher" else table["mean"])
    return [str(method) for method in by.sort_values(["mean", "method"])["method"]]


def _row_names(scene: Scene, methods: list[str], wide: bool) -> list[str]:
    """The names of rows, in a figure that has them at its left."""
    return [scene.named(method, _NAMES * (scene.style.wide if wide else scene.style.width)) for method in methods]


def _width(names: list[str], style: Style) -> float:
    """Inches of the names of rows."""
    return max(text_width(name, 0.9 * style.font) for name in names)


def _rows_height(scene: Scene, names: list[str]) -> float:
    """Height in inches of the panels of a figure with a row per method."""
    lines = max(name.count("\n") for name in names)
    return ((1.75 + LINE * lines) * max(4, len(names)) + 6) * scene.style.font / 72


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params("y", length=0)


def _dots(axes: Axes, table: pd.DataFrame, scene: Scene, metric: str, order: list[str]) -> bool:
    """Draw a row per method: its seeds as small dots, and the mean with its interval; return whether one goes on beyond
    the panel, which has its limits already.
    """
    size, is_cut = scene.style.marker, False
    for row in table.itertuples():
        own, at = scene.look(row.method), order.index(row.method)
        seeds = scene.final[scene.final["method"] == row.method][metric].dropna()
        axes.plot(seeds, [at + 0.3] * len(seeds), "o", color=own.colour, alpha=0.6, markersize=0.5 * size,
                  markeredgewidth=0)  # fmt: skip
        if not np.isnan(row.low):
            axes.plot([row.low, row.high], [at, at], color=own.colour, linewidth=scene.style.line)
        axes.plot([row.mean], [at], **own.point, linestyle="none", markersize=1.3 * size)
        is_cut |= clipped(axes, "x", [at], [row.low], [row.high], own.colour, size)
    axes.grid(visible=False, axis="y")
    axes.tick_params("y", length=0)
    return is_cut

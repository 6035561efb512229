"""Figures over the stream: metrics against intervals and steps."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import EngFormatter, MaxNLocator

from .drawing import Drawing, Scene, estimates, in_words, seeds_note
from .ends import Ends, curve_panels
from .layout import fit, limits, log_axis, panel_title, whole_numbers
from .panels import FEW, canvas

_OWN_KIND = ("components",)
"""Metrics with their own kind of figure, which are left out of the other curves."""


def curves(scene: Scene) -> Iterator[Drawing]:
    """Each metric against the interval: the mean over seeds, with its 95 % t interval as a band.

    A method of one interval is a horizontal line. A trace has a point at each of its steps, spread over the interval.
    """
    # Samples are compared with the distributions met so far, since those to come hide what is lost.
    measured = set(scene.unions["metric"])
    metrics = {name for name, facts in scene.metrics.items() if facts.of_samples and name in measured}
    for metric, rows in scene.unions.groupby("metric"):
        if (
            metric not in _OWN_KIND
            and f"{metric}_seen" not in metrics
            and rows.groupby("method")["interval"].nunique().max() > 1
            and rows["value"].min() < rows["value"].max()
        ):
            yield _curve(scene, str(metric), rows, "curves")


def curve(scene: Scene, metric: str) -> Iterator[Drawing]:
    """One metric against the interval, whatever its values are; none where it is measured once."""
    rows = scene.unions[scene.unions["metric"] == metric].dropna(subset="value")
    if not rows.empty and rows.groupby("method")["interval"].nunique().max() > 1:
        yield _curve(scene, metric, rows, "curves")


def components(scene: Scene) -> Iterator[Drawing]:
    """Components of the model against the interval, where some method has more than one."""
    rows = scene.unions[scene.unions["metric"] == "components"]
    if not rows.empty and rows["value"].max() > 1 and rows["interval"].max() > 0:
        yield _curve(scene, "components", rows, "components")


def consistency(scene: Scene) -> Iterator[Drawing]:
    """Consistency and retention of codes, beside the number of codes in use: a code that says nothing is perfectly
    consistent.
    """
    rows = scene.several
    parts = {metric: rows[rows["metric"] == metric]
             for metric in ("posterior_consistency_past", "code_retention", "code_perplexity")}  # fmt: skip
    parts = {metric: part for metric, part in parts.items() if not part.empty}
    if len(parts) < 2:
        return
    data = {metric: estimates(part, ["method", "interval"]) for metric, part in parts.items()}
    together = pd.concat([table.assign(metric=metric) for metric, table in data.items()])
    figure, panels, ends = curve_panels(scene, _from_the_top(together), (1, len(parts)), wide=True)
    width = 0.62 * figure.get_figwidth() / len(parts)
    is_cut = False
    for panel, (metric, table) in zip(panels[0], data.items(), strict=True):
        panel.set(xlabel="after interval", ylim=limits(parts[metric]["value"]))
        is_cut |= _lines(panel, ends, table, table["interval"])
        panel_title(panel, scene.axis_label(metric), width, scene.style)
        whole_numbers(panel, 0.8 * width, scene.style)
    note = seeds_note(together["n"], is_cut)
    yield scene.drawing("consistency", figure, "do codes keep their meaning?", note, together)


def samples_needed(scene: Scene) -> Iterator[Drawing]:
    """Real and synthetic images that training took in each interval (paper, figure 7)."""
    rows = scene.several
    rows = rows[rows["metric"].isin(["real_samples", "synthetic_samples"])]
    if rows.empty:
        return
    data = estimates(rows, ["metric", "method", "interval"])
    figure, panels, ends = curve_panels(scene, _from_the_top(data), (1, 2), wide=True, sharey=True)
    panels[0, 0].set(ylabel="images in training", ylim=limits(rows["value"]))
    is_cut = False
    for panel, metric in zip(panels[0], ("real_samples", "synthetic_samples"), strict=True):
        table = data[data["metric"] == metric]
        is_cut |= _lines(panel, ends, table, table["interval"])
        panel.set(xlabel="interval", title=in_words(metric))
        whole_numbers(panel, 0.35 * figure.get_figwidth(), scene.style)
    panels[0, 0].yaxis.set_major_formatter(EngFormatter(sep=""))
    note = seeds_note(data["n"], is_cut)
    yield scene.drawing("samples_needed", figure, "images that each interval took", note, data)


def gradient_norm_steps(scene: Scene) -> Iterator[Drawing]:
    """The gradient's norm against the step, one curve per interval from dark (first) to light, one panel per method
    (paper, figure 4c): means over seeds, smoothed by a running median over a tenth of an interval.
    """
    rows = scene.several
    rows = rows[rows["metric"] == "gradient_norm"]
    if rows.empty:
        return
    data = rows.groupby(["method", "interval", "step"])["value"].agg(n="count", mean="mean").reset_index()
    data["smooth"] = data.groupby(["method", "interval"])["mean"].transform(
        lambda mean: mean.rolling(max(1, len(mean) // 10), min_periods=1, center=True).median()
    )
    methods = list(data["method"].unique())
    style = scene.style
    columns = min(4, len(methods))
    lines = -(-len(methods) // columns)
    tall = style.height if lines == 1 else 0.72 * style.height * lines
    figure, panels = canvas(scene, shape=(lines, columns), wide=columns > 1, height=tall, sharey=True)
    shades = ScalarMappable(Normalize(0, int(data["interval"].max())), matplotlib.colormaps["viridis"])
    for panel, method in zip(panels.flat, methods, strict=False):
        for interval, group in data[data["method"] == method].groupby("interval"):
            panel.plot(group["step"], group["smooth"], color=shades.to_rgba(interval), linewidth=0.6 * style.line)
        panel_title(panel, scene.named(method), 0.8 * figure.get_figwidth() / columns, style)
    for panel in panels.flat[len(methods) :]:
        panel.remove()
    for i in range(len(methods)):
        if i + columns >= len(methods):
            panels.flat[i].set_xlabel("step")
        log_axis(panels.flat[i], "y", data["smooth"].max() / data["smooth"].min())
    for line in panels:
        line[0].set_ylabel("gradient norm")
    figure.colorbar(shades, ax=panels[:, -1].tolist() if len(methods) == panels.size else list(figure.axes),
                    label="interval", ticks=MaxNLocator(integer=True), aspect=12 * lines + 10)  # fmt: skip
    what = "gradient norm in each interval, smoothed"
    note = seeds_note(data["n"]).partition(",")[0]
    yield scene.drawing("gradient_norm_steps", figure, what, note, data)


def _curve(scene: Scene, metric: str, rows: pd.DataFrame, kind: str) -> Drawing:
    is_trace = bool(rows["step"].notna().any())
    by = ["method", "interval", "step"] if is_trace else ["method", "interval"]
    data = estimates(rows, by)
    figure, panels, ends = curve_panels(scene, sorted(data["method"].unique()))
    axes = panels[0, 0]
    label = fit(scene.axis_label(metric), ends.height, scene.style.font)
    axes.set(xlabel="after interval", ylabel=label, ylim=limits(rows["value"]))
    at = _between_intervals(data) if is_trace else data["interval"]
    is_cut = _lines(axes, ends, data, at, markers=not is_trace)
    whole_numbers(axes, 0.6 * scene.style.width, scene.style)
    if rows["value"].abs().max() >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))  # 300k
    seeds = rows.groupby("method")["seed"].nunique()
    what = f"{in_words(metric)} {'at the steps of' if is_trace else 'after'} each interval"
    return scene.drawing(metric, figure, what, seeds_note(seeds, is_cut), data, kind)


def _from_the_top(data: pd.DataFrame) -> list[str]:
    """The methods of a figure with several panels, by their last values in the first panel that has them."""
    last = data.groupby(["metric", "method"], sort=False)["mean"].last()
    first: dict[str, tuple[int, float]] = {}
    for place, metric in enumerate(dict.fromkeys(data["metric"])):
        for method, mean in last[metric].items():
            first.setdefault(str(method), (place, -mean))
    return sorted(first, key=lambda method: (first[method], method))


def _lines(axes: Axes, ends: Ends, data: pd.DataFrame, at: pd.Series, markers: bool = True) -> bool:
    """Draw each method's means as a curve in a band of intervals, with its name at its end; a method with a single
    interval is a horizontal line. Where a method has no value there is a gap.

    Args:
        axes: the panel, with its vertical limits.
        ends: writes the names.
        data: a table with the columns method, interval, mean, low and high.
        at: where each of its rows lies on the horizontal axis.
        markers: whether curves have markers.

    Returns:
        whether an interval goes on beyond the panel.
    """
    last, is_cut = at.max(), False
    alpha = 0.2 if data["method"].nunique() <= FEW else 0.07
    points = {}
    for method, group in data.assign(at=at).groupby("method"):
        points[str(method)] = tuple(group.dropna(subset="mean")[["at", "mean"]].iloc[-1])
        if group["at"].tolist() == [0] and last > 0:
            group = pd.concat([group, group.assign(at=last)])
            points[str(method)] = last, points[str(method)][1]
        elif markers:
            intervals = range(int(group["at"].min()), int(group["at"].max()) + 1)
            group = group.set_index("at").reindex(intervals).reset_index()
        every = -(-len(group) // 15) if len(group) > 20 and group["mean"].notna().all() else 1
        is_cut |= ends.curve(axes, str(method), group["at"], group, alpha, every if markers else None)
    ends.label(axes, points)
    return is_cut


def _between_intervals(data: pd.DataFrame) -> pd.Series:
    """The positions of a trace's steps on the axis of intervals: those of interval i lie between i − 1 and i. The steps
    of a method with one interval fill the axis.
    """
    by_method = data.groupby("method")
    share = data["step"] / (by_method["step"].transform("max") + 1)
    only = by_method["interval"].transform("max") == 0
    return data["interval"] - 1 + share * np.where(only, data["interval"].max() + 1, 1)

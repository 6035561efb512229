"""Figures, drawn from a store alone. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure  # not pyplot: whoever imports this keeps his own backend
from matplotlib.ticker import EngFormatter, MaxNLocator

from .catalogue import describe, shown
from .errors import InputError
from .grids import reconstructions, sample_grid, style_grids
from .statistics import mean_interval
from .store import Store

# Colours that the colour-blind can tell apart: seaborn's for the paper's methods, Paul Tol's for all others.
_PALETTE = sns.color_palette("colorblind").as_hex()
_COLOURS = {
    "lifelong-vae": _PALETTE[0],
    "generative-replay": _PALETTE[1],
    "batch": _PALETTE[2],
    "naive": _PALETTE[7],
}
_OTHERS = ("#882255", "#56b4e9", "#999933", "#ee6677", "#332288", "#117733", "#cc78bc", "#661100", "#44aa99", "#ddaa33")

PICTURES = ("samples", "reconstructions", "style_grid", "gradient_norm_steps", "samples_needed", "thresholds")
"""Figures beside the curves of metrics."""


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method: fixed for the paper's four; for any other by its name's hash, or the next one that
    fewer in the store have."""
    chosen = {method: str(_COLOURS[method]) for method in sorted(methods) if method in _COLOURS}
    for method in sorted(set(methods) - set(chosen)):
        start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
        order = [_OTHERS[(start + i) % len(_OTHERS)] for i in range(len(_OTHERS))]
        taken = list(chosen.values())
        chosen[method] = min(order, key=taken.count)  # the first of those that the fewest have
    return chosen


def marker(method: str, palette: Mapping[str, str]) -> str:
    """A method's marker: a circle, or another one for each further method that has the same colour."""
    same = [other for other in sorted(palette) if palette[other] == palette[method]]
    return "osD^vP"[same.index(method) % 6]


def plot(store: Store, folder: Path, formats: tuple[str, ...] = ("png",)) -> list[Path]:
    """Draw every figure that the store has the data for: each metric against the interval, and :data:`PICTURES`.

    Args:
        store: where the cells are.
        folder: where figures go, in one folder per scenario.
        formats: file endings that matplotlib knows.

    Returns:
        the files written.

    Raises:
        InputError: there is nothing to draw, or the folder can't be written to.
    """
    table = store.table()
    if table.empty:
        raise InputError(f"{store.path} has no finished cell yet; `lifegen run --out {store.path}` goes on with it")
    units = {name: entry.facts["unit"] for name, entry in describe("metric").items()}
    palette = colours(table["method"].unique())
    files: list[Path] = []
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        for scenario, rows in table.groupby("scenario"):
            target = folder / _file_name(str(scenario))
            try:
                target.mkdir(parents=True, exist_ok=True)
                for metric, chosen in rows[rows["distribution"].isna()].groupby("metric"):
                    if chosen.groupby("method")["interval"].nunique().max() > 1:  # else the table says it all
                        unit = f" ({units[metric]})" if units.get(metric) else ""
                        figure = curve(chosen, f"{_words(str(metric))}{unit}", str(scenario), palette)
                        files += _save(figure, target / str(metric), formats)
                unions = rows[rows["distribution"].isna() & (rows.groupby("cell")["interval"].transform("max") > 0)]
                traces = unions[unions["metric"] == "gradient_norm"]
                if not traces.empty:
                    files += _save(gradient_norms(traces, str(scenario)), target / "gradient_norm_steps", formats)
                counts = unions[unions["metric"].isin(["real_samples", "synthetic_samples"])]
                if not counts.empty:
                    files += _save(samples_needed(counts, str(scenario), palette), target / "samples_needed", formats)
                sweep = _threshold_sweep(store, rows)
                if len(sweep["threshold"].unique()) > 1:
                    files += _save(thresholds(sweep, str(scenario)), target / "thresholds", formats)
                files += _pictures(store, rows, target, formats)
            except OSError as error:
                raise InputError(f"{target} can't be written to: {error.strerror or error}") from None
    return files


def curve(rows: pd.DataFrame, label: str, title: str, palette: Mapping[str, str]) -> Figure:
    """One metric against the interval: the mean over seeds, with its 95 % t interval as a band.

    A method of one interval is a horizontal line. A trace has a point at each of its steps, spread over the interval.

    Args:
        rows: of one metric and scenario, of the union of distributions.
        label: of the metric's axis.
        title: of the figure; the number of seeds is added.
        palette: a colour for each method.
    """
    figure, axes = _axes(rows)
    is_trace = rows["step"].notna().any()
    rows = rows.assign(x=_between_intervals(rows) if is_trace else rows["interval"])
    for method, group in rows.groupby("method"):
        style: dict[str, Any] = {"color": palette[str(method)], "label": shown(str(method))}
        if not is_trace:
            style |= {"marker": marker(str(method), palette), "markersize": 4}
        at, estimates = _estimates(group, "x")
        if at.tolist() == [0] and rows["interval"].max() > 0:
            at = np.array([0, rows["interval"].max()])
            estimates = pd.concat([estimates, estimates])
            style |= {"linestyle": "--", "marker": None}
        _band(axes, at, estimates, **style)
    seeds = rows.groupby("method")["seed"].nunique()
    n = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    what = "one seed" if seeds.max() == 1 else f"mean of {n} seeds, 95 % interval"
    axes.set(xlabel="after interval", ylabel=label, ylim=_limits(rows["value"]))
    _set_title(axes, f"{title} ({what})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if rows["value"].abs().max() >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))  # 300k
    _legend(axes)
    return figure


def _axes(rows: pd.DataFrame) -> tuple[Figure, Any]:
    """Axes with room for a legend of the methods beside them. The margins are fixed: a layout engine draws everything
    twice."""
    width = 7.5 + 0.085 * rows["method"].map(lambda label: len(shown(label))).max()
    figure = Figure(figsize=(width, 4.5))
    margins = {"left": 0.8 / width, "right": 6.9 / width, "bottom": 0.13, "top": 0.92}
    return figure, figure.subplots(gridspec_kw=margins)


def _legend(axes: Any) -> None:
    """Beside the curves, never on them; many methods in smaller letters."""
    size = min(11.0, 180 / len(axes.get_legend_handles_labels()[1]))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1.03), fontsize=size)


def _set_title(axes: Any, title: str) -> None:
    """A long one in smaller letters: the margins are fixed."""
    axes.set_title(title, fontsize=min(12, 840 / len(title)))


def _limits(values: pd.Series) -> tuple[float, float]:
    """Of an axis that shows every seed's value: the interval of two seeds may reach far beyond, and is cut there."""
    low, high = values.min(), values.max()
    margin = 0.12 * (high - low) or 0.5 * abs(high) or 1
    return low - margin, high + margin


def _estimates(rows: pd.DataFrame, by: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Places on the axis, and at each the mean over seeds with its interval."""
    groups = rows.groupby(by)["value"]
    return np.array(list(groups.groups)), pd.DataFrame([mean_interval(list(one)) for _, one in groups], dtype=float)


def _band(axes: Any, at: np.ndarray, estimates: pd.DataFrame, **style: Any) -> None:
    """A curve of means within their intervals."""
    axes.plot(at, estimates["mean"], **style)
    axes.fill_between(at, estimates["low"], estimates["high"], color=style["color"], alpha=0.2, linewidth=0)


def _between_intervals(rows: pd.DataFrame) -> pd.Series:
    """Where a trace's steps lie: those of interval i between i − 1 and i; a method of one interval fills the axis."""
    by_method = rows.groupby("method")
    share = rows["step"] / (by_method["step"].transform("max") + 1)
    only = by_method["interval"].transform("max") == 0
    return rows["interval"] - 1 + share * np.where(only, rows["interval"].max() + 1, 1)


def gradient_norms(rows: pd.DataFrame, title: str) -> Figure:
    """The gradient's norm against the step, one curve per interval from dark (first) to light, one panel per method
    (paper, figure 4c): means over seeds, smoothed by a running median over a tenth of an interval.

    Args:
        rows: of the metric ``gradient_norm`` and one scenario, of cells of several intervals.
        title: of the figure.
    """
    methods = sorted(rows["method"].unique())
    figure = Figure(figsize=(4 * len(methods) + 1, 3.8), layout="constrained")
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    last = int(rows["interval"].max())
    shades = ScalarMappable(Normalize(0, last), sns.color_palette("viridis", as_cmap=True))
    for panel, method in zip(panels, methods, strict=True):
        for interval, group in rows[rows["method"] == method].groupby("interval"):
            mean = group.groupby("step")["value"].mean()
            smooth = mean.rolling(max(1, len(mean) // 10), min_periods=1, center=True).median()
            panel.plot(smooth.index, smooth, color=shades.to_rgba(interval), linewidth=1)
        panel.set(title=shown(method), xlabel="step", yscale="log")
    panels[0].set_ylabel("gradient norm")
    figure.colorbar(shades, ax=panels, label="interval")
    figure.suptitle(title)
    return figure


def samples_needed(rows: pd.DataFrame, title: str, palette: Mapping[str, str]) -> Figure:
    """Real (solid) and synthetic (dashed) images that training took in each interval (paper, figure 7).

    Args:
        rows: of the metrics ``real_samples`` and ``synthetic_samples`` and one scenario, of cells of several intervals.
        title: of the figure.
        palette: a colour for each method.
    """
    figure, axes = _axes(rows)
    for (method, metric), group in rows.groupby(["method", "metric"]):
        is_real = metric == "real_samples"
        label = shown(str(method)) if is_real else None
        style: dict[str, Any] = {"color": palette[str(method)], "label": label, "linestyle": "-" if is_real else "--"}
        _band(axes, *_estimates(group, "interval"), **style, marker=marker(str(method), palette), markersize=4)
    axes.set(xlabel="interval", ylabel="real (solid), synthetic (dashed)", ylim=_limits(rows["value"]))
    _set_title(axes, title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(axes)
    return figure


def thresholds(sweep: pd.DataFrame, title: str) -> Figure:
    """Components at the end, and the negative ELBO, against the threshold of a growing mixture's novelty test.

    Args:
        sweep: one row per cell, with the columns method (without its threshold), threshold, components and
            negative_elbo.
        title: of the figure; the number of seeds is added.
    """
    levels = sorted(sweep["threshold"].unique())
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, metric, label in zip(
        panels, ("components", "negative_elbo"), ("components at the end", "negative ELBO (nats)"), strict=True
    ):
        for (method, group), shade in zip(sweep.groupby("method"), _PALETTE, strict=False):
            at, estimates = _estimates(group.rename(columns={metric: "value"}), "threshold")
            places = np.array([levels.index(one) for one in at])  # equal distances: the last may be infinite
            _band(panel, places, estimates, color=shade, label=str(method), marker="o", markersize=4)
        panel.set(xlabel="threshold (nats)", ylabel=label, ylim=_limits(sweep[metric]))
        panel.set_xticks(range(len(levels)), [f"{one:g}".replace("inf", "∞") for one in levels])
    panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    if len(sweep["method"].unique()) > 1:
        panels[1].legend(frameon=False)
    seeds = sweep.groupby(["method", "threshold"]).size()
    n = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    figure.suptitle(f"{title} ({'one seed' if seeds.max() == 1 else f'mean of {n} seeds, 95 % interval'})", fontsize=11)
    return figure


def _threshold_sweep(store: Store, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of a method with a threshold; see :func:`thresholds`."""
    unions = rows[rows["distribution"].isna()]
    found = []
    for cell, group in unions.groupby("cell"):
        stored = store.cell(str(cell))
        threshold = stored.record["method"]["config"].get("threshold")
        if threshold is None:
            continue
        last = group[group["interval"] == group["interval"].max()].set_index("metric")["value"]
        label = stored.record["method"]["label"]
        name, _, options = label.partition(":")
        rest = [one for one in options.split(",") if one and not one.startswith("threshold=")]
        method = name + (":" + ",".join(rest) if rest else "") + stored.method.removeprefix(label)
        if {"components", "negative_elbo"} <= set(last.index):
            values = {metric: last[metric] for metric in ("components", "negative_elbo")}
            found.append({"method": method, "threshold": float(threshold), **values})
    return pd.DataFrame(found, columns=["method", "threshold", "components", "negative_elbo"])


def _pictures(store: Store, rows: pd.DataFrame, target: Path, formats: tuple[str, ...]) -> list[Path]:
    """The pictures of each method's first seed."""
    files: list[Path] = []
    for method, group in rows.groupby("method"):
        first = group.loc[group["seed"].idxmin()]
        cell = store.cell(first["cell"])
        file = cell.folder / "pictures.npz"
        if not file.exists():
            continue
        title = f"{shown(str(method))}, seed {first['seed']}"
        with np.load(file, allow_pickle=False) as kept:
            figures = {"samples": sample_grid(kept["samples"], title)}
            if "reconstructions" in kept:
                names = cell.distributions
                figures["reconstructions"] = reconstructions(kept["originals"], kept["reconstructions"], names, title)
            if "style_grid" in kept:
                figures["style_grid"] = style_grids(kept["style_grid"], title)
        for name, figure in figures.items():
            files += _save(figure, target / f"{name}-{_file_name(str(method))}", formats)
    return files


def _words(metric: str) -> str:
    """A metric's name as the label of an axis."""
    return metric.replace("_", " ").replace("elbo", "ELBO").replace("nll", "NLL")


def _save(figure: Figure, path: Path, formats: tuple[str, ...]) -> list[Path]:
    files = [path.with_name(f"{path.name}.{ending}") for ending in formats]
    for file in files:
        figure.savefig(file, dpi=120)
    return files


def _file_name(label: str) -> str:
    """A label with options as a file name."""
    return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in label)

"""Figures, drawn from a store alone. No torch."""

from __future__ import annotations

import colorsys
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure  # not pyplot: whoever imports this keeps his own backend
from matplotlib.ticker import EngFormatter, MaxNLocator

from .catalogue import describe
from .errors import InputError
from .statistics import mean_interval
from .store import Store

# The colour-blind-safe palette of seaborn. A method keeps its colour in every figure, whoever else is in it.
_PALETTE = sns.color_palette("colorblind").as_hex()
_COLOURS = {
    "lifelong-vae": _PALETTE[0],
    "generative-replay": _PALETTE[1],
    "batch": _PALETTE[2],
    "naive": _PALETTE[7],
}


def colour(method: str) -> str:
    """A method's colour, the same in every figure: chosen for lifegen's own, by its name's hash for any other."""
    if method in _COLOURS:
        return str(_COLOURS[method])
    hue = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4]) / 2**32
    return str(to_hex(colorsys.hls_to_rgb(hue, 0.42, 0.6)))


def plot(store: Store, folder: Path, formats: tuple[str, ...] = ("png",)) -> list[Path]:
    """Draw every figure that the store has the data for: each metric against the interval, and samples per code.

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
    files: list[Path] = []
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        for scenario, rows in table.groupby("scenario"):
            target = folder / _file_name(str(scenario))
            try:
                target.mkdir(parents=True, exist_ok=True)
                for metric, chosen in rows[rows["distribution"].isna()].groupby("metric"):
                    if chosen.groupby("method")["interval"].nunique().max() > 1:  # else the table says it all
                        unit = f" ({units[metric]})" if units.get(metric) else ""
                        figure = curve(chosen, f"{_words(str(metric))}{unit}", str(scenario))
                        files += _save(figure, target / str(metric), formats)
                files += _sample_grids(store, rows, target, formats)
            except OSError as error:
                raise InputError(f"{target} can't be written to: {error.strerror or error}") from None
    return files


def curve(rows: pd.DataFrame, label: str, title: str) -> Figure:
    """One metric against the interval: the mean over seeds, with its 95 % t interval as a band.

    A method of one interval is a horizontal line. A trace has a point at each of its steps, spread over the interval.

    Args:
        rows: of one metric and scenario, of the union of distributions.
        label: of the metric's axis.
        title: of the figure; the number of seeds is added.
    """
    # Fixed margins, with room for the legend: a layout engine draws everything twice.
    width = 7.5 + 0.085 * rows["method"].str.len().max()
    figure = Figure(figsize=(width, 4.5))
    axes = figure.subplots(gridspec_kw={"left": 0.8 / width, "right": 6.9 / width, "bottom": 0.13, "top": 0.92})
    is_trace = rows["step"].notna().any()
    rows = rows.assign(x=_between_intervals(rows) if is_trace else rows["interval"])
    for method, group in rows.groupby("method"):
        style: dict[str, Any] = {"color": colour(str(method)), "label": str(method)}
        if not is_trace:
            style |= {"marker": "o", "markersize": 4}
        by_x = group.groupby("x")["value"]
        estimates = pd.DataFrame([mean_interval(list(values)) for _, values in by_x], dtype=float)
        at = np.array(list(by_x.groups))
        if at.tolist() == [0] and rows["interval"].max() > 0:
            at = np.array([0, rows["interval"].max()])
            estimates = pd.concat([estimates, estimates])
            style |= {"linestyle": "--", "marker": None}
        axes.plot(at, estimates["mean"], **style)
        axes.fill_between(at, estimates["low"], estimates["high"], color=style["color"], alpha=0.2, linewidth=0)
    seeds = rows.groupby("method")["seed"].nunique()
    n = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    axes.set(xlabel="after interval", ylabel=label, title=f"{title} (mean of {n} seeds, 95 % interval)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if rows["value"].abs().max() >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))  # 300k
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))  # beside the curves, never on them
    return figure


def _between_intervals(rows: pd.DataFrame) -> pd.Series:
    """Where a trace's steps lie: those of interval i between i − 1 and i; a method of one interval fills the axis."""
    by_method = rows.groupby("method")
    share = rows["step"] / (by_method["step"].transform("max") + 1)
    only = by_method["interval"].transform("max") == 0
    return rows["interval"] - 1 + share * np.where(only, rows["interval"].max() + 1, 1)


def sample_grid(samples: np.ndarray, title: str) -> Figure:
    """Samples of a model, one row per code.

    Args:
        samples: uint8, (codes, samples, channels, height, width).
        title: of the figure.
    """
    codes, n, channels, height, width = samples.shape
    grid = samples.transpose(0, 3, 1, 4, 2).reshape(codes * height, n * width, channels)
    figure = Figure(figsize=(0.55 * n + 1, 0.55 * codes + 1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid if channels == 3 else grid[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_yticks((np.arange(codes) + 0.5) * height - 0.5, [str(code) for code in range(codes)])
    axes.set(xticks=[], ylabel="code", title=title)
    axes.grid(visible=False)
    for row in range(1, codes):
        axes.axhline(row * height - 0.5, color="white", linewidth=1)
    return figure


def _sample_grids(store: Store, rows: pd.DataFrame, target: Path, formats: tuple[str, ...]) -> list[Path]:
    """The samples of each method's first seed."""
    files: list[Path] = []
    for method, group in rows.groupby("method"):
        first = group.loc[group["seed"].idxmin()]
        file = store.cell(first["cell"]).folder / "samples.npz"
        if file.exists():
            with np.load(file, allow_pickle=False) as archive:
                figure = sample_grid(archive["samples"], f"{method}, seed {first['seed']}")
            files += _save(figure, target / f"samples-{_file_name(str(method))}", formats)
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

"""The matrix R[t, j], the negative ELBO on distribution j after interval t, and figures of it."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from .drawing import Drawing, Scene, canvas, estimates, panel_title, seeds_note, text_width
from .style import Style

_MOST_NUMBERS = 10
"""Columns of a heat map whose numbers are written into it."""


def matrix(scene: Scene) -> Iterator[Drawing]:
    """The negative ELBO on each distribution after each interval, a heat map per method: means over seeds.

    A frame marks the interval at which a distribution is first met. The colours end at the 95 % quantile of the values
    from there on, since a distribution that is still unknown may have any value.
    """
    rows = matrices(scene)
    if rows.empty:
        return
    data = estimates(rows, ["method", "interval", "position", "distribution", "first"])
    style = scene.style
    methods = list(data["method"].unique())
    columns = min(4, len(methods))
    lines = -(-len(methods) // columns)
    side = (style.wide - 0.9) / columns if columns > 1 else style.width - 0.9
    figure, panels = canvas(scene, shape=(lines, columns), wide=columns > 1, height=(0.85 * side + 0.2) * lines + 0.3,
                            sharex=True, sharey=True)  # fmt: skip
    low = data["mean"].min()
    high = data["mean"][data["interval"] >= data["first"]].quantile(0.95)
    names = data.drop_duplicates("position").sort_values("position")["distribution"].tolist()
    for panel, method in zip(panels.flat, methods, strict=False):
        own = data[data["method"] == method]
        grid = own.pivot_table("mean", "interval", "position").to_numpy()
        cell = 0.8 * side / grid.shape[1], 0.7 * side / len(grid)
        colours = heat_map(panel, grid, float(low), float(high), cell, style)
        panel.set_aspect("auto")
        for row in own.drop_duplicates("position").itertuples():
            panel.add_patch(Rectangle((row.position - 0.5, row.first - 0.5), 1, 1, fill=False, edgecolor="black",
                                      linewidth=0.6 * style.line))  # fmt: skip
        panel_title(panel, scene.named(method), 0.9 * side, style)
        ticks = spread_ticks(len(names), max(text_width(name, 0.9 * style.font) for name in names) + 0.06, cell[0])
        panel.set_xticks(ticks, [names[i] for i in ticks])
        panel.set_yticks(spread_ticks(len(grid), 1.2 * style.font / 72, cell[1]))
    for panel in panels.flat[len(methods) :]:
        panel.remove()
    for i in range(len(methods)):
        if i + columns >= len(methods):
            panels.flat[i].set_xlabel("distribution")
            panels.flat[i].tick_params(labelbottom=True)
    for line in panels:
        line[0].set_ylabel("after interval")
    figure.colorbar(colours, ax=list(figure.axes), label=scene.axis_label("negative_elbo"), extend="max",
                    aspect=14 * lines + 6)  # fmt: skip
    what = "negative ELBO on each distribution; framed: first met"
    note = seeds_note(data["n"]).partition(",")[0]
    yield scene.drawing("matrix", figure, what, note, data.drop(columns="position"))


def matrices(scene: Scene) -> pd.DataFrame:
    """R of every cell with several intervals, a row per number, with the columns method, seed, interval, position,
    distribution, first and value.

    A distribution's position is its place in the order in which distributions are first met, and ``first`` the interval
    in which it is met. Where seeds differ in this order, its place stands for its name.
    """
    values = scene.rows[(scene.rows["metric"] == "negative_elbo") & scene.rows["distribution"].notna()]
    by_cell = dict(list(values.groupby("cell")))
    tables = []
    for cell in scene.cells:
        visits = cell.record["visits"]
        if len(visits) > 1:
            order = {name: position for position, name in enumerate(cell.distributions)}
            first = {name: next(t for t, visit in enumerate(visits) if name in visit) for name in order}
            own = by_cell.get(cell.name, values[:0])
            places = own["distribution"].map(order)
            tables.append(own.assign(position=places, first=own["distribution"].map(first)))
    columns = ["method", "seed", "interval", "position", "distribution", "first", "value"]
    if not tables:
        return pd.DataFrame(columns=columns)
    rows = pd.concat(tables)[columns]
    differ = rows.groupby("position")["distribution"].transform("nunique") > 1
    rows["distribution"] = rows["distribution"].mask(differ, "#" + rows["position"].astype(str))
    rows["first"] = rows.groupby("position")["first"].transform("min")
    return rows


def final_forgetting(scene: Scene) -> pd.DataFrame:
    """R[T, j] − min_t R[t, j] of every cell with several intervals, a row per distribution, with the columns method,
    seed, position, distribution and value.
    """
    rows = matrices(scene)
    by = ["method", "seed", "position", "distribution"]
    last = rows[rows["interval"] == rows.groupby(["method", "seed"])["interval"].transform("max")]
    return (last.set_index(by)["value"] - rows.groupby(by)["value"].min()).reset_index()


def heat_map(
    axes: Axes, grid: np.ndarray, low: float, high: float, cell: tuple[float, float], style: Style, form: str = ".0f"
) -> AxesImage:
    """Draw values as colours, dark ones low, and write the numbers in where they are few and the cells large enough.

    Args:
        axes: the panel.
        grid: (rows, columns); a NaN stays empty.
        low: the value of the darkest colour.
        high: the value of the lightest colour, which larger values have, too.
        cell: inches that a column is wide and a row high.
        style: decides the largest letters.
        form: the format of the numbers.
    """
    image = axes.imshow(grid, cmap=matplotlib.colormaps["viridis"], vmin=low, vmax=high)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    texts = [format(value, form) for value in grid.flat if not np.isnan(value)]
    widest = max(text_width(text, 10) for text in texts) / 10
    size = min(0.75 * style.font, 0.9 * cell[0] / widest, 0.9 * cell[1] * 72)
    if grid.shape[1] <= _MOST_NUMBERS and size >= 0.45 * style.font:
        for (row, column), value in np.ndenumerate(grid):
            if not np.isnan(value):
                dark = (value - low) / ((high - low) or 1) < 0.6
                axes.text(column, row, format(value, form), ha="center", va="center", fontsize=size,
                          color="white" if dark else "black")  # fmt: skip
    return image


def spread_ticks(n: int, need: float, cell: float) -> list[int]:
    """The indices of cells that get a label: every k-th of n, so that labels don't run into each other.

    Args:
        n: number of cells.
        need: inches that a label takes.
        cell: inches of a cell.
    """
    return list(range(0, n, max(1, int(np.ceil(need / cell)))))

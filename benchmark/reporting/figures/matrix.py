"""The matrix R[t, j], the negative ELBO on distribution j after interval t, and figures of it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.patches import Rectangle

from .drawing import Drawing, Scene, estimates, seeds_note
from .heat_maps import heat_maps


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
    names = data.drop_duplicates("position").sort_values("position")["distribution"].tolist()
    tables = dict(list(data.groupby("method")))
    grids = {method: own.pivot_table("mean", "interval", "position").to_numpy() for method, own in tables.items()}
    known = data["mean"][data["interval"] >= data["first"]]
    ends = float(data["mean"].min()), float(known.quantile(0.95))
    figure, panels = heat_maps(scene, grids, names, ends, "distribution", scene.axis_label("negative_elbo"))
    for method, panel in panels.items():
        for row in tables[method].drop_duplicates("position").itertuples():
            panel.add_patch(Rectangle((row.position - 0.5, row.first - 0.5), 1, 1, fill=False, edgecolor="black",
                                      linewidth=0.6 * style.line))  # fmt: skip
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

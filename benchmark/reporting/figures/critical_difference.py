"""The critical-difference diagram: methods compared over scenarios, where there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import InputError
from ...reading.compare import over_scenarios
from ...reading.scores import Scores
from ...reading.statistics import CriticalDifference
from .drawing import Drawing, Scene
from .panels import canvas


def critical_difference(scores: Scores, scene: Scene) -> Iterator[Drawing]:
    """Mean ranks of the competitors over scenarios, with bars joining those that don't differ (Wilcoxon's test with
    Holm's correction; Demšar 2006, Benavoli et al. 2016), and the p-value of every pair.

    Raises:
        InputError: there are too few scenarios or methods; the message says how many are needed.
    """
    try:
        methods, comparison = over_scenarios(scores)
    except ValueError as refused:
        raise InputError(str(refused)) from None
    order = np.argsort(comparison.mean_ranks, kind="stable")
    names = [methods[i] for i in order]
    style = scene.style
    shown = [scene.named(name, 0.25 * style.wide) for name in names]
    lines = len(names) * max(name.count("\n") + 1 for name in shown)
    import seaborn as sns  # here, since it imports pyplot, which chooses a backend

    figure, panels = canvas(scene, shape=(1, 2), wide=True, height=0.32 * style.font / 11 * (lines + 4))
    _diagram(panels[0, 0], comparison, order, names, scene)
    panels[0, 0].set_yticks(range(len(names)), shown)
    p_values = pd.DataFrame(comparison.p_values[np.ix_(order, order)], shown, shown)
    upper = np.triu(np.ones_like(p_values, dtype=bool))
    sns.heatmap(p_values, mask=upper, ax=panels[0, 1], vmin=0, vmax=0.1, cmap="viridis", annot=len(names) <= 10,
                fmt=".3f", cbar_kws={"label": "p, corrected", "extend": "max"})  # fmt: skip
    panels[0, 1].grid(visible=False)
    data = pd.DataFrame(
        [
            {"a": a, "b": b, "rank_a": comparison.mean_ranks[order[i]],
             "rank_b": comparison.mean_ranks[order[j]], "p_holm": p_values.iloc[i, j]}
            for i, a in enumerate(names) for j, b in enumerate(names) if i < j
        ]
    )  # fmt: skip
    n = scores.numbers["scenario"].nunique()
    what = f"mean rank of negative ELBO over {n} scenarios; joined: no difference (Wilcoxon, Holm)"
    yield scene.drawing("critical_difference", figure, what, f"Friedman p = {comparison.friedman:.2g}", data)


def _diagram(axes: Axes, comparison: CriticalDifference, order: np.ndarray, names: list[str], scene: Scene) -> None:
    """A row per method, best on top; a bar beside the rows of each clique."""
    for row, name in enumerate(names):
        axes.plot(comparison.mean_ranks[order[row]], row, linestyle="none", **scene.look(name).point)
    place = {int(method): row for row, method in enumerate(order)}
    widest = float(comparison.mean_ranks.max())
    for number, clique in enumerate(comparison.cliques, 1):
        ends = [place[method] for method in clique]
        x = widest + 0.25 * number
        axes.plot([x, x], [min(ends) - 0.2, max(ends) + 0.2], color="0.35", linewidth=2 * scene.style.line)
    axes.set(xlabel="mean rank", ylim=(len(names) - 0.5, -0.5))

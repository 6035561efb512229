"""Figures of several scenarios together, by the negative ELBO (Agarwal et al. 2021, arXiv 2108.13264).

Scores are those of ``leaderboard --across``: 0 is the mean of a scenario's lower reference, 1 that of its upper one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ...errors import InputError
from ...reading.leaderboard import in_scenario, leaderboard
from ...reading.one_scale import OneScale, on_one_scale
from ...reading.scores import Scores
from .drawing import Drawing, Scene, seeds_note
from .heat_maps import heat_map, label_columns, labels_height
from .layout import LINE
from .panels import canvas, line_handle

_QUALITY = "negative_elbo"
_SCORE = "score: 0 is the lower reference, 1 the upper"
_LEVELS, _DRAWS = 201, 1000
"""Scores at which a profile is drawn, and samples of seeds behind its band."""
_NAMES = 0.38
"""Share of a figure's width that the names of rows may take."""


def mean_over_scenarios(scores: Scores, scene: Scene) -> Iterator[Drawing]:
    """The mean score over scenarios with its 95 % t interval, a row per method, best first; scenarios as small dots.

    Raises:
        InputError: fewer than two scenarios have a scale.
    """
    shared = _shared(scores)
    table = leaderboard(scores, [_QUALITY], across=True).table
    means = table[table["metric"] == _QUALITY].sort_values(["mean", "method"], ascending=[False, True])
    parts = {label: table[table["metric"] == in_scenario(_QUALITY, label)].set_index("method")["mean"]
             for label in shared.scenarios}  # fmt: skip
    names, style = [scene.named(method, _NAMES * scene.style.width) for method in means["method"]], scene.style
    lines = max(name.count("\n") for name in names)
    tall = ((1.75 + LINE * lines) * max(4, len(names)) + 6) * style.font / 72
    figure, panels = canvas(scene, height=tall)
    panel = panels[0, 0]
    for end in (0, 1):
        panel.axvline(end, color="0.35", linewidth=0.5 * style.line)
    for at, row in enumerate(means.itertuples()):
        own = scene.look(row.method)
        dots = [part[row.method] for part in parts.values()]
        panel.plot(dots, [at + 0.3] * len(dots), "o", color=own.colour, alpha=0.6, markersize=0.5 * style.marker,
                   markeredgewidth=0)  # fmt: skip
        if not np.isnan(row.low):
            panel.plot([row.low, row.high], [at, at], color=own.colour, linewidth=style.line)
        panel.plot([row.mean], [at], **own.point, linestyle="none", markersize=1.3 * style.marker)
    panel.set(xlabel=_SCORE, ylim=(len(names) - 0.5, -0.5))
    panel.set_yticks(range(len(names)), names)
    panel.tick_params("y", length=0)
    panel.grid(visible=False, axis="y")
    data = means[["method", "n", "mean", "low", "high"]].assign(
        **{label: [part[method] for method in means["method"]] for label, part in parts.items()}
    )
    note = f"{seeds_note(means['n'])}; dots: scenarios"
    yield scene.drawing("mean_over_scenarios", figure, "mean score of negative ELBO", note, data)


def performance_profile(scores: Scores, scene: Scene) -> Iterator[Drawing]:
    """The share of runs whose score is above a level, against the level: the mean over scenarios of each method, with a
    band of 95 % of samples of its seeds.

    Raises:
        InputError: fewer than two scenarios have a scale.
    """
    shared = _shared(scores)
    every = np.concatenate([runs for groups in shared.runs.values() for runs in groups])
    margin = 0.05 * np.ptp(every)
    levels = np.linspace(every.min() - margin, every.max() + margin, _LEVELS)
    order = sorted(shared.runs, key=lambda method: (-np.mean([runs.mean() for runs in shared.runs[method]]), method))
    figure, panels = canvas(scene, order, handle=line_handle)
    panel = panels[0, 0]
    tables = []
    for method in order:
        own, groups = scene.look(method), shared.runs[method]
        share = profile(groups, levels)
        low, high = np.quantile(_resampled(groups, levels), [0.025, 0.975], axis=0)
        points = {**own.point, "markevery": _LEVELS // 8}
        panel.step(levels, share, where="post", **own.line, **points, label=method)
        panel.fill_between(levels, low, high, step="post", color=own.colour, alpha=0.1, linewidth=0)
        tables.append(pd.DataFrame({"method": method, "score": levels, "share": share, "low": low, "high": high}))
    panel.set(xlabel=_SCORE, ylabel="share of runs above it", xlim=(levels[0], levels[-1]), ylim=(-0.03, 1.03))
    seeds = [len(runs) for groups in shared.runs.values() for runs in groups]
    note = f"{_count(seeds)}; band: 95 % of samples of seeds"
    yield scene.drawing("performance_profile", figure, "runs above a score of negative ELBO", note, pd.concat(tables))


def probability_of_improvement(scores: Scores, scene: Scene) -> Iterator[Drawing]:
    """The probability that a run of one method is better than a run of another, as a mean over scenarios, for every
    pair; a tie counts a half.

    Raises:
        InputError: no two methods are in every one of two scenarios or more.
    """
    values = scores.numbers[scores.numbers["metric"] == _QUALITY].dropna(subset="value")
    scenarios = sorted(values["scenario"].unique())
    runs = {str(method): [of[of["scenario"] == label]["value"].to_numpy() for label in scenarios]
            for method, of in values.groupby("method") if of["scenario"].nunique() == len(scenarios)}  # fmt: skip
    if len(scenarios) < 2 or len(runs) < 2:
        raise InputError(f"it takes two methods in every one of two scenarios or more; {len(runs)} are in all "
                         f"{len(scenarios)} here")  # fmt: skip
    better = {a: {b: improvement(runs[a], runs[b]) for b in runs} for a in runs}
    order = sorted(runs, key=lambda method: (-np.mean(list(better[method].values())), method))
    grid = 100 * np.array([[np.nan if a == b else better[a][b] for b in order] for a in order])
    style = scene.style
    names = [scene.named(method, _NAMES * style.wide) for method in order]
    upright = [" ".join(name.split()) for name in names]
    width = max(style.wide - 3.5, 0.4 * style.wide)
    cell = width / len(order)
    row = (1.6 + LINE * max(name.count("\n") for name in names)) * style.font / 72
    tall = row * len(order) + labels_height(upright, cell, style) + 6 * style.font / 72
    figure, panels = canvas(scene, wide=True, height=tall)
    panel = panels[0, 0]
    image = heat_map(panel, grid, 0, 100, (cell, row), style)
    panel.set(xlabel="than a run of", aspect="auto")
    panel.set_yticks(range(len(order)), names)
    label_columns(panel, upright, cell, style)
    figure.colorbar(image, ax=panel, label="a run is better (%)")
    data = pd.DataFrame([(a, b, better[a][b]) for a in order for b in order if a != b], columns=["a", "b", "better"])
    note = _count([len(of) for groups in runs.values() for of in groups])
    what = "probability that a run of a row's method has the lower negative ELBO"
    yield scene.drawing("probability_of_improvement", figure, what, note, data)


def profile(groups: list[np.ndarray], levels: np.ndarray) -> np.ndarray:
    """The share of runs above each level, as a mean over scenarios.

    Args:
        groups: scores of runs by scenario, (seeds,) each.
        levels: (levels,).
    """
    return np.asarray(np.mean([(runs[:, None] > levels).mean(axis=0) for runs in groups], axis=0))


def improvement(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """The probability that a run of a is lower than one of b, over all pairs of runs, as a mean over scenarios.

    Args:
        a: runs by scenario.
        b: the same scenarios' runs of another method.
    """
    signs = [np.sign(other[None, :] - runs[:, None]).mean() for runs, other in zip(a, b, strict=True)]
    return float((1 + np.mean(signs)) / 2)


def _resampled(groups: list[np.ndarray], levels: np.ndarray) -> np.ndarray:
    """Profiles of samples of the seeds, drawn within each scenario, (draws, levels)."""
    generator = np.random.default_rng(0)
    shares = np.zeros((_DRAWS, len(levels)))
    for runs in groups:
        drawn = generator.integers(len(runs), size=(_DRAWS, len(runs)))
        above = (runs[:, None] > levels).astype(float)  # (seeds, levels)
        weights = np.stack([(drawn == seed).mean(axis=1) for seed in range(len(runs))], axis=1)
        shares += weights @ above / len(groups)
    return shares


def _shared(scores: Scores) -> OneScale:
    """The runs on one scale.

    Raises:
        InputError: fewer than two scenarios have one.
    """
    values = scores.numbers[scores.numbers["metric"] == _QUALITY].dropna(subset="value")
    shared, notes = on_one_scale(scores, _QUALITY, values)
    if shared is None or len(shared.scenarios) < 2:
        reasons = f": {' '.join(notes)}" if notes else ""
        raise InputError(f"it takes two scenarios whose references can be told apart{reasons}")
    return shared


def _count(seeds: list[int]) -> str:
    few, many = min(seeds), max(seeds)
    return "one seed" if many == 1 else f"{few if few == many else f'{few} to {many}'} seeds a scenario"

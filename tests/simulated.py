"""Simulated boards: how often a table's statements are wrong, and how many of the true differences it shows.

python -m tests.simulated        prints the table of docs/leaderboard.md; five minutes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lifegen.benchmark.reading.ranking import mean_of_means, ranks
from lifegen.benchmark.reading.statistics import Scale

MNIST = ((114.5, 0.44), (116.8, 0.4), (121.3, 2.68), (129.0, 0.68), (133.0, 1.34), (139.4, 0.97), (155.0, 0.2),
         (157.8, 3.14), (158.9, 1.1), (163.6, 1.28), (164.1, 1.08), (164.9, 1.6), (171.7, 0.94), (175.7, 0.63),
         (204.1, 0.51))  # fmt: skip
FASHION = ((247.2, 0.1), (250.8, 0.17), (251.9, 0.53), (257.1, 0.87), (260.5, 0.77), (274.4, 1.05), (280.8, 2.15),
           (293.9, 2.38), (304.8, 6.39), (333.1, 20.95), (350.7, 5.3), (354.0, 4.01), (365.1, 10.72), (366.6, 2.19),
           (386.0, 11.68))  # fmt: skip
"""Mean and standard deviation of each competitor on two boards of lifegen 0.1.0 at 150 steps an interval, as truth."""
REFERENCES = {"MNIST": ((162.87, 0.85), (113.56, 0.52)), "Fashion": ((369.69, 3.6), (249.54, 0.13))}
"""The same of naive and batch."""
Board = Sequence[tuple[float, float]]


class Found(NamedTuple):
    """Shares over simulated tables."""

    wrong: float
    """tables with any pair in an order that isn't the true one"""
    covered: float
    """tables in which every method's rank interval has its true rank"""
    told: float
    """truly different pairs that are shown"""


def equal(methods: int, board: Board) -> Board:
    """A board of equal methods with the spreads of another one, each in turn."""
    return [(0.0, board[i % len(board)][1]) for i in range(methods)]


def simulate(board: Board, seeds: int, tables: int, shared: float = 0.0, free: float | None = None) -> Found:
    """Simulate tables.

    Args:
        board: true means and standard deviations.
        seeds: of each method.
        tables: number of tables.
        shared: correlation of the methods' values of the same seed.
        free: degrees of freedom of Student's t, with the standard deviation of the board; normal values by default.
    """
    generator = np.random.default_rng(0)
    wrong = covered = told = 0
    mean, spread = np.array(board).T
    before = mean[:, None] < mean[None, :]
    best = 1 + before.sum(axis=0)  # a true rank is any place that equal methods may take
    worst = best + (mean[:, None] == mean[None, :]).sum(axis=0) - 1
    for _ in range(tables):
        shape = (len(board), seeds)
        noise = generator.standard_normal(shape) if free is None else generator.standard_t(free, shape)
        noise /= 1 if free is None else np.sqrt(free / (free - 2))
        noise = np.sqrt(1 - shared) * noise + np.sqrt(shared) * generator.standard_normal((1, seeds))
        runs = mean[:, None] + spread[:, None] * noise
        found = ranks({str(i): [one] for i, one in enumerate(runs)})
        order = runs.mean(axis=1)
        shown = np.array([[str(j) not in found[str(i)].ties and order[i] < order[j] for j in range(len(board))]
                          for i in range(len(board))])  # fmt: skip
        wrong += bool((shown & ~before).any())
        told += int((shown & before).sum())
        low, high = np.array([(found[str(i)].low, found[str(i)].high) for i in range(len(board))]).T
        covered += bool((low <= worst).all() and (best <= high).all())
    return Found(wrong / tables, covered / tables, told / max(1, tables * int(before.sum())))


def coverage_across(seeds: int, tables: int) -> float:
    """The share of methods and tables in which the interval of a score across both boards has the true score. The
    references are drawn as well."""
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(tables):
        scales = {}
        for name, ((low, low_spread), (high, high_spread)) in REFERENCES.items():
            scales[name] = Scale(generator.normal(low, low_spread, seeds), generator.normal(high, high_spread, seeds))
        for values in zip(MNIST, FASHION, strict=True):
            truth, groups, parts = [], [], []
            for (name, ((low, _), (high, _))), (mean, spread) in zip(REFERENCES.items(), values, strict=True):
                groups.append(scales[name].scores(generator.normal(mean, spread, seeds)))
                parts.append(scales[name].variance_parts(groups[-1].mean()))
                truth.append((mean - low) / (high - low))
            found = mean_of_means(groups, others=np.concatenate(parts))
            hits.append(found.low <= np.mean(truth) <= found.high)
    return float(np.mean(hits))


def main() -> None:
    print("| truth | seeds | a wrong statement in | every rank in its interval in | true differences shown |")
    print("| --- | --- | --- | --- | --- |")
    boards = {
        "16 equal methods, equal spreads": [(0.0, 1.0)] * 16,
        "16 equal methods, a board's spreads": equal(16, FASHION),
        "6 equal methods, a board's spreads": equal(6, MNIST),
        "the MNIST board": MNIST,
        "the Fashion-MNIST board": FASHION,
    }
    rows = [(name, board, seeds, {}) for name, board in boards.items() for seeds in (3, 5, 10)]
    others = {"t₃ instead of normal values": {"free": 3}, "seeds correlated by 0.7": {"shared": 0.7}}
    rows += [(f"the second board, {name}", equal(16, FASHION), 3, options) for name, options in others.items()]
    for name, board, seeds, options in rows:
        found = simulate(board, seeds, 1000, **options)
        told = f"{100 * found.told:.0f} %" if found.told else "–"
        print(f"| {name} | {seeds} | {100 * found.wrong:.1f} % | {100 * found.covered:.1f} % | {told} |", flush=True)
    shares = ", ".join(f"{100 * coverage_across(seeds, 1000):.1f} % ({seeds} seeds)" for seeds in (3, 5, 10))
    print(f"across scenarios: {shares}")


if __name__ == "__main__":
    main()

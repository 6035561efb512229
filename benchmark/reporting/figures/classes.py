"""What a model draws: the classes of its samples after each interval."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .drawing import Drawing, Scene, seeds_in_words
from .heat_maps import heat_maps


def classes(scene: Scene) -> Iterator[Drawing]:
    """Percent of samples in each class, by the expert's word, after each interval, a heat map per method.

    The colours end at twice the share of each of equal classes, so that a class which has lost half of it is seen.
    """
    cells = {
        cell.method: (cell, np.array(samples.classes))
        for cell in scene.first_seeds
        if (samples := cell.facts.samples) and not cell.hidden and len(samples.classes) == len(cell.facts.visits) > 1
    }
    if not cells:
        return
    shares = {method: 100 * counts / counts.sum(1, keepdims=True) for method, (_, counts) in cells.items()}
    n = next(iter(shares.values())).shape[1]
    figure, _ = heat_maps(scene, shares, list(map(str, range(n))), (0, 200 / n), "class", "samples (%)")
    data = pd.concat([
        pd.DataFrame({"method": method, "seed": cells[method][0].seed, "interval": interval, "class": range(n),
                      "percent": row})
        for method, grid in shares.items() for interval, row in enumerate(grid)
    ])  # fmt: skip
    note = seeds_in_words(cell for cell, _ in cells.values())
    yield scene.drawing("classes", figure, "classes of samples after each interval, by the expert's word", note, data)

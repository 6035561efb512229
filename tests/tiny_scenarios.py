"""Streams as small as can be, registered as scenarios. Imported by name where a cell of one is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lifegen.benchmark.cells.spec import Spec
from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.registry import register_scenario
from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.seeds import Seeds


class TinyConfig(ScenarioConfig):
    visits: str = "ab"
    """A letter an interval, the name of its distribution."""
    sizes: tuple[int, int, int] = (20, 5, 5)
    """Images of the train, valid and test part of "a"; other distributions have 20, 5 and 5."""


@register_scenario("tiny", version=1, config=TinyConfig)
def tiny(config: TinyConfig, seeds: Seeds, data_root: Path) -> Stream:
    """Random images of 4 × 4 pixels."""
    generator = torch.Generator().manual_seed(0)

    def images(n: int, label: int) -> Images:
        x = torch.randint(0, 256, (n, 1, 4, 4), generator=generator).to(torch.uint8)
        return Images(x, torch.full((n,), label))

    names = sorted(set(config.visits))
    sizes = {name: config.sizes if name == "a" else (20, 5, 5) for name in names}
    distributions = {name: Parts(*(images(n, i) for n in sizes[name])) for i, name in enumerate(names)}
    return make_stream(distributions, config.visits, config, seeds)


@register_scenario("stored", version=1, config=ScenarioConfig)
def stored(config: ScenarioConfig, seeds: Seeds, data_root: Path) -> Stream:
    """Images that lie below the data root."""
    images = torch.from_numpy(np.load(data_root / "images.npy"))
    parts = {name: Parts(*(Images(x, torch.full((len(x),), i)) for x in images[i].split((20, 5, 5))))
             for i, name in enumerate("ab")}  # fmt: skip
    return make_stream(parts, "ab", config, seeds)


def store_images(data_root: Path, seed: int) -> None:
    """What "stored" reads."""
    images = np.random.default_rng(seed).integers(0, 256, (2, 30, 1, 4, 4), dtype=np.uint8)
    np.save(data_root / "images.npy", images)


def chosen(name: str = "tiny", **options: object) -> Spec:
    """A scenario, as a command would have it."""
    kind = {"tiny": TinyConfig, "stored": ScenarioConfig}[name]
    config = kind(**{"steps": 3, "importance_draws": 4, **options})
    return Spec(IndexEntry("scenario", name, 1, "", __name__), config.model_dump(mode="json"), name)

"""CelebA, one attribute after another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from lifegen.benchmark import Images, ScenarioConfig, Seeds, Stream, make_stream, register_scenario, unknown

from .data_sets import source
from .holding_out import held_out


class CelebAConfig(ScenarioConfig):
    attributes: Annotated[tuple[str, ...], Field(min_length=1)] = ("Bald", "Male", "Young", "Eyeglasses")
    """Attributes in the order in which they come. A distribution is all faces that have it, so they overlap."""


@register_scenario("celeba-attributes", version=1, config=CelebAConfig, data=("celeba",))
def celeba_attributes(config: CelebAConfig, seeds: Seeds, data_root: Path) -> Stream:
    """CelebA at 64x64 RGB: bald, male, young, with eyeglasses."""
    data = source("celeba").load(data_root)

    def having(attribute: str, images: Images) -> Images:
        """The label becomes the position in the sequence."""
        bit = data.classes.index(attribute)
        chosen = images.select((images.y >> bit & 1).bool())
        return chosen._replace(y=torch.full_like(chosen.y, config.attributes.index(attribute)))

    for attribute in config.attributes:
        if attribute not in data.classes:
            raise unknown("attribute of CelebA", attribute, data.classes)
    distributions = {
        attribute: held_out(having(attribute, data.train), having(attribute, data.test), config.validation, attribute)
        for attribute in config.attributes
    }
    return make_stream(distributions, config.attributes, config, seeds)

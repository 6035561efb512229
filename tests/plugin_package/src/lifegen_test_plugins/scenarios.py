"""Stripes, upright and lying."""

import torch

from lifegen.benchmark import Images, Parts, ScenarioConfig, make_stream, register_scenario


def stripes(n, lying):
    x = torch.zeros(n, 1, 4, 4, dtype=torch.uint8)
    for i in range(n):
        x[i, :, :, i % 4] = 255 - i // 4
    return Images(x.transpose(2, 3).contiguous() if lying else x, torch.full((n,), int(lying)))


@register_scenario("stripes", version=1, config=ScenarioConfig)
def upright_and_lying(config, seeds, data_root):
    """Stripes, upright and lying."""
    parts = {name: Parts(*(stripes(n, name == "lying") for n in (40, 8, 8))) for name in ("upright", "lying")}
    return make_stream(parts, ["upright", "lying"], config, seeds)

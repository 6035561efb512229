"""bfloat16 products on the CPU, where the processor has units for them."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lifegen.benchmark.training.precision import rounds

from . import rivals
from .rivals import noise_stream, strategy_of, template


def bfloat16(batch: int) -> rivals.Run:
    strategy = strategy_of("naive", batch, noise_stream(10), intervals=1)
    strategy.precision = "bfloat16"
    return template(strategy)


@pytest.fixture
def measured(request, table):
    """``compare``, or a row that says why there is no number."""

    def run(what, first, batch, **facts):
        if not rounds("bfloat16", torch.device("cpu")):
            table.skip(what, "this processor has no bfloat16 units", **facts)
        request.getfixturevalue("compare")(what, first(batch), bfloat16(batch), **facts)

    return run


@pytest.mark.parametrize(("batch", "target"), [(64, ">= 1"), (256, ">= 1.5")])
def bench_bfloat16(measured, batch, target):
    measured(f"plain loop in float32 / naive in bfloat16, batch {batch}", rivals.plain_loop, batch, target=target)


@pytest.mark.parametrize("batch", [64, 256])
def bench_bfloat16_products_alone(measured, batch):
    products = partial(rivals.products_alone, dtype=torch.bfloat16)
    measured(f"bfloat16 matrix products alone / naive in bfloat16, batch {batch}", products, batch)

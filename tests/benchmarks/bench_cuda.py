"""The training step on a GPU: eager, captured, its rivals and its ceiling, by device events."""

from __future__ import annotations

import pytest
import torch

from lifegen.benchmark.training.precision import products_in

from . import rivals
from .rivals import noise_stream, strategy_of, template

STEPS = 1000
"""A run's: captured once, where a default interval has 3,000."""
CASES = {"MLP, batch 100": ("", 100, (1, 28, 28)), "conv, batch 128": (":architecture=conv", 128, (3, 32, 32))}


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture
def measured(request, table, case):
    """``compare`` on the GPU, or a row that says that there is none."""

    def run(what, first, second, **facts):
        what = f"GPU: {what}, {case}"
        if not torch.cuda.is_available():
            table.skip(what, "no GPU", **facts)
        options, batch, shape = CASES[case]
        with products_in("float32", "cuda"):  # torch's own default has convolutions in tf32
            made = [one(options, batch, shape) for one in (first, second)]
            request.getfixturevalue("compare")(what, *made, device="cuda", **facts)

    return run


def lifegen(method="naive", capture=False, precision="float32"):
    """A method's step, eager or captured, in a precision."""

    def make(options, batch, shape):
        strategy = strategy_of(method + options, batch, noise_stream(10, shape=shape), "cuda")
        strategy.precision = precision
        if not capture:
            strategy.graph = None
        run = template(strategy, STEPS)
        assert strategy.execution == ("captured" if capture else "eager"), strategy.execution
        return run

    return make


def repeated(rival):
    """A rival that takes as many steps as ours in one run."""

    def make(options, batch, shape):
        run = rival(batch, "cuda", "naive" + options, shape)
        return lambda: [run() for _ in range(STEPS // rivals.STEPS)]

    return make


def products(options, batch, shape):
    run = rivals.products_alone(batch, "cuda")
    return lambda: [run() for _ in range(STEPS // rivals.STEPS)]


@pytest.mark.parametrize("method", ["naive", "lifelong-vae", "ewc"])
def bench_captured_against_eager(measured, method):
    measured(f"eager / captured, {method}", lifegen(method), lifegen(method, capture=True))


def bench_eager_against_the_plain_loop(measured):
    measured("plain loop / eager naive", repeated(rivals.plain_loop), lifegen(), target=">= 0.97")


def bench_captured_against_the_plain_loop(measured):
    measured("plain loop / captured naive", repeated(rivals.plain_loop), lifegen(capture=True))


def bench_captured_against_vae_training(measured):
    measured("VAETraining / captured naive", repeated(rivals.vae_training), lifegen(capture=True))


@pytest.mark.parametrize("case", ["MLP, batch 100"])  # the ceiling is that of its matrix products
def bench_products_alone(measured):
    measured("matrix products alone / captured naive", products, lifegen(capture=True))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def bench_precision(measured, precision):
    measured(f"captured in float32 / captured in {precision}", lifegen(capture=True), lifegen("naive", True, precision))

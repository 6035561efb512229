"""The training step on the CPU, against its rivals and its limit."""

from __future__ import annotations

import pytest
from torch.profiler import ProfilerActivity, profile

from . import rivals
from .conftest import Row
from .rivals import noise_stream, strategy_of, template

BATCHES = pytest.mark.parametrize("batch", [64, 256])


def naive(batch: int) -> rivals.Run:
    return template(strategy_of("naive", batch, noise_stream(10), intervals=1))


@BATCHES
def bench_naive_against_the_plain_loop(compare, batch):
    compare(f"plain loop / naive, batch {batch}", rivals.plain_loop(batch), naive(batch), target=">= 0.97")


@BATCHES
def bench_naive_against_vae_training(compare, batch):
    target = {64: ">= 1.4", 256: ">= 1.2"}[batch]
    compare(f"VAETraining / naive, batch {batch}", rivals.vae_training(batch), naive(batch), target=target)


@BATCHES
def bench_naive_against_a_split_mnist_pipeline(compare, batch):
    first = rivals.split_mnist_pipeline(batch)
    compare(f"SplitMNIST-style pipeline / naive, batch {batch}", first, naive(batch), target=">= 1.9")


@BATCHES
def bench_products_alone(compare, batch):
    compare(f"matrix products alone / naive, batch {batch}", rivals.products_alone(batch), naive(batch))


@BATCHES
@pytest.mark.parametrize("method", ["lifelong-vae", "generative-replay"])
def bench_teacher(compare, method, batch):
    ours = template(strategy_of(method, batch, noise_stream(10)))
    compare(f"{method} / naive, batch {batch}", ours, naive(batch), target="<= 1.45")


@BATCHES
@pytest.mark.parametrize("anchors", [1, 10])
def bench_ewc(compare, anchors, batch):
    strategy = strategy_of("ewc:fisher_samples=10", batch, noise_stream(10), intervals=anchors)
    target = {64: "<= 1.3", 256: "<= 1.15"}[batch]
    compare(f"ewc with {anchors} anchors / naive, batch {batch}", template(strategy), naive(batch), target=target)


@BATCHES
def bench_frozen_components(compare, batch):
    one, ten = (
        template(strategy_of("growing-mixture:threshold=0", batch, noise_stream(10), intervals=n)) for n in (2, 10)
    )
    compare(f"growing-mixture, 10 components / 2, batch {batch}", ten, one, target="<= 1.05")


PARTS = {
    "matrix products": ("mm",),
    "optimiser": ("adam", "optimizer", "foreach"),
    "batch norm": ("batch_norm",),
    "activations": ("elu",),
    "likelihood": ("sigmoid", "cross_entropy"),
}
"""Parts of a step by what the names of their operations contain; softplus and the like count as the rest."""


@BATCHES
def bench_profile(table, batch):
    """Where the time of a step goes, by torch's profiler, which makes small operations look somewhat dearer."""
    run = naive(batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(25):
            run()
    shares = dict.fromkeys([*PARTS, "the rest: small operations and dispatch"], 0.0)
    for event in profiled.key_averages():
        name = event.key.lower()
        part = next((part for part, words in PARTS.items() if any(word in name for word in words)), list(shares)[-1])
        shares[part] += event.self_cpu_time_total
    for part, share in shares.items():
        table.add(Row(f"share of a step, batch {batch}: {part}", share / sum(shares.values())))

"""What a training step is compared with: the same model, loss, data and batch, trained in other ways.

Each returns a function that does ``STEPS`` optimiser steps.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from itertools import chain, islice, repeat
from types import SimpleNamespace
from typing import Any

import torch
from avalanche.benchmarks import DatasetExperience, EagerCLStream, nc_benchmark
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.training.supervised import VAETraining
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import Normalize

from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.contracts.images import Images, to_unit
from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.loader import TensorLoader
from lifegen.benchmark.training.template import GenerativeTemplate

STEPS = 4
Shape = tuple[int, int, int]
SHAPE: Shape = (1, 28, 28)
SEEDS = Seeds(0)
Run = Callable[[], None]


def noise_images(n: int, shape: Shape = SHAPE) -> Images:
    """Images of noise: the time of a step doesn't depend on what they show."""
    generator = SEEDS.generator("benchmark")
    return Images(torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8), torch.arange(n) % 10)


def noise_stream(visits: Sequence[int] | int, n: int = 600, tests: int = 20, shape: Shape = SHAPE) -> Stream:
    """A stream of noise with these distributions in turn, or so many different ones."""
    images = noise_images(n, shape)
    parts = Parts(images, images.select(slice(tests * 6 // 10)), images.select(slice(tests)))
    names = [f"d{i}" for i in (range(visits) if isinstance(visits, int) else visits)]
    return make_stream(dict.fromkeys(names, parts), names, ScenarioConfig(steps=2), SEEDS)


def rotated_visits() -> list[int]:
    """The distributions of ``rotated-mnist``'s 70 intervals: drawn from sixty, so that they come back."""
    drawn: list[int] = torch.randint(60, (70,), generator=SEEDS.generator("visits")).tolist()
    return drawn


def strategy_of(
    method: str, batch: int, stream: Stream, device: str = "cpu", intervals: int | None = None
) -> GenerativeTemplate:
    """A method's strategy after some intervals of a stream, by default all."""
    made = build_method(parse_spec("method", f"{method}{',' if ':' in method else ':'}batch_size={batch}"))
    strategy = made.strategy(stream, SEEDS, torch.device(device))
    for experience in made.view(stream)[:intervals]:
        strategy.train(experience, eval_streams=[])
    return strategy


def template(strategy: GenerativeTemplate, steps: int = STEPS) -> Run:
    """lifegen's training loop on the last interval of a strategy, from its loader to its optimiser step."""
    strategy.experience = SimpleNamespace(planned_steps=3000)  # traces are recorded as often as by default
    strategy.traces.before_training_exp(strategy)
    images = noise_images(6000, getattr(strategy.model, "image_shape", SHAPE))
    loader = TensorLoader(images, strategy.train_mb_size, steps, SEEDS.generator("order"), strategy.device)

    def run() -> None:
        strategy.is_training = True
        strategy.model.train()
        strategy.dataloader = loader
        strategy.training_epoch()

    run()
    return run


def plain_loop(batch: int, device: str = "cpu", method: str = "naive", shape: Shape = SHAPE) -> Run:
    """A hand-written PyTorch loop: batches from one tensor, fused Adam."""
    model = strategy_of(method, batch, noise_stream(10, shape=shape), device, intervals=0).model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = noise_images(6000, shape).x.to(device)
    generator = SEEDS.generator("order")

    def batches() -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(images), generator=generator).to(device)
            for chosen in order.split(batch)[: len(images) // batch]:
                yield to_unit(images[chosen])

    source = batches()

    def run() -> None:
        for _ in range(STEPS):
            x = next(source)
            optimizer.zero_grad()
            model(x).negative_elbo().mean().backward()
            optimizer.step()

    run()
    return run


def vae_training(batch: int, device: str = "cpu", method: str = "naive", shape: Shape = SHAPE) -> Run:
    """Avalanche's ``VAETraining`` with its own evaluator and logger, torch's default Adam, and a tensor data set."""
    images = noise_images(24 * batch, shape)
    dataset = TensorDataset(to_unit(images.x), images.y)
    targets = DataAttribute(images.y.tolist(), "targets")
    experience = DatasetExperience(dataset=AvalancheDataset([dataset], data_attributes=[targets]), current_experience=0)
    EagerCLStream("train", [experience])
    return _avalanche(experience, batch, device, method, shape)


def split_mnist_pipeline(batch: int, device: str = "cpu") -> Run:
    """The same on a stream like ``SplitMNIST``: class by class, with a transform of each item."""
    images = noise_images(48 * batch)

    class Items(Dataset[Any]):
        def __init__(self) -> None:
            self.targets = [i % 2 for i in range(len(images.x))]  # two experiences of whole batches

        def __len__(self) -> int:
            return len(images.x)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return transform(to_unit(images.x[index])), self.targets[index]

    transform = Normalize((0.0,), (1.0,))  # SplitMNIST's takes pixels out of [0, 1], where there is no Bernoulli bound
    with warnings.catch_warnings(action="ignore"):
        stream = nc_benchmark(Items(), Items(), n_experiences=2, task_labels=True, seed=0).train_stream
    return _avalanche(stream[0], batch, device)


def _avalanche(experience: Any, batch: int, device: str, method: str = "naive", shape: Shape = SHAPE) -> Run:
    model = strategy_of(method, batch, noise_stream(10, shape=shape), device, intervals=0).model
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        training = VAETraining(
            model=model,
            optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
            criterion=lambda x, output: output.negative_elbo().mean(),
            train_mb_size=batch,
            device=device,
        )
        training.train(experience)
    training.adapted_dataset = experience.dataset  # Avalanche forgets it at the end
    training.make_train_dataloader()
    batches = chain.from_iterable(repeat(training.dataloader))

    def run() -> None:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            training.is_training = True
            training.dataloader = islice(batches, STEPS)
            training.training_epoch()

    run()
    return run


def products_alone(batch: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Run:
    """The arithmetic limit: the matrix products of the fully connected model's step and nothing else."""
    model = strategy_of("naive", batch, noise_stream(10), device, intervals=0).model
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    empty = [(torch.randn(batch, one.in_features), torch.randn(one.out_features, one.in_features)) for one in layers]
    operands = [(x.to(device, dtype), w.to(device, dtype), (x @ w.T).to(device, dtype)) for x, w in empty]

    def run() -> None:
        for _ in range(STEPS):
            for i, (x, w, y) in enumerate(operands):
                x @ w.T
                y.T @ x
                if i:  # the images need no gradient
                    y @ w

    run()
    return run

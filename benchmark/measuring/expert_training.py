"""Training of experts, and of the fresh classifier by which the fitting capacity of samples is measured."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..contracts.data_sources import LabelledData
from ..contracts.images import Images, to_unit
from ..contracts.stream import redraw
from ..errors import InputError
from ..seeds import Seeds
from .experts import Expert, ExpertFacts, Seen, binary, command_of, empty_classifier

FITTING_SAMPLES = 10_000
"""Most samples that a fresh classifier is trained on."""
_BATCH = 100
_STEPS = 6000
"""Optimiser steps of an expert."""
_FRESH_STEPS = 300
"""Optimiser steps of a fresh classifier."""
_CHECK_EVERY = 50
"""Steps of a fresh classifier after which its held-out images judge it."""
_HELD_OUT = 5
"""One image in so many is held out from a fresh classifier."""


def train_expert(source: str, data: LabelledData, draws: bool = False) -> bytes:
    """Train an expert on the training images of a data set.

    Args:
        source: the data set's name.
        data: the data set.
        draws: whether pixels are black or white, drawn anew at each read.

    Returns:
        the content of its file.

    Raises:
        InputError: the labels aren't classes.
    """
    if (label := int(data.train.y.max())) >= len(data.classes):
        raise InputError(f"{source} has the label {label} beside {len(data.classes)} classes: no expert can be trained")
    name, seeds = binary(source) if draws else source, Seeds(0)

    def pixels(x: Tensor, role: str) -> Tensor:
        return redraw(x, seeds.generator("expert", name, role)) if draws else x

    shape: tuple[int, int, int] = tuple(data.train.x.shape[1:])  # type: ignore[assignment]
    facts = ExpertFacts(name=name, image_shape=shape, classes=len(data.classes), binary=draws,
                        command=command_of(name), accuracy=0.0, fitting_capacity=0.0)  # fmt: skip
    expert = Expert(facts)
    _initialise(expert.classifier, seeds.generator("expert", name, "initialisation"))
    for _ in _training(expert.classifier, data.train, _STEPS, seeds.generator("expert", name, "order"), draws):
        pass
    expert.eval().requires_grad_(False)
    features = expert.look(pixels(data.train.x, "training pixels")).features
    expert.mean.copy_(features.mean(0))
    expert.deviation.copy_(features.std(0))
    test = data.test._replace(x=pixels(data.test.x, "test pixels"))
    accuracy = float((expert.look(test.x).labels == test.y).double().mean())
    n = min(FITTING_SAMPLES, len(data.train.x))
    known = pixels(data.train.spread(n).x, "known pixels")
    fitting = fitting_capacity(known, expert.look(known), test, facts.classes, seeds.generator("expert", name))
    facts = facts.model_copy(update={"accuracy": round(accuracy, 4), "fitting_capacity": round(fitting, 4)})
    return save(expert.state_dict(), {"expert": facts.model_dump_json(exclude_defaults=True)})


def fitting_capacity(images: Tensor, seen: Seen, test: Images, classes: int, generator: torch.Generator) -> float:
    """Accuracy, on real test images, of a fresh classifier that was trained on samples (Lesort et al. 2019).

    The expert labels the samples. A fifth of them chooses the best of the states; real images choose nothing.

    Args:
        images: samples, uint8, (n, channels, height, width).
        seen: the same as the expert sees them.
        test: real test images.
        classes: number of classes.
        generator: source of the initial weights and of the order, on the images' device.
    """
    best, chosen = -1.0, 0.0
    with torch.inference_mode(False), torch.enable_grad():
        fresh = empty_classifier(tuple(images.shape[1:]), classes, images.device)  # type: ignore[arg-type]
        _initialise(fresh, generator)
        samples = Images(images.clone(), seen.labels.clone())  # those of inference mode can't be trained on
        is_held_out = torch.arange(len(images), device=images.device) % _HELD_OUT == 0
        training, held_out = samples.select(~is_held_out), samples.select(is_held_out)
        for step in _training(fresh, training, _FRESH_STEPS, generator):
            if step % _CHECK_EVERY == 0 and (valid := _accuracy(fresh, held_out)) > best:
                best, chosen = valid, _accuracy(fresh, test)
    return chosen


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Set weights as torch's layers do, uniformly within ± 1 / √inputs, from a generator."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _training(
    model: nn.Module, images: Images, steps: int, generator: torch.Generator, draws: bool = False
) -> Iterator[int]:
    """Train a classifier by Adam, whose step size falls to zero along a cosine; yields the number of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        index = torch.randint(len(images.x), (_BATCH,), generator=generator, device=images.x.device)
        x, y = images.select(index)
        x = redraw(x, generator) if draws else x
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(to_unit(x)), y).backward()
        optimizer.step()
        schedule.step()
        yield step


@torch.no_grad()
def _accuracy(model: nn.Module, images: Images) -> float:
    right = [model(to_unit(x)).argmax(1) == y for x, y in zip(images.x.split(1000), images.y.split(1000), strict=True)]
    return float(torch.cat(right).double().mean())

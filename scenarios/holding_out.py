"""Dividing a data set into the parts of one distribution: training images are held out for validation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lifegen.benchmark import Images, InputError, LabelledData, Parts


def class_parts(data: LabelledData, group: Sequence[int], validation: float) -> Parts:
    """The parts of the distribution that some classes make up.

    Args:
        data: the data set.
        group: labels of the classes.
        validation: share of the training images that is held out.

    Raises:
        InputError: there are too few training images.
    """
    labels = torch.tensor(group)
    train, test = (images.select(torch.isin(images.y, labels)) for images in (data.train, data.test))
    return held_out(train, test, validation, "+".join(data.classes[label] for label in group))


def held_out(train: Images, test: Images, validation: float, name: str = "") -> Parts:
    """A distribution whose last training images, in the data set's own order, are held out for validation.

    Args:
        train: its training images.
        test: its test images.
        validation: share of the training images that is held out.
        name: its name, for messages.

    Raises:
        InputError: there are too few training images.
    """
    n = max(1, round(len(train.x) * validation))
    if n >= len(train.x):
        of = f"distribution {name!r}: " if name else ""
        share = f"validation={validation:g} holds out {n}" if len(train.x) else "the data have none of it"
        raise InputError(f"{of}{len(train.x)} training images are too few: {share}")
    return Parts(train.select(slice(None, -n)), train.select(slice(-n, None)), test)

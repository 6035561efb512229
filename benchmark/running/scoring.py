"""Metrics of samples for images from anywhere: a folder of PNG files, or an array."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..cells.spec import parse_spec
from ..contracts.stream import Stream
from ..discovery.index import source
from ..errors import InputError
from ..measuring import sample_quality as quality
from ..measuring.inception import load_inception
from ..measuring.sample_metrics import COMPARISONS
from ..measuring.samples import FOR_FITTING, Comparison, Gallery
from ..seeds import Seeds
from .build import build_gallery, build_stream, data_of

_FEWEST = 50
"""Fewest ``sample_images``."""


class ScoredMetric(NamedTuple):
    """A metric of images, and of real images in their place."""

    metric: str
    value: float
    floor: float | None
    """None where it isn't measured of real images"""


class Scored(NamedTuple):
    """Metrics of images beside a scenario's test images."""

    scenario: str
    """label"""
    images: int
    """images compared with as many test images"""
    given: int
    """images in the folder or file"""
    expert: str
    metrics: list[ScoredMetric]
    inception_images: int | None = None
    """images of each kind behind ``inception_frechet_distance``, whose value depends on them; None without it"""


def score(images: Tensor | Path | str, scenario: str, data_root: Path, inception: Path | None = None) -> Scored:
    """Compare images with the test images of all distributions of a scenario, as its expert sees them.

    Images are taken evenly from all that are given, as many as the scenario compares; see ``sample_images``.

    Args:
        images: uint8, (n, channels, height, width); or a folder of PNG files, or a file of NumPy, ``.npz`` or ``.npy``.
        scenario: ``NAME`` or ``NAME:option=value,...``.
        data_root: folder of the data sets.
        inception: a TorchScript file with the Inception network, whose Fréchet distance is then measured, too.

    Raises:
        InputError: no expert knows the scenario's images, or there are too few images, or of another size.
    """
    features = load_inception(inception) if inception else None
    spec = parse_spec("scenario", scenario)
    seeds = Seeds(0, spec.name)
    for name in data_of(spec):
        source(name).fetch(data_root)
    stream = build_stream(spec, seeds, data_root)
    gallery = build_gallery(spec, stream, data_root, torch.device("cpu"))
    if isinstance(gallery, str):
        raise InputError(f"samples of {spec.label} can't be scored: {gallery}")
    given = read_images(images, stream) if isinstance(images, Path | str) else _checked(images, stream, "the tensor")
    if len(given) < gallery.n:
        advice = "give more"
        if len(given) >= _FEWEST:
            fewer = parse_spec("scenario", scenario, last={"sample_images": len(given)})
            advice += f", or --scenario {fewer.label}"
        raise InputError(f"there are {len(given)} images, and {spec.label} compares {gallery.n}: {advice}")
    given = gallery.pixels(given, seeds.generator("measured-samples", "given"))
    comparison = _compared(given, gallery, gallery.n)
    is_many = gallery.n_at_the_end is not None and len(given) >= gallery.n_at_the_end
    larger = _compared(given, gallery, gallery.n_at_the_end or 0) if is_many else comparison
    metrics = [
        ScoredMetric(name, value, compare(gallery.floor))
        for name, compare in COMPARISONS.items()
        if (value := compare(comparison)) is not None
    ]
    curves = [
        quality.precision_recall_of_distributions(*one.features, seed=seeds.of("measured-samples", "clusters"))
        for one in (larger, gallery.floor)
    ]
    metrics += [ScoredMetric(f"prd_{key}", *(getattr(curve, key) for curve in curves)) for key in curves[0]._fields]
    samples = _spread(given, min(len(given), FOR_FITTING * gallery.n))
    fitting = gallery.fitting_capacity(samples, gallery.expert.look(samples), seeds)
    metrics.append(ScoredMetric("fitting_capacity", fitting, gallery.expert.facts.fitting_capacity))
    n = None
    if features:
        test, training = (torch.cat([one.x for one in gallery.images(part).values()]) for part in ("test", "train"))
        n = min(len(given), len(test), len(training))
        training = training[torch.randperm(len(training), generator=Seeds(0).generator("floor"))]
        real, *others = (features(part) for part in (_spread(test, n), _spread(given, n), training[:n]))
        distances = [quality.frechet_distance(real, other, per_feature=0) for other in others]
        metrics.append(ScoredMetric("inception_frechet_distance", *distances))
    return Scored(spec.label, gallery.n, len(given), gallery.expert.facts.name, metrics, n)


def _compared(images: Tensor, gallery: Gallery, n: int) -> Comparison:
    return gallery.compared(gallery.distributions, n, gallery.expert.look(_spread(images, n)))


def _spread(images: Tensor, n: int) -> Tensor:
    return images[torch.arange(n) * len(images) // n]


def read_images(path: Path | str, stream: Stream) -> Tensor:
    """Read images of a stream's size, uint8, (n, channels, height, width).

    Args:
        path: a folder of PNG files, or a file of NumPy with one array: (n, height, width), with channels before or
            after; uint8, or floats in [0, 1].
        stream: the stream.

    Raises:
        InputError: there are no such images.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path, stream)
    try:
        content = np.load(path, allow_pickle=False)
        arrays = [content] if isinstance(content, np.ndarray) else [content[name] for name in content.files]
    except FileNotFoundError:
        raise InputError(f"{path} isn't there: give a folder of PNG files, or an .npz or .npy file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} can't be read as an array of NumPy: {error}") from None
    if len(arrays) != 1:
        raise InputError(f"{path} has {len(arrays)} arrays; expected one, the images")
    array = arrays[0]
    if array.dtype.kind == "f":
        if not (array.size and array.min() >= 0 and array.max() <= 1):  # false for NaN
            raise InputError(f"{path}: floats must be in [0, 1], or give uint8 from 0 to 255")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise InputError(
            f"{path} has an array of {array.dtype}, {array.shape}; expected uint8 or floats, "
            "(n, height, width), (n, channels, height, width) or (n, height, width, channels)"
        )
    images = torch.from_numpy(np.ascontiguousarray(array))
    if images.ndim == 3:
        images = images[:, None]
    elif tuple(images.shape[1:]) != stream.image_shape and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    return _checked(images, stream, str(path))


def _of_folder(folder: Path, stream: Stream) -> Tensor:
    files = sorted(folder.rglob("*.png"))
    if not files:
        raise InputError(f"{folder} has no PNG files")
    mode = "L" if stream.image_shape[0] == 1 else "RGB"
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                pixels = torch.from_numpy(np.array(image.convert(mode)))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{file} can't be read as a picture: {error}") from None
        pixels = pixels[None] if mode == "L" else pixels.permute(2, 0, 1)
        images.append(_checked(pixels[None], stream, str(file)))
    return torch.cat(images)


def _checked(images: Tensor, stream: Stream, of: str) -> Tensor:
    if images.dtype != torch.uint8:
        raise InputError(f"{of}: images must be uint8, 0 to 255; found: {str(images.dtype).removeprefix('torch.')}")
    if tuple(images.shape[1:]) != stream.image_shape:
        found, wanted = ("×".join(map(str, shape)) for shape in (images.shape[1:], stream.image_shape))
        raise InputError(f"{of}: images of {found} (channels × height × width); the scenario's are {wanted}")
    return images.cpu()

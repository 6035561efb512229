"""Small files in the real layouts of torchvision's data sets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

TRAIN, TEST = 60, 20
ATTRIBUTES = ("Bald", "Eyeglasses", "Male", "Young")


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with sixty training and twenty test images of every data set, whose checksums aren't looked at."""
    rng = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST"):
        write_mnist(tmp_path / name / "raw", rng)
    write_svhn(tmp_path / "SVHN", rng)
    write_cifar10(tmp_path / "CIFAR10" / "cifar-10-batches-py", rng)
    write_celeba(tmp_path / "celeba", rng)
    for module in ("svhn", "cifar", "celeba"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).exists()
        )
    return tmp_path


def write_mnist(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for part, n in (("train", TRAIN), ("t10k", TEST)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        header = np.array([0x803, n, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, n], ">i4").tobytes() + labels.tobytes())


def write_svhn(folder: Path, rng: np.random.Generator) -> None:
    """Labels run from 1 to 10 in the files, where 10 stands for the digit 0."""
    folder.mkdir(parents=True)
    for part, n in (("train", TRAIN), ("test", TEST)):
        images = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        savemat(folder / f"{part}_32x32.mat", {"X": images, "y": (np.arange(n) % 10 + 1)[:, None].astype(np.uint8)})


def write_cifar10(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for name, n in [(f"data_batch_{i}", TRAIN // 5) for i in range(1, 6)] + [("test_batch", TEST)]:
        content = {"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8), "labels": [i % 10 for i in range(n)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))


def write_celeba(folder: Path, rng: np.random.Generator) -> None:
    """Face i has attribute k if i is divisible by k + 1. Faces are of one colour, i."""
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06}.png" for i in range(TRAIN + TEST)]
    attributes = [[1 if i % (k + 1) == 0 else -1 for k in range(len(ATTRIBUTES))] for i in range(len(names))]
    for i, name in enumerate(names):
        Image.fromarray(np.full((218, 178, 3), i, np.uint8)).save(folder / "img_align_celeba" / name)
    rows = [f"{name} " + " ".join(map(str, row)) for name, row in zip(names, attributes, strict=True)]
    head = [str(len(names)), " ".join(ATTRIBUTES) + " "]
    (folder / "list_attr_celeba.txt").write_text("\n".join([*head, *rows]) + "\n")
    parts = [f"{name} {0 if i < TRAIN else 2}" for i, name in enumerate(names)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (folder / "identity_CelebA.txt").write_text("\n".join(f"{name} 1" for name in names) + "\n")
    for file, columns in (("list_bbox_celeba.txt", "a b c d"), ("list_landmarks_align_celeba.txt", "a b")):
        numbers = " ".join("1" for _ in columns.split())
        lines = [str(len(names)), columns, *(f"{name} {numbers}" for name in names)]
        (folder / file).write_text("\n".join(lines) + "\n")

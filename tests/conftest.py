"""Streams and models small enough for every test, and the real data where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: shared cores

import hypothesis
import pytest
import torch
from filelock import FileLock

from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.vae import CodeStyleVAE

torch.set_num_threads(1)
# How long an example or its making takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "lifegen",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lifegen")

SHAPE = (1, 4, 4)
PROGRAMS = Path(sys.executable).parent
"""Where this environment's commands are."""


LONGEST = ("test_tutorials", "test_ray", "test_run", "test_gate", "test_packaging", "test_plugin_files")
"""Files that take a minute or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that the processes end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, str]:
    """Variables of a user whose home holds nothing but lifegen's index: it is built once a session, and copied."""
    own = tmp_path_factory.getbasetemp()
    built = (own if worker_id == "master" else own.parent) / "home"
    with FileLock(built.with_suffix(".lock")):
        if not (built / ".cache").exists():
            subprocess.run([PROGRAMS / "lifegen", "list"], env=at_home(built), check=True, stdout=subprocess.DEVNULL)
    return at_home(shutil.copytree(built, tmp_path_factory.mktemp("home") / "home"))


def at_home(folder: Path) -> dict[str, str]:
    """The variables of a process whose user's home this is."""
    folder.mkdir(exist_ok=True)
    return os.environ | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of figure in published folders, and one of lines and one of images in reports: drawing is what takes
    time."""
    from lifegen.benchmark.reporting.plots import drawings

    def few(store: Any, kinds: Sequence[str] = ("final", "samples"), **options: Any) -> Any:
        return drawings(store, kinds, **options)

    monkeypatch.setattr("lifegen.benchmark.reporting.publish.drawings", lambda store: drawings(store, ["final"]))
    monkeypatch.setattr("lifegen.benchmark.reporting.report.drawings", few)


def images(n: int, bright: int, seed: int, label: int = 0) -> Images:
    """Images that differ from distribution to distribution in their brightness."""
    noise = torch.randint(0, 40, (n, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return Images((noise + bright).to(torch.uint8), torch.full((n,), label))


def parts(name: str) -> Parts:
    """The distribution of one letter: "a" is dark, "f" is bright."""
    k = ord(name) - ord("a")
    return Parts(*(images(n, 40 * k, 10 * k + i, label=k) for i, n in enumerate((37, 5, 11))))


def tiny(visits: Sequence[str] = "abc", steps: int = 4, seed: int = 0, **options: object) -> Stream:
    """A stream of 4 × 4 images, one letter a distribution."""
    config = ScenarioConfig(steps=steps, **options)
    return make_stream({name: parts(name) for name in dict.fromkeys(visits)}, visits, config, Seeds(seed))


@pytest.fixture
def tiny_stream() -> Callable[..., Stream]:
    return tiny


@pytest.fixture
def vae() -> CodeStyleVAE:
    """A small model in evaluation mode, with batch-norm statistics that aren't the initial ones."""
    model = CodeStyleVAE(SHAPE, codes=3, style=2, width=8, init=Seeds(0).generator("init"))
    model.generator = Seeds(0).generator("noise")
    x = torch.rand(64, *SHAPE, generator=Seeds(0).generator("x"))
    for _ in range(20):
        model(x)
    return model.eval()


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A writable data root with the complete MNIST and Fashion-MNIST, where this machine has them."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    candidates = [Path(value) for value in [os.environ.get("LIFEGEN_DATA")] if value] + [beside]
    for source in candidates:
        if (source / "MNIST" / "raw").is_dir() and (source / "FashionMNIST" / "raw").is_dir():
            root = tmp_path_factory.mktemp("data")
            for name in ("MNIST", "FashionMNIST"):
                shutil.copytree(source / name, root / name, copy_function=shutil.copy)
            return root
    pytest.skip("MNIST and Fashion-MNIST aren't on this machine: set LIFEGEN_DATA to where they are")

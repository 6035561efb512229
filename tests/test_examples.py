"""What stands in docs/examples: each file works as its first lines say, and is as short as promised."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lifegen.benchmark import check_method
from lifegen.benchmark.contracts.registry import METHODS, SCENARIOS
from lifegen.benchmark.contracts.stream import Stream
from lifegen.benchmark.seeds import Seeds

from .conftest import tiny
from .small_data import small_data  # noqa: F401  (a fixture)
from .test_methods import Spy, begin

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
NAMES = {"agem_by_adapter": "my-agem", "style_distillation": "style-distillation", "hardest_replay": "hardest-replay"}
SCRIPTS = ("avalanche_consistency", "avalanche_ewc", "avalanche_growing_mixture")


def example(name: str) -> ModuleType:
    """A file of the folder as a module, as pydantic and states of runs want it: known by its name."""
    if (module := sys.modules.get(f"examples_{name}")) is None:
        spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_no_example_is_untested():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == {*NAMES, *SCRIPTS, "digit_pairs", "fashion_pairs"}


@pytest.mark.parametrize("name", sorted(file.stem for file in EXAMPLES.glob("*.py")))
def test_an_example_is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_a_method_passes_the_gate(name):
    example(name)
    check_method(METHODS[NAMES[name]])


def test_the_divergence_of_styles_is_that_of_torch():
    noise = torch.Generator().manual_seed(0)
    mean, other_mean = torch.randn(2, 5, 14, generator=noise)
    std, other_std = torch.rand(2, 5, 14, generator=noise) + 0.1
    expected = kl_divergence(Normal(mean, std), Normal(other_mean, other_std)).sum(1)
    found = example("style_distillation").gaussian_kl(mean, std, other_mean, other_std)
    torch.testing.assert_close(found, expected)


def test_styles_are_distilled_on_replayed_images_only():
    stream = tiny("ab", steps=2)
    losses = {}
    for weight in (0.0, 1.0):
        strategy = begin(
            example("style_distillation").StyleDistillation, stream, style_weight=weight, latent_layers="reinitialise"
        )
        strategy.train(stream.train_stream[0], eval_streams=[])
        seen = []
        strategy.plugins.append(Spy(before_backward=lambda s, seen=seen: seen.append(s.loss.item())))
        strategy.train(stream.train_stream[1], eval_streams=[])
        losses[weight] = seen[0]  # the student has its teacher's weights, but for the latent layers
        assert (strategy.real_samples, strategy.synthetic_samples) == (12, 12)
    assert losses[1.0] > losses[0.0]


def test_the_hardest_images_are_kept_equally_many_of_each_interval():
    stream = tiny("abc", steps=30)
    strategy = begin(example("hardest_replay").HardestReplay, stream, images=14, learning_rate=0.01)
    plugin = next(one for one in strategy.plugins if hasattr(one, "memory"))
    sizes, first = [], None
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        sizes.append([len(kept) for kept in plugin.memory])
        first = plugin.memory[0] if first is None else first
        assert strategy.stored_samples == sum(sizes[-1]) <= 14
    assert sizes == [[14], [7, 7], [4, 4, 4]]
    assert torch.equal(plugin.memory[0], first[:4])  # what is left is the hardest of what was kept
    assert (strategy.real_samples, strategy.synthetic_samples) == (30 * 12, 0)


def built(name: str, data_root: Path) -> Stream:
    entry = SCENARIOS[name]
    assert entry.summary
    return entry.target(entry.config(steps=3), Seeds(0), data_root)


def test_digit_pairs_is_a_scenario():
    example("digit_pairs")
    stream = built("digit-pairs", Path("/nonexistent"))
    assert stream.distributions == ("0+1", "2+3", "4+5", "6+7", "8+9")
    images = [stream.images(part, name).x for part in ("train", "valid", "test") for name in stream.distributions]
    assert sum(map(len, images)) == 1797
    assert {int(value) for value in torch.cat(images).unique()} == {round(v * 255 / 16) for v in range(17)}


def test_fashion_pairs_is_a_scenario(small_data):  # noqa: F811
    example("fashion_pairs")
    stream = built("fashion-pairs", small_data)
    assert stream.image_shape == (1, 28, 28)
    assert len(stream.distributions) == 5
    assert SCENARIOS["fashion-pairs"].data(None) == ("fashion-mnist",)


EACH = """
import os, runpy, sys
import avalanche.training, torchvision  # once for all; lifegen is new to each
for script in sys.argv[1:]:
    if not (child := os.fork()):
        os.dup2(os.open(f"{os.path.basename(script)}.txt", os.O_WRONLY | os.O_CREAT), 1)
        sys.argv, sys.path[0] = [script], os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")
        break
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{script} failed")
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each script prints, run by itself in an empty folder."""
    folder = tmp_path_factory.mktemp("scripts")
    files = [EXAMPLES / f"{name}.py" for name in SCRIPTS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", EACH, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {file.stem: (folder / f"{file.name}.txt").read_text() for file in files}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_in_avalanche_and_reports_finite_numbers(name, printed):
    reported = re.findall(r"^\s*(\w+)/\w+/\w+/Exp(\d+) = (\S+)$", printed[name], re.MULTILINE)
    values: dict[str, list[float]] = {}
    for metric, _, value in reported:
        values.setdefault(metric, []).append(float(value))
    assert all(math.isfinite(value) for found in values.values() for value in found)
    assert len(values["NegativeELBO"]) == 5 * 5
    assert min(values["NegativeELBO"][:5]) == values["NegativeELBO"][0]  # only the first pair was trained on
    assert all(value > 0 for value in values["RealSamples"])
    if name != "avalanche_ewc":
        assert all(0 <= value <= 1 for value in values["PosteriorConsistency"])
    if name == "avalanche_consistency":
        assert all(synthetic == 0 for synthetic in values["SyntheticSamples"][:1])
        assert values["SyntheticSamples"][-1] == 4 * values["RealSamples"][-1]
    if name == "avalanche_growing_mixture":
        assert "components: 5;" in printed[name]

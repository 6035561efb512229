"""Data sources: found by name in the index, or in a plug-in file, without a scenario."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lifegen.benchmark import check, source
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.discovery.index import describe, resolve
from lifegen.benchmark.errors import InputError
from lifegen.scenarios.data_sets import Digits

FILE = '''"""Stripes, and a scenario of them."""

import torch
from lifegen.benchmark import (
    Images, LabelledData, ScenarioConfig, Source, make_stream, register_scenario, register_source, source
)
from lifegen.scenarios.holding_out import class_parts


@register_source("my-stripes")
class Stripes(Source):
    """Random stripes."""

    def fetch(self, root):
        (root / "stripes").write_text(self.name)
        return f"40 images, in {root}"

    def load(self, root):
        assert (root / "stripes").read_text() == "my-stripes"
        x = torch.randint(0, 256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
        images = Images(x, torch.arange(40) % 2)
        return LabelledData(images, images.select(slice(30, None)), ("even", "odd"))


@register_scenario("on-stripes", version=1, config=ScenarioConfig, data=("my-stripes",))
def on_stripes(config, seeds, data_root):
    """Stripes, one class after another."""
    data = source("my-stripes").load(data_root)
    parts = {name: class_parts(data, [label], config.validation) for label, name in enumerate(data.classes)}
    return make_stream(parts, list(parts), config, seeds)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stripes.py"
    path.write_text(FILE)
    return path


def test_installed_sources_are_known_without_importing_them():
    """The command that fetches data says what there is before it imports torch, and never imports Avalanche."""
    assert {name: one.facts["small"] for name, one in describe("data source").items() if one.provider == "lifegen"} == {
        "digits": True, "mnist": True, "fashion-mnist": True, "svhn": False, "cifar10": False, "celeba": False,
    }  # fmt: skip
    code = """
import sys
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.errors import InputError
try:
    cli(["data", "mnits"], standalone_mode=False)
except InputError as error:
    print(error, [name for name in ("torch", "avalanche", "lifegen.scenarios") if name in sys.modules])
cli(["data", "digits"], standalone_mode=False)
print([name for name in ("torch", "avalanche") if name in sys.modules])
"""
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines == [
        "unknown data source 'mnits'. Did you mean 'mnist'? There are: celeba, cifar10, digits, fashion-mnist, mnist, "
        "svhn. []",
        "digits: 1,797 images, embedded",
        "['torch']",
    ]


def test_a_source_is_found_by_name():
    assert isinstance(source("digits"), Digits)
    assert source("fashion-mnist").name == "fashion-mnist"
    with pytest.raises(InputError, match=r"unknown data source 'digit'.*Did you mean 'digits'"):
        source("digit")


def test_a_plug_in_file_registers_a_source_for_its_scenario(file, tmp_path):
    """It is fetched before the scenario's first cell, whose process finds it by name as well; or by its own command."""
    options = ["--device", "cpu", "--data-root", tmp_path, "--out", tmp_path / "s"]
    command = ["run", "-s", f"{file}:steps=2,importance_draws=2,importance_images=2", "-m", "naive:width=8", *options]
    lifegen = Path(sys.executable).with_name("lifegen")
    done = subprocess.run([lifegen, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "stripes").unlink()
    told = CliRunner().invoke(cli, ["data", str(file), "--data-root", str(tmp_path)])
    assert told.output == f"my-stripes: 40 images, in {tmp_path}\n"
    assert (tmp_path / "stripes").exists()


def test_check_looks_at_a_source(file, tmp_path):
    findings = list(check(f"{file}:my-stripes", tmp_path))
    assert [finding.status for finding in findings] == ["kept"] * 4
    unseeded = FILE.replace(".Generator().manual_seed(0)", ".default_generator")
    file.write_text(unseeded.replace("my-stripes", "wild-stripes"))
    broken = [finding.promise for finding in check(f"{file}:wild-stripes", tmp_path) if finding.status == "broken"]
    assert broken == ["it loads the same images and labels each time"]
    file.write_text(FILE.replace("my-stripes", "tall-stripes").replace(".byte()", ".float()"))
    (finding,) = [one for one in check(f"{file}:tall-stripes", tmp_path) if one.status == "broken"]
    assert "images must be uint8" in finding.seen


@pytest.mark.parametrize("kind", ["data source", "scenario"])
def test_a_file_cannot_take_the_name_of_an_installed_source(file, kind):
    file.write_text(FILE.replace("my-stripes", "svhn"))
    with pytest.raises(InputError, match=r"'svhn' is registered twice: by lifegen.*SVHN and by stripes.py:Stripes"):
        resolve(kind, str(file))


def test_a_source_has_no_options_and_a_file_may_have_none(file):
    with pytest.raises(InputError, match="data source 'digits' has no options, such as 'steps=3'"):
        cli(["data", "digits:steps=3"], standalone_mode=False)
    file.write_text(FILE.replace("@register_source", "# @register_source").replace("my-stripes", "other"))
    with pytest.raises(
        InputError, match=r"registers no data source, but scenario on-stripes; put @register_source\(...\)"
    ):
        resolve("data source", str(file))

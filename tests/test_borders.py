"""What comes from outside: suites, options, streams, data files and names are used or refused, with one line that says
where and what to do. What fuzzing has found is read again.
"""

from __future__ import annotations

import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import Spec, parse_spec
from lifegen.benchmark.cells.suite import cells_of, suite, suites
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.registry import Registry
from lifegen.benchmark.contracts.stream import ScenarioConfig, avalanche_dataset, images_of, make_stream
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.errors import InputError, not_a_name
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.reporting.figure_kinds import check_figures
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.store.store import Store
from lifegen.scenarios.data_sets import source
from lifegen.scenarios.transformed import RotatedDigitsConfig, rotated_digits

from .conftest import images, parts, tiny
from .fuzz import fuzz_records, fuzz_state, fuzz_suite, mutation
from .small_data import small_data, write_cifar10, write_mnist, write_svhn
from .tiny_scenarios import chosen

__all__ = ["small_data"]

# Suites

SUITE = """summary = "Mine"
budget = "a minute"
scenarios = ["split-digits:steps=10"]
methods = [
    "lifelong-vae",
    "naive",
]
seeds = [0, 1]
figures = ["negative_elbo", "samples"]
keep_models = false

[smoke]
scenario = { steps = 5 }
"""


def asked_for(file: Path, **arguments: object) -> list[Cell]:
    """The cells, as the command line asks for them."""
    cells = cells_of(str(file), **arguments)
    check_figures(suite(str(file)))
    return cells


def refusal_of(tmp_path: Path, text: str | bytes, **arguments: object) -> str:
    file = tmp_path / "mine.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        asked_for(file, **arguments)
    message = str(caught.value)
    assert message.isprintable()
    return message.removeprefix(f"suite {file}")


def test_a_suite_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE)
    assert len(cells_of(str(file))) == 4
    assert [cell.scenario.config["steps"] for cell in cells_of(str(file), smoke=True)] == [5, 5]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("scenarios =", "scenaros =", "scenaros", "unknown key 'scenaros'.*Did you mean 'scenarios'"),
        ("seeds =", "seed =", "seed", "unknown key 'seed'.*Did you mean 'seeds'"),
        ("[smoke]", "[smoke]\nscenrio = {}", "smoke.scenrio", "unknown key of smoke 'scenrio'.*mean 'scenario'"),
        ("[smoke]", "[table]\na = 1\n[smoke]", "table", "unknown key 'table'"),
        ("split-digits:", "split-digist:", "scenarios[0]", "unknown scenario 'split-digist'.*mean 'split-digits'"),
        ('"naive"', '"Naive"', "methods[1]", "unknown method 'Naive'.*Did you mean 'naive'"),
        ('"naive"', '"naive:widht=8"', "methods[1]", "unknown option of method 'naive': 'widht'.*Did you mean 'width'"),
        ('"naive"', '"naive:width=wide"', "methods[1]", "option 'width': 'wide' doesn't fit; expected: integer"),
        ('"naive"', '"naive:width=8,width=9"', "methods[1]", "option 'width' is given twice"),
        ('"naive"', '"naive:learning_rate=NaN"', "methods[1]", "nan isn't a finite number"),
        ('"naive"', '"naive:width=1e300"', "methods[1]", "64 bits"),
        ('"naive"', '"naive:codes=' + "[" * 4000 + '"', "methods[1]", "doesn't fit"),
        ('"naive"', '"naive",\n"naive"', "methods[2]", "'naive' is listed twice"),
        ('"naive"', '"naive", "naive:batch_size=100"', "methods[2]", "is the same as 'naive'"),
        ('"naive"', "3", "methods[1]", "3 doesn't fit; expected: a text in quotes, such as methods ="),
        ("[0, 1]", "[0, -1]", "seeds[1]", "-1 doesn't fit; expected: at least 0, such as seeds ="),
        ("[0, 1]", "[0,\ntrue]", "seeds[1]", "True doesn't fit; expected: a whole number"),
        ("[0, 1]", "[1, 1]", "seeds[1]", "1 is listed twice"),
        ("[0, 1]", "[]", "seeds", "list is empty"),
        ("[0, 1]", "[99999999999999999999]", "seeds[0]", "expected: at most 9,2"),
        ("[0, 1]", "[0, 1", "line 9", "isn't valid TOML"),
        ("[0, 1]", "0", "seeds", "0 doesn't fit; expected: a list in brackets, such as seeds ="),
        ('"Mine"', "1979-05-27", "summary", "expected: a text in quotes"),
        ("keep_models", "seeds", "line 10", "seeds = false.* isn't valid TOML: Cannot overwrite"),
        ("steps = 5", "stpes = 5", "smoke.scenario.stpes", "unknown option of this suite's scenarios.*mean 'steps'"),
        ("steps = 5", "steps = -5", "smoke.scenario.steps", "option 'steps': -5 doesn't fit"),
        ("steps = 5", "steps = true", "smoke.scenario.steps", "'steps': True doesn't fit; expected: integer above 0"),
        ("steps = 5", "steps = 1979-05-27", "smoke.scenario.steps", "expected: a number, .* or table of these"),
        ("steps = 5", "class_order = [3, 'x']", "smoke.scenario.class_order", r"'class_order\[1\]': 'x' doesn't fit"),
        ("samples", "sampels", "figures[1]", "unknown kind of figure, or metric, 'sampels'.*Did you mean 'samples'"),
        ("samples", "curves", "figures[1]", "a figure of each metric: name the metrics"),
        ("false", "'no'", "keep_models", "'no' doesn't fit; expected: true or false"),
        ("[smoke]", "a\0", "line 12", "isn't valid TOML"),
        ("[smoke]", "[[anchors]]\nrow = 'x'\n[smoke]", "anchors[0]", "'scenario' is missing; there must be: row, s"),
        ("[smoke]", "[[anchors]]\nrwo = 'x'\n[smoke]", "anchors[0].rwo", "unknown key of anchors 'rwo'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_suite_is_said_with_its_place(tmp_path, old, new, place, message):
    assert old in SUITE
    found = refusal_of(tmp_path, SUITE.replace(old, new, 1))
    assert found.startswith(f", {place}: "), found
    assert re.search(message, found), found
    assert len(found) < 1500


def test_a_suite_needs_scenarios_and_methods_only(tmp_path):
    assert "key 'methods' is missing; there must be: scenarios, methods" in refusal_of(tmp_path, "scenarios = ['x']")
    assert "'scenarios' is missing" in refusal_of(tmp_path, "")
    file = tmp_path / "mine.toml"
    file.write_text('scenarios = ["split-digits:steps=40", "split-mnist"]\nmethods = ["naive", "avalanche-gem"]')
    assert {cell.seed for cell in cells_of(str(file))} == {0, 1, 2}
    small = cells_of(str(file), smoke=True)
    assert len(small) == 4
    assert {cell.scenario.config["steps"] for cell in small} == {5}
    assert {cell.method.config["width"] for cell in small} == {32}


GRIDS = """
scenarios = [{ name = "split-digits", steps = [10, 20] }]
methods = [
    "naive",
    { name = "ewc", strength = [1, 0.5], width = 8, optimizer_state = ["keep", "reset"] },
    { name = "batch" },
    { name = "ewc:width=9", strength = 3 },
]
"""


def test_a_grid_stands_for_every_combination_where_it_is_listed(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GRIDS)
    cells = asked_for(file, seeds=[0])
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 7
    of_first = [cell.method for cell in cells if cell.scenario.config["steps"] == 10]
    assert [spec.label for spec in of_first] == [
        parse_spec("method", text).label
        for text in (
            "naive",
            *(f"ewc:strength={a},width=8,optimizer_state={b}" for a in (1, 0.5) for b in ("keep", "reset")),
            "batch",
            "ewc:width=9,strength=3",
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("[1, 0.5]", "[]", "methods[1]", "the list of strength is empty"),
        ("[1, 0.5]", "[1, 'much']", "methods[1]", "option 'strength': 'much' doesn't fit; expected: number"),
        ("strength = [", "strenth = [", "methods[1]", "unknown option of method 'ewc': 'strenth'.*mean 'strength'"),
        ("strength = [", "'a,b' = [", "methods[1]", "'a,b' isn't the name of an option"),
        ("[1, 0.5]", "1979-05-27", "methods[1]", "datetime.date.1979, 5, 27. can't be a value of strength"),
        ("[1, 0.5]", f"{list(range(600))}", "methods[1]", "1,200 combinations; at most 1,000"),
        ("[1, 0.5]", "[1, 1.0]", "methods[1]", "is the same as"),
        ("[1, 0.5]", "[1, 1]", "methods[1]", "is listed twice"),
        ('name = "batch"', "nam = 1", "methods[2]", "a table needs a name, such as"),
        ('name = "batch"', 'name = "bath"', "methods[2]", "unknown method 'bath'.*mean 'batch'"),
        ('"naive"', "3", "methods[0]", "3 doesn't fit; expected: a text"),
        ("methods = [", "methods = [\n'naive',", "methods[1]", "'naive' is listed twice"),
        ('{ name = "batch" }', "3", "methods[2]", "3 doesn't fit; expected: a text"),
        ("[1, 0.5]", "1, label = 'Mine'", "methods[1]", "a table has no label; the suite gives titles: labels ="),
        ("steps = [10, 20]", "steps = [10, -1]", "scenarios[0]", "option 'steps': -1 doesn't fit"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_grid_is_said_with_its_place(tmp_path, old, new, place, message):
    assert old in GRIDS
    found = refusal_of(tmp_path, GRIDS.replace(old, new, 1))
    assert found.startswith(f", {place}: "), found
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SUITE.encode() + b"#\xff", ", line 14: byte 0xff isn't UTF-8"),
        (SUITE + "#" * 100_000, "more than 100,000 bytes"),
        (SUITE + "a = " + "9" * 5000, "a number in it is too long"),
        (SUITE + "a = " + "[" * 9000, "lie too deep"),
        (SUITE.replace("steps=10", "steps=10" + "," * 9000), r"^, scenarios\[0\]: .*isn't of the form"),
        (SUITE.replace("naive", "naive" * 3000), r"^, methods\[1\]: .*15,000 characters"),
        (SUITE.replace("keep_models", '"\u202e\\n"'), r"^, .u202e.*: unknown key '.u202e.n'"),
    ],
)  # fmt: skip
def test_files_that_are_no_text_or_too_much_of_it(tmp_path, content, message):
    assert re.search(message, refusal_of(tmp_path, content))


def test_a_suite_that_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.toml").mkdir()
    for name, message in (
        ("folder.toml", "is a folder"),
        ("none.toml", "No such file.*lifegen list suites"),
        ("a\0b.toml", "can't be printed"),
        ("a\nb.toml", "can't be printed"),
        ("...toml", "begins with a dot"),  # its store would be runs/..
        ("é" * 120 + ".toml", "240 bytes"),
        (str(tmp_path), "isn't a TOML file"),
        ("quik", "unknown suite.*Did you mean 'quick'"),
        (
            "mine.yaml",
            "suites are TOML, since YAML reads the number 1e-3 as a text and the word no as false.*new-suite",
        ),
    ):
        with pytest.raises(InputError, match=message) as caught:
            suite(name)
        assert str(caught.value).isprintable()


def test_what_replaces_a_suites_lists_is_all_that_is_checked(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE.replace("naive", "a-plug-in"))
    assert len(cells_of(str(file), methods=["naive"])) == 2
    with pytest.raises(InputError, match="seed -1 isn't between 0 and"):
        cells_of(str(file), methods=["naive"], seeds=[-1])
    with pytest.raises(InputError, match=r", methods\[1\]: unknown method 'a-plug-in'"):
        cells_of(str(file))


def test_one_broken_suite_leaves_the_others_alone(tmp_path, monkeypatch):
    (tmp_path / "good.toml").write_text(SUITE)
    (tmp_path / "bad.toml").write_text("seeds = 3")
    monkeypatch.setattr("lifegen.benchmark.cells.suite._folder", lambda: tmp_path)
    assert suite("good").seeds == [0, 1]
    with pytest.raises(InputError, match="bad.toml"):
        suites()


def test_the_command_refuses_figures_that_a_suite_names_and_nobody_has(tmp_path):
    """Before anything runs, as it does with scenarios and methods."""
    (tmp_path / "mine.toml").write_text(SUITE.replace("samples", "sampels"))
    for command in ("plan", "run"):
        done = CliRunner().invoke(cli, [command, "--suite", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "o")])
        assert isinstance(done.exception, InputError)
        assert "mine.toml, figures[1]: unknown kind of figure, or metric, 'sampels'" in str(done.exception)
    assert not (tmp_path / "o").exists()


# Streams

X, Y = images(8, 0, 0)


@pytest.mark.parametrize(
    ("part", "changed", "message"),
    [
        ("train", (X.float() / 255, Y), r"found: float32, 0 to 0\.\d+\. Convert images in \[0, 1\] by x\.mul"),
        ("test", (X.float().fill_(torch.nan), Y), "128 pixels that aren't finite"),
        ("valid", (X.short(), Y), "found: int16"),
        ("train", (X.numpy(), Y), "tensors; found: ndarray and Tensor"),
        ("train", (X[0], Y), r"\(n, channels, height, width\); found: \(1, 4, 4\)"),
        ("valid", (X[:, :, :3], Y), "valid part: images are 1×3×4, but 1×4×4 in distribution 'a', train part"),
        ("test", (X[:0], Y[:0]), "there are no images"),
        ("train", (X[:0], Y[:0]), "there are no images"),
        ("train", (X, Y[:-1]), r"labels must be int64, \(8,\), one for each image; found: int64, \(7,\)"),
        ("train", (X, Y.float()), "found: float32"),
        ("train", (X, Y[:, None]), r"found: int64, \(8, 1\)"),
        ("test", (X, Y - 1), "at least 0; found: -1"),
    ],
)
def test_images_that_cannot_be_trained_on_are_refused(part, changed, message):
    wrong = parts("b")._replace(**{part: Images(*changed)})
    with pytest.raises(
        InputError, match=f"distribution 'b', {part} part.*{message}" if "1×3" not in message else message
    ):
        make_stream({"a": parts("a"), "b": wrong}, "ab", ScenarioConfig(steps=1), Seeds(0))


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a/b", "a\\b", "..", ".a", "a\n", "a\0", "\x1b[2J", "\ud800", "x" * 201, "é" * 101, 7],
)
def test_names_that_cannot_stand_in_a_table_or_a_folder_are_refused(name):
    with pytest.raises(InputError, match="its name") as caught:
        make_stream({name: parts("a")}, [name], ScenarioConfig(steps=1), Seeds(0))
    assert str(caught.value).isprintable()


def test_a_stream_has_intervals_of_distributions_that_there_are():
    with pytest.raises(InputError, match="no interval"):
        tiny("")
    with pytest.raises(InputError, match="unknown distribution 'c'; there are: a, b"):
        make_stream({"a": parts("a"), "b": parts("b")}, "abc", ScenarioConfig(steps=1), Seeds(0))


def test_options_that_make_no_stream():
    with pytest.raises(InputError, match="angles .* must differ"):
        rotated_digits(RotatedDigitsConfig(angles=(0, 30, 30)), Seeds(0), Path())
    with pytest.raises(InputError, match="extra_steps"):
        tiny("abc", interval_length="random", extra_steps=1e300)


def test_pixels_of_foreign_data_sets_are_looked_at(monkeypatch):
    dataset = avalanche_dataset(Images(X, Y))
    both = dataset.concat(dataset)
    assert torch.equal(images_of(both), torch.cat([X, X]))
    for wrong in (torch.nan, -0.1, 255.0):
        foreign = [(torch.full((1, 2, 2), 0.5), 0), (torch.full((1, 2, 2), wrong), 0)]
        monkeypatch.setattr("lifegen.benchmark.contracts.stream.tensor_view", lambda _: None)
        with pytest.raises(InputError, match=r"in \[0, 1\]; found: float32"):
            images_of(foreign)


@pytest.mark.parametrize("method", ["naive", "lifelong-vae"])
@pytest.mark.parametrize(
    "options",
    [
        {"sizes": (1, 1, 1)},
        {"sizes": (1, 1, 1), "visits": "a"},
        {"visits": "a"},
        {"visits": "aaa"},
        {"sizes": (1, 1, 1), "interval_length": "early-stopping", "patience": 2, "check_every": 1},
    ],
    ids=["one image", "one interval of one image", "one interval", "one that comes back", "one to validate on"],
)
def test_the_smallest_streams_are_trained_and_measured(tmp_path, monkeypatch, method, options):
    for constant in ("DRAWS", "FLOOR_IMAGES"):
        monkeypatch.setattr(f"lifegen.benchmark.measuring.measurement.{constant}", 2)
    store = Store.create(tmp_path / "store")
    cell = Cell(chosen(**options), parse_spec("method", f"{method}:width=8"), 0)
    assert run_cell(cell, store.path, tmp_path, "cpu") == "done", store.cell(cell.name).record["error"]
    rows = load(store.path)
    assert np.isfinite(rows["value"]).all()
    assert rows["interval"].max() == len(options.get("visits", "ab")) - 1
    assert {"negative_elbo", "iwae_nll", "real_samples"} < set(rows["metric"])


# Data files


def refused(name: str, root: Path) -> str:
    with pytest.raises(InputError) as caught:
        source(name).load(root)
    assert str(caught.value).isprintable()
    assert f"lifegen data {name}" in str(caught.value) or "anew" in str(caught.value)
    return str(caught.value)


def idx(*shape: int, kind: int = 8, values: int | None = None) -> bytes:
    header = np.array([kind * 256 + len(shape), *shape], ">i4").tobytes()
    return header + bytes(np.prod(shape, dtype=int) if values is None else values)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "images-idx3",
            idx(60, 27, 28),
            r"training part in .*raw isn't the original's: its images are uint8 \(60, 1, 27",
        ),
        ("images-idx3", idx(59, 28, 28), r"59 images, but its labels are int64 \(60,\)"),
        ("images-idx3", idx(0, 28, 28), "damaged"),
        ("images-idx3", idx(60, 28, 28, values=9), "train-images-idx3-ubyte is damaged: delete it"),
        ("images-idx3", idx(60, 28, 28, kind=13, values=60 * 28 * 28 * 4), "damaged"),
        ("images-idx3", b"", "damaged"),
        ("images-idx3", b"<html>404</html>", "damaged"),
        ("labels-idx1", idx(59), r"60 images, but its labels are int64 \(59,\)"),
        ("labels-idx1", idx(60)[:-1] + b"\x0a", "its labels are 0 to 10, not whole numbers from 0 to 9"),
        ("labels-idx1", idx(60, 1), "damaged"),
    ],
)
def test_files_of_mnist_that_are_not_its_own(tmp_path, file, content, message):
    write_mnist(tmp_path / "MNIST" / "raw", np.random.default_rng(0))
    assert len(source("mnist").load(tmp_path).train.x) == 60
    with pytest.raises(InputError, match="is damaged: its checksum is wrong"):
        source("mnist").fetch(tmp_path)
    (tmp_path / "MNIST" / "raw" / f"train-{file}-ubyte").write_bytes(content)
    assert re.search(message, refused("mnist", tmp_path))


def test_processed_files_of_old_versions_are_not_read(tmp_path):
    """There is no checksum for them."""
    write_mnist(tmp_path / "MNIST" / "raw", np.random.default_rng(0))
    (tmp_path / "MNIST" / "processed").mkdir()
    for part in ("training", "test"):
        torch.save((torch.zeros(7, 28, 28, dtype=torch.uint8), torch.zeros(7)), tmp_path / f"MNIST/processed/{part}.pt")
    assert len(source("mnist").load(tmp_path).train.x) == 60


@pytest.mark.parametrize("name", ["svhn", "cifar10"])
def test_files_that_torchvision_finds_damaged_are_named(tmp_path, name):
    """It says the same of files that are missing, and looks at checksums each time."""
    write_svhn(tmp_path / "SVHN", np.random.default_rng(0))
    write_cifar10(tmp_path / "CIFAR10" / "cifar-10-batches-py", np.random.default_rng(0))
    first = {"svhn": "SVHN/train_32x32.mat", "cifar10": "CIFAR10/cifar-10-batches-py/data_batch_1"}[name]
    assert f"{tmp_path / first} is damaged: delete it and run `lifegen data {name}`" in refused(name, tmp_path)
    (tmp_path / first).unlink()
    assert f"{name} isn't complete under {(tmp_path / first).parent}" in refused(name, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": [11] * 60}, "labels are 11 to 11"),
        ({"y": [1] * 59}, r"60 images, but its labels are int64 \(59,\)"),
        ({"X": np.zeros((32, 32, 60), np.uint8)}, "damaged"),
        (
            {"X": np.zeros((32, 31, 3, 60), np.uint8)},
            r"its images are uint8 \(60, 3, 32, 31\), not uint8 \(n, 3, 32, 32\)",
        ),
        ({"X": np.full((32, 32, 3, 60), np.nan)}, "its images are float64"),
    ],
)
def test_files_of_svhn_that_are_not_its_own(small_data, changed, message):
    file = small_data / "SVHN" / "train_32x32.mat"
    savemat(file, {key: value for key, value in loadmat(file).items() if key in "Xy"} | changed)
    assert re.search(message, refused("svhn", small_data))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [10] * 12}, "labels are 0 to 10"),
        ({"labels": [0] * 11}, r"60 images, but its labels are int64 \(59,\)"),
        ({"labels": [0.5] * 12}, "labels are 0.0 to 9.0, not whole numbers"),
        ({"data": np.zeros((12, 3000), np.uint8)}, "damaged"),
        ({"data": np.zeros((12, 3072), np.float32)}, "its images are float32"),
        ({"labels": None}, "damaged"),
        (None, "damaged"),
    ],
)
def test_files_of_cifar10_that_are_not_its_own(small_data, changed, message):
    file = small_data / "CIFAR10" / "cifar-10-batches-py" / "data_batch_2"
    content = file.read_bytes()
    file.write_bytes(content[:50] if changed is None else pickle.dumps(pickle.loads(content) | changed))
    assert re.search(message, refused("cifar10", small_data))


def test_faces_and_lists_of_celeba_that_are_not_its_own(small_data):
    folder = small_data / "celeba"
    face = folder / "img_align_celeba" / "000003.png"
    whole = face.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        face.write_bytes(content)
        assert f"{face} is damaged" in refused("celeba", small_data)
    Image.new("RGB", (178, 100)).save(face)
    assert "it has 178 × 100 pixels" in refused("celeba", small_data)
    face.write_bytes(whole)
    source("celeba").load(small_data)

    attributes = folder / "list_attr_celeba.txt"
    text = attributes.read_text()
    for changed in (text.replace(" -1", " 5"), text.replace("Bald ", ""), text.rpartition("000079")[0], "", text[:-9]):
        attributes.write_text(changed)
        assert "list_attr_celeba.txt is damaged" in refused("celeba", small_data) or "a file in" in refused(
            "celeba", small_data
        )
    attributes.write_text(text)
    (folder / "list_eval_partition.txt").write_text("000000.png x\n")
    assert "damaged" in refused("celeba", small_data)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", "short", "shape", "dtype"])
def test_small_faces_that_were_kept_badly_are_made_anew(small_data, content):
    before = source("celeba").load(small_data).train.x.clone()
    file = small_data / "celeba" / "lifegen-train-64.npy"
    if content == "short":
        file.write_bytes(file.read_bytes()[:-1])
    elif content == "shape":
        np.save(file, np.zeros((len(before), 3, 32, 32), np.uint8))
    elif content == "dtype":
        np.save(file, np.zeros(before.shape, np.float32))
    else:
        file.write_bytes(content)
    assert torch.equal(source("celeba").load(small_data).train.x, before)


# Names

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
NAMES = {kind: sorted(describe(kind)) for kind in ("scenario", "method")}


def is_a_file_name(name: str) -> bool:
    return Path(name).name == name != ".." and "\\" not in name and name.isprintable() and len(name.encode()) <= 255


@settings(max_examples=60, deadline=None)
@given(st.data(), st.dictionaries(st.text(), JSON, max_size=3), st.integers(0, 2**63 - 1))
def test_a_cells_name_is_a_file_name_whatever_its_options_are(data, config, seed):
    one, other = (Spec(describe(kind)[data.draw(st.sampled_from(NAMES[kind]))], config, "../..") for kind in NAMES)
    assert is_a_file_name(Cell(one, other, seed, suite="../../x").name)


@given(st.text("aZ09-_./\\\0\n é", max_size=8))
def test_a_registered_name_is_a_file_name(name):
    registry = Registry("method", r"[a-z0-9]+(-[a-z0-9]+)*")
    try:
        registry.add(name, 1, Path, None)
    except ValueError:
        return
    assert is_a_file_name(name)


@given(st.text(max_size=8) | st.text("./\\\0\n ~é", max_size=300))
def test_a_suites_store_stays_within_runs(stem):
    with pytest.raises(InputError) as caught:
        suite(f"{stem}.toml")
    if "the name of its file" not in str(caught.value):
        assert is_a_file_name(Path(f"{stem}.toml").stem + "-smoke")


@given(st.text(max_size=300) | st.text("./\\\0\n ~é", max_size=300))
def test_a_name_is_a_file_name(text):
    if not_a_name(text) is None:
        assert is_a_file_name(text)


@given(st.text())
def test_an_error_is_one_line(text):
    assert str(InputError(text)).isprintable()


@pytest.mark.parametrize("text", ["naive:width=" + "9" * 400, "naive:codes=1e400", "naive:x=" + "[" * 3000, "naive:=",
                                  "naive:width=8,,", "naive:" + '"\\ud800"', ":", "x" * 10_001, "celeba"])  # fmt: skip
def test_methods_that_nobody_can_have(text):
    with pytest.raises(InputError) as caught:
        parse_spec("method", text)
    assert len(str(caught.value)) < 1000


def test_an_option_is_text_that_can_be_printed():
    with pytest.raises(InputError, match="can't be printed"):
        parse_spec("scenario", 'celeba-attributes:attributes=["Bald\\n"]')


# What fuzzing found, and a short round of it

READERS = {"suite": fuzz_suite, "records": fuzz_records, "state": fuzz_state}


@pytest.mark.parametrize(
    ("reader", "inputs"), [(reader, inputs) for reader in READERS for inputs in mutation.kept(reader)]
)
def test_what_fuzzing_found_is_read_or_refused(reader, inputs):
    mutation.outcome(lambda: READERS[reader].read(inputs))


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader):
    rng = random.Random(2)
    for _ in range(30):
        inputs = READERS[reader].mutate(rng)
        mutation.outcome(lambda: READERS[reader].read(inputs))  # noqa: B023  (called at once)

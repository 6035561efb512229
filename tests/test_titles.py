"""Titles of scenarios and methods in figures, names of files, and the styles that a user chooses."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark.cells.suite import suite
from lifegen.benchmark.discovery.index import describe_file
from lifegen.benchmark.discovery.plugin_file import PluginFile
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.files import digest
from lifegen.benchmark.functions import plot as figure_of
from lifegen.benchmark.reporting.figure_kinds import check_figures
from lifegen.benchmark.reporting.figures.ends import spread
from lifegen.benchmark.reporting.figures.style import look, style_of
from lifegen.benchmark.reporting.file_names import file_name, file_names
from lifegen.benchmark.reporting.plots import drawings, plot
from lifegen.benchmark.reporting.titles import read_labels, titles_of
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store

from .commands import lifegen
from .test_plots import drawn, lines, names_at_ends, write

SUITE = """
summary = "x"
budget = "x"
scenarios = ["split-digits:steps=5"]
methods = ["naive", "lifelong-vae:weight_transfer=false,consistency_weight=0"]
seeds = [0]
figures = ["code_perplexity"]
smoke = {}
[labels]
"split-digits:steps=5" = "Digits"
"lifelong-vae:consistency_weight=0,weight_transfer=false" = "Bare"
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for method in ("naive", "lifelong-vae", "lifelong-vae:consistency_weight=0.0"):
        write(store, method, 0, 30, scenario="split-mnist:steps=1000", components=2,
              reference="lower" if method == "naive" else None)  # fmt: skip
    return store


def test_titles_are_names_in_words_with_the_options_that_differ():
    many = "width=400,codes=1,style=32,activation=relu"
    methods = ["avalanche-agem", "growing-cvae", "lifelong-vae:weight_transfer=false", "lifelong-vae (bfloat16)",
               f"batch:batch_size=10,{many}", f"batch:batch_size=50,{many}", f"naive:batch_size=10,{many}"]  # fmt: skip
    titles = titles_of(
        ["split-mnist:steps=1000", "split-mnist:passes=1", "celeba-attributes"], methods, {"growing-cvae": "Ours"}
    )
    assert titles.scenarios == {
        "split-mnist:steps=1000": "Split MNIST, 1,000 steps", "split-mnist:passes=1": "Split MNIST, 1 pass",
        "celeba-attributes": "CelebA attributes",
    }  # fmt: skip
    assert [titles.method(label) for label in methods] == [
        "Avalanche A-GEM", "Ours", "Lifelong VAE, no weight transfer", "Lifelong VAE, bfloat16",
        "Batch, batch size 10", "Batch, batch size 50", "Naive",
    ]  # fmt: skip
    told = titles.told(["split-mnist:steps=1000"], methods)
    assert f"Naive is naive:batch_size=10,{many}" in told  # what a title leaves out stands in the caption
    assert "Ours is growing-cvae" in told
    assert "A-GEM" not in told


def test_a_plugin_states_its_title(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from lifegen.benchmark import register_method\n"
        "from lifegen.methods.models.method import VAEMethod\n"
        '@register_method("mine", version=1, title="My VAE")\n'
        'class Mine(VAEMethod):\n    """One."""\n'
    )
    entry = describe_file(PluginFile.read(str(tmp_path / "mine.py")), "method")
    assert entry.facts["title"] == "My VAE"


@given(st.text(max_size=300))
def test_names_of_files_have_none_of_the_characters_that_shells_and_latex_trip_over(label):
    name = file_name(label)
    assert not set(name) & set("=,:/\\ '\"#$%&*?\n")
    assert 0 < len(name.encode()) <= 200


@given(st.sets(st.text("aA=-_+", max_size=3), max_size=9))
def test_each_label_has_a_file_name_of_its_own(labels):
    names = file_names(labels)
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert file_names(["ewc", "ewc", "naive:rate=1"]) == {"ewc": "ewc", "naive:rate=1": "naive_rate-1"}


def test_names_of_default_options_stay_what_they_are():
    assert [file_name(name) for name in ("split-mnist", "samples-lifelong-vae", "negative_elbo")] == [
        "split-mnist", "samples-lifelong-vae", "negative_elbo",
    ]  # fmt: skip
    assert file_name("split-mnist:steps=1000,passes=2") == "split-mnist_steps-1000_passes-2"


def test_a_label_on_the_command_line_names_a_method_and_the_caption_says_which(store, tmp_path):
    out = tmp_path / "figures"
    done = lifegen("plot", store.path, "negative_elbo", "--label", "lifelong-vae:consistency_weight=0.0=Ours = best",
                   "--label", "split-mnist:steps=1000=MNIST", "--no-title", "--format", "svg",
                   "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = out / "split-mnist_steps-1000"
    assert done.stdout.split() == [str(folder / "negative_elbo.svg")]
    picture = (folder / "negative_elbo.svg").read_text()
    assert "Ours = best" in picture
    assert "Lifelong VAE" in picture
    assert "one seed" not in picture.partition("</metadata>")[2]  # the title is in the caption alone
    caption = (folder / "negative_elbo.txt").read_text()
    assert caption.startswith("MNIST: negative ELBO after each interval (one seed). ")
    assert "Ours = best is lifelong-vae:consistency_weight=0.0" in caption
    alone = drawn(store, "negative_elbo", methods=["naive"], labels={"lifelong-vae": "Ours"})
    assert names_at_ends(alone.figure) == ["Naive ▼"]  # a title of what isn't drawn does no harm
    done = lifegen("plot", store.path, "--label", "lifelong-vea=Ours", "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mean 'lifelong-vae'" in done.stderr
    with pytest.raises(InputError, match="NAME=TITLE"):
        read_labels(["Ours"], ["naive"])
    with pytest.raises(InputError, match="characters that can't be printed"):
        read_labels(["naive=a\x01b"], ["naive"])
    with pytest.raises(InputError, match="batch and naive can't both be called 'Ours'|naive and batch can't both"):
        read_labels(["naive=Ours", "batch=Ours"], ["naive", "batch"])
    with pytest.raises(InputError, match="a title is empty"):
        read_labels(["naive="], ["naive"])


def test_a_suite_says_what_is_drawn_and_what_it_is_called(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    check_figures(suite(str(tmp_path / "mine.toml")))
    store = Store.create(tmp_path / "store")
    label = "lifelong-vae:weight_transfer=false,consistency_weight=0"
    for method in ("naive", label):
        write(store, method, 0, 30, scenario="split-digits:steps=5", components=2)
    usual = {"final", "negative_elbo", "matrix", "memory", "samples_by_method"}
    assert {file.stem for file in plot(store, tmp_path / "usual")} == usual
    (store.path / "plans").mkdir()
    record = store.cells()[0].record
    plan = {"command": "x", "serial": 1, "asked": "", "cells": {"x": record | {"suite": str(tmp_path / "mine.toml")}}}
    (store.path / "plans" / "x.json").write_text(json.dumps(plan))
    files = plot(store, tmp_path / "figures")
    assert {file.stem for file in files} == {"code_perplexity"}  # although it is the same for all
    drawing = drawn(store, "negative_elbo")
    assert sorted(names_at_ends(drawing.figure)) == ["Bare", "Naive"]
    assert drawing.title.startswith("Digits: ")
    (tmp_path / "mine.toml").write_text(SUITE.replace('"split-digits:', '"split-digitz:', 2).replace("z:", "s:", 1))
    with pytest.raises(InputError, match=r"mine.toml, labels.split-digitz:steps=5: unknown scenario or method of this"):
        check_figures(suite(str(tmp_path / "mine.toml")))


def test_a_metrics_own_name_always_draws_and_constant_ones_are_left_out_otherwise(store):
    assert "code_perplexity" not in {one.name for one in drawings(store)}
    assert drawn(store, "code_perplexity").name == "code_perplexity"
    once = Store.create(store.path.parent / "once")
    write(once, "batch", 0, 20, reference="upper", intervals=1)
    (drawing,) = drawings(once, ["stored_parameters"])
    assert drawing.data["mean"].tolist() == [10**6]
    with pytest.raises(InputError, match="nothing to draw 'coverage' from: it needs a value of coverage"):
        list(drawings(once, ["coverage"]))


def test_curves_have_their_names_in_the_order_of_their_ends_and_undefined_stretches_are_gaps(tmp_path):
    store = Store.create(tmp_path)
    for method, final in (("good", 30), ("bad", 90), ("naive", 60)):
        write(store, method, 0, final)
    assert names_at_ends(drawn(store, "negative_elbo").figure) == ["Bad", "Naive", "Good"]
    file = store.cell("split-x-good-0").folder / "metrics.jsonl"
    row = '{"interval": 1, "distribution": null, "step": null, "metric": "code_perplexity"'
    text = file.read_text()
    assert row in text
    file.write_text(text.replace(row, row.replace("perplexity", "perplexitx")))
    record = store.cell("split-x-good-0").record
    write_record(file.parent, record | {"digest": digest(file.read_bytes())})
    line = lines(drawn(store, "code_perplexity").figure)["good"]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]


def test_an_interval_that_is_cut_has_a_mark_and_the_title_says_so(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30)
    write(store, "good", 1, 40)  # of two seeds the interval is 127 nats long
    drawing = drawn(store, "final")
    panel = drawing.figure.axes[0]
    heads = {line.get_marker(): line.get_xdata()[0] for line in panel.get_lines() if line.get_marker() in "<>"}
    assert heads == dict(zip("<>", panel.get_xlim(), strict=True))
    assert "arrow heads" in drawing.title
    write(store, "good", 2, 35)
    write(store, "bad", 0, 300)
    assert "arrow heads" not in drawn(store, "final").title


def test_the_ends_of_a_scale_never_share_marker_or_dash():
    """Whatever their names and options are: so they differ in grey, too."""
    names = ["batch", "naive", "batch:width=8", "naive:width=8", *(f"mine-{i}" for i in range(20))]
    uppers = {look(name, "upper") for name in names if not name.startswith("naive")}
    lowers = {look(name, "lower") for name in names if not name.startswith("batch")}
    assert not {one.marker for one in uppers} & {one.marker for one in lowers}
    assert not {one.dash for one in uppers} & {one.dash for one in lowers}


def test_every_distribution_has_its_label(tmp_path):
    names = ["T-shirt", "Trouser", "Pullover", *(f"a rather long name {i}" for i in range(20))]
    store = Store.create(tmp_path)
    for method in ("good", "bad", "naive", "other"):
        write(store, method, 0, 30, order=names, intervals=len(names))
    for kind in ("matrix", "forgetting"):
        panel = drawn(store, kind, style="icml").figure.axes[3 if kind == "matrix" else 0]  # the lowest has the labels
        assert [text.get_text() for text in panel.get_xticklabels()] == names


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.03))
def test_places_beside_a_panel_keep_their_order_and_dont_overlap(wanted, room):
    wanted = sorted(wanted)
    places = spread(wanted, np.full(len(wanted), room))
    assert (np.diff(places) >= room - 1e-9).all()
    assert room / 2 - 1e-9 <= places[0] <= places[-1] <= 1 - room / 2 + 1e-9
    if len(wanted) == 1:
        assert places[0] == pytest.approx(np.clip(wanted[0], room / 2, 1 - room / 2))


def test_width_font_and_a_style_file(store, tmp_path):
    figure = figure_of(store.path, "negative_elbo", width=4.5, font=9, title=False)
    assert figure.get_figwidth() == 4.5
    assert figure.axes[0].xaxis.label.get_size() == 9
    assert figure.get_suptitle() == ""
    file = tmp_path / "mine.mplstyle"
    file.write_text(
        "font.size: 6\nfigure.figsize: 5, 2\nfont.family: serif\naxes.facecolor: eeeeee\ntext.usetex: True\n"
    )
    before = dict(matplotlib.rcParams)
    drawing = drawn(store, "negative_elbo", style=str(file))
    assert drawing.figure.get_figwidth() == 5
    assert drawing.figure.axes[0].xaxis.label.get_size() == 6
    assert matplotlib.colors.to_hex(drawing.figure.axes[0].get_facecolor()) == "#eeeeee"
    assert dict(matplotlib.rcParams) == before
    drawing.save(tmp_path / "figure.svg", "svg")
    assert "serif" in (tmp_path / "figure.svg").read_text()
    file.write_text("font.size: huge\n")
    for name, message in (
        (str(file), "can't be read"),
        (str(tmp_path / "no.mplstyle"), "isn't a file"),
        ("papr", "mean"),
    ):
        with pytest.raises(InputError, match=message):
            style_of(name)
    with pytest.raises(InputError, match="--width 0.1: a figure's width is between"):
        style_of("screen", width=0.1)
    with pytest.raises(InputError, match="--font nan"):
        style_of("screen", font=float("nan"))


def test_a_published_folder_is_drawn(tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "naive", 0, 30)
    done = lifegen("publish", store.path, "--out", tmp_path / "published")
    assert done.returncode == 0, done.stderr
    done = lifegen("plot", tmp_path / "published", "final", "-m", "naive", "--style", "neurips")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "published" / "figures" / "split-x" / "final.png").exists()

"""Figures, from stores written by hand: what is in them, how methods look, what is written beside them."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from lifegen.benchmark.cells.suite import suites
from lifegen.benchmark.contracts.looks import DASHES, MARKERS
from lifegen.benchmark.contracts.registry import METHODS, register_method
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.files import digest
from lifegen.benchmark.reading.current import current_of
from lifegen.benchmark.reporting.figures.comparisons import _on_front
from lifegen.benchmark.reporting.figures.drawing import Drawing, Scene
from lifegen.benchmark.reporting.figures.grids import image_rows, spread, style_panels
from lifegen.benchmark.reporting.figures.style import STYLES, DrawnLook, look, looks, style_of
from lifegen.benchmark.reporting.plots import drawings, plot
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store

from .commands import lifegen
from .stores import unseal, version_of

IMAGE = 64
"""Bytes of an image in a store of these tests."""
LOOKS = {name: look(name) for name, one in describe("method").items() if one.provider == "lifegen"}


def write(store: Store, label: str, seed: int, final: float, *, reference: str | None = None, intervals: int = 3,
          scenario: str = "split-x", images: int = 0, numbers: int = 10**6, seconds: float = 10, components: int = 1,
          order: Sequence[str] = "012", far: float = 0, old: bool = False, threshold: float | str | None = None,
          config: dict[str, Any] | None = None, more: tuple[str, ...] = ()) -> None:  # fmt: skip
    """A cell whose negative ELBO falls by 10 an interval, to ``final``; a distribution that is still unknown lies
    ``far`` above."""
    name = label.partition(":")[0]
    visits = [[one] for one in order[:intervals]] if intervals > 1 else [list(order)]
    record = {
        "scenario": {"name": scenario, "label": scenario, "version": 1, "config": {}, "track": "t"},
        "method": {"name": name, "label": label, "version": version_of(name, 1), "reference": reference, "uses": [],
                   "config": config or {"threshold": threshold}},
        "seed": seed, "visits": visits, "protocol": 1, "metrics": {}, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    with store.writing(f"{scenario}-{label}-{seed}".replace(":", "-"), record) as writer:
        for interval in range(intervals):
            value = final + 10 * (intervals - 1 - interval)
            measured: dict[str, float] = {
                "negative_elbo": value, "real_samples": 1000, "synthetic_samples": 7, "components": components,
                "stored_parameters": numbers, "stored_samples": images, "train_seconds": seconds / intervals,
                "code_perplexity": 2,
            }  # fmt: skip
            measured |= dict.fromkeys(more, value)
            if interval:
                measured |= {"posterior_consistency_past": 0.5 + seed / 10, "code_retention": 0.9}
            rows = [(None, None, metric, number) for metric, number in measured.items()]
            for place, one in enumerate(order):
                rows.append((one, None, "negative_elbo", value + place * interval + far * (place > interval)))
            rows += [(None, step, "gradient_norm", norm) for step, norm in ((5, 1.0), (6, 3.0))]
            names = ("distribution", "step", "metric", "value")
            writer.append([{"interval": interval, **dict(zip(names, row, strict=True))} for row in rows])
        samples = np.random.default_rng(0).integers(0, 255, (3, 10, 1, 8, 8), dtype=np.uint8)
        pictures = {"samples": samples, "originals": samples[:, :8], "reconstructions": samples[:, 2:]}
        if not old:
            pictures["samples_over_intervals"] = samples[:intervals]
        if name == "good":
            pictures["style_grid"] = samples[:, :9]
            pictures["replayed_over_intervals"] = np.stack([np.zeros_like(samples[0]), *samples[1:intervals]])
        np.savez_compressed(writer.folder / "pictures.npz", **pictures)
        writer.finish()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for seed, (naive, good, batch) in enumerate([(50, 30, 20), (52, 31, 21), (54, 35, 20)]):
        write(store, "naive", seed, naive, reference="lower", numbers=500_000)
        write(store, "good", seed, good, components=2)
        write(store, "batch", seed, batch, reference="upper", intervals=1)
    return store


def drawn(store: Store, kind: str, name: str | None = None, **options: Any) -> Drawing:
    return next(one for one in drawings(store, [kind], **options) if name in (None, one.name))


def lines(figure: Figure, panel: int = 0) -> dict[str, Any]:
    return {str(line.get_label()): line for line in figure.axes[panel].get_lines()}


def names_at_ends(figure: Figure, panel: int = 0) -> list[str]:
    """The names or numbers beside a panel, from the top."""
    texts = [text for text in figure.axes[panel].texts if text.get_text()]
    return [text.get_text() for text in sorted(texts, key=lambda text: -text.get_position()[1])]


def test_every_kind_is_drawn_and_what_was_drawn_lies_beside_it(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Drawing, "save", lambda self, file, form: file.write_text(f"{form} of {self.name}"))
    for threshold in (1.0, "inf"):
        write(store, f"growing:threshold={threshold}", 0, 40, threshold=threshold)
    files = plot(store, tmp_path / "figures", ["all"], formats=("png", "svg"))
    names = {file.relative_to(tmp_path / "figures").as_posix() for file in files}
    methods = ["naive", "good", "batch", "growing_threshold-1.0", "growing_threshold-inf"]
    figures = {  # of the curves, those of what differs
        *("negative_elbo", "posterior_consistency_past", "gradient_norm", "stored_parameters", "train_seconds"),
        *("final", "matrix", "forgetting", "consistency", "components", "memory", "compute", "samples_needed",
          "gradient_norm_steps", "options-threshold", "samples_by_method", "style_grid-good",
          "replayed_by_method", "replayed_over_intervals-good"),
        *(f"{kind}-{method}" for kind in ("samples", "samples_over_intervals", "reconstructions")
          for method in methods),
    }  # fmt: skip
    assert names == {f"split-x/{name}.{ending}" for name in figures for ending in ("png", "svg", "csv", "txt")}
    assert all(file.exists() for file in files)


def test_samples_have_one_curve_of_what_was_seen_and_likelihoods_have_all(tmp_path):
    store = Store.create(tmp_path / "store")
    metrics = ("negative_elbo_seen", "coverage", "coverage_seen", "frechet_distance")
    write(store, "good", 0, 30.0, more=metrics)
    names = {drawing.name for drawing in drawings(store, ["curves"])}
    assert {"negative_elbo", "negative_elbo_seen", "coverage_seen", "frechet_distance"} <= names
    assert "coverage" not in names


def test_the_table_beside_a_figure_is_what_was_drawn(store, tmp_path):
    figure, table_file, caption = plot(store, tmp_path, ["components"], ("png",))
    assert caption.read_text() == "Split x: components after each interval (mean of 3 seeds, 95 % interval).\n"
    assert figure.read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(table_file)
    shown = lines(drawn(store, "components").figure)
    for method, own in table[table["method"] != "batch"].groupby("method"):
        assert list(shown[method].get_xdata()) == own["interval"].tolist()
        assert list(shown[method].get_ydata()) == pytest.approx(own["mean"].tolist())
    assert set(table["n"]) == {3}
    table = drawn(store, "curves", "negative_elbo").data
    last = table[(table["method"] == "good") & (table["interval"] == 2)].iloc[0]
    low, high = stats.t.interval(0.95, 2, loc=32, scale=stats.sem([30, 31, 35]))
    assert (last["mean"], last["low"], last["high"]) == pytest.approx((32, low, high))


def test_a_curve_shows_means_and_intervals_and_one_interval_goes_across(store):
    drawing = drawn(store, "curves", "negative_elbo")
    axes = drawing.figure.axes[0]
    assert list(lines(drawing.figure)["good"].get_ydata()) == pytest.approx([52, 42, 32])
    assert list(lines(drawing.figure)["batch"].get_xdata()) == [0, 2]
    assert list(lines(drawing.figure)["batch"].get_ydata()) == pytest.approx([61 / 3] * 2)
    assert axes.get_ylabel() == "negative ELBO (nats)"
    half = stats.t.ppf(0.975, 2) * np.std([30, 31, 35], ddof=1) / np.sqrt(3)
    assert axes.collections[1].get_paths()[0].vertices[:, 1].max() == pytest.approx(52 + half)
    assert drawing.title == "Split x: negative ELBO after each interval (mean of 3 seeds, 95 % interval)"
    assert drawing.figure.get_suptitle() == drawing.title


def test_a_metric_that_starts_at_interval_1_is_no_line_across(store):
    line = lines(drawn(store, "curves", "posterior_consistency_past").figure)["good"]
    assert list(line.get_xdata()) == [1, 2]


def test_a_trace_has_a_point_at_each_step_between_the_intervals(store):
    figure = drawn(store, "curves", "gradient_norm").figure
    places = [interval - 1 + step / 7 for interval in range(3) for step in (5, 6)]
    assert list(lines(figure)["good"].get_xdata()) == pytest.approx(places)
    assert list(lines(figure)["batch"].get_xdata()) == pytest.approx([-1 + 3 * 5 / 7, -1 + 3 * 6 / 7])


def test_one_seed_has_no_interval_and_the_axis_shows_every_seed(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30)
    for kind in ("final", "curves", "forgetting", "memory", "matrix"):
        for drawing in drawings(store, [kind]):
            assert "one seed" in drawing.title
            assert "interval)" not in drawing.title
            assert drawing.data.filter(["low", "high"]).isna().all(axis=None)
    write(store, "good", 1, 40)
    drawing = drawn(store, "curves", "negative_elbo")  # of two seeds the interval reaches far beyond
    assert drawing.figure.axes[0].get_ylim() == pytest.approx((30 - 0.12 * 30, 60 + 0.12 * 30))
    assert "2 seeds" in drawing.title


def test_final_has_the_best_first_with_its_seeds_and_the_references_across(store):
    drawing = drawn(store, "final")
    left, right = drawing.figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["Batch ▲", "Good", "Naive ▼"]
    assert left.get_ylim() == (2.5, -0.5)
    across = {
        line.get_label(): line.get_xdata()[0] for line in left.get_lines() if line.get_label() in ("upper", "lower")
    }
    assert across == {"upper": pytest.approx(61 / 3), "lower": pytest.approx(52)}
    assert any(list(line.get_xdata()) == [30, 31, 35] for line in left.get_lines())  # the seeds
    good = drawing.data[(drawing.data["method"] == "good") & (drawing.data["metric"] == "negative_elbo")].iloc[0]
    assert any(list(line.get_xdata()) == [good["low"], good["high"]] for line in left.get_lines())
    assert good["seeds"] == "0:30 1:31 2:35"
    assert right.get_xlabel() == "forgetting (nats)"
    assert "batch" not in set(drawing.data[drawing.data["metric"] == "forgetting"]["method"])


def test_the_matrix_frames_what_is_first_met_and_its_colours_end_with_what_is_known(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30, far=10_000)
    write(store, "good", 1, 32, far=10_000)
    write(store, "batch", 0, 20, reference="upper", intervals=1)
    drawing = drawn(store, "matrix")
    panel = drawing.figure.axes[0]
    image = panel.get_images()[0]
    assert np.asarray(image.get_array()).tolist() == [[51, 10051, 10051], [41, 42, 10043], [31, 33, 35]]
    assert image.get_clim()[1] < 60
    assert image.get_clim()[0] == 31
    assert [patch.get_xy() for patch in panel.patches] == [(-0.5, -0.5), (0.5, 0.5), (1.5, 1.5)]
    assert {text.get_text() for text in panel.texts} >= {"31", "33", "35"}
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "1", "2"]
    assert len(drawing.data) == 9
    assert set(drawing.data["n"]) == {2}


def test_distributions_that_seeds_meet_in_another_order_are_numbered_by_it(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30, order="012")
    write(store, "good", 1, 30, order="210")
    table = drawn(store, "matrix").data
    assert set(table["distribution"]) == {"#0", "1", "#2"}
    assert table[table["interval"] == 2].set_index("distribution")["mean"].to_dict() == {"#0": 30, "1": 32, "#2": 34}


def test_forgetting_of_each_distribution_and_its_mean(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30)
    write(store, "bad", 0, 30)
    file = tmp_path / "cells" / "split-x-bad-0" / "metrics.jsonl"
    # R[2, 0] was 30, the best; now it lies 20 above R[1, 0].
    text = file.read_text()
    row = '{"interval": 2, "distribution": "0", "step": null, "metric": "negative_elbo", "value": 30}'
    assert row in text
    file.write_text(text.replace(row, row.replace("30}", "60}")))
    record = store.cell("split-x-bad-0").record
    write_record(file.parent, record | {"digest": digest(file.read_bytes())})
    drawing = drawn(store, "forgetting")
    table = drawing.data[drawing.data["method"] == "bad"].set_index("distribution")["mean"]
    assert table.to_dict() == {"0": 20, "1": 0, "2": 0, "mean of the past": 10}
    left, right = drawing.figure.axes[:2]
    assert [text.get_text() for text in left.get_yticklabels()] == ["Good", "Bad"]
    assert np.asarray(left.get_images()[0].get_array()).tolist() == [[0, 0, 0], [20, 0, 0]]
    assert any(list(line.get_xdata()) == [10] for line in right.get_lines())


def test_consistency_has_perplexity_beside_it(store):
    drawing = drawn(store, "consistency")
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert titles == ["posterior consistency past", "code retention", "code perplexity (codes)"]
    assert list(lines(drawing.figure, 2)["good"].get_ydata()) == [2, 2, 2]
    assert set(drawing.data["metric"]) == {"posterior_consistency_past", "code_retention", "code_perplexity"}


def test_samples_needed_has_a_panel_for_real_and_one_for_synthetic_ones(store):
    figure = drawn(store, "samples_needed").figure
    assert [axes.get_title() for axes in figure.axes] == ["real samples", "synthetic samples"]
    assert [list(lines(figure, panel)["good"].get_ydata()) for panel in (0, 1)] == [[1000] * 3, [7] * 3]
    assert "batch" not in lines(figure)


def test_gradient_norms_have_a_curve_per_interval_and_panels_in_rows(store):
    for name in ("a", "b", "c"):
        write(store, name, 0, 30)
    figure = drawn(store, "gradient_norm_steps").figure
    panels = figure.axes[:5]
    assert [panel.get_title() for panel in panels] == ["A", "B", "C", "Good", "Naive ▼"]
    assert len({panel.get_subplotspec().rowspan.start for panel in panels}) == 2
    assert len(panels[0].get_lines()) == 3
    assert [list(data) for data in panels[0].get_lines()[0].get_data()] == [[5, 6], [1, 3]]


def test_components_are_drawn_where_there_is_more_than_one(store, tmp_path):
    assert list(lines(drawn(store, "components").figure)["good"].get_ydata()) == [2, 2, 2]
    single = Store.create(tmp_path / "single")
    write(single, "good", 0, 30)
    assert "components" not in {one.name for one in drawings(single)}


def test_memory_is_numbers_and_images_in_megabytes(tmp_path):
    store = Store.create(tmp_path)
    write(store, "numbers", 0, 30, numbers=10**6)
    write(store, "images", 0, 40, numbers=10**5, images=10_000)
    write(store, "both", 0, 50, numbers=10**6, images=10_000)
    write(store, "naive", 0, 20, numbers=10, reference="lower")
    write(store, "batch", 0, 10, reference="upper", intervals=1)
    drawing = drawn(store, "memory")
    table = drawing.data.set_index("method")
    assert table["mean_cost"].to_dict() == pytest.approx(
        {"numbers": 4, "images": 0.4 + 0.01 * IMAGE, "both": 4 + 0.01 * IMAGE, "naive": 4e-5, "batch": 4}
    )
    assert set(table.index[table["on_front"]]) == {"numbers", "images"}  # references don't compete
    axes = drawing.figure.axes[0]
    across = [list(line.get_ydata()) for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert across == [[10, 10]]  # the batch keeps all data, which nobody counts
    assert axes.get_xscale() == "log"


def test_compute_has_the_sum_of_seconds_with_intervals_along_both_axes(store):
    drawing = drawn(store, "compute")
    row = drawing.data.set_index("method").loc["good"]
    assert (row["mean_cost"], row["n"], row["mean"]) == (pytest.approx(10), 3, pytest.approx(32))
    assert "Pareto" in drawing.title
    assert any(
        np.allclose([segment[0, 1], segment[1, 1]], [row["low"], row["high"]])
        for bars in drawing.figure.axes[0].collections
        for segment in bars.get_segments()
    )


def test_the_front_is_what_nothing_else_beats():
    points = np.array([[1, 5], [2, 3], [2, 4], [3, 3], [4, 1], [np.nan, np.nan], [4, 1]])
    assert _on_front(points).tolist() == [True, True, False, False, True, False, True]


def test_components_and_quality_against_a_number_that_variants_differ_in(tmp_path):
    """At equal distances, infinity last; the mean over seeds; one line for the rest of the configuration. The kind is
    still found under its earlier name."""
    store = Store.create(tmp_path)
    for seed in (0, 1):
        for threshold, components in ((0.0, 10), (20.0, 4 + seed), ("inf", 1)):
            write(store, f"growing:threshold={threshold}", seed, 30.0 - components, threshold=threshold,
                  components=components)  # fmt: skip
    drawing = drawn(store, "thresholds")
    left = drawing.figure.axes[0]
    line = lines(drawing.figure)["growing"]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert line.get_ydata().tolist() == [10, 4.5, 1]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "20", "∞"]
    assert lines(drawing.figure, 1)["growing"].get_ydata().tolist() == [20, 25.5, 29]
    assert set(drawing.data["method"]) == {"growing"}
    assert (drawing.kind, drawing.name) == ("options", "options-threshold")
    assert drawing.data["threshold"].tolist() == [0, 20, np.inf] * 2
    assert drawing.title.startswith("Split x: components and negative ELBO after the last interval, against threshold")


def test_each_option_that_variants_differ_in_alone_is_a_figure(tmp_path):
    """A method with another option different as well is another line; a single model has no panel of components."""
    store = Store.create(tmp_path)
    variants = (
        ("ewc", 1, 0), ("ewc", 10, 0), ("ewc", 10, 1), ("other", 1, 0), ("other", 10, 1),
        ("list", [1, 2], 0), ("list", 3, 0), ("list", 4, 0),
    )  # fmt: skip
    for name, strength, width in variants:
        write(store, f"{name}:strength={strength},width={width}".replace(" ", ""), 0, 30,
              config={"strength": strength, "width": width})  # fmt: skip
    figures = {one.name: one for one in drawings(store, ["options"])}
    lines_of = {name: set(one.data.iloc[:, :2].itertuples(index=False, name=None)) for name, one in figures.items()}
    assert lines_of == {
        "options-strength": {("ewc:width=0", 1), ("ewc:width=0", 10), ("list:width=0", 3), ("list:width=0", 4)},
        "options-width": {("ewc:strength=10", 0), ("ewc:strength=10", 1)},
    }
    assert [axes.get_ylabel() for axes in figures["options-strength"].figure.axes] == ["negative ELBO (nats)"]
    assert set(names_at_ends(figures["options-strength"].figure)) == {"EWC, width 0", "List, width 0"}


@pytest.mark.parametrize(
    "values", [("off", "on"), ("0.5", "1/K"), (None, 0.5), (False, True), ([1], [2]), (0.5, "x"), ({"a": 1}, {"a": 2}),
               (float("nan"), 1.0), (10**400, 1)],
)  # fmt: skip
def test_an_option_that_is_no_number_has_no_figure_and_ends_nothing(tmp_path, values):
    store = Store.create(tmp_path)
    for i, value in enumerate(values):
        write(store, f"mine:threshold={i}", 0, 30, components=2, config={"threshold": value})
    with pytest.raises(InputError, match="nothing to draw 'options'"):
        list(drawings(store, ["options"]))
    for level in (7, 8.5):  # two more variants are numbers
        write(store, f"mine:threshold={level}", 0, 30, components=2, config={"threshold": level})
    (drawing,) = drawings(store, ["options"])
    assert {7, 8.5} <= set(drawing.data["threshold"]) <= {0.5, 1, 7, 8.5}


def test_an_option_may_have_the_name_of_a_column(tmp_path):
    store = Store.create(tmp_path)
    names = ("method", "n", "mean", "metric", "level", "components")
    for level in (1, 2):
        for option in names:
            write(store, f"of-{option}:{option}={level}", 0, 30, components=2, config={option: level})
    assert [one.name for one in drawings(store, ["options"])] == [f"options-{option}" for option in sorted(names)]


@pytest.fixture
def registered(monkeypatch):
    """Methods that a test registers are forgotten after it."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("#ff0000", "a look has a colour, a marker and, if wanted, a dash, such as {.*}; not '#ff0000'"),
        ({"colour": "#ff0000"}, "a look has a colour, a marker"),
        ({"color": "#ff0000", "marker": "o"}, "a look has a colour, a marker"),
        ({"colour": "#ff0000", "marker": "o", "size": 3}, "a look has a colour, a marker"),
        ({"colour": "red", "marker": "o"}, "'mine': the colour of its look is of the form #rrggbb; not 'red'"),
        ({"colour": 7, "marker": "o"}, "#rrggbb; not 7"),
        ({"colour": "#ff0000", "marker": "+"}, "unknown marker in the look of method 'mine': '\\+'; there are: "),
        ({"colour": "#ff0000", "marker": "os"}, "unknown marker"),
        ({"colour": "#ff0000", "marker": ["o"]}, "unknown marker"),
        ({"colour": "#ff0000", "marker": "o", "dash": "dahsed"}, "unknown dash in .*Did you mean 'dashed'"),
        ({"colour": "#ff0000", "marker": "o", "dash": None}, "unknown dash"),
    ],
)
def test_a_look_that_cannot_be_drawn_is_refused_where_it_is_registered(stated, message):
    with pytest.raises(InputError, match=message):
        register_method("mine", version=1, look=stated)


def test_a_method_may_say_how_it_looks_and_everything_it_can_say_is_drawn(registered, store, monkeypatch):
    class Mine:
        """One."""

        Config = None

    register_method("good", version=1, look={"colour": "#ABCDEF", "marker": "h"})(Mine)
    described = IndexEntry("method", "good", 1, "", "m", facts=json.loads(json.dumps(dict(METHODS["good"].facts))))
    monkeypatch.setattr("lifegen.benchmark.reporting.figures.style.describe", lambda kind: {"good": described})
    assert look("good").line == {"color": "#ABCDEF", "linestyle": "-"}
    assert (look("good:a=1").colour, look("good:a=1").hollow) == ("#ABCDEF", True)
    line = lines(drawn(store, "curves", "negative_elbo").figure)["good"]
    assert (line.get_color(), line.get_marker()) == ("#ABCDEF", "h")
    for marker, dash in zip_longest(MARKERS, DASHES, fillvalue="solid"):
        stated = DrawnLook("#000000", marker, dash)
        assert Line2D([], [], **stated.line, **stated.point).is_dashed() == (dash != "solid")


def test_rows_of_images_are_those_of_the_pictures():
    images = np.zeros((4, 6, 1, 8, 8), dtype=np.uint8)
    images[2, 1] = 200
    axes = image_rows(images, list("abcd"), "code", STYLES["screen"]).axes[0]
    image = np.asarray(axes.get_images()[0].get_array())
    assert image.shape == (32, 48)
    assert (image[16:24, 8:16] == 200).all()
    assert image.sum() == 200 * 64
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcd")


def test_reconstructions_stand_beside_their_originals(store):
    drawing = drawn(store, "reconstructions", "reconstructions-good")
    kept = np.load(store.cell("split-x-good-0").folder / "pictures.npz")
    image = np.asarray(drawing.figure.axes[0].get_images()[0].get_array())
    assert (image[8:16, :8] == kept["originals"][1, 0, 0]).all()
    assert (image[8:16, 64:72] == kept["reconstructions"][1, 0, 0]).all()
    assert drawing.data["distribution"].tolist() == ["0", "1", "2"]
    assert set(drawing.data["cell"]) == {"split-x-good-0"}
    assert set(drawing.data["seed"]) == {0}


def test_deviations_stand_beside_reconstructions(store):
    file = store.cell("split-x-good-0").folder / "pictures.npz"
    kept = dict(np.load(file))
    kept["deviations"] = kept["reconstructions"] // 2
    np.savez_compressed(file, **kept)
    record = store.cell("split-x-good-0").record
    write_record(file.parent, record | {"contents": record["contents"] | {file.name: digest(file.read_bytes())}})
    drawing = drawn(store, "reconstructions", "reconstructions-good")
    image = np.asarray(drawing.figure.axes[0].get_images()[0].get_array())
    assert image.shape[1] == 3 * 8 * 8
    assert (image[8:16, 128:136] == kept["deviations"][1, 0, 0]).all()
    assert "deviation" in drawing.caption


def as_npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def as_zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def saying(shape: tuple[int, ...]) -> bytes:
    """A member of an npz file whose header says this shape, and that has three bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + b"abc"


ROWS = np.zeros((3, 4, 1, 8, 8), dtype=np.uint8)
WHOLE = as_npz(samples=ROWS, originals=ROWS, reconstructions=ROWS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "pictures.npz is missing"),
        (b"", "can't be read: it isn't a whole npz file"),
        (WHOLE[: len(WHOLE) // 2], "can't be read: it isn't a whole npz file"),
        (as_zip({"samples.npy": b"text"}), "can't be read: samples are no array"),
        (WHOLE[:60] + bytes(40) + WHOLE[100:], "can't be read: "),
        (pickle.dumps({"samples": ROWS}), "can't be read: it isn't a whole npz file"),
        (as_npz(samples=np.array([{}])), "can't be read: Object arrays cannot be loaded"),
        (as_npz(samples=ROWS.astype(float)), "samples are float64 of shape (3, 4, 1, 8, 8), not uint8"),
        (as_npz(samples=ROWS[0]), "samples are uint8 of shape (4, 1, 8, 8), not uint8 of shape (rows, images,"),
        (as_npz(samples=ROWS[:0]), "samples are uint8 of shape (0, 4, 1, 8, 8)"),
        (as_npz(samples=np.uint8(3)), "samples are uint8 of shape ()"),
        (as_npz(originals=ROWS, reconstructions=ROWS, deviations=ROWS[:2]), "deviations are of shape (2, 4, 1, 8, 8)"),
        (as_npz(reconstructions=ROWS), "originals are of shape None and reconstructions of (3, 4, 1, 8, 8)"),
        (as_npz(originals=ROWS[:2], reconstructions=ROWS[:2]), "of (2, 4, 1, 8, 8), for 3 distributions"),
        (as_zip({"samples.npy": saying((2**30, 2**18, 1, 2, 2))}), "samples has 1,125,899,906,842,624 bytes; at most"),
        (as_zip({"samples.npy": saying((3, 4, 1, 8, 8))}), "can't be read: "),
        (as_npz(style_grid=ROWS[:, :3]), "style_grid has 3 images for each code, which make no square"),
    ],
)
def test_pictures_that_cannot_be_used_are_left_out_with_a_note(tmp_path, content, reason):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30, images=10)
    unseal(store.cell("split-x-good-0"))
    file = store.cell("split-x-good-0").folder / "pictures.npz"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    notes: list[str] = []
    assert {one.kind for one in drawings(store, note=notes.append)} >= {"final", "curves", "compute"}
    (line,) = notes
    assert line.startswith("split-x: no pictures of split-x-good-0: pictures.npz ")
    assert reason in line
    for kind in ("samples", "samples_over_intervals", "reconstructions", "style_grid", "memory"):
        with pytest.raises(InputError) as caught:
            list(drawings(store, [kind]))
        assert f"nothing to draw '{kind}' from: it needs" in str(caught.value)
        assert str(caught.value).endswith(line)
    write(store, "better", 0, 20, images=10)
    write(store, "good", 1, 30, images=10)
    assert {one.name for one in drawings(store, ["samples", "memory"])} == {"samples-better", "memory"}


def test_pictures_that_have_changed_since_the_cell_was_finished_are_left_out(tmp_path):
    """Even if they are such a cell's."""
    store = Store.create(tmp_path)
    write(store, "good", 0, 30)
    (store.cell("split-x-good-0").folder / "pictures.npz").write_bytes(WHOLE)
    notes: list[str] = []
    assert "samples-good" not in {one.name for one in drawings(store, note=notes.append)}
    assert notes == [
        "split-x: no pictures of split-x-good-0: pictures.npz can't be read: it has changed since it was written"
    ]


def test_pictures_are_missed_in_a_line_for_each_reason(store):
    for cell in store.cells():
        (cell.folder / "pictures.npz").unlink()
    (store.cell("split-x-good-0").folder / "pictures.npz").mkdir()
    notes: list[str] = []
    list(drawings(store, note=notes.append))
    assert notes == [
        "split-x: no pictures of split-x-batch-0 and 1 more: pictures.npz is missing",
        "split-x: no pictures of split-x-good-0: pictures.npz can't be read: it isn't a regular file",
    ]


def test_rows_are_missed_only_by_figures_that_need_them(store):
    """Cells of a run have their numbers in their records."""
    versions = {name: entry.version for name, entry in describe("metric").items() if entry.facts.get("derived")}
    for cell in current_of(store).cells:
        write_record(cell.folder, cell.record | {"metrics": versions, "numbers": cell.numbers})
    damaged = store.cell("split-x-good-0").folder / "metrics.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b"1", b"2"))
    notes: list[str] = []
    (final,) = drawings(store, ["final"], note=notes.append)
    assert final.data[final.data["method"] == "good"]["n"].max() == 3
    assert notes == []
    (matrix,) = drawings(store, ["matrix"], note=notes.append)
    assert matrix.data[matrix.data["method"] == "good"]["n"].max() == 2
    assert len(notes) == 1
    assert notes[0].startswith("split-x: no rows of split-x-good-0: ")
    assert "its content has changed since it was written" in notes[0]


def test_the_command_draws_without_torch_or_pyplot_whatever_the_backend_and_the_pictures(store, tmp_path):
    """A notebook's kernel sets MPLBACKEND for every command that is called from its cells."""
    (store.cell("split-x-good-0").folder / "pictures.npz").write_bytes(b"torn")
    heavy = ("torch", "avalanche", "matplotlib.pyplot", "matplotlib_inline")
    code = f"""
import sys
from lifegen.benchmark.cli import main
try:
    main()
finally:
    print("imported:", [name for name in {heavy} if name in sys.modules])
"""
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    command = [sys.executable, "-c", code, "plot", str(store.path), "--out", str(tmp_path / "figures")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "imported: []" in done.stdout
    assert done.stderr.startswith("split-x: no pictures of split-x-good-0: pictures.npz can't be read: ")
    assert (tmp_path / "figures" / "split-x" / "final.png").exists()


def test_style_grids_have_a_panel_per_code_row_by_row(store):
    grids = np.arange(2 * 9, dtype=np.uint8).reshape(2, 9, 1, 1, 1)
    panels = style_panels(grids, Scene("x", [], STYLES["screen"])).axes
    assert [panel.get_title() for panel in panels] == ["code 0", "code 1"]
    assert np.asarray(panels[1].get_images()[0].get_array()).tolist() == [[9, 10, 11], [12, 13, 14], [15, 16, 17]]


def test_samples_over_intervals_skip_cells_that_have_none_and_of_many_show_some(tmp_path):
    store = Store.create(tmp_path)
    write(store, "new", 0, 30)
    write(store, "old", 0, 30, old=True)
    (drawing,) = drawings(store, ["samples_over_intervals"])
    assert drawing.data["method"].tolist() == ["new"] * 3
    assert drawing.data["interval"].tolist() == [0, 1, 2]
    assert spread(10, 12) == list(range(10))
    assert (len(spread(70, 12)), spread(70, 12)[0], spread(70, 12)[-1]) == (12, 0, 69)


def test_what_was_replayed_has_a_row_for_each_interval_from_the_first_replay_on(store):
    assert drawn(store, "replayed_over_intervals").data["interval"].tolist() == [1, 2]
    by_method = drawn(store, "replayed_by_method")
    assert by_method.data["method"].tolist() == ["good"]
    names = [label.get_text() for label in by_method.figure.axes[0].get_yticklabels()]
    assert names == ["test images", "Good"]


def test_pictures_are_of_the_lowest_seed_that_has_them(tmp_path):
    store = Store.create(tmp_path)
    for seed, old in ((0, True), (2, False), (1, False)):
        write(store, "good", seed, 30, old=old)
    assert drawn(store, "samples_over_intervals").data["seed"].unique().tolist() == [1]
    assert drawn(store, "samples").data["seed"].unique().tolist() == [0]


def test_what_cannot_be_drawn_is_one_line(store, tmp_path):
    with pytest.raises(InputError, match="unknown kind of figure, or metric, 'matrx'.*mean 'matrix'"):
        drawings(store, ["matrx"])
    with pytest.raises(InputError, match="unknown style 'papr'.*mean 'paper'"):
        drawings(store, style="papr")
    with pytest.raises(InputError, match="unknown scenario in this store 'split-y'.*There are: split-x"):
        drawings(store, scenario="split-y")
    with pytest.raises(InputError, match="nothing to draw 'options' from: it needs two variants of a method that"):
        plot(store, tmp_path / "figures", ["thresholds"])
    with pytest.raises(InputError, match="no finished cell"):
        drawings(Store.create(tmp_path / "empty"))
    with pytest.raises(InputError, match="can't be written to"):
        plot(store, Path("/proc/figures"), ["final"])


def test_one_scenario_can_be_drawn_alone(store):
    write(store, "good", 0, 300, scenario="split-y")
    assert {one.scenario for one in drawings(store, ["final"])} == {"split-x", "split-y"}
    assert drawn(store, "final", scenario="split-y").data["mean"].tolist() == [300, 0]


def boxes_outside(drawing: Drawing) -> list[str]:
    """The legends, titles, names and panels that reach beyond a figure."""
    figure = drawing.figure
    with drawing.style.context():
        figure.draw_without_rendering()
        texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
        legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
        artists = [*figure.texts, *figure.axes, *texts, *legends, *(text for one in legends for text in one.texts)]
        boxes = {artist: artist.get_tightbbox() for artist in artists}
    width, height = figure.bbox.width, figure.bbox.height
    return [
        f"{drawing.name}: {artist}: {box}"
        for artist, box in boxes.items()
        if box and not (box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1)
    ]


def overlapping(figure: Figure) -> list[str]:
    """The names at the ends of curves that overlap."""
    boxes = [[text.get_window_extent().padded(-1) for text in axes.texts if text.get_text()] for axes in figure.axes]
    return [f"{a} {b}" for panel in boxes for a, b in combinations(panel, 2) if a.overlaps(b)]


LONG = [
    "a",
    "growing-mixture:threshold=0,width=200,style=100,activation=tanh,norm=none,batch_size=64",
    "an-unusually-long-name-of-a-method-of-sixty-characters-for-all",
    "naive:batch_size=10,width=400",
    "wwwwwwwwwwwwwwwwww",
]
"""Labels that are varied by a number at their end."""


@settings(max_examples=6, deadline=None, phases=set(Phase) - {Phase.shrink})  # an example takes seconds
@given(
    n=st.sampled_from([1, 2, 8, 9, 30]),
    first=st.integers(0, len(LONG) - 1),
    style=st.sampled_from([*STYLES, "narrow"]),
    distributions=st.sampled_from([["0", "1", "2"], ["T-shirt", "a long name of a distribution", "Ankle boot"]]),
    kinds=st.sampled_from(
        [
            ["final", "negative_elbo"],
            ["consistency", "memory"],
            ["forgetting", "matrix"],
            ["samples_by_method", "gradient_norm_steps"],
        ]
    ),
)
def test_nothing_is_cut_with_long_names_and_up_to_thirty_methods_in_every_style(
    tmp_path_factory, n, first, style, distributions, kinds
):
    """By the boxes that are drawn; and no name at the end of a curve lies on another one."""
    store = Store.create(tmp_path_factory.mktemp("store"))
    for i in range(n):
        name = LONG[(first + i) % len(LONG)]
        label = f"{name},codes={i}" if ":" in name else f"{name}{i}"
        write(store, label, 0, 30 + i % 3, components=2, order=distributions)
    write(store, label, 1, 36, components=2, order=distributions)  # of two seeds the interval is long
    chosen = style_of("paper", width=3, font=8) if style == "narrow" else style_of(style)
    for drawing in drawings(store, kinds, chosen):
        assert not boxes_outside(drawing)
        assert not overlapping(drawing.figure) or drawing.kind in ("forgetting", "matrix")


@pytest.mark.parametrize("sizes", [{"name": "neurips", "width": 3}, {"name": "icml", "font": 12}], ids=str)
def test_nothing_is_cut_or_wider_than_asked_for_in_sizes_of_ones_own(store, sizes):
    write(store, LONG[1], 0, 40)
    style = style_of(**sizes)
    kinds = ["negative_elbo", "memory", "forgetting", "samples_by_method", "samples_over_intervals"]
    for drawing in drawings(store, kinds, style):
        assert drawing.figure.get_figwidth() <= style.wide + 1e-9, drawing.name
        assert not boxes_outside(drawing)


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_one_line(store, tmp_path):
    notes: list[str] = []
    plot(store, tmp_path, ["memory", "matrix"], note=notes.append, labels={"good": "我 们", "naive": "é"})
    (note,) = notes
    assert note.startswith("the figures' font has no 们 我 (")


def test_a_figure_for_paper_says_how_many_seeds_and_leaves_the_rest_to_the_caption(store):
    drawing = drawn(store, "curves", "negative_elbo", style="paper")
    assert drawing.figure.get_suptitle() == "mean of 3 seeds, 95 % interval"
    assert drawing.figure.get_figwidth() == 3.3
    assert drawn(store, "matrix", style="paper").figure.get_figwidth() == 6.9
    assert 7 <= drawing.figure.axes[0].yaxis.label.get_size() <= 8
    assert drawn(store, "curves", "negative_elbo", style="slides").figure.axes[0].yaxis.label.get_size() >= 14


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_equal_data_give_an_equal_file(store, form):
    written = []
    for _ in range(2):
        file = io.BytesIO()
        drawn(store, "final", style="paper").save(file, form)
        written.append(file.getvalue())
    assert written[0] == written[1]
    if form == "svg":
        assert b">forgetting (nats)</text>" in written[0]  # letters, not their outlines
        assert b"<dc:date>" not in written[0]
    else:
        assert b"/Type3" not in written[0]
        assert b"CreationDate" not in written[0]


def test_matplotlibs_settings_stay_what_they_were(store):
    with matplotlib.rc_context({"font.size": 3, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        for drawing in drawings(store, ["final", "matrix", "samples"], "slides"):
            assert dict(matplotlib.rcParams) == before
            drawing.save(io.BytesIO(), "svg")
            assert dict(matplotlib.rcParams) == before
            assert all(axes.xaxis.label.get_size() == 16 for axes in drawing.figure.axes[:1])


def test_a_legend_names_a_reconstruction_as_one_marks_references_and_says_who_is_on_the_front(store):
    write(store, "growing-cvae", 0, 30)
    figure = drawn(store, "memory").figure
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.texts] == [
        "Pareto front", "Growing CVAE (reconstruction)", "Batch ▲", "Good", "Naive ▼",
    ]  # fmt: skip
    assert [text.get_fontweight() for text in legend.texts] == ["normal", "bold", "normal", "normal", "normal"]
    assert [handle.get_markeredgecolor() for handle in legend.legend_handles[1:]] == [
        look(method).colour for method in ("growing-cvae", "batch", "good", "naive")
    ]


def test_a_method_looks_the_same_whatever_is_beside_it(store, tmp_path):
    alone = Store.create(tmp_path / "alone")
    write(alone, "good", 0, 30)
    looks = []
    for one in (store, alone):
        line = lines(drawn(one, "curves", "negative_elbo").figure)["good"]
        looks.append((line.get_color(), line.get_marker(), line.get_linestyle()))
    assert looks[0] == looks[1]
    assert looks[0][:2] == (look("good").colour, look("good").marker)


def test_every_method_that_comes_with_lifegen_has_a_look_of_its_own():
    assert {name: (one.colour, one.marker, one.dash) for name, one in LOOKS.items()} == {
        "lifelong-vae": ("#0173b2", "o", "solid"),
        "lgm-iclr": ("#0173b2", "P", "dashed"),
        "lgm-2019": ("#0173b2", "X", "dash-dot"),
        "generative-replay": ("#de8f05", "s", "dashed"),
        "avalanche-generative-replay": ("#de8f05", "D", "dotted"),
        "remembered-posteriors": ("#de8f05", "o", "solid"),
        "batch": ("#029e73", "^", "dash-dot"),
        "naive": ("#949494", "v", "dotted"),
        "growing-mixture": ("#882255", "D", "solid"),
        "growing-mixture-student": ("#882255", "o", "dashed"),
        "growing-cvae": ("#f0a3c4", "s", "solid"),
        "growing-cvae-labels": ("#f0a3c4", "P", "dashed"),
        "experts": ("#000000", "*", "dashed"),
        "exact-replay": ("#56b4e9", "X", "solid"),
        "avalanche-replay": ("#56b4e9", "o", "dashed"),
        "ewc": ("#6b3d00", "v", "solid"),
        "avalanche-ewc": ("#6b3d00", "P", "dashed"),
        "synaptic-intelligence": ("#6b3d00", "s", "dotted"),
        "avalanche-gem": ("#332288", "s", "dash-dot"),
        "avalanche-agem": ("#332288", "X", "dashed"),
    }
    assert len({(one.colour, one.marker) for one in LOOKS.values()}) == len(LOOKS)
    by_colour: dict[str, list[Any]] = {}
    for one in LOOKS.values():
        by_colour.setdefault(one.colour, []).append(one.dash)
    assert all(len(set(dashes)) == len(dashes) for dashes in by_colour.values())
    paper = {"lifelong-vae": "#0173b2", "generative-replay": "#de8f05", "batch": "#029e73", "naive": "#949494"}
    assert {name: look(name).colour for name in paper} == paper


def test_a_variant_keeps_its_methods_colour_and_differs_in_the_rest():
    for label in ("lifelong-vae:style=2", "lifelong-vae (bfloat16)", "lifelong-vae:style=2 (bfloat16)"):
        assert look(label).colour == look("lifelong-vae").colour
        assert look(label).hollow
    assert look("mine:a=1").colour == look("mine").colour
    assert not look("mine").hollow
    assert look("mine").marker not in {one.marker for one in LOOKS.values()}
    for suite in suites().values():
        drawn = looks(suite.methods, {})
        for a, b in combinations(suite.methods, 2):
            if a.partition(":")[0] == b.partition(":")[0]:
                assert (drawn[a].marker, drawn[a].hollow) != (drawn[b].marker, drawn[b].hollow), (a, b)


def test_only_variants_with_equal_markers_depend_on_the_rest_of_a_figure():
    labels = [f"lifelong-vae:style={n}" for n in range(2, 40)]
    alone = {label: look(label) for label in labels}
    a, b = next(pair for pair in combinations(labels, 2) if alone[pair[0]].marker == alone[pair[1]].marker)
    other = next(label for label in labels if alone[label].marker != alone[a].marker)
    first, second = sorted((a, b))
    drawn = looks([second, other, first, "lifelong-vae", "naive"], {})
    assert {label: drawn[label] for label in (first, other, "lifelong-vae", "naive")} == {
        label: look(label) for label in (first, other, "lifelong-vae", "naive")
    }
    assert drawn[second] != alone[second]
    assert replace(drawn[second], marker=alone[second].marker) == alone[second]
    assert len({drawn[label].marker for label in (first, second, other)}) == 3
    many = looks(labels, {})  # more variants than markers
    assert {label: one.colour for label, one in many.items()} == {label: one.colour for label, one in alone.items()}


# Linear RGB as people without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1).
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE Lab of a colour as somebody sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.clip(sight @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in to_xyz @ linear / [0.95047, 1, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distances(colours: Iterable[str], sight: np.ndarray) -> Iterator[float]:
    for a, b in combinations(colours, 2):
        yield float(np.linalg.norm(lab(a, sight) - lab(b, sight)))


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_by_everybody(sight):
    """2.3 is a just noticeable difference; the nearest are the paper's own, batch and naive."""
    colours = {one.colour for one in LOOKS.values()}
    assert len(colours) == 10
    assert min(distances(colours, SIGHT[sight])) > 10


def test_in_grey_methods_differ_in_lightness_or_in_marker_and_dash():
    for a, b in combinations(LOOKS.values(), 2):
        if abs(lab(a.colour, SIGHT["normal"])[0] - lab(b.colour, SIGHT["normal"])[0]) < 10:
            assert (a.marker, a.dash) != (b.marker, b.dash), (a, b)
    paper = [look(name) for name in ("lifelong-vae", "generative-replay", "batch", "naive")]
    assert len({one.marker for one in paper}) == len({one.dash for one in paper}) == 4


def test_a_critical_difference_is_drawn_where_scenarios_suffice(tmp_path):
    few, many = Store.create(tmp_path / "few"), Store.create(tmp_path / "many")
    generator = np.random.default_rng(0)
    for i in range(9):
        for method, value in (("ewc", 10), ("experts", 11), ("naive", 50), ("lifelong-vae", 90)):
            for store in (few, many) if i < 3 else (many,):
                write(store, method, 0, value + generator.normal(0, 0.1), scenario=f"split-{i}",
                      reference="lower" if method == "naive" else None)  # fmt: skip
    with pytest.raises(InputError, match="3 methods takes 7 scenarios.*there are 3"):
        list(drawings(few, ["critical_difference"]))
    assert "critical_difference" not in {drawing.kind for drawing in drawings(few)}
    (drawn,) = drawings(many, ["critical_difference"])
    assert list(zip(drawn.data["a"], drawn.data["b"], strict=True)) == [
        ("ewc", "experts"), ("ewc", "lifelong-vae"), ("experts", "lifelong-vae"),
    ]  # fmt: skip
    assert (drawn.data["p_holm"] == 3 * 2 / 2**9).all()
    assert drawn.data["rank_b"].tolist() == [2, 3, 3]


def test_a_store_of_references_alone_has_no_trade_off(tmp_path):
    store = Store.create(tmp_path)
    write(store, "batch", 0, 20, reference="upper", intervals=1)
    assert "memory" not in {drawing.kind for drawing in drawings(store)}
    with pytest.raises(InputError, match="nothing to draw 'memory'"):
        list(drawings(store, ["memory"]))


def test_a_metrics_name_draws_its_curve_alone(store):
    (one,) = drawings(store, ["code_perplexity"])
    assert (one.kind, one.name) == ("curves", "code_perplexity")


def test_quality_is_drawn_against_the_steps_of_scenarios_that_differ_in_nothing_else(tmp_path):
    store = Store.create(tmp_path / "store")
    for steps, final in ((20, 40.0), (100, 30.0)):
        for seed in range(2):
            write(store, "naive", seed, final + seed, scenario=f"split-digits:steps={steps}")
    write(store, "naive", 0, 1.0, scenario="split-digits:classes_per_interval=2,steps=50")
    write(store, "naive", 0, 1.0, scenario="split-digits:passes=2")
    write(store, "naive", 0, 1.0, scenario="isnt-installed:steps=50")
    (drawing,) = drawings(store, ["budget"])
    assert drawing.data[["method", "steps", "n", "mean"]].to_numpy().tolist() == [
        ["naive", 20, 2, 40.5],
        ["naive", 100, 2, 30.5],
    ]
    other = Store.create(tmp_path / "other")
    write(other, "naive", 0, 1.0, scenario="split-digits:steps=50")
    with pytest.raises(InputError, match="steps alone"):
        list(drawings(other, ["budget"]))


def test_some_methods_can_be_drawn_alone(store, tmp_path):
    only = drawn(store, "final", methods=["good", "batch"])
    assert set(only.data["method"]) == {"good", "batch"}
    done = lifegen("plot", store.path, "final", "-m", "godo", "--out", tmp_path / "figures")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown method in this store 'godo'" in done.stderr
    assert "'good'" in done.stderr


def test_some_scenarios_can_be_drawn_alone_into_their_folders(tmp_path):
    several = Store.create(tmp_path / "several")
    for steps in (5, 50, 500):
        write(several, "naive", 0, 1.0, scenario=f"split-digits:steps={steps}")
    chosen = ["-s", "split-digits:steps=50", "-s", "split-digits:steps=5"]
    done = lifegen("plot", several.path, "final", *chosen, "--out", tmp_path / "some")
    whole = lifegen("plot", several.path, "final", "--out", tmp_path / "all")
    assert done.returncode == whole.returncode == 0, done.stderr + whole.stderr
    some, every = (
        {Path(line).relative_to(tmp_path / name) for line in printed.stdout.splitlines()}
        for name, printed in (("some", done), ("all", whole))
    )
    assert some < every
    assert len(some) == 2
    title = (tmp_path / "some" / min(some)).with_suffix(".txt").read_text()
    assert title == (tmp_path / "all" / min(some)).with_suffix(".txt").read_text()
    wrong = lifegen("plot", several.path, "final", "-s", "split-digits:steps=51", "--out", tmp_path / "none")
    assert wrong.returncode == 2
    assert "unknown scenario in this store 'split-digits:steps=51'" in wrong.stderr
    assert not (tmp_path / "none").exists()

"""The leaderboard, its printed forms and the figures, from stores written by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.grids import reconstructions, sample_grid, style_grids
from lifegen.benchmark.leaderboard import Board, _ranked, leaderboard
from lifegen.benchmark.plots import (
    _threshold_sweep,
    colours,
    curve,
    gradient_norms,
    marker,
    plot,
    samples_needed,
    thresholds,
)
from lifegen.benchmark.store import Store
from lifegen.benchmark.tables import print_board, to_csv, to_json


def write(store: Store, method: str, seed: int, final: float, *, version: int = 1, reference: str | None = None,
          intervals: int = 3, scenario: str = "split-x", status: str = "done", consistency: float | None = None,
          uses: tuple[str, ...] = (), threshold: float | str | None = None, components: int = 1,
          images: int = 0) -> None:  # fmt: skip
    label = method if threshold is None else f"{method}:threshold={threshold}"
    record = {
        "scenario": {"name": scenario, "label": scenario, "version": 1, "config": {}, "track": "t"},
        "method": {
            "name": method,
            "label": label,
            "version": version,
            "config": {"threshold": threshold},
            "reference": reference,
            "uses": list(uses),
        },
        "seed": seed,
        "visits": [[str(i)] for i in range(intervals)] if intervals > 1 else [["0", "1", "2"]],
        "protocol": 1,
        "metrics": {},
        "precision": "float32",
        "device": "cpu",
    }
    name = f"{scenario}-{method}-{version}-{seed}" + ("" if threshold is None else f"-{threshold}")
    with store.writing(name, record) as writer:
        for interval in range(intervals):
            value = final + 10 * (intervals - 1 - interval)
            values = [(None, "negative_elbo", value), ("0", "negative_elbo", value + interval),
                      ("1", "negative_elbo", value), ("2", "negative_elbo", value - interval),
                      (None, "real_samples", 1000), (None, "components", components),
                      (None, "stored_samples", images), (None, "peak_memory_mb", 500 - interval)]  # fmt: skip
            if interval:
                values.append((None, "posterior_consistency_past", consistency or 0.5 + seed / 10))
            if interval == 1:
                values.append((None, "code_retention", 0.9))
            writer.append(
                [{"interval": interval, "distribution": d, "step": None, "metric": m, "value": v} for d, m, v in values]
            )
            writer.append(
                [{"interval": interval, "distribution": None, "step": 5, "metric": "gradient_norm", "value": 1.0}]
            )
        if status == "done":
            samples = np.random.default_rng(0).integers(0, 255, (3, 10, 1, 8, 8), dtype=np.uint8)
            pictures = {"samples": samples, "originals": samples[:, :8], "reconstructions": samples[:, 2:]}
            if method == "good":
                pictures["style_grid"] = samples[:, :9]
            np.savez_compressed(writer.folder / "pictures.npz", **pictures)
            writer.finish()
        elif status == "failed":
            writer.fail("ValueError: boom")


SHADES = colours(["naive", "good", "batch"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for seed, (naive, good, batch) in enumerate([(50, 30, 20), (52, 31, 21), (54, 35, 20)]):
        write(store, "naive", seed, naive, reference="lower")
        write(store, "good", seed, good)
        write(store, "batch", seed, batch, reference="upper", intervals=1)
    return store


def line(board: Board, method: str, metric: str) -> dict[str, float]:
    rows = board.table[(board.table["method"] == method) & (board.table["metric"] == metric)]
    assert len(rows) == 1
    return rows.iloc[0].to_dict()


def test_means_and_intervals_over_seeds_of_the_last_interval(store):
    row = line(leaderboard(store), "good", "negative_elbo")
    low, high = stats.t.interval(0.95, 2, loc=32, scale=stats.sem([30, 31, 35]))
    assert row["n"] == 3
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((32, low, high))


def test_counts_add_up_and_memory_is_the_most(store):
    board = leaderboard(store, ["real_samples", "peak_memory_mb", "forgetting"])
    assert line(board, "good", "real_samples")["mean"] == 3000
    assert line(board, "batch", "real_samples")["mean"] == 1000
    assert line(board, "good", "peak_memory_mb")["mean"] == 500
    # R[T, j] = final ± 2; best of 0 is its last, so nothing is forgotten
    assert line(board, "good", "forgetting")["mean"] == 0
    assert "batch" not in set(board.table[board.table["metric"] == "forgetting"]["method"])


def test_best_comes_first_by_the_first_metric(store):
    assert list(dict.fromkeys(leaderboard(store).table["method"])) == ["batch", "good", "naive"]


def test_where_higher_is_better_the_highest_comes_first_and_who_has_no_value_last(store):
    write(store, "consistent", 0, 40, consistency=0.99)
    order = list(dict.fromkeys(leaderboard(store, ["posterior_consistency_past", "negative_elbo"]).table["method"]))
    assert order[0] == "consistent"
    assert order[-1] == "batch"


def test_a_metric_that_is_undefined_at_the_end_has_no_number(store):
    board = leaderboard(store, ["negative_elbo", "code_retention"])
    assert "code_retention" not in set(board.table["metric"])


def test_references_are_marked_and_explained(store, capsys):
    board = leaderboard(store)
    assert board.references == {"naive": "lower", "batch": "upper"}
    print_board(board)
    printed = capsys.readouterr().out
    assert "batch ▲" in printed
    assert "naive ▼" in printed
    assert "32.0 ± 6.6" in printed
    assert "3.0k" in printed
    assert "don't compete" in printed


def test_numbers_are_never_cut_short_by_a_narrow_terminal(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_board(leaderboard(store))
    assert "…" not in capsys.readouterr().out


def test_csv_has_the_promised_columns_and_whole_numbers(store):
    board = leaderboard(store)
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert list(rows[0]) == ["scenario", "method", "metric", "n", "mean", "low", "high"]
    row = next(row for row in rows if (row["method"], row["metric"]) == ("naive", "negative_elbo"))
    assert {key: float(row[key]) for key in ("n", "mean", "low", "high")} == {
        key: line(board, "naive", "negative_elbo")[key] for key in ("n", "mean", "low", "high")
    }


def test_json_has_the_same(store):
    board = leaderboard(store)
    rows = json.loads(to_json(board))
    assert len(rows) == len(board.table)
    assert rows[0]["mean"] == board.table["mean"][0]


def test_one_seed_has_no_interval(tmp_path, capsys):
    store = Store.create(tmp_path / "s")
    write(store, "good", 0, 30)
    board = leaderboard(store)
    assert json.loads(to_json(board))[0]["low"] is None
    print_board(board)
    row = next(text for text in capsys.readouterr().out.splitlines() if text.startswith("good"))
    assert "±" not in row
    assert "nan" not in row


def test_a_metric_with_fewer_seeds_says_so(store, capsys):
    write(store, "good", 3, 30, intervals=1)
    print_board(leaderboard(store))
    assert "0.60 ± 0.25 (n = 3)" in capsys.readouterr().out


def test_cells_that_are_not_done_are_listed_not_ranked(store, capsys):
    write(store, "good", 7, 1, status="failed")
    write(store, "good", 8, 1, status="cut off")
    board = leaderboard(store)
    assert line(board, "good", "negative_elbo")["n"] == 3
    assert any("split-x-good-1-7: failed: ValueError: boom" in text for text in board.left_out)
    assert any("split-x-good-1-8: not finished" in text for text in board.left_out)
    print_board(board)
    assert "left out: split-x-good-1-7" in capsys.readouterr().out


def test_cells_of_an_older_version_are_stale(store):
    write(store, "good", 0, 10, version=2)
    board = leaderboard(store)
    assert line(board, "good", "negative_elbo")["mean"] == 10
    assert sum("stale" in text for text in board.left_out) == 3


def test_scenarios_are_never_mixed(store):
    write(store, "good", 0, 300, scenario="split-y")
    table = leaderboard(store).table
    assert line(Board(table[table["scenario"] == "split-x"], (), {}, {}), "good", "negative_elbo")["mean"] == 32
    assert line(Board(table[table["scenario"] == "split-y"], (), {}, {}), "good", "negative_elbo")["mean"] == 300


def test_what_cannot_be_shown_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="unknown metric in this store: 'negative_elb'.*mean 'negative_elbo'"):
        leaderboard(store, ["negative_elb"])
    with pytest.raises(InputError, match="trace"):
        leaderboard(store, ["gradient_norm"])
    with pytest.raises(
        InputError, match="code_retention: undefined after the last interval.*there are .*negative_elbo"
    ):
        leaderboard(store, ["code_retention"])
    with pytest.raises(InputError, match="no finished cell"):
        leaderboard(Store.create(tmp_path / "empty"))


def test_every_figure_is_drawn(store, tmp_path):
    files = plot(store, tmp_path / "figures", ("png", "svg"))
    names = {file.relative_to(tmp_path / "figures").as_posix() for file in files}
    assert names == {
        f"split-x/{name}.{ending}"
        for name in (
            "negative_elbo", "posterior_consistency_past", "real_samples", "peak_memory_mb", "gradient_norm",
            "gradient_norm_steps", "samples_needed", "components", "stored_samples",
            *(f"{kind}-{method}" for kind in ("samples", "reconstructions") for method in ("naive", "good", "batch")),
            "style_grid-good",
        )
        for ending in ("png", "svg")
    }  # fmt: skip
    assert all(file.stat().st_size > 1000 for file in files)


def test_a_curve_shows_means_and_intervals(store):
    table = store.table()
    rows = table[(table["metric"] == "negative_elbo") & table["distribution"].isna()]
    axes = curve(rows, "negative ELBO", "split-x", SHADES).axes[0]
    lines = {drawn.get_label(): drawn for drawn in axes.get_lines()}
    assert list(lines["good"].get_xdata()) == [0, 1, 2]
    assert list(lines["good"].get_ydata()) == pytest.approx([52, 42, 32])
    assert list(lines["batch"].get_xdata()) == [0, 2]  # a horizontal line
    assert list(lines["batch"].get_ydata()) == pytest.approx([61 / 3] * 2)
    assert "3 seeds" in axes.get_title()
    band = axes.collections[1].get_paths()[0].vertices
    half = stats.t.ppf(0.975, 2) * np.std([30, 31, 35], ddof=1) / np.sqrt(3)
    assert band[:, 1].max() == pytest.approx(52 + half)


def test_a_metric_that_starts_at_interval_1_of_two_is_no_reference_line(tmp_path):
    store = Store.create(tmp_path / "two")
    write(store, "good", 0, 30, intervals=2)
    table = store.table()
    rows = table[(table["metric"] == "posterior_consistency_past")]
    (line_drawn,) = curve(rows, "consistency", "split-x", SHADES).axes[0].get_lines()
    assert list(line_drawn.get_xdata()) == [1]


def test_a_trace_has_a_point_at_each_step_between_the_intervals(store):
    table = store.table()
    rows = table[table["metric"] == "gradient_norm"]
    lines = {drawn.get_label(): drawn for drawn in curve(rows, "norm", "split-x", SHADES).axes[0].get_lines()}
    assert list(lines["good"].get_xdata()) == pytest.approx([-1 + 5 / 6, 5 / 6, 1 + 5 / 6])
    assert list(lines["batch"].get_xdata()) == pytest.approx([-1 + 3 * 5 / 6])  # its one interval fills the axis


def test_gradient_norms_have_a_curve_per_interval_and_a_panel_per_method(store):
    table = store.table()
    rows = table[(table["metric"] == "gradient_norm") & (table["method"] != "batch")]
    more = rows.assign(step=rows["step"] + 1, value=3.0)
    figure = gradient_norms(pd.concat([rows, more]), "x")
    good, naive, _ = figure.axes
    assert (good.get_title(), naive.get_title()) == ("good", "naive")
    assert len(good.get_lines()) == 3
    assert list(good.get_lines()[0].get_xdata()) == [5, 6]
    assert list(good.get_lines()[0].get_ydata()) == [1, 3]


def test_samples_needed_shows_real_ones_solid_and_synthetic_ones_dashed(store):
    table = store.table()
    rows = table[(table["metric"] == "real_samples") & (table["method"] == "good")]
    axes = samples_needed(pd.concat([rows, rows.assign(metric="synthetic_samples", value=7.0)]), "x", SHADES).axes[0]
    drawn = {line.get_linestyle(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == {"-": [1000] * 3, "--": [7] * 3}


def test_reconstructions_stand_beside_their_originals():
    originals, rebuilt = np.full((2, 3, 1, 4, 4), 50, np.uint8), np.full((2, 3, 1, 4, 4), 90, np.uint8)
    axes = reconstructions(originals, rebuilt, ["a", "b"], "x").axes[0]
    image = np.asarray(axes.get_images()[0].get_array())
    assert image.shape == (8, 24)
    assert (image[:, :12] == 50).all()
    assert (image[:, 12:] == 90).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_style_grids_have_a_panel_per_code_row_by_row():
    grids = np.arange(2 * 9, dtype=np.uint8).reshape(2, 9, 1, 1, 1)
    panels = style_grids(grids, "x").axes
    assert [panel.get_title() for panel in panels] == ["code 0", "code 1"]
    assert np.asarray(panels[1].get_images()[0].get_array()).tolist() == [[9, 10, 11], [12, 13, 14], [15, 16, 17]]


def test_figures_that_cannot_be_written_are_one_line(store):
    with pytest.raises(InputError, match="can't be written to"):
        plot(store, Path("/proc/figures"))


def test_methods_are_told_apart_by_colours_that_do_not_depend_on_the_order():
    own = ["naive", "batch", "generative-replay", "lifelong-vae"]
    variants = [f"lifelong-vae:style={n}" for n in range(10)]
    chosen = colours([*own, *variants])
    assert len(set(chosen.values())) == 14
    assert colours([*variants[::-1], *own]) == chosen
    assert colours(own) == {name: chosen[name] for name in own}
    assert set(colours([*own, *variants, "more", "still-more"]).values()) == set(chosen.values())


def test_the_axis_shows_every_seed_and_not_the_whole_interval_of_two(tmp_path):
    store = Store.create(tmp_path / "two")
    for seed, value in enumerate((30, 40)):
        write(store, "good", seed, value)
    table = store.table()
    rows = table[(table["metric"] == "negative_elbo") & table["distribution"].isna()]
    axes = curve(rows, "negative ELBO", "x", SHADES).axes[0]
    low, high = axes.get_ylim()
    assert (low, high) == pytest.approx((30 - 0.12 * 30, 60 + 0.12 * 30))
    assert "2 seeds" in axes.get_title()
    one = curve(rows[rows["seed"] == 0], "negative ELBO", "x", SHADES).axes[0]
    assert "one seed" in one.get_title()


def test_the_sample_grid_has_a_row_per_code():
    samples = np.zeros((4, 6, 1, 8, 8), dtype=np.uint8)
    samples[2, 1] = 200
    axes = sample_grid(samples, "x").axes[0]
    image = np.asarray(axes.get_images()[0].get_array())
    assert image.shape == (32, 48)
    assert (image[16:24, 8:16] == 200).all()
    assert image.sum() == 200 * 64
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2", "3"]


def test_methods_of_one_colour_have_different_markers():
    palette = colours([f"m{i}" for i in range(25)])
    assert len({(palette[name], marker(name, palette)) for name in palette}) == 25
    few = colours(["naive", "batch", "mine"])
    assert {marker(name, few) for name in few} == {"o"}


def test_what_a_method_is_told_is_marked_and_explained(tmp_path, capsys):
    store = Store.create(tmp_path)
    write(store, "honest", 0, 30.0, uses=("boundaries",))
    write(store, "keeps", 0, 31.0, uses=("past-data",), images=5000)
    write(store, "told", 0, 32.0, uses=("labels",))
    write(store, "batch", 0, 20.0, uses=("past-data",), reference="upper")
    print_board(leaderboard(store))
    printed = capsys.readouterr().out
    for line in ("keeps ●", "told ◆", "batch ▲ ", "● keeps real images of the past", "◆ is told the labels"):
        assert line in printed
    assert "honest ●" not in printed
    assert "▲ ●" not in printed
    assert "5.0k" in printed


def test_stored_images_are_a_column_where_there_are_any(tmp_path):
    for name, images in (("none", 0), ("some", 7)):
        store = Store.create(tmp_path / name)
        write(store, "a", 0, 1.0, images=images)
        assert ("stored_samples" in leaderboard(store).metrics) == bool(images)
    assert leaderboard(store, ["stored_samples"]).metrics == ("stored_samples",)


def test_a_metric_without_a_better_direction_ranks_nothing(tmp_path):
    """The value of the best component for each test set, say: rows are in the order of their names."""
    store = Store.create(tmp_path)
    for name, value in (("b", 1.0), ("a", 3.0), ("c", 2.0)):
        write(store, name, 0, value, components=int(10 * value))
    board = leaderboard(store, ["components", "negative_elbo"])
    assert list(dict.fromkeys(board.table["method"])) == ["a", "b", "c"]
    assert list(dict.fromkeys(leaderboard(store, ["negative_elbo"]).table["method"])) == ["b", "c", "a"]


def test_components_against_the_threshold(tmp_path):
    """At equal distances, infinity last; the mean over seeds; one line for the rest of the configuration."""
    store = Store.create(tmp_path / "store")
    for seed in (0, 1):
        for threshold, components in ((0.0, 10), (20.0, 4 + seed), ("inf", 1)):
            write(store, "growing", seed, 30.0 - components, threshold=threshold, components=components)
    files = plot(store, tmp_path / "figures")
    assert (tmp_path / "figures" / "split-x" / "thresholds.png") in files
    sweep = _threshold_sweep(store, store.table())
    assert sorted(sweep["threshold"].unique()) == [0.0, 20.0, np.inf]
    assert set(sweep["method"]) == {"growing"}
    left, right = thresholds(sweep, "x").axes
    (line,) = left.lines
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert line.get_ydata().tolist() == [10, 4.5, 1]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "20", "∞"]
    assert right.lines[0].get_ydata().tolist() == [20, 25.5, 29]


def test_what_lies_beyond_perfect_ranks_as_perfect(tmp_path):
    """Retention above 1 is a code that sharpened, not a better memory."""
    values = {"b": (1.4, 2.0), "a": (1.0, 3.0), "c": (0.9, 1.0)}
    metrics = ["code_retention", "negative_elbo"]
    rows = [("x", m, name, 1, v, np.nan, np.nan) for m in values for name, v in zip(metrics, values[m], strict=True)]
    table = pd.DataFrame(rows, columns=["scenario", "method", "metric", "n", "mean", "low", "high"])
    ranked = _ranked(table, metrics)
    assert list(dict.fromkeys(ranked["method"])) == ["a", "b", "c"]
    assert ranked["mean"].max() == 3.0


def test_a_cell_from_before_an_option_existed_is_not_a_second_seed(tmp_path):
    store = Store.create(tmp_path)
    write(store, "a", 0, 30.0)
    write(store, "a", 1, 31.0)
    record = json.loads((tmp_path / "cells" / "split-x-a-1-0" / "run.json").read_text())
    del record["method"]["config"]["threshold"]
    with store.writing("from-before", {k: record[k] for k in record if k not in ("status", "times")}) as writer:
        rows = (tmp_path / "cells" / "split-x-a-1-0" / "metrics.jsonl").read_text().splitlines()
        writer.append([json.loads(row) for row in rows])
        writer.finish()
    board = leaderboard(store, ["negative_elbo"])
    assert board.table["n"].tolist() == [2]
    assert any("from-before: made before one of its options existed" in line for line in board.left_out)


def test_a_reconstruction_is_called_one_in_tables_and_figures(tmp_path, capsys):
    store = Store.create(tmp_path / "store")
    write(store, "growing-cvae", 0, 30.0)
    write(store, "naive", 0, 31.0)
    print_board(leaderboard(store))
    assert "growing-cvae (reconstruction)" in capsys.readouterr().out
    rows = store.table()
    rows = rows[(rows["metric"] == "negative_elbo") & rows["distribution"].isna()]
    labels = [text.get_text() for text in curve(rows, "y", "x", colours(rows["method"])).axes[0].get_legend().texts]
    assert labels == ["growing-cvae (reconstruction)", "naive"]

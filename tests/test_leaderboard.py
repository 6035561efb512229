"""The leaderboard and its printed forms, from stores written by hand."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from scipy import stats

from lifegen.benchmark import load
from lifegen.benchmark.discovery.plugin_file import PluginFile
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.files import digest
from lifegen.benchmark.reading.agreement import union_of
from lifegen.benchmark.reading.leaderboard import ACROSS, COLUMNS, Board, Column, leaderboard
from lifegen.benchmark.reading.metric_facts import MetricFacts
from lifegen.benchmark.reading.ranking import mean_of_means
from lifegen.benchmark.reading.scores import FACTS, scores_of
from lifegen.benchmark.reading.statistics import Scale
from lifegen.benchmark.reporting.tables import (
    FORMATS,
    left_out_lines,
    print_board,
    tables_of,
    to_csv,
    to_json,
    to_latex,
)
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import PUBLISHED, Store

from .commands import lifegen
from .stores import version_of, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for seed, (naive, good, batch) in enumerate([(50, 30, 20), (52, 31, 21), (54, 35, 20)]):
        write(store, "naive", seed, naive, reference="lower")
        write(store, "good", seed, good)
        write(store, "batch", seed, batch, reference="upper", intervals=1)
    return store


def line(board: Board, method: str, metric: str = "negative_elbo") -> dict[str, float]:
    rows = board.table[(board.table["method"] == method) & (board.table["metric"] == metric)]
    assert len(rows) == 1
    return rows.iloc[0].to_dict()


def order(board: Board) -> list[str]:
    return list(dict.fromkeys(board.table["method"]))


# Means


def test_means_and_intervals_over_seeds_of_the_last_interval(store):
    row = line(leaderboard(store), "good")
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


def test_a_metric_that_is_undefined_at_the_end_has_no_number(store):
    board = leaderboard(store, ["negative_elbo", "code_retention"])
    assert "code_retention" not in set(board.table["metric"])


def test_scenarios_are_never_mixed(store):
    write(store, "good", 0, 300, scenario="split-y")
    assert line(leaderboard(store, scenarios=["split-x"]), "good")["mean"] == 32
    assert line(leaderboard(store, scenarios=["split-y"]), "good")["mean"] == 300
    with pytest.raises(InputError, match="unknown scenario in .*'split-z'.*There are: split-x, split-y"):
        leaderboard(store, scenarios=["split-z"])


# Ranks


def test_the_best_competitor_is_first_between_the_references(store):
    for seed in range(3):
        write(store, "better", seed, 25 + seed / 10)
        write(store, "worse-than-naive", seed, 90 + seed)
    board = leaderboard(store)
    assert order(board) == ["batch", "better", "good", "worse-than-naive", "naive"]
    assert [line(board, method)["rank"] for method in order(board)] == pytest.approx(
        [np.nan, 1, 2, 3, np.nan], nan_ok=True
    )
    assert (line(board, "better")["rank_low"], line(board, "better")["rank_high"]) == (1, 1)
    assert [line(board, method)["ties"] for method in ("better", "good", "worse-than-naive")] == ["", "", ""]


def given(store: Store, method: str, values: list[float], metric: str = "iwae_nll") -> None:
    """Give a method's cells another metric."""
    for seed, value in enumerate(values):
        cell = store.cell(f"split-x-{method}-1-{seed}")
        row = {"interval": 2, "distribution": None, "step": None, "metric": metric, "value": value}
        content = (cell.folder / "metrics.jsonl").read_bytes() + json.dumps(row).encode() + b"\n"
        (cell.folder / "metrics.jsonl").write_bytes(content)
        facts = {"rows": cell.record["rows"] + 1, "bytes": len(content), "digest": digest(content), "numbers": None}
        write_record(cell.folder, cell.record | facts)


def test_a_note_says_where_the_importance_weighted_bound_orders_methods_otherwise(store):
    for seed in range(3):
        write(store, "mixture", seed, 40 + seed / 10)
        write(store, "third", seed, 90 + seed / 10)
    for method, values in (("good", [30, 30.1, 30.2]), ("mixture", [20, 20.1, 20.2]), ("third", [80, 80.1, 80.2])):
        given(store, method, values)
    (note,) = [note for note in leaderboard(Store(store.path)).notes if "importance-weighted" in note]
    assert note == "split-x: the importance-weighted bound shows mixture before good, and the plain one the opposite."
    assert "importance" not in " ".join(leaderboard(Store(store.path), ["negative_elbo"]).notes)


def test_a_note_has_the_rank_correlation_of_likelihood_and_samples(store):
    for method, elbo in (("mixture", 40), ("third", 90), ("fourth", 95)):
        for seed in range(3):
            write(store, method, seed, elbo + seed / 10)
    for method, distance in (("mixture", 1), ("good", 2), ("third", 3)):
        given(store, method, [distance, distance + 0.01, distance + 0.02], "frechet_distance")
    assert "correlation" not in " ".join(leaderboard(Store(store.path)).notes)  # of three methods it says nothing
    given(store, "fourth", [4, 4.01, 4.02], "frechet_distance")
    (note,) = [note for note in leaderboard(Store(store.path)).notes if "correlation" in note]
    assert note == (  # one of six pairs is turned
        "split-x: the orders by negative ELBO and by Fréchet distance of samples have a rank correlation of 0.67 "
        "(Kendall's τ of 4 methods). The distance shows mixture before good; the likelihood shows the opposite."
    )


def test_a_method_that_its_suite_does_not_rank_is_shown_with_the_reason(tmp_path, capsys):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'summary = "x"\nbudget = "x"\nscenarios = ["split-digits:steps=1,class_order=[0,1]"]\n'
        'methods = ["naive:width=8", "lgm-iclr:width=8"]\nseeds = [0]\n[not_ranked]\n"lgm-iclr:width=8" = "too slow"\n'
        "[smoke]\n"
    )
    lifegen("run", "--suite", suite, "--out", tmp_path / "store")
    board = leaderboard(Store(tmp_path / "store"))
    assert board.table[board.table["method"] == "lgm-iclr:width=8"]["rank"].isna().all()
    print_board(board)
    text = " ".join(capsys.readouterr().out.split())
    assert "lgm-iclr:width=8 ○" in text
    assert "○ lgm-iclr:width=8: not ranked: too slow" in text
    assert json.loads(to_json(board))["not_ranked"] == {"lgm-iclr:width=8": "too slow"}
    suite.write_text(suite.read_text().replace('"lgm-iclr:width=8" =', '"lgm-icrl:width=8" ='))
    done = lifegen("run", "--suite", suite, "--out", tmp_path / "store")
    assert "not_ranked.lgm-icrl:width=8: unknown method of this suite" in done.stderr


def test_each_metric_with_a_better_direction_has_ranks_of_its_own(store):
    for seed in range(3):
        write(store, "consistent", seed, 40, consistency=0.99)
    board = leaderboard(store, ["posterior_consistency_past", "negative_elbo", "components"])
    assert order(board) == ["batch", "consistent", "good", "naive"]  # the upper reference has no value
    assert line(board, "consistent", "posterior_consistency_past")["rank"] == 1
    assert line(board, "consistent", "negative_elbo")["rank"] == 2
    assert np.isnan(line(board, "good", "components")["rank"])


def test_a_metric_without_a_better_direction_ranks_nothing(tmp_path):
    """The value of the best component for each test set, say: rows are in the order of their names."""
    store = Store.create(tmp_path)
    for name, value in (("b", 1.0), ("a", 3.0), ("c", 2.0)):
        write(store, name, 0, value, components=int(10 * value))
    assert order(leaderboard(store, ["components", "negative_elbo"])) == ["a", "b", "c"]
    assert order(leaderboard(store, ["negative_elbo"])) == ["b", "c", "a"]


def test_what_lies_beyond_perfect_ranks_as_perfect(tmp_path):
    """Retention above 1 is a code that sharpened, not a better memory."""
    store = Store.create(tmp_path)
    for name, value in (("b", 40.0), ("a", 30.0), ("c", 20.0)):
        write(store, name, 0, value)
    scores = replace(scores_of(store), metrics={"negative_elbo": MetricFacts(better="higher", most=30.0)})
    board = leaderboard(scores, ["negative_elbo"])
    assert [line(board, name)["rank"] for name in "abc"] == [1, 1, 2]  # equal rows are one
    assert line(board, "b")["mean"] == 40


def test_one_seed_has_no_interval_and_few_no_rank_interval(tmp_path, capsys):
    store = Store.create(tmp_path / "s")
    write(store, "good", 0, 30)
    write(store, "other", 0, 40)
    board = leaderboard(store)
    (row, *_) = json.loads(to_json(board))["rows"]
    assert (row["low"], row["rank_low"], row["ties"]) == (None, None, "")
    assert row["rank"] == 1
    print_board(board)
    text = capsys.readouterr().out
    row = next(one for one in text.splitlines() if one.startswith("good"))
    assert "±" not in row
    assert "nan" not in row
    assert "[" not in row
    assert "Most methods have one seed" in text


def test_a_method_with_one_seed_takes_nothing_from_the_others(store, capsys):
    for seed in range(3):
        write(store, "other", seed, 40 + seed)
    before = leaderboard(store)
    write(store, "young", 0, 25)
    after = leaderboard(store)
    for method in ("good", "other"):
        assert line(after, method) == line(before, method)
    assert np.isnan(line(after, "young")["rank"])
    assert order(after) == ["batch", "good", "other", "naive", "young"]
    print_board(after)
    text = capsys.readouterr().out
    assert re.search(r"^young +– +1 +25\.0 ", text, re.MULTILINE)
    assert "split-x: young: not ranked, with one seed where most have several." in text


def test_where_most_methods_have_one_seed_all_are_ranked_by_their_means_alone(tmp_path):
    """Else the one with several would be first, whatever the others reach."""
    store = Store.create(tmp_path / "s")
    for method, seed, final in (("early", 0, 40), ("early", 1, 41), ("best", 0, 20), ("middle", 0, 30)):
        write(store, method, seed, final)
    board = leaderboard(store)
    assert order(board) == ["best", "middle", "early"]
    assert line(board, "best")["rank"] == 1
    assert np.isnan(line(board, "early")["rank_low"])


@pytest.mark.parametrize("metric", ["train_seconds", "train_cpu_seconds"])
def test_seconds_are_medians_without_intervals(store, metric):
    """The load of a machine decides them as well as the seed."""
    given(store, "good", [10, 20, 90], metric)
    for seed in range(3):
        write(store, "other", seed, 40 + seed)
    given(store, "other", [30, 30, 31], metric)
    board = leaderboard(store, [metric])
    row = line(board, "good", metric)
    assert (row["mean"], row["n"], row["rank"], row["ties"]) == (20, 3, 1, "")
    assert all(np.isnan(row[key]) for key in ("low", "high", "rank_low", "rank_high"))
    assert line(board, "other", metric)["rank"] == 2
    (table,) = tables_of(board)
    assert table.titles[-1] == f"{'CPU' if 'cpu' in metric else 'train'} seconds\n(median)"
    assert not any("one seed" in note for note in board.notes)
    given(store, "naive", [9, 8, 7], metric)
    given(store, "batch", [1, 2, 3], metric)
    with pytest.raises(InputError, match="depends on the machine's load"):
        leaderboard(store, [metric], across=True)


def test_a_method_with_options_of_ones_own_is_shown_below_and_not_ranked(store, capsys):
    for seed in range(3):
        write(store, "growing-mixture", seed, 10 + seed, threshold=7)
        write(store, "ewc", seed, 45 + seed, options="strength=1")  # a suite's variant
    board = leaderboard(store)
    assert order(board)[-1] == "growing-mixture:threshold=7"
    assert np.isnan(line(board, "growing-mixture:threshold=7")["rank"])
    assert line(board, "good")["rank"] == 1
    print_board(board)
    text = capsys.readouterr().out
    assert "growing-mixture:threshold=7 ✎" in text
    assert "not ranked (--rank-custom ranks them)" in text
    ranked = leaderboard(store, rank_custom=True)
    assert line(ranked, "growing-mixture:threshold=7")["rank"] == 1
    print_board(ranked)
    assert "not ranked" not in capsys.readouterr().out


def test_a_variant_that_the_users_suite_names_is_ranked(store):
    for seed in range(3):
        write(store, "growing-mixture", seed, 10 + seed, threshold=7, suite="mine.toml")
    assert line(leaderboard(store), "growing-mixture:threshold=7")["rank"] == 1


def test_a_reference_with_options_of_ones_own_has_no_mark_and_no_footnote(tmp_path, capsys):
    store = Store.create(tmp_path)
    write(store, "naive", 0, 50, reference="lower", options="width=8")
    write(store, "good", 0, 30)
    assert not scores_of(store).custom
    print_board(leaderboard(store))
    assert "✎" not in capsys.readouterr().out


# Seeds that are missing


@pytest.fixture
def fragile(store) -> Store:
    """A method is the best by the only seed that didn't fail."""
    write(store, "fragile", 0, 5)
    for seed in (1, 2, 3):
        write(store, "fragile", seed, 0, status="failed")
    return store


def published(store: Store, folder: Path) -> Path:
    """What ``publish`` writes of a leaderboard."""
    folder.mkdir()
    load(store.path).to_parquet(folder / PUBLISHED, index=False)
    (folder / FACTS).write_text(to_json(leaderboard(store)))
    return folder


@pytest.mark.parametrize("rank_custom", [False, True])
def test_a_method_of_which_seeds_failed_is_not_ranked_by_the_others(fragile, rank_custom):
    board = leaderboard(fragile, rank_custom=rank_custom)
    assert order(board) == ["batch", "good", "naive", "fragile"]
    assert np.isnan(line(board, "fragile")["rank"])
    assert line(board, "good")["rank"] == 1
    assert (line(board, "fragile")["mean"], line(board, "fragile")["n"]) == (5, 1)


def test_failed_seeds_stand_in_the_line_itself_in_every_form(fragile, tmp_path, capsys):
    board = leaderboard(fragile)
    print_board(board)
    text = capsys.readouterr().out
    assert re.search(r"^fragile ✗ .* 1 of 4 \(3 failed\) ", text, re.MULTILINE)
    assert "✗ some of its seeds failed: not ranked" in text
    for form, mark in (("markdown", "fragile ✗"), ("latex", r"fragile $\times$"), ("html", "fragile ✗")):
        (row,) = [one for one in FORMATS[form](board).splitlines() if mark in one]
        assert "1 of 4 (3 failed)" in row
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(board))) if row["metric"] == "negative_elbo"]
    assert {row["method"]: (row["asked"], row["failed"]) for row in rows} == {
        "batch": ("3", "0"), "good": ("3", "0"), "naive": ("3", "0"), "fragile": ("4", "3"),
    }  # fmt: skip
    found = json.loads(to_json(board))
    assert next(row["failed"] for row in found["rows"] if row["method"] == "fragile") == 3
    assert found["seeds"] == [{"scenario": "split-x", "method": "fragile", "asked": 4, "failed": 3}]
    again = leaderboard(scores_of(published(fragile, tmp_path / "published")))
    assert to_csv(again) == to_csv(board)


def test_a_failed_reference_is_marked_too(store, capsys):
    write(store, "naive", 7, 0, reference="lower", status="failed")
    print_board(leaderboard(store))
    assert re.search(r"^naive ▼ ✗ .* 3 of 4 \(1 failed\) ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("status", ["cut off", "damaged", "planned", "outdated"])
def test_a_half_finished_line_says_so_and_is_ranked(store, status, capsys):
    write(store, "good", 3, 1, status="cut off" if status == "cut off" else "done")
    cell = store.cell("split-x-good-1-3")
    if status == "damaged":
        (cell.folder / "metrics.jsonl").write_text("torn")
    elif status == "outdated":
        write_record(cell.folder, cell.record | {"metrics": {"negative_elbo": 0}})
        for seed in range(3):
            other = store.cell(f"split-x-good-1-{seed}")
            write_record(other.folder, other.record | {"metrics": {"negative_elbo": 1}})
    elif status == "planned":
        (store.path / "plans").mkdir()
        (store.path / "plans" / "a.json").write_text(json.dumps({"cells": {cell.name: cell.record}}))
        shutil.rmtree(cell.folder)
    board = leaderboard(Store(store.path))
    print_board(board)
    assert re.search(r"^good  .*1 \[1–1\].* 3 of 4 ", capsys.readouterr().out, re.MULTILINE)
    assert "✗" not in to_latex(board)


@pytest.mark.parametrize("what", ["an older version", "another text"])
def test_failures_of_what_is_replaced_do_not_count(store, what):
    """Of a method's older version, or of an earlier text of its file."""
    write(store, "good", 8, 1, version=0 if what == "an older version" else 1, status="failed")
    if what == "another text":
        (failed,) = [cell for cell in store.cells() if cell.status == "failed"]
        file = PluginFile("good.py", "an earlier text")
        files = {file.digest: {"name": file.name, "text": file.text}}
        method = failed.record["method"] | {"file": file.digest}
        write_record(failed.folder, failed.record | {"files": files, "method": method})
    assert not scores_of(Store(store.path)).seeds


def test_a_seed_that_failed_before_an_option_existed_and_is_done_now_has_not_failed(store):
    write(store, "good", 1, 0, options="", status="failed", scenario="split-x", version=1, name="from-before")
    assert not scores_of(store).seeds


# Across scenarios


@pytest.fixture
def two(store) -> Store:
    for seed, (naive, good, batch) in enumerate([(300, 150, 100), (310, 260, 110), (305, 240, 105)]):
        write(store, "naive", seed, naive, reference="lower", scenario="split-y")
        write(store, "good", seed, good, scenario="split-y")
        write(store, "batch", seed, batch, reference="upper", intervals=1, scenario="split-y")
    return store


def test_across_scenarios_runs_are_scored_between_the_references(two):
    board = leaderboard(two, across=True)
    assert set(board.table["scenario"]) == {ACROSS}
    assert board.metrics == ("negative_elbo", "negative_elbo of split-x", "negative_elbo of split-y")
    scores = [
        (52 - np.array([30, 31, 35])) / (52 - 61 / 3),
        (305 - np.array([150, 260, 240])) / (305 - 105),
    ]
    scales = [
        Scale(np.array([50, 52, 54]), np.array([20, 21, 20])),
        Scale(np.array([300, 310, 305]), np.array([100, 110, 105])),
    ]
    parts = [scale.variance_parts(one.mean()) for scale, one in zip(scales, scores, strict=True)]
    expected = mean_of_means(scores, others=np.concatenate(parts))
    row = line(board, "good")
    assert row["mean"] == pytest.approx((scores[0].mean() + scores[1].mean()) / 2)
    assert (row["n"], row["low"], row["high"]) == pytest.approx((3, expected.low, expected.high))
    for scenario, one in zip(("split-x", "split-y"), scores, strict=True):
        assert line(board, "good", f"negative_elbo of {scenario}")["mean"] == pytest.approx(one.mean())
    assert line(board, "naive")["mean"] == pytest.approx(0)
    assert line(board, "batch")["mean"] == pytest.approx(1)
    assert np.isnan(line(board, "batch")["low"])  # a point of the scale
    assert order(board) == ["batch", "good", "naive"]


def test_who_is_not_in_every_scenario_is_not_ranked_across(two):
    write(two, "only-here", 0, 1)
    board = leaderboard(two, across=True)
    assert "only-here" not in order(board)
    assert any("left out, since they aren't in every scenario: only-here" in note for note in board.notes)


def test_overlapping_references_are_refused_with_the_reason(two, capsys):
    for seed in range(3):
        write(two, "naive", seed, 50 + seed, reference="lower", scenario="split-z")
        write(two, "batch", seed, 49.5 + seed, reference="upper", intervals=1, scenario="split-z")
        write(two, "good", seed, 50, scenario="split-z")
    print_board(leaderboard(two, across=True))
    text = " ".join(capsys.readouterr().out.split())
    assert "negative_elbo of split-z is left out: the references overlap" in text
    assert "negative_elbo: 2 scenarios, split-x, split-y" in text


def test_without_references_there_is_nothing_across(tmp_path):
    store = Store.create(tmp_path)
    write(store, "good", 0, 30)
    with pytest.raises(InputError, match="needs exactly one lower reference, such as naive; 0 have a value"):
        leaderboard(store, across=True)


def test_a_cost_has_no_score(tmp_path):
    """On it the upper reference isn't the better one: nearer to it would count as better."""
    store = Store.create(tmp_path)
    for seed in range(3):
        write(store, "naive", seed, 50, reference="lower", images=0)
        write(store, "batch", seed, 20, reference="upper", images=90)
    with pytest.raises(InputError, match="the upper reference isn't better than the lower one"):
        leaderboard(store, ["stored_samples"], across=True)
    with pytest.raises(InputError, match="neither lower nor higher is better"):
        leaderboard(store, ["real_samples"], across=True)


def test_across_a_method_gains_nothing_by_more_seeds_where_it_does_well(two):
    for seed in range(3, 9):
        write(two, "good", seed, 20, scenario="split-x")
    board = leaderboard(two, across=True)
    assert line(board, "good")["n"] == 3
    assert any("split-x uses the 3 of 9 seeds that most methods have" in note for note in board.notes)


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_across_a_method_with_fewer_seeds_than_most_takes_nothing_from_the_others(two, seeds):
    for scenario in ("split-x", "split-y"):
        for seed in range(3):
            write(two, "other", seed, 28 + seed / 10, scenario=scenario)
    before = leaderboard(two, across=True)
    for scenario, number in (("split-x", 3), ("split-y", seeds)):
        for seed in range(number):
            write(two, "young", seed, 25, scenario=scenario)
    after = leaderboard(two, across=True)
    for method in ("good", "other", "naive", "batch"):
        assert line(after, method) == pytest.approx(line(before, method), nan_ok=True)
    if seeds:
        assert np.isnan(line(after, "young")["rank"])
        assert line(after, "young")["n"] == seeds
        note = "negative_elbo: young: not ranked, since they lack seeds that most methods have."
        assert note in after.notes


def test_across_a_method_that_failed_somewhere_is_not_ranked(two, capsys):
    for scenario in ("split-x", "split-y"):
        for seed in range(3):
            failed = scenario == "split-y" and seed == 2
            write(two, "fragile", seed, 25 + seed, scenario=scenario, status="failed" if failed else "done")
    board = leaderboard(two, across=True)
    assert order(board) == ["batch", "good", "naive", "fragile"]
    assert np.isnan(line(board, "fragile")["rank"])
    assert line(board, "good")["rank"] == 1
    print_board(board)
    text = capsys.readouterr().out
    assert re.search(r"^fragile ✗ .* 2 \(1 of 6 failed\) ", text, re.MULTILINE)
    row = next(row for row in csv.DictReader(io.StringIO(to_csv(board))) if row["method"] == "fragile")
    assert (row["n"], row["asked"], row["failed"]) == ("2", "6", "1")
    alone = leaderboard(two, scenarios=["split-x"])  # where nothing of it failed
    assert line(alone, "fragile")["rank"] == 1


def test_one_seed_across_has_no_interval_and_no_word_of_one(tmp_path, capsys):
    store = Store.create(tmp_path)
    for scenario in ("split-x", "split-y"):
        for seed in range(2):
            write(store, "naive", seed, 50 + seed / 100, reference="lower", scenario=scenario)
            write(store, "batch", seed, 20 + seed / 100, reference="upper", intervals=1, scenario=scenario)
        write(store, "good", 0, 30, scenario=scenario)
    print_board(leaderboard(store, across=True))
    text = " ".join(capsys.readouterr().out.split())
    assert "Rank intervals" not in text
    assert "good: not ranked, since they lack seeds that most methods have." in text


# What is left out


def test_cells_that_are_not_done_are_listed_not_ranked(store, capsys):
    write(store, "good", 7, 1, status="failed")
    write(store, "good", 8, 1, status="cut off")
    board = leaderboard(store)
    assert line(board, "good")["n"] == 3
    assert "split-x-good-1-7: failed: ValueError: boom" in left_out_lines(board)
    assert "split-x-good-1-8: interrupted: 3 of 3 intervals" in left_out_lines(board)
    for form in ("markdown", "latex", "html", "json"):
        assert "boom" in FORMATS[form](board)
    print_board(board)
    assert "left out: split-x-good-1-7" in capsys.readouterr().out


def test_cells_of_an_older_version_are_stale(store):
    write(store, "good", 0, 10, version=2)
    board = leaderboard(store)
    assert line(board, "good")["mean"] == 10
    assert sum("stale: its method good is version 1, not 2" in text for text in left_out_lines(board)) == 3


def test_cells_that_are_older_than_what_is_installed_are_stale(store):
    write(store, "naive", 9, 1, version=0)  # one less than the installed one
    old, now = version_of("naive", 0), version_of("naive", 1)
    reason = f"stale: its method naive is version {old}, not {now}"
    assert any(reason in text for text in left_out_lines(leaderboard(store)))


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
    why = "from-before: stale: made before one of its options or metrics existed"
    assert any(why in line for line in left_out_lines(board))
    older = json.loads((tmp_path / "cells" / "from-before" / "run.json").read_text())
    older["metrics"] = {"negative_elbo": 1}  # of other metrics as well: still the same seed
    write_record(tmp_path / "cells" / "from-before", older)
    assert leaderboard(Store(tmp_path), ["negative_elbo"]).table["n"].tolist() == [2]


def test_a_merged_store_is_one(store, tmp_path):
    other = Store.create(tmp_path / "other")
    for seed in (3, 4):
        write(other, "good", seed, 31)
    for cell in other.cells():
        cell.folder.rename(store.path / "cells" / cell.name)
    assert line(leaderboard(store), "good")["n"] == 5


def test_asking_twice_changes_nothing(store):
    twice = leaderboard(store, ["negative_elbo"] * 2, scenarios=["split-x"] * 2)
    assert twice.table.equals(leaderboard(store, ["negative_elbo"]).table)


def test_a_metric_that_is_not_installed_ranks_nothing(store):
    scores = scores_of(store)
    known = {name: facts for name, facts in scores.metrics.items() if name != "negative_elbo"}
    assert leaderboard(replace(scores, metrics=known), ["negative_elbo"]).table["rank"].isna().all()


def test_an_error_of_several_lines_is_one_line(store):
    write(store, "good", 7, 1, status="failed")
    failed = store.cell("split-x-good-1-7")
    write_record(failed.folder, failed.record | {"error": "ValueError: boom\n  at the end"})
    board = leaderboard(Store(store.path))
    assert left_out_lines(board) == ["split-x-good-1-7: failed: ValueError: boom at the end"]
    assert all(line.startswith(("%", "\\", " ")) or not line for line in to_latex(board).splitlines())


def test_what_cannot_be_shown_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="unknown metric in .*'negative_elb'.*mean 'negative_elbo'"):
        leaderboard(store, ["negative_elb"])
    with pytest.raises(InputError, match="trace"):
        leaderboard(store, ["gradient_norm"])
    with pytest.raises(
        InputError, match="code_retention: undefined after the last interval.*there are .*negative_elbo"
    ):
        leaderboard(store, ["code_retention"])
    empty = Store.create(tmp_path / "empty")
    write(empty, "good", 0, 1, status="failed")
    with pytest.raises(InputError, match="no finished cell.*1 left out, the first, .*failed: ValueError: boom"):
        leaderboard(empty)
    with pytest.raises(InputError, match="doesn't exist; `lifegen run --out"):
        scores_of(tmp_path / "nothing")
    with pytest.raises(InputError, match="isn't a lifegen store$"):
        scores_of(Path(__file__))


# Printed forms


def test_references_are_marked_and_explained(store, capsys):
    print_board(leaderboard(store))
    text = capsys.readouterr().out
    for part in ("batch ▲", "naive ▼", "32.0 ± 6.6", "3.0k", "don't compete", "corrected for all pairs by Holm"):
        assert part in text


def test_numbers_are_never_cut_short_by_a_narrow_terminal(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_board(leaderboard(store))
    assert "…" not in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("", 120), ("0", 120)])
def test_text_in_a_file_is_as_wide_as_columns_says_and_numbers_are_whole(store, capsys, monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    print_board(leaderboard(store))
    table, *texts = capsys.readouterr().out.split("\n\n")
    assert max(map(len, table.splitlines())) == 75
    assert width - 20 < max(len(line) for text in texts for line in text.splitlines()) <= width


def printed(board: Board, width: int, **options: Any) -> str:
    """What a terminal of this width shows."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False, color_system="standard")
    print_board(board, console=console, **options)
    return console.file.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [50, 80, 100, 200])
def test_a_terminal_gets_the_first_columns_that_fit_and_the_names_of_the_others(store, width):
    for seed in range(3):
        write(store, "good", seed, 31.0 + seed, version=3, expert="x")
    board = leaderboard(Store(store.path))
    (table,) = tables_of(board)
    text = plain(printed(board, width))
    assert max(map(len, text.splitlines())) <= width
    titles = [title.replace("-\n", "-").replace("\n", " ") for title in table.titles]
    named = " ".join(text.split()).partition("not shown, to fit this terminal: ")[2].partition("; --wide")[0]
    left_out = named.split(", ") if named else []
    assert titles[len(titles) - len(left_out) :] == left_out
    heads = text.partition("──")[0].split()
    assert all((title.split()[-1].split("-")[-1] in heads) == (title not in left_out) for title in titles)
    assert bool(left_out) == (width <= 80)
    wide = plain(printed(board, width, is_wide=True))
    assert "not shown" not in wide
    assert all(text in wide for line in table.lines for text in line.texts)


def test_the_best_is_bold_failures_are_red_and_references_dim(store):
    write(store, "fragile", 0, 33)
    write(store, "fragile", 1, 33, status="failed")
    lines = printed(leaderboard(Store(store.path)), 200).splitlines()

    def style(name: str) -> str:
        (line,) = [line for line in lines if plain(line).startswith(f"{name} ") and "±" not in plain(line)[:20]]
        return re.match(r"(?:\x1b\[([0-9;]*)m)?", line)[1] or ""

    assert {name: style(name) for name in ("good", "fragile", "naive")} == {"good": "1", "fragile": "31", "naive": "2"}


def test_methods_are_chosen_and_sorted_and_keep_their_ranks(two):
    store = Store(two.path)
    everything = leaderboard(store)
    chosen = leaderboard(store, methods=["good"])
    ranked = everything.table[everything.table["method"] == "good"].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen.table, ranked)
    assert any(note.startswith("Shown are 1 of 3 methods") for note in chosen.notes)
    with pytest.raises(InputError, match="'goods'.*mean 'good'"):
        leaderboard(store, methods=["goods"])
    by_components = leaderboard(store, ["negative_elbo", "forgetting"], sort="forgetting")
    for _, rows in by_components.table.groupby("scenario", sort=False):
        values = rows[rows["metric"] == "forgetting"]["mean"].tolist()
        assert values == sorted(values)
        assert (
            rows["method"].tolist() == [name for name in dict.fromkeys(rows["method"]) for _ in range(2)][: len(rows)]
        )
    with pytest.raises(InputError, match="'frechet_distance'.*there are: forgetting, negative_elbo"):
        leaderboard(store, ["negative_elbo", "forgetting"], sort="frechet_distance")


def test_csv_has_the_promised_columns_and_whole_numbers(store):
    board = leaderboard(store)
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert list(rows[0]) == [
        "scenario", "method", "metric", "n", "mean", "low", "high", "rank", "rank_low", "rank_high", "ties",
    ]  # fmt: skip
    row = next(row for row in rows if (row["method"], row["metric"]) == ("good", "negative_elbo"))
    expected = line(board, "good")
    assert {key: float(row[key]) for key in expected if row[key].replace(".", "").isdecimal()} == {
        key: value for key, value in expected.items() if isinstance(value, int | float)
    }


def test_json_has_the_same_and_what_csv_has_no_place_for(store):
    write(store, "good", 7, 1, status="failed")
    board = leaderboard(store)
    found = json.loads(to_json(board))
    assert len(found["rows"]) == len(board.table)
    assert found["rows"][0]["mean"] == board.table["mean"][0]
    assert found["references"] == {"naive": "lower", "batch": "upper"}
    assert list(found["left_out"]) == ["split-x-good-1-7"]


def test_markdown_is_one_table_a_scenario_in_the_same_order(two):
    text = FORMATS["markdown"](leaderboard(two))
    first, second = (part.splitlines() for part in text.split("**split-")[1:])
    for lines in (first, second):
        table = [row for row in lines if row.startswith("|")]
        assert [row.split("|")[1].strip() for row in table[2:]] == ["batch ▲", "good", "naive ▼"]
        assert len({row.count("|") for row in table}) == 1


ODD = [
    "a|b", "||", "<b>x</b>", "&lt;b&gt;", "[red]x[/red]", "[link](http://x)", "![](x)", "[64,64]", "_x_", "__x__",
    "a_b", "*x*", "**x**", "`x`", "x`y|z`", "\\", "\\|", "a\\b", "~x~", "~~x~~", "$x$", "#x", "1%", "a & b", "x^2",
    "{x}", '"x"', "'x'", ":smile:", "a,b", "<!--", "-", "±", "▲", "✗", "日本",
]  # fmt: skip
"""Options' texts that are markup in some form."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Store:
    """Such texts as options of methods, in a scenario's label, and in the reason of a failure."""
    store = Store.create(tmp_path_factory.mktemp("odd"))
    for i, text in enumerate(ODD):
        write(store, "noted", 0, 30, options=f"note={text}", scenario="split-x:note=a|<b>*_x_*", name=f"odd-{i}")
    error = "<b>a|b</b> *x* [red]x[/red] \x1b[2J"
    write(store, "naive", 0, 30, options="note=y", name="failed", status="failed", error=error)
    return store


def test_labels_are_shown_as_they_are_in_text(odd, capsys):
    print_board(leaderboard(odd))
    text = capsys.readouterr().out
    assert [one for one in ODD if f"note={one} ✎" not in text] == []
    assert "split-x:note=a|<b>*_x_*: mean" in text
    assert "<b>a|b</b> *x* [red]x[/red] \\x1b[2J" in text
    assert "\x1b" not in text


def test_labels_are_shown_as_they_are_in_csv_and_json(odd):
    board = leaderboard(odd)
    expected = [f"noted:note={one}" for one in ODD]
    assert {row["method"] for row in csv.DictReader(io.StringIO(to_csv(board)))} == set(expected)
    assert {row["method"] for row in json.loads(to_json(board))["rows"]} == set(expected)


class Words(HTMLParser):
    """The tags of a page, and the texts of its first column, its titles and its list."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_labels_are_shown_as_they_are_in_markdown_and_html(odd, form):
    page = FORMATS[form](leaderboard(odd))
    if form == "markdown":
        rows = [row for row in page.splitlines() if row.startswith("|")]
        assert len(rows) == len(ODD) + 2
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1
        page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page)
    words = Words(page)
    assert words.tags <= {"h3", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "p", "strong"}
    texts = {text.strip() for text in words.texts}
    assert [one for one in ODD if f"noted:note={one} ✎" not in texts] == []
    assert "split-x:note=a|<b>*_x_*: mean over seeds ± half of its 95 % interval" in texts
    assert "left out: failed: failed: ValueError: <b>a|b</b> *x* [red]x[/red] \\x1b[2J" in texts


def test_labels_are_shown_as_they_are_in_latex(odd):
    def unescaped(text: str) -> str:
        for command, character in (
            (r"\textbackslash{}", "\0"), (r"\textbar{}", "|"), (r"\textasciitilde{}", "~"), (r"\^{}", "^"),
            (r"\ensuremath{<}", "<"), (r"\ensuremath{>}", ">"), (r"$\pm$", "±"), (r"$\blacktriangle$", "▲"),
            (r"$\times$", "✗"), (r"$\ast$", "✎"), (r"\_", "_"), (r"\#", "#"), (r"\%", "%"), (r"\&", "&"), (r"\$", "$"),
            (r"\{", "{"), (r"\}", "}"),
        ):  # fmt: skip
            text = text.replace(command, character)
        return text.replace("\0", "\\")

    page = to_latex(leaderboard(odd))
    rows = [row for row in page.splitlines() if row.startswith(" noted")]
    assert len(rows) == len(ODD)
    cells = [re.split(r"(?<!\\)&", row)[0] for row in rows]
    for cell in cells:
        bare = re.sub(r"\\[a-z]+\{[<>]?\}|\\\^\{\}|\\[_#%&${}]|\$\\[a-z]+\$", "", cell)
        assert not re.search(r"[\\_#%&${}~^|<>]", bare), cell
    assert {unescaped(cell).strip() for cell in cells} == {f"noted:note={one} ✎" for one in ODD}
    assert all(row.startswith(("%", "\\", " ")) or not row for row in page.splitlines())


def test_latex_has_rules_marks_arrows_a_caption_and_the_best_in_bold(store):
    write(store, "second", 0, 33)
    latex = to_latex(leaderboard(Store(store.path), ["negative_elbo", "posterior_consistency_past", "components"]))
    for command in (
        r"$\pm$", r"$\blacktriangle$", r"\toprule", r"negative ELBO $\downarrow$", r"consistency past $\uparrow$",
        r"\caption{split-x: mean over seeds $\pm$ half of its 95 \% interval}", r"\label{tab:split-x}",
        r"\begin{adjustbox}{max width=\linewidth}", r"\usepackage{adjustbox,amssymb,booktabs}",
    ):  # fmt: skip
        assert command in latex
    assert re.findall(r"^ (\w+).*\\textbf\{32.0 \$\\pm\$ 6.6\}", latex, re.MULTILINE) == ["good"]
    assert latex.count(r"\textbf") == 2  # of the ELBO and the consistency; components have no better direction
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 3


def test_a_column_is_one_entry(store, monkeypatch):
    extra = Column("peak_memory_mb", "peak\nmemory", 0)
    for name in ("reading.leaderboard", "reporting.tables"):
        monkeypatch.setattr(f"lifegen.benchmark.{name}.COLUMNS", (*COLUMNS, extra))
    (one,) = tables_of(leaderboard(store))
    assert one.titles[-1] == "peak\nmemory"
    assert one.lines[0].texts[-1] == "500"


def test_a_metric_with_fewer_seeds_says_so(store, capsys):
    write(store, "good", 3, 30, intervals=1)
    print_board(leaderboard(store))
    assert "0.60 ± 0.25 (n = 3)" in capsys.readouterr().out


def test_what_a_method_is_told_is_marked_and_explained(tmp_path, capsys):
    store = Store.create(tmp_path)
    write(store, "honest", 0, 30.0, uses=("boundaries",))
    write(store, "keeps", 0, 31.0, uses=("past-data",), images=5000)
    write(store, "told", 0, 32.0, uses=("labels",))
    write(store, "batch", 0, 20.0, uses=("past-data",), reference="upper")
    print_board(leaderboard(store))
    text = capsys.readouterr().out
    for part in ("keeps ●", "told ◆", "batch ▲ ", "● keeps real images of the past", "◆ is told the labels"):
        assert part in text
    assert "honest ●" not in text
    assert "▲ ●" not in text
    assert "5.0k" in text


def test_stored_images_are_a_column_where_there_are_any(tmp_path):
    for name, images in (("none", 0), ("some", 7)):
        store = Store.create(tmp_path / name)
        write(store, "a", 0, 1.0, images=images)
        assert ("stored_samples" in leaderboard(store).metrics) == bool(images)
    assert leaderboard(store, ["stored_samples"]).metrics == ("stored_samples",)


def test_a_reconstruction_is_called_one(tmp_path, capsys):
    store = Store.create(tmp_path / "store")
    write(store, "growing-cvae", 0, 30.0)
    write(store, "naive", 0, 31.0)
    print_board(leaderboard(store))
    assert "growing-cvae (reconstruction)" in capsys.readouterr().out


def test_the_command_has_every_form_and_csv_keeps_to_rows(store):
    write(store, "good", 7, 1, status="failed")
    for seed in range(3):
        write(store, "other", seed, 40 + seed)
    done = lifegen("leaderboard", str(store.path), "--format", "csv", "--metric", "negative_elbo", "-s", "split-x")
    assert len(done.stdout.splitlines()) == 5
    assert "left out: split-x-good-1-7: failed" in done.stderr
    text = lifegen("leaderboard", str(store.path)).stdout
    assert "1 [1–1]" in text
    assert "good ✗" in text


def test_several_stores_are_ranked_as_if_they_were_one(tmp_path):
    whole, *parts = (Store.create(tmp_path / name) for name in ("whole", "a", "b"))
    for i, (method, final) in enumerate((("good", 90.0), ("bad", 120.0), ("naive", 150.0))):
        for seed in range(3):
            for store in (whole, parts[(i + seed) % 2]):
                write(store, method, seed, final + seed)
    write(parts[1], "good", 0, 90.0)  # both have this one
    paths = [store.path for store in parts]
    together = leaderboard(scores_of(union_of(paths)))
    pd.testing.assert_frame_equal(together.table, leaderboard(whole).table)
    shown = lifegen("leaderboard", *paths, "--format", "csv")
    assert shown.stdout == lifegen("leaderboard", whole.path, "--format", "csv").stdout
    assert lifegen("leaderboard", *paths, tmp_path / "absent").returncode == 2


def test_stores_of_different_images_are_not_ranked_together(tmp_path):
    for name, method, data in (("a", "good", "1" * 32), ("b", "bad", "2" * 32)):
        store = Store.create(tmp_path / name)
        write(store, method, 0, 90.0)
        (cell,) = store.cells()
        write_record(cell.folder, cell.record | {"data": data})
    with pytest.raises(InputError, match="can't be shown together: .* were computed on different images"):
        union_of([tmp_path / "a", tmp_path / "b"])


def test_of_several_stores_the_newest_metrics_are_shown_in_any_order(tmp_path):
    """A cell's name says nothing about the versions of its metrics."""
    for name, version in (("old", 0), ("new", 1)):
        store = Store.create(tmp_path / name)
        write(store, "good", 0, 90.0)
        (cell,) = store.cells()
        write_record(cell.folder, cell.record | {"metrics": {"negative_elbo": version}})
    for order in (["old", "new"], ["new", "old"]):
        assert len(union_of([tmp_path / name for name in order]).cells) == 1
    with pytest.raises(InputError, match="no store is named"):
        union_of([])

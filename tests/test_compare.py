"""Two methods against each other, from stores written by hand."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.compare import compare, over_scenarios, pairs
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.reading.statistics import holm
from lifegen.benchmark.reporting.tables import print_comparison
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store

from .commands import lifegen
from .stores import write

GOOD, NAIVE = [30.0, 31.0, 35.0], [50.0, 52.0, 54.0]


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.create(tmp_path / "store")
    for seed in range(3):
        write(store, "naive", seed, NAIVE[seed], reference="lower")
        write(store, "good", seed, GOOD[seed])
        write(store, "batch", seed, 20 + seed, reference="upper", intervals=1)
    return store


def test_the_end_is_paired_by_seed(store):
    found = compare(store.path, "good", "naive").table
    end = found[found["what"] == "end"].iloc[0]
    low, high = stats.ttest_rel(GOOD, NAIVE).confidence_interval(0.95)
    assert (end["n"], end["difference"], end["low"], end["high"]) == pytest.approx((3, -20, low, high))
    assert (end["mean_a"], end["mean_b"]) == pytest.approx((32, 52))
    assert end["p"] == end["p_holm"] == pytest.approx(stats.ttest_rel(GOOD, NAIVE).pvalue)
    assert end["probability"] == 1


def test_intervals_and_distributions_are_families_of_tests(store):
    found = compare(store.path, "good", "naive").table
    for what, names in (("interval", [0, 1]), ("distribution", ["0", "1", "2"])):
        rows = found[found["what"] == what]
        assert list(rows[what]) == names
        assert list(rows["p_holm"]) == pytest.approx(holm(list(rows["p"])))
    # the union's value is final + 10 (T − t), that of a distribution final + T (1 − j)
    assert list(found.loc[found["what"] == "interval", "mean_a"]) == pytest.approx([52, 42])
    assert list(found.loc[found["what"] == "distribution", "mean_b"]) == pytest.approx([54, 52, 50])


def test_a_method_of_one_interval_is_compared_at_the_end_only(store):
    found = compare(store.path, "good", "batch").table
    assert set(found["what"]) == {"end", "distribution"}


def test_words_say_what_can_and_can_not_be_concluded(store):
    (words,) = compare(store.path, "good", "naive").words.values()
    text = " ".join(words)
    assert "Can be concluded, as far as 3 seeds go: good is better than naive" in text
    assert "needs 6" in text
    assert "correlation over seeds 0.9" in text
    for seed, value in enumerate((31, 30, 35)):
        write(store, "rival", seed, value)
    (words,) = compare(store.path, "good", "rival").words.values()
    text = " ".join(words)
    assert "Can't be concluded: which of them is better (lower is better)" in text
    assert "probability 0.50" in text


def test_the_end_is_never_decided_and_undecided_at_once(store):
    """As one of many it may be undecided; but it is asked once."""
    for seed, value in enumerate((47.0, 50.0, 50.5)):
        write(store, "near", seed, value)
    found = compare(store.path, "near", "naive")
    (words,) = found.words.values()
    text = " ".join(words)
    assert "Can be concluded, as far as 3 seeds go: near is better than naive" in text
    (line,) = [one for one in words if one.startswith("By interval")]
    assert "corrected for 2 tests" in line
    assert "2" not in line.partition(": ")[2]


def with_images(store: Store, method: str, seed: int, values: list[list[float]], data: str = "one") -> None:
    """Give a cell the final values of its test images."""
    cell = store.cell(f"split-x-{method}-1-{seed}")
    arrays = {str(number): np.array(one, np.float32) for number, one in enumerate(values)}
    np.savez_compressed(cell.folder / "image_values.npz", **arrays)
    write_record(cell.folder, cell.record | {"data": data})


def test_images_are_paired_within_their_distribution_by_their_mean_over_seeds(store):
    generator = np.random.default_rng(0)
    drawn = generator.normal(40, 20, (2, 3, 3, 50))  # methods, seeds, distributions, images
    drawn[0] += generator.normal(-1, 1, (3, 3, 50))
    for method, of_method in zip(("good", "naive"), drawn, strict=True):
        for seed in range(3):
            with_images(store, method, seed, of_method[seed].tolist())
    (words,) = compare(store.path, "good", "naive").words.values()
    (line,) = [one for one in words if one.startswith("Over test images")]
    differences = (drawn[0] - drawn[1]).mean(axis=0)
    error = np.sqrt((differences.var(axis=1, ddof=1) / 50).sum()) / 3  # three distributions of one size
    low, high = differences.mean() - 1.96 * error, differences.mean() + 1.96 * error
    assert f"for these 3 pairs of models: good − naive is {differences.mean():.4g}" in line
    assert f"interval {low:.4g} to {high:.4g} (paired by image, 150 images" in line


@pytest.mark.parametrize("what", ["none", "other images", "other numbers", "torn", "not finite"])
def test_without_the_same_images_nothing_is_said_of_images(store, what):
    for method in ("good", "naive"):
        for seed in range(3):
            with_images(store, method, seed, [[1.0, 2.0]] * 3)
    file = store.cell("split-x-good-1-1").folder / "image_values.npz"
    if what == "none":
        file.unlink()
    elif what == "torn":
        file.write_bytes(b"torn")
    else:
        values = {"other numbers": [[1.0]] * 3, "not finite": [[1.0, math.nan]] * 3}.get(what, [[1.0, 2.0]] * 3)
        with_images(store, "good", 1, values, data="two" if what == "other images" else "one")
    (words,) = compare(store.path, "good", "naive").words.values()
    assert "Over test images" not in " ".join(words)
    assert words[-1] == "Held fixed: the test images, the order of the distributions, and all options."


def test_better_is_higher_where_higher_is_better(store):
    write(store, "consistent", 0, 40, consistency=0.90)
    write(store, "consistent", 1, 40, consistency=0.91)
    write(store, "consistent", 2, 40, consistency=0.93)
    (words,) = compare(store.path, "naive", "consistent", metric="posterior_consistency_past").words.values()
    assert "consistent is better than naive" in " ".join(words)
    assert "is higher than a run of consistent with probability 0.00" in " ".join(words)
    (words,) = compare(store.path, "consistent", "naive", metric="posterior_consistency_past").words.values()
    assert "is higher than a run of naive with probability 1.00" in " ".join(words)


def test_without_spread_nothing_is_tested_and_nothing_contradicts_itself(store):
    for seed in range(3):
        write(store, "shifted", seed, GOOD[seed] + 11)
    comparison = compare(store.path, "good", "shifted")
    (words,) = comparison.words.values()
    assert words[0] == "good − shifted is -11 in each of 3 seeds: without any spread there is no test."
    assert len(words) == 2
    assert comparison.table["p_holm"].isna().all()


def test_words_say_whether_pairing_helped(store):
    (words,) = compare(store.path, "good", "naive").words.values()
    (pairing,) = [line for line in words if line.startswith("Seeds share")]
    half = np.diff(stats.ttest_rel(GOOD, NAIVE).confidence_interval(0.95))[0] / 2
    other = np.diff(stats.ttest_ind(GOOD, NAIVE).confidence_interval(0.95))[0] / 2
    helps = "narrower" if half < other else "wider"
    assert pairing.endswith(f"pairing makes the interval {helps}, ± {half:.2g} instead of ± {other:.2g}.")


def test_a_scenario_without_a_common_seed_says_so(store):
    write(store, "good", 0, 30, scenario="split-y")
    write(store, "naive", 1, 50, scenario="split-y")
    words = compare(store.path, "good", "naive").words
    assert words["split-y"] == ("There is no seed that both good and naive have, with a value of negative_elbo.",)
    assert len(words["split-x"]) > 3


def test_one_seed_concludes_nothing(tmp_path):
    store = Store.create(tmp_path / "one")
    write(store, "good", 0, 30)
    write(store, "naive", 0, 50)
    write(store, "naive", 7, 50)
    found = compare(store.path, "good", "naive")
    (words,) = found.words.values()
    assert words[0] == "Seeds 7 exist for naive only and aren't used."
    assert "Nothing can be concluded" in words[1]
    assert found.table["low"].isna().all()


def test_what_is_not_there_is_refused(store):
    with pytest.raises(InputError, match="unknown method in .*'goood'.*mean 'good'.*There are: batch, good, naive"):
        compare(store.path, "goood", "naive")
    with pytest.raises(InputError, match="unknown metric"):
        compare(store.path, "good", "naive", metric="elbo")
    with pytest.raises(InputError, match="unknown scenario in .*'split-z'"):
        compare(store.path, "good", "naive", scenarios=["split-z"])
    write(store, "lonely", 9, 1)
    with pytest.raises(InputError, match="no seed that both good and lonely have"):
        compare(store.path, "good", "lonely")


def test_every_pair_is_there_once_with_corrected_tests(store):
    found = pairs(scores_of(store))
    assert [(row.a, row.b) for row in found.itertuples()] == [("batch", "good"), ("batch", "naive"), ("good", "naive")]
    assert list(found["p_holm"]) == pytest.approx(holm(list(found["p"])))
    assert found["difference"].iloc[2] == pytest.approx(-20)


def test_over_scenarios_takes_enough_of_them(tmp_path):
    store = Store.create(tmp_path / "many")
    generator = np.random.default_rng(0)
    for i in range(6):
        for method, value in (("a", 10), ("b", 11), ("c", 50)):
            write(store, method, 0, value + generator.normal(), scenario=f"split-{i}")
    with pytest.raises(ValueError, match="takes 7 scenarios"):
        over_scenarios(scores_of(store))
    for method, value in (("a", 10), ("b", 11), ("c", 50), ("only-here", 1)):
        write(store, method, 0, value, scenario="split-6")
    methods, found = over_scenarios(scores_of(store))
    assert methods == ["a", "b", "c"]
    assert found.mean_ranks[2] == 3


def test_the_command_prints_all_forms(store):
    text = lifegen("compare", str(store.path), "good", "naive").stdout
    assert "good is better than naive" in text
    assert "interval 1" in text
    assert "interval 2" not in text  # that is the end
    rows = list(
        csv.DictReader(io.StringIO(lifegen("compare", str(store.path), "good", "naive", "--format", "csv").stdout))
    )
    assert float(rows[0]["difference"]) == pytest.approx(-20)
    found = json.loads(lifegen("compare", str(store.path), "good", "naive", "--format", "json").stdout)
    assert len(found["rows"]) == len(rows)
    assert found["words"]["split-x"]


def test_a_narrow_terminal_cuts_nothing(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_comparison(compare(store.path, "good", "naive"))
    assert "…" not in capsys.readouterr().out


def test_a_method_is_known_by_its_options_in_any_order_and_at_their_defaults(tmp_path):
    store = Store.create(tmp_path / "store")
    for seed in range(2):
        write(store, "naive:style=2,width=32", seed, 30 + seed)
        write(store, "naive", seed, 40 + seed)
    found = compare(store.path, "naive:width=32,style=2", "naive:style=14")
    assert (found.a, found.b) == ("naive:style=2,width=32", "naive")
    assert set(found.table["difference"]) == {-10}
    with pytest.raises(InputError, match="naive can't be compared with itself"):
        compare(store.path, "naive", "naive:style=14")
    with pytest.raises(InputError, match="unknown method in .*'naive:style=3'. Did you mean"):
        compare(store.path, "naive", "naive:style=3")
    for command, kinds in (("leaderboard", []), ("plot", ["final"])):
        done = lifegen(command, store.path, *kinds, "-m", "naive:width=32,style=2")
        assert done.returncode == 0, done.stderr

"""Tuning: equal trials for all, chosen on validation parts, going on where it stopped; and what it writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark import Options, searched
from lifegen.benchmark.cells.search import _inverse, space, trials
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of, suites
from lifegen.benchmark.cells.tuned import changes, read_tuned, to_toml
from lifegen.benchmark.cli.tuning import _best
from lifegen.benchmark.contracts.options import schemas_of
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.current import current_of

from .commands import lifegen

SUITE = """
summary = "a test"
budget = "none"
scenarios = ["split-digits:steps=2,classes_per_interval=5"]
methods = ["naive", "ewc", "lgm-iclr", "ewc:strength=7"]
seeds = [0]
smoke = {}
"""


def test_what_is_searched_is_in_the_index_without_an_import():
    class Mine(Options):
        strength: Annotated[float, searched(1, 100)] = 10.0
        kind: Annotated[str, searched(among=["a", "b"])] = "a"
        plain: int = 3

    found = schemas_of(Mine)
    assert found["strength"]["search"] == {"low": 1, "high": 100, "log": True}
    assert found["kind"]["search"] == {"among": ["a", "b"]}
    assert "search" not in found["plain"]


@pytest.mark.parametrize("name", sorted(describe("method")))
def test_each_methods_trials_are_valid_equal_in_number_and_never_a_presets(name):
    description = describe("method")[name]
    found = trials(parse_spec("method", name), 12)
    assert found[0].label == name  # trial 0 is the defaults
    if description.facts["preset"]:
        assert len(found) == 1
        return
    assert len({spec.label for spec in found}) == len(found) == 12
    wanted = space(found[0])
    assert {"learning_rate", "norm"} <= wanted.keys()
    assert len(wanted) <= 4  # both, and at most two of the method's own
    for spec in found[1:]:
        for option, search in wanted.items():
            value = spec.config[option]
            assert value in search["among"] if "among" in search else search["low"] <= value <= search["high"]
        same = spec.config.keys() - wanted.keys()
        assert all(spec.config[option] == found[0].config[option] for option in same)


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5, 7]))
def test_a_radical_inverse_mirrors_the_digits(i, base):
    digits, rest = [], i
    while rest:
        rest, digit = divmod(rest, base)
        digits.append(digit)
    assert _inverse(i, base) == pytest.approx(sum(digit / base ** (k + 1) for k, digit in enumerate(digits)))


def test_trials_are_spread_over_the_logarithms_of_a_range():
    found = [spec.config["strength"] for spec in trials(parse_spec("method", "ewc"), 26)[1:]]
    per_decade = [sum(10**k <= value < 10 ** (k + 1) for value in found) for k in range(4)]
    assert min(per_decade) >= 5
    assert parse_spec("method", "ewc:batch_size=7").config["batch_size"] == 7
    assert all(spec.config["batch_size"] == 7 for spec in trials(parse_spec("method", "ewc:batch_size=7"), 3))


def test_the_best_is_the_lowest_and_what_failed_the_last():
    specs = [parse_spec("method", f"ewc:strength={strength}") for strength in (1, 2, 3, 4)]
    values = {specs[0].label: 5.0, specs[1].label: 4.0, specs[3].label: 4.0}
    assert _best(specs, values) == [specs[1], specs[3], specs[0], specs[2]]
    assert math.inf > max(values.values())


def test_tune_chooses_by_validation_goes_on_and_writes_what_a_suite_names(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    store = tmp_path / "tune"
    command = ["tune", "--suite", tmp_path / "mine.toml", "-m", "naive", "-m", "ewc", "--trials", 3, "--steps", 1,
               "--jobs", 1, "--device", "cpu", "--out", store]  # fmt: skip
    done = lifegen(*command)
    assert done.returncode == 0, done.stderr
    numbers = {(cell.seed, cell.method): cell.numbers["negative_elbo_valid"] for cell in current_of(store).cells}
    search, final = sorted({seed for seed, _ in numbers})
    assert {seed for seed, _ in numbers}.isdisjoint(range(1000))
    for method in ("naive", "ewc"):
        tried = {
            label: value for (seed, label), value in numbers.items() if seed == search and label.startswith(method)
        }
        assert len(tried) == 3
        compared = {
            label: value for (seed, label), value in numbers.items() if seed == final and label.startswith(method)
        }
        assert compared.keys() == {method, *sorted(tried, key=tried.get)[:2]}
        best = min(compared, key=compared.get)
        assert f"{best}: {compared[best]:.2f} nats, its defaults" in done.stdout
    tuned = read_tuned(store / "tuned.toml")
    assert tuned.trials == 3
    assert tuned.scenario == "split-digits:steps=2,classes_per_interval=5"
    assert tuned.methods.keys() == {"naive", "ewc"}
    again = lifegen(*command)
    assert again.stdout.count("all done") == 2
    assert again.stdout.splitlines()[-1] == str(store / "tuned.toml")
    # One method alone leaves the other's options in the file.
    lifegen(*(word for word in command if word not in ("-m", "naive", "ewc")), "-m", "ewc")
    assert read_tuned(store / "tuned.toml") == tuned
    # A preset isn't tuned, so that nothing of it is computed.
    preset = lifegen(*(word for word in command if word not in ("-m", "naive", "ewc")), "-m", "lgm-iclr")
    assert preset.returncode == 2
    assert "lgm-iclr: nothing to search" in preset.stdout
    assert "none of these methods has an option to search" in preset.stderr


def test_a_suites_tuned_options_are_its_methods_and_tables_say_so(tmp_path):
    (tmp_path / "tuned.toml").write_text(
        'scenario = "split-digits"\ntrials = 12\n[methods]\newc = { strength = 250.0, norm = "group" }\nnaive = {}\n'
    )
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE.replace('summary = "a test"', 'summary = "a test"\ntuned = "tuned.toml"'))
    found = {cell.method.label: cell.trials for cell in cells_of(str(suite))}
    assert found == {
        "naive": 12,
        "ewc:norm=group,strength=250": 12,
        "lgm-iclr": None,
        "ewc:strength=7": None,
    }
    command = ["run", "--suite", suite, "--seeds", "0", "--jobs", "1", "--device", "cpu", "--out", tmp_path / "s"]
    assert lifegen(*command, "-m", "naive", "-m", "ewc").returncode == 0
    told = lifegen("leaderboard", tmp_path / "s")
    line = "options: tuned by 12 trials: ewc:norm=group,strength=250, naive; all others defaults, or named by a suite"
    assert line in " ".join(told.stdout.split())
    (tmp_path / "tuned.toml").write_text("trials = 12\n[methods]\n")
    with pytest.raises(InputError, match=r"^suite \S*mine\.toml, tuned: tuned options \S*, scenario: it is missing"):
        cells_of(str(suite))
    (tmp_path / "tuned.toml").unlink()
    with pytest.raises(InputError, match=r"tuned options .*: No such file or directory; `lifegen tune` writes"):
        cells_of(str(suite))


def test_a_suites_conventions_are_options_of_every_method_that_has_them(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE.replace("smoke", 'options = { optimizer_state = "reset" }\nsmoke'))
    configs = {cell.method.label: cell.method.config for cell in cells_of(str(tmp_path / "mine.toml"))}
    assert configs.keys() == {
        "naive:optimizer_state=reset", "ewc:optimizer_state=reset", "lgm-iclr", "ewc:optimizer_state=reset,strength=7",
    }  # fmt: skip
    (tmp_path / "mine.toml").write_text(SUITE.replace("smoke", "options = { strenght = 3 }\nsmoke"))
    with pytest.raises(
        InputError, match=r"options\.strenght: unknown option of this suite's methods 'strenght'.*strength"
    ):
        cells_of(str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text(SUITE.replace("smoke", 'options = { optimizer_state = "kept" }\nsmoke'))
    with pytest.raises(InputError, match="'optimizer_state'"):
        cells_of(str(tmp_path / "mine.toml"))
    for name in ("split-mnist", "split-fashion-mnist"):
        assert suites()[name].options.keys() == {"real_share", "optimizer_state"}


def test_every_suite_can_be_tuned_and_what_is_written_can_be_read(tmp_path):
    """Also with several variants of one method, whose own options aren't searched."""
    for name in suites():
        defaults = list({cell.method.label: cell.method for cell in cells_of(name)}.values())
        pairs = [(one, trials(one, 3)[-1]) for one in defaults]
        (tmp_path / "tuned.toml").write_text(to_toml(name, 3, {one.label: changes(one, best) for one, best in pairs}))
        found = read_tuned(tmp_path / "tuned.toml").methods
        assert found.keys() == {one.label for one in defaults}
        for one, winner in pairs:
            assert {**one.config, **found[one.label]} == winner.config
    assert "strength" not in space(parse_spec("method", "ewc:strength=7"))


def test_a_suite_that_is_tuned_already_is_not_tuned_again(tmp_path):
    (tmp_path / "tuned.toml").write_text('scenario = "x"\ntrials = 2\n[methods]\n')
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE.replace('summary = "a test"', 'summary = "a test"\ntuned = "tuned.toml"'))
    done = lifegen("tune", "--suite", suite, "--out", tmp_path / "t")
    assert done.returncode == 2
    assert "names tuned options already" in done.stderr


def test_what_cannot_be_searched_is_refused():
    for low, high, log in ((0, 1, True), (1, 1, False), (3, 2, True)):
        with pytest.raises(ValueError, match="needs low < high"):
            searched(low, high, log=log)


def test_options_are_tuned_for_one_scenario(tmp_path):
    done = lifegen("tune", "-s", "split-digits", "-s", "split-mnist", "-m", "naive", "--out", Path(tmp_path, "t"))
    assert done.returncode == 2
    assert "options are tuned for one scenario, not 2; name one with -s" in done.stderr
    assert not (tmp_path / "t").exists()

"""What is said of metrics: nothing bad of lifegen's own, and the right thing of each broken one."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lifegen.benchmark import measures
from lifegen.benchmark.authoring.checks import Finding, metric
from lifegen.benchmark.authoring.checks.metric import check_metric
from lifegen.benchmark.contracts.registry import METRICS, Entry
from lifegen.benchmark.measuring import derived
from lifegen.benchmark.measuring.rows import Row
from lifegen.benchmark.seeds import Seeds

FACTS = {"unit": "", "better": None, "over_intervals": "last", "derived": False, "most": None, "of": "negative_elbo"}
DESCRIBED = "it and its options are described"
PROMISES = {value for name, value in vars(metric).items() if name.startswith("_") and name[1:].isupper()
            if isinstance(value, str)} | {DESCRIBED}  # fmt: skip
NOTES = {metric._COST, metric._MOST, metric._SOME, metric._ZERO}


def entry(target: Callable[..., Any], **facts: Any) -> Entry:
    return Entry("metric", "tested", 1, target, None, {**FACTS, **facts})


def of(findings: list[Finding], promise: str) -> Finding:
    return next(one for one in findings if one.promise == promise)


def broken(target: Entry) -> Finding:
    """The first broken promise: what comes later isn't waited for."""
    return next(one for one in check_metric(target) if one.status == "broken")


@pytest.mark.parametrize(
    "name", [one.name for one in METRICS if one.target.__module__ in (measures.__name__, derived.__name__)]
)
def test_lifegens_own_metrics_keep_what_they_promise(name):
    findings = list(check_metric(METRICS[name]))
    assert [one for one in findings if one.status == "broken"] == []
    assert metric._SOME not in {one.promise for one in findings}
    facts = METRICS[name].facts
    is_note = "stored" in name or not facts["better"] or facts["of"] != "negative_elbo"
    expected = "skipped" if facts["unit"] in ("s", "MB") else "note" if is_note else "kept"
    assert of(findings, metric._DIRECTION).status == expected
    assert of(findings, metric._TWICE).status == ("skipped" if facts["unit"] in ("s", "MB") else "kept")


# One that breaks each promise


def undocumented(m):
    yield Row(1.0)


def raises(m):
    """Raises at first."""
    yield Row(float(len(m.codes["dark"]) / len(m.previous_codes)))


def raises_later(m):
    """Raises once something has been met."""
    if m.past:
        raise KeyError("past")
    yield Row(1.0)


def leaves(m):
    """Ends Python."""
    sys.exit(0)


def gives_a_number(m):
    """Returns what it should yield."""
    return 1.0


def yields_numbers(m):
    """Yields no rows."""
    yield 1.0


def yields_tensors(m):
    """Yields tensors."""
    yield Row(m.codes["dark"].mean())


def yields_narrow_numbers(m):
    """Yields what JSON can't hold."""
    yield Row(np.float32(1))


def yields_truths(m):
    """Yields true or false."""
    yield Row(m.is_last)


def of_another_stream(m):
    """Names a distribution that there isn't."""
    yield Row(1.0, "dusk")


def of_half_a_step(m):
    """Names a step that there isn't."""
    yield Row(1.0, None, 0.5)


def undefined(m):
    """NaN before there is a past."""
    yield Row(1.0 if m.past else float("nan"))


def infinite(m):
    """Infinite for one distribution."""
    for name in m.stream.distributions:
        yield Row(float("inf") if name == "bright" else 0.0, name)


def doubled(m):
    """One row of each image."""
    for name in m.stream.distributions:
        yield from (Row(float(codes.max()), name) for codes in m.codes[name])


def doubled_steps(m):
    """A trace that numbers its steps wrongly."""
    yield from (Row(value, step=0) for value in m.strategy.traces.by_name["gradient_norm"].values())


def draws(m):
    """Noise that differs from call to call."""
    yield Row(float(torch.rand(1, generator=torch.Generator().manual_seed(next(COUNTER)))))


COUNTER = iter(range(10**6))


def draws_globally(m):
    """Noise from torch's global generator."""
    yield Row(float(torch.rand(1)))


def draws_in_python(m):
    """Noise from Python's global generator."""
    yield Row(random.random())


def draws_training_noise(m):
    """Samples from the model's generator, which is training's."""
    yield Row(float(m.model.sample(3, generator=m.model.generator).mean()))


def samples(m):
    """Samples from nothing said: the global generator."""
    yield Row(float(m.model.generate(3).mean()))


def trains(m):
    """Leaves the model in training mode."""
    m.model.train()
    yield Row(1.0)


def renormalises(m):
    """Runs the model in training mode, which moves batch norm's statistics."""
    m.model.train()
    m.model(m.images("test", "dark").float() / 255)
    m.model.eval()
    yield Row(1.0)


def prunes(m):
    """Sets small weights to zero, in place."""
    for weights in m.model.parameters():
        weights[weights.abs() < 0.1] = 0
    yield Row(1.0)


def freezes(m):
    """Counts weights by freezing them."""
    m.model.requires_grad_(False)
    yield Row(1.0)


def inverts(m):
    """Inverts test images, in place."""
    m.images("test", "dark").bitwise_not_()
    yield Row(1.0)


def sharpens(m):
    """Changes what is known of the interval before, in place."""
    for codes in m.previous_codes.values():
        codes.mul_(2)
    yield Row(1.0)


def bound(m):
    """Negative ELBO."""
    yield Row(m.union("test", m.stream.distributions).value)


def consistency(m):
    """Posterior consistency."""
    yield from measures.posterior_consistency(m)


def bound_of_each(m):
    """Negative ELBO of each distribution, with another sign."""
    yield from (Row(-m.bound("test", name).value, name) for name in m.stream.distributions)


def on_a_track(m):
    """A value on 8-bit images only, with another sign."""
    if m.stream.track == "discretised-logistic":
        yield Row(-m.union("test", m.stream.distributions).value)


# and of the matrix


def mean_of_last(R, first, T):  # noqa: N803
    return sum(R[T, j] for j in first) / len(first)


def mean_of_past(R, first, T):  # noqa: N803
    """Divides by nothing where nothing is past."""
    past = [j for j in first if first[j] < T]
    return sum(R[T, j] for j in past) / len(past)


def leaves_derived(R, first, T):  # noqa: N803
    """Ends Python."""
    sys.exit("no more")


def relative(R, first, T):  # noqa: N803
    """Forgetting over what was learned, which may be nothing."""
    j = next(iter(first))
    return (R[T, j] - R[0, j]) / (max(R[t, j] for t in range(T + 1)) - R[0, j])


def not_a_number(R, first, T):  # noqa: N803
    """NaN where it is undefined."""
    return derived.forgetting(R, first, T) if T else float("nan")


def a_numpy_number(R, first, T):  # noqa: N803
    """A number that JSON can't hold."""
    return np.float32(R[T, next(iter(first))])


def subtracts(R, first, T):  # noqa: N803
    """Changes the matrix."""
    for key in R:
        R[key] -= 1
    return R[T, next(iter(first))]


def pops(R, first, T):  # noqa: N803
    """Changes what is first met."""
    return float(first.pop(next(iter(first))))


def bootstraps(R, first, T):  # noqa: N803
    """Resamples without a seed."""
    return random.choice([R[t, j] for t in range(T + 1) for j in first]) + random.random()


def of_the_last(R, first, T):  # noqa: N803
    """Mean of the last row."""
    return mean_of_last(R, first, T)


def of_learning(R, first, T):  # noqa: N803
    """How well each distribution is learned when it is met: better is lower."""
    return derived._mean(R[first[j], j] for j in first)


DERIVED: dict[str, Any] = {"derived": True}
BROKEN: list[tuple[Any, dict[str, Any], str, str, str]] = [
    (undocumented, {}, DESCRIBED, "it has none", "undocumented"),
    (raises, {}, metric._RUNS, r"interval 0: Zero.*test_check_metric\.py, line \d+\)", r"m\.past and m"),
    (raises_later, {}, metric._RUNS, r"interval 1: KeyError: 'past' \(.*, line \d+\)", "raises_later$"),
    (leaves, {}, metric._RUNS, r"interval 0: SystemExit: 0 \(.*test_check_metric\.py, line \d+\)", "m.past"),
    (gives_a_number, {}, metric._ROWS, "1.0", "yield Row.value."),
    (yields_numbers, {}, metric._ROWS, "naive, bernoulli-grey, interval 0: a float, 1.0", "yield Row"),
    (yields_tensors, {}, metric._ROWS, "a value that is a Tensor", "yield Row"),
    (yields_narrow_numbers, {}, metric._ROWS, "a value that is a float32.*converts it", "yield Row"),
    (yields_truths, {}, metric._ROWS, "a value that is a bool", "yield Row"),
    (of_another_stream, {}, metric._ROWS, "distribution 'dusk', which isn't one of dark, bright", "yield Row"),
    (of_half_a_step, {}, metric._ROWS, "a step that is a float, 0.5", "yield Row"),
    (undefined, {}, metric._FINITE, "interval 0: nan", "yield no row where it is undefined"),
    (infinite, {}, metric._FINITE, "inf of 'bright'", "yield no row"),
    (doubled, {}, metric._ONCE, "several of distribution 'dark', step None", "one row is the union's"),
    (doubled_steps, {}, metric._ONCE, "several of distribution None, step 0", "one row is the union's"),
    (draws, {}, metric._TWICE, r"0\.\d+", "a generator with a fixed seed"),
    (draws_globally, {}, metric._TRACE, "changed: the global generator of torch", "a generator of its own"),
    (draws_in_python, {}, metric._TRACE, "changed: the global generator of Python", "a generator of its own"),
    (draws_training_noise, {}, metric._TRACE, "m.model.generator, which is training's", "of its own"),
    (samples, {}, metric._TRACE, "changed: the global generator of torch", "of its own"),
    (trains, {}, metric._TRACE, "changed: the model's training mode", r"leaves eval\(\) alone"),
    (renormalises, {}, metric._TRACE, "changed: the model's weights or buffers", "deepcopy"),
    (prunes, {}, metric._TRACE, "changed: the model's weights or buffers", "deepcopy"),
    (freezes, {}, metric._TRACE, "changed: which weights are trained", "deepcopy"),
    (inverts, {}, metric._TRACE, "changed: the stream's images", "clone"),
    (sharpens, {}, metric._TRACE, "interval 1: changed: m.previous_codes", "clone"),
    (bound, {"better": "higher"}, metric._DIRECTION, r"\d+.* of a trained model, \d+", 'better="higher".*the sign'),
    (consistency, {"better": "lower"}, metric._DIRECTION, "1 of a trained model, 0", 'better="lower"'),
    (bound_of_each, {"better": "lower"}, metric._DIRECTION, "of a trained model, -", "the sign of its value"),
    (on_a_track, {"better": "lower"}, metric._DIRECTION, "of a trained model, -", "the sign of its value"),
    (mean_of_last, DERIVED, DESCRIBED, "it has none", "mean_of_last"),
    (mean_of_past, DERIVED, metric._NUMBER, "T = 0, distributions a: Zero", "a cell of one interval has T = 0"),
    (leaves_derived, DERIVED, metric._NUMBER, "SystemExit: no more", "return None where it is undefined"),
    (relative, DERIVED, metric._NUMBER, "ZeroDivisionError", "return None where it is undefined"),
    (not_a_number, DERIVED, metric._NUMBER, "visits a: nan", "return None"),
    (a_numpy_number, DERIVED, metric._NUMBER, "float32", "return None"),
    (subtracts, DERIVED, metric._ARGUMENTS, "changed", "change a copy"),
    (pops, DERIVED, metric._ARGUMENTS, "changed", "change a copy"),
    (bootstraps, DERIVED, metric._TWICE, r"\d", "nothing drawn"),
    (derived.forgetting, {**DERIVED, "better": "higher"}, metric._DIRECTION, "is forgotten", "the sign"),
    (derived.backward_transfer, {**DERIVED, "better": "lower"}, metric._DIRECTION, "is forgotten", 'better="lower"'),
    (derived.forward_transfer, {**DERIVED, "better": "lower"}, metric._DIRECTION, "still to come", "the sign"),
    (of_the_last, {**DERIVED, "better": "higher"}, metric._DIRECTION, "is forgotten", "lower is better"),
    (of_learning, {**DERIVED, "better": "higher"}, metric._DIRECTION, "learned worse", "lower is better"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "facts", "promise", "seen", "look"), BROKEN)
def test_a_broken_promise_is_found(target, facts, promise, seen, look):
    finding = broken(entry(target, **facts))
    assert finding.promise == promise
    assert finding.expected
    assert re.search(seen, finding.seen, re.DOTALL), finding.seen
    assert re.search(look, finding.look, re.DOTALL), finding.look


def test_each_promise_can_be_broken():
    assert {promise for _, _, promise, *_ in BROKEN} == PROMISES - NOTES


# What breaks nothing


def samples_well(m):
    """Spread of samples, from a generator of its own, on a copy of nothing."""
    yield Row(float(m.model.sample(9, generator=Seeds(0).generator("spread")).std()))


def test_a_good_one_keeps_all():
    findings = list(check_metric(entry(samples_well)))
    assert {one.status for one in findings} == {"kept", "note"}
    assert [one.promise for one in findings if one.status == "note"] == [metric._COST, metric._DIRECTION]
    assert re.fullmatch(
        r"[\d.]+ s an interval by itself, [\d.]+ s for negative_elbo; .*", of(findings, metric._COST).seen
    )
    assert of(findings, metric._DIRECTION).seen == "it has no better direction: it ranks nothing"


def test_each_break_is_told_once():
    findings = [one for one in check_metric(entry(trains)) if one.status == "broken"]
    assert [one.promise for one in findings] == [metric._TRACE]


def zero_at_first(m):
    """0 before there is a past, and more than its most later."""
    yield Row(float(m.interval))


def test_what_is_odd_is_a_note():
    findings = list(check_metric(entry(zero_at_first, better="higher", most=1.0)))
    assert "if it is undefined there, yield no row" in of(findings, metric._ZERO).seen
    assert of(findings, metric._MOST).seen == "naive, bernoulli-grey, interval 2: 2.0 is above 1.0, and ranks as it"
    assert of(findings, metric._DIRECTION).seen.endswith("it doesn't depend on the weights")
    assert {one.status for one in findings} == {"kept", "note"}


def silent(m):
    """Never has a value."""
    return iter(())


def test_one_without_values_can_not_be_looked_at():
    findings = list(check_metric(entry(silent, better="lower")))
    assert of(findings, metric._SOME).status == "note"
    assert of(findings, metric._DIRECTION).status == "skipped"


def above_the_most(m):
    """Better than its most, also where it is damaged."""
    yield Row(m.union("test", m.stream.distributions).value)


def test_what_lies_above_the_most_ranks_as_it():
    findings = list(check_metric(entry(above_the_most, better="higher", most=1.0)))
    assert of(findings, metric._DIRECTION).status == "note"
    assert of(findings, metric._DIRECTION).seen.endswith("they rank alike")


def test_times_may_differ():
    findings = list(check_metric(entry(draws, unit="s", better="lower")))
    assert [of(findings, promise).status for promise in (metric._TWICE, metric._DIRECTION)] == ["skipped"] * 2


def constant(R, first, T):  # noqa: N803
    """Depends on the stream alone."""
    return float(len(first))


@pytest.mark.parametrize("better", ["lower", "higher", None])
def test_a_derived_metric_that_sees_no_damage_is_a_note(better):
    findings = list(check_metric(entry(constant, derived=True, better=better)))
    assert {one.status for one in findings} == {"kept", "note"}
    assert of(findings, metric._DIRECTION).status == "note"

"""Each metric against a case computed by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.model import GenerativeModel, LogWeights
from lifegen.benchmark.contracts.registry import METRICS
from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.information import information_on_distributions
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.batch import Batch
from lifegen.methods.growing_mixture import GrowingMixture
from lifegen.methods.lifelong_vae import LifelongVAE
from lifegen.methods.naive import Naive

from .conftest import tiny


class Table(GenerativeModel):
    """A model that knows each image by its only pixel's value v: log p(x|z) = −v, divergence −cost, code posterior
    ``codes[v]``."""

    def __init__(self, codes: dict[int, list[float]], cost: float = 0.5) -> None:
        super().__init__()
        self.table = codes
        self.codes = len(next(iter(codes.values())))
        self.track = "none"
        self.cost = cost
        self.calls: list[int] = []
        self.unused = torch.nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError

    def log_weights(self, x: Tensor, draws: int, generator: torch.Generator | None = None) -> LogWeights:
        v = (x.flatten() * 255).round()
        self.calls.append(len(v) * draws)
        return LogWeights(-v.expand(draws, 1, -1), torch.full((draws, 1, len(v)), -self.cost))

    def code_log_posterior(self, x: Tensor, weights: LogWeights | None = None) -> Tensor:
        return torch.tensor([self.table[int(v)] for v in (x.flatten() * 255).round()]).log()

    def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        return x


def one_pixel(*values: int) -> Images:
    return Images(
        torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1), torch.zeros(len(values), dtype=torch.int64)
    )


def stream(visits: str = "ab", tested: str = "") -> Stream:
    """Test images: a = {1, 3}, b = {5}, c = {7, 7, 10}. Validation: ten times those."""
    tests = {"a": (1, 3), "b": (5,), "c": (7, 7, 10)}
    return make_stream(
        {
            k: Parts(one_pixel(0), one_pixel(*(10 * v for v in tests[k])), one_pixel(*tests[k]))
            for k in tests
            if k in visits
        },
        visits,
        ScenarioConfig(steps=1),
        Seeds(0),
        {k: one_pixel(*tests[k]) for k in tested},
    )


def strategy(model: GenerativeModel, **facts: Any) -> Any:
    known = {"real_samples": 12, "synthetic_samples": 34, "optimizer_steps": 5, "stored_parameters": 99,
             "stored_samples": 3, "plugins": [],
             "traces": SimpleNamespace(by_name={"gradient_norm": {0: 1.5, 2: 0.5}, "loss_mine": {2: 7.0}})}  # fmt: skip
    return SimpleNamespace(model=model, device=torch.device("cpu"), **{**known, **facts})


def evaluator(of: Stream) -> Evaluator:
    return Evaluator(of, Seeds(0), list(of.train_stream))


def values(rows: list[dict[str, Any]], metric: str) -> dict[Any, float]:
    """A metric's values by distribution, or by step for a trace."""
    return {row["step"] if row["step"] is not None else row["distribution"]: row["value"]
            for row in rows if row["metric"] == metric}  # fmt: skip


FLAT = {v: [0.5, 0.5] for v in (1, 3, 5, 7, 10)}


def test_bounds_on_the_full_test_the_seen_test_the_validation_part_and_each_distribution():
    rows = evaluator(stream("ab")).measure(strategy(Table(FLAT)), 0, train_seconds=2.5)
    assert values(rows, "negative_elbo") == pytest.approx({None: (1.5 + 3.5 + 5.5) / 3, "a": 2.5, "b": 5.5})
    assert values(rows, "negative_elbo_seen") == pytest.approx({None: 2.5})
    assert values(rows, "negative_elbo_valid") == pytest.approx({None: 20.5})
    assert values(rows, "reconstruction") == pytest.approx({None: 3.0})
    assert values(rows, "divergence") == pytest.approx({None: 0.5})
    assert values(rows, "iwae_nll") == {}  # not the last interval


def test_the_full_test_set_may_have_distributions_that_never_come_and_lack_others():
    of, model = stream("ab", tested="ac"), Table({v: [0.9, 0.1] if v < 6 else [0.1, 0.9] for v in FLAT})
    watcher = evaluator(of)
    first, last = (watcher.measure(strategy(model), interval, train_seconds=1.0) for interval in (0, 1))
    full = (1.5 + 3.5 + 7.5 + 7.5 + 10.5) / 5
    assert values(first, "negative_elbo") == pytest.approx({None: full, "a": 2.5, "b": 5.5})
    assert values(first, "reconstruction") == pytest.approx({None: full - 0.5})
    assert values(first, "negative_elbo_seen") == pytest.approx({None: 2.5})
    assert values(last, "negative_elbo_seen") == pytest.approx({None: 10.5 / 3})
    assert values(last, "iwae_nll") == pytest.approx({None: full, "a": 2.5, "b": 5.5})
    assert values(last, "posterior_consistency") == {None: 1.0}
    assert values(last, "code_perplexity") == pytest.approx(
        {None: math.exp(-0.4 * math.log(0.4) - 0.6 * math.log(0.6))}
    )
    assert values(last, "code_perplexity_past") == {None: 1.0}
    assert watcher.final_values(strategy(model)) == {}


def test_bounds_after_the_last_interval():
    rows = evaluator(stream("ab")).measure(strategy(Table(FLAT)), 1, train_seconds=2.5)
    assert values(rows, "negative_elbo_seen") == pytest.approx({None: 10.5 / 3})
    assert values(rows, "negative_elbo_valid") == pytest.approx({None: (10.5 + 30.5 + 50.5) / 3})
    assert values(rows, "iwae_nll") == pytest.approx({None: 10.5 / 3, "a": 2.5, "b": 5.5})


def test_counts_and_costs():
    rows = evaluator(stream()).measure(strategy(Table(FLAT)), 0, train_seconds=2.5, train_cpu_seconds=1.5)
    expected = {"real_samples": 12, "synthetic_samples": 34, "optimizer_steps": 5, "stored_parameters": 99,
                "stored_samples": 3, "stored_mb": (4 * 99 + 3) / 1e6, "train_seconds": 2.5,
                "train_cpu_seconds": 1.5}  # fmt: skip
    assert {name: values(rows, name)[None] for name in expected} == expected
    assert values(rows, "gradient_norm") == {0: 1.5, 2: 0.5}
    assert values(rows, "loss_mine") == {2: 7.0}
    assert 0 < values(rows, "eval_seconds")[None] < 10
    assert values(rows, "peak_memory_mb")[None] > 50


def test_no_code_metric_before_there_is_a_model_to_compare_with():
    rows = evaluator(stream()).measure(strategy(Table(FLAT)), 0, 0.0)
    for name in ("posterior_consistency", "posterior_consistency_past", "code_retention", "code_perplexity_past"):
        assert values(rows, name) == {}


BEFORE = {1: [0.97, 0.03], 3: [0.04, 0.96], 5: [0.6, 0.4], 7: [0.1, 0.9], 10: [0.3, 0.7]}
AFTER = {1: [0.8, 0.1, 0.1], 3: [0.6, 0.2, 0.2], 5: [0.1, 0.1, 0.8], 7: [0.1, 0.6, 0.3], 10: [0.1, 0.2, 0.7]}


def test_consistency_and_perplexity():
    """Most likely codes: before 0 1 | 0 | 1 1 1, after 0 0 | 2 | 1 1 2. At interval 2 the past is a and b."""
    measured = evaluator(stream("abc"))
    measured.measure(strategy(Table(BEFORE)), 1, 0.0)
    rows = measured.measure(strategy(Table(AFTER)), 2, 0.0)
    assert values(rows, "posterior_consistency") == pytest.approx({None: 3 / 6})
    assert values(rows, "posterior_consistency_mean") == values(rows, "posterior_consistency")
    assert values(rows, "posterior_consistency_past") == pytest.approx({None: 1 / 3})
    entropy = -sum(p * math.log(p) for p in (2 / 6, 2 / 6, 2 / 6))
    assert values(rows, "code_perplexity") == pytest.approx({None: math.exp(entropy)})
    entropy = -sum(p * math.log(p) for p in (2 / 3, 1 / 3))
    assert values(rows, "code_perplexity_past") == pytest.approx({None: math.exp(entropy)})


def test_retention():
    """J(a, b) = mean P(a|x) Q(b|x), each distribution with the same weight."""

    def information(p: dict[int, list[float]], q: dict[int, list[float]]) -> float:
        rows, columns = len(p[1]), len(q[1])
        joint = [[sum(p[v][a] * q[v][b] * w for v, w in ((1, 0.25), (3, 0.25), (5, 0.5))) for b in range(columns)]
                 for a in range(rows)]  # fmt: skip
        left = [sum(row) for row in joint]
        right = [sum(row[b] for row in joint) for b in range(columns)]
        return sum(
            joint[a][b] * math.log(joint[a][b] / left[a] / right[b]) for a in range(rows) for b in range(columns)
        )

    measured = evaluator(stream("abc"))
    measured.measure(strategy(Table(BEFORE)), 1, 0.0)
    rows = measured.measure(strategy(Table(AFTER)), 2, 0.0)
    own = information(BEFORE, BEFORE)
    assert own > 0.05
    assert values(rows, "code_information") == pytest.approx({None: own})
    assert values(rows, "code_retention") == pytest.approx(
        {None: information(BEFORE, AFTER) / own},
        rel=1e-4,  # log-posteriors come in float32
    )


def test_a_code_that_says_nothing_has_no_retention():
    measured = evaluator(stream("ab"))
    measured.measure(strategy(Table(FLAT)), 0, 0.0)
    rows = measured.measure(strategy(Table(FLAT)), 1, 0.0)
    assert values(rows, "code_information") == pytest.approx({None: 0.0}, abs=1e-7)
    assert values(rows, "code_retention") == {}


def test_retention_survives_relabelling_and_unused_codes():
    sharp = {1: [0.99, 0.01], 3: [0.98, 0.02], 5: [0.01, 0.99]}
    relabelled = {v: [row[1], 0.0, row[0]] for v, row in sharp.items()}
    measured = evaluator(stream("aba"))
    measured.measure(strategy(Table(sharp)), 1, 0.0)
    rows = measured.measure(strategy(Table(relabelled)), 2, 0.0)
    assert values(rows, "code_retention") == pytest.approx({None: 1.0})
    assert values(rows, "posterior_consistency_past")[None] < 0.7


def test_drift_is_split_into_what_leaked_to_new_codes_and_what_moved_among_the_old():
    """TV(P padded, Q); Q(new codes); TV(P, Q renormalised): each distribution with the same weight."""
    measured = evaluator(stream("abc"))
    measured.measure(strategy(Table(BEFORE)), 1, 0.0)
    rows = measured.measure(strategy(Table(AFTER)), 2, 0.0)
    weights = {1: 0.25, 3: 0.25, 5: 0.5}  # the past is a = {1, 3} and b = {5}

    def total(p: list[float], q: list[float]) -> float:
        return 0.5 * sum(abs(x - y) for x, y in zip(p, q, strict=True))

    drift = sum(w * total([*BEFORE[v], 0.0], AFTER[v]) for v, w in weights.items())
    leak = sum(w * AFTER[v][2] for v, w in weights.items())
    core = sum(w * total(BEFORE[v], [q / sum(AFTER[v][:2]) for q in AFTER[v][:2]]) for v, w in weights.items())
    assert values(rows, "code_drift") == pytest.approx({None: drift}, rel=1e-5)
    assert values(rows, "code_leak") == pytest.approx({None: leak}, rel=1e-5)
    assert values(rows, "code_core_drift") == pytest.approx({None: core}, rel=1e-5)
    # a code that is an output of the model has no noise of its own
    assert values(rows, "code_drift_floor") == {None: 0.0}
    assert values(rows, "code_retention_floor") == pytest.approx({None: 1.0})


def test_adding_a_component_beside_frozen_ones_leaks_and_moves_nothing_among_the_old():
    """All old prior weights are scaled alike: the core is exact, and the leak is what the new one takes."""
    of = tiny("abc")
    trained = GrowingMixture({"width": 8, "style": 2, "threshold": 0}).strategy(of, Seeds(0))
    measured = evaluator(of)
    for interval, experience in enumerate(of.train_stream):
        trained.train(experience, eval_streams=[])
        rows = measured.measure(trained, interval, 0.0)
    drift, leak, core = (values(rows, f"code_{name}")[None] for name in ("drift", "leak", "core_drift"))
    assert core == pytest.approx(0.0, abs=1e-5)
    assert drift == pytest.approx(leak, abs=1e-5)
    assert leak > 0
    assert values(rows, "components") == {None: 3}
    assert values(rows, "code_drift_floor")[None] > 0


def test_the_group_value_is_that_of_the_best_component_of_each_test_set():
    of = tiny("abc")
    trained = GrowingMixture({"width": 8, "style": 2, "threshold": 0}).strategy(of, Seeds(0))
    measured = evaluator(of)
    history = []
    for interval, experience in enumerate(of.train_stream):
        trained.train(experience, eval_streams=[])
        rows = measured.measure(trained, interval, 0.0)
        history.append(values(rows, "negative_elbo_group"))
        bounds = values(rows, "negative_elbo")
        for name in "abc":
            assert history[-1][name] <= bounds[name] + 1e-6
        assert history[-1][None] == pytest.approx(sum(history[-1][name] for name in "abc") / 3)
    rest = values(rows, "iwae_nll_group")
    assert rest[None] <= values(rows, "iwae_nll")[None] + math.log(3)
    single = values(evaluator(of).measure(Naive({"width": 8}).strategy(of, Seeds(0)), 0, 0.0), "negative_elbo_group")
    assert set(single) == {None, "a", "b", "c"}


def test_draws_and_images_of_the_importance_bound_are_the_scenarios(monkeypatch):
    of = tiny("ab", importance_draws=7, importance_images=3)
    drawn = []
    trained = Naive({"width": 8}).strategy(of, Seeds(0))
    original = trained.model.log_weights
    monkeypatch.setattr(trained.model, "log_weights", lambda x, s, g: drawn.append((s, len(x))) or original(x, s, g))
    evaluator(of).measure(trained, 1, 0.0)
    assert [n for s, n in drawn if s == 7] == [3, 3]


def test_past_and_seen_after_a_revisit():
    """At interval 2 of a b a, both a and b are past; b was met before, so the full and the seen test agree."""
    measured = evaluator(stream("aba"))
    for interval in (0, 1):
        measured.measure(strategy(Table(BEFORE)), interval, 0.0)
    rows = measured.measure(strategy(Table(AFTER)), 2, 0.0)
    assert values(rows, "posterior_consistency") == values(rows, "posterior_consistency_past")
    assert values(rows, "negative_elbo")[None] == values(rows, "negative_elbo_seen")[None]


def test_an_unchanged_model_is_wholly_consistent():
    of = tiny("abc", steps=100)
    method = LifelongVAE({"width": 8, "style": 2, "codes": 4, "mutual_information_weight": 50, "learning_rate": 0.01})
    trained = method.strategy(of, Seeds(0))
    trained.train(of.train_stream[0], eval_streams=[])
    measured = evaluator(of)
    first = measured.measure(trained, 0, 0.0)
    second = measured.measure(trained, 1, 0.0)
    assert values(second, "posterior_consistency") == {None: 1.0}
    assert values(second, "posterior_consistency_past") == {None: 1.0}
    assert values(first, "negative_elbo") == values(second, "negative_elbo")  # the same noise


def test_a_code_that_says_nothing_is_not_consistent():
    """A collapsed code is always the same; it retains nothing."""
    collapsed = {v: [0.999, 0.001] for v in BEFORE}
    measured = evaluator(stream("abc"))
    measured.measure(strategy(Table(collapsed)), 1, 0.0)
    rows = measured.measure(strategy(Table(collapsed)), 2, 0.0)
    for name in ("posterior_consistency", "posterior_consistency_past", "code_retention"):
        assert values(rows, name) == {}
    assert values(rows, "code_retained") == pytest.approx({None: 0.0}, abs=1e-6)


def test_retained_information_is_the_mutual_information_of_two_tables():
    """By hand, with the same weight for a = {1, 3} and b = {5}: J = ½ (½ (P₁ᵀQ₁ + P₃ᵀQ₃) + P₅ᵀQ₅)."""
    measured = evaluator(stream("abc"))
    measured.measure(strategy(Table(BEFORE)), 1, 0.0)
    rows = measured.measure(strategy(Table(AFTER)), 2, 0.0)
    joint = [[sum(weight * BEFORE[v][i] * AFTER[v][j] for v, weight in ((1, 0.25), (3, 0.25), (5, 0.5)))
              for j in range(3)] for i in range(2)]  # fmt: skip
    of_row, of_column = [sum(row) for row in joint], [sum(column) for column in zip(*joint, strict=True)]
    expected = sum(
        p * math.log(p / (of_row[i] * of_column[j])) for i, row in enumerate(joint) for j, p in enumerate(row)
    )
    assert values(rows, "code_retained") == pytest.approx({None: expected}, abs=1e-6)
    own = values(rows, "code_information")[None]
    assert values(rows, "code_retention") == pytest.approx({None: expected / own}, abs=1e-5)


def test_what_a_code_says_about_the_distribution_of_its_image():
    """Perfect under any naming and however fine; nothing for a flat or a shared code; in between by the formula."""

    def measured(codes, visits="abc"):
        watcher = evaluator(stream(visits))
        every = [watcher.measure(strategy(Table(codes)), i, train_seconds=1.0) for i in range(len(visits))]
        return [values(rows, "code_distribution_information").get(None) for rows in every]

    one = {1: [0, 0, 1.0, 0], 3: [0, 0, 0, 1.0], 5: [0, 1.0, 0, 0], 7: [1.0, 0, 0, 0], 10: [1.0, 0, 0, 0]}
    assert measured(one) == [None, pytest.approx(1.0), pytest.approx(1.0)]
    assert measured(FLAT)[1:] == pytest.approx([0, 0])
    assert measured({v: [1.0] for v in FLAT})[1:] == pytest.approx([0, 0])
    two = {1: [0.8, 0.2], 3: [0.6, 0.4], 5: [0.1, 0.9], 7: [0.5, 0.5], 10: [0.5, 0.5]}
    joint = torch.tensor([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]], dtype=torch.float64) / 3
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    assert measured(two)[2] == pytest.approx(float((joint * (joint / independent).log()).sum()) / math.log(3), rel=1e-5)


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 7))
def test_information_on_distributions_lies_between_nothing_and_everything(seed, distributions, codes):
    generator = Seeds(seed).generator("codes")
    log_q = {str(k): (3 * torch.randn(5 + k, codes, generator=generator)).log_softmax(1) for k in range(distributions)}
    found = information_on_distributions(log_q, tuple(log_q))
    assert -1e-9 <= found <= math.log(min(distributions, codes)) + 1e-9
    order = torch.randperm(codes, generator=generator)
    renamed = {name: table[:, order] for name, table in log_q.items()}
    assert information_on_distributions(renamed, tuple(log_q)) == pytest.approx(found, abs=1e-12)


def test_the_final_values_of_images_are_those_behind_the_means():
    measured = evaluator(stream("abc"))
    one = strategy(Table(FLAT))
    measured.measure(one, 2, 0.0)
    calls = len(one.model.calls)
    found = measured.final_values(one)
    assert len(one.model.calls) == calls  # nothing is evaluated twice
    expected = {"0": [1.5, 3.5], "1": [5.5], "2": [7.5, 7.5, 10.5]}
    assert {name: array.tolist() for name, array in found.items()} == expected
    again = evaluator(stream("abc"))  # of a run that was interrupted after its last measurement
    assert {name: array.tolist() for name, array in again.final_values(one).items()} == expected


def test_the_mode_of_the_model_is_left_as_it_was():
    of = tiny("ab")
    trained = Naive({"width": 8}).strategy(of, Seeds(0))
    for mode in (True, False):
        trained.model.train(mode)
        evaluator(of).measure(trained, 0, 0.0)
        assert trained.model.training is mode


def test_measuring_does_not_change_what_is_learned_next():
    weights = []
    for measuring in (False, True):
        of = tiny("ab")
        trained = LifelongVAE({"width": 8, "style": 2}).strategy(of, Seeds(0))
        measured = evaluator(of)
        for interval, experience in enumerate(of.train_stream):
            trained.train(experience, eval_streams=[])
            if measuring:
                measured.measure(trained, interval, 0.0)
        weights.append(trained.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_each_test_image_is_evaluated_once_for_all_bounds():
    model = Table(FLAT)
    evaluator(stream("ab")).measure(strategy(model), 0, 0.0)
    assert sum(model.calls) == 10 * (3 + 2)  # three test images, and the two of a's validation part


def test_the_batch_methods_only_interval_has_seen_everything():
    of = stream("abc")
    joint = Evaluator(of, Seeds(0), Batch().view(of))
    rows = joint.measure(strategy(Table(FLAT)), 0, 0.0)
    assert values(rows, "negative_elbo_seen")[None] == values(rows, "negative_elbo")[None]
    assert values(rows, "iwae_nll")
    assert values(rows, "posterior_consistency") == {}


def test_a_value_that_is_not_finite_is_an_error_not_a_row():
    with pytest.raises(FloatingPointError, match="negative_elbo is nan after interval 0"):
        evaluator(stream()).measure(strategy(Table(FLAT, cost=math.nan)), 0, 0.0)


def test_every_metric_of_the_design_is_registered():
    names = {entry.name for entry in METRICS}
    assert names >= {
        "negative_elbo", "negative_elbo_seen", "negative_elbo_valid", "reconstruction", "divergence",
        "posterior_consistency", "posterior_consistency_past", "code_perplexity", "code_retention", "real_samples",
        "synthetic_samples", "optimizer_steps", "gradient_norm", "train_seconds", "eval_seconds", "peak_memory_mb",
        "stored_parameters", "stored_samples", "iwae_nll",
    }  # fmt: skip
    assert all(entry.summary for entry in METRICS)

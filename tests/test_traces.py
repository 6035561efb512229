"""Traces of training: the loss is the sum of its parts, and whoever looks at it changes nothing."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from avalanche.core import SupervisedPlugin
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark.cells.cell import product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.contracts.registry import METRICS
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.rows import Row
from lifegen.benchmark.measuring.traces import steps_to_plateau
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.running.rerun import compare_cells
from lifegen.benchmark.running.state import State, read_state, restore, write_state
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.store.store import Store
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.benchmark.training.traces import Traces, add_term, trace_term
from lifegen.methods.models.quadratic_penalty import QuadraticPenalty

from .conftest import tiny
from .test_run import TINY

SMALL = "width=8,batch_size=12,style=2"


def trained(
    method: str, *plugins: SupervisedPlugin, visits: str = "ab", steps: int = 9, points: int = 50
) -> GenerativeTemplate:
    """A strategy after its last interval, with more plugins before the traces."""
    Seeds(0).seed_globals()
    stream = tiny(visits, steps=steps)
    strategy = build_method(parse_spec("method", f"{method}:{SMALL}")).strategy(stream, Seeds(0))
    at = strategy.plugins.index(strategy.traces)
    strategy.plugins[at:at] = plugins
    strategy.traces.points = points
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
    return strategy


@pytest.mark.parametrize(
    ("method", "terms"),
    [
        ("naive", set()),
        ("generative-replay", set()),
        ("lifelong-vae", {"consistency", "information"}),
        ("growing-cvae", {"second_lap", "code_error"}),
        ("growing-mixture-student", {"student"}),
        ("avalanche-ewc", {"other"}),
    ],
)
def test_the_loss_is_the_sum_of_its_parts_at_the_steps_of_the_gradients_norm(method, terms):
    traces = trained(method).traces.by_name
    parts = {f"loss_{name}" for name in {"reconstruction", "divergence", *terms}}
    assert traces.keys() == {"gradient_norm", "loss", *parts}
    for step, loss in traces["loss"].items():
        assert sum(traces[name].get(step, 0.0) for name in parts) == pytest.approx(loss, rel=1e-5, abs=1e-5)
    assert list(traces["loss"]) == list(traces["gradient_norm"]) == list(range(9))


def test_how_many_steps_are_recorded_changes_no_number():
    few, many = trained("ewc", points=1), trained("ewc", points=50)
    assert len(few.traces.by_name["loss"]) == 1
    assert len(many.traces.by_name["loss"]) == 9
    weights = [strategy.model.state_dict() for strategy in (few, many)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("method", ["ewc", "synaptic-intelligence"])
def test_a_penalty_on_weights_is_that_of_the_weights_that_the_step_sees(method):
    class Formula(SupervisedPlugin):
        values: list[float] = []  # noqa: RUF012

        def before_forward(self, strategy, **_):
            (plugin,) = (one for one in strategy.plugins if isinstance(one, QuadraticPenalty))
            if plugin.importance:
                pairs = zip(strategy.model.parameters(), plugin.importance, plugin.centre, strict=True)
                squares = [h.double() * (weights.double() - c).square() for weights, h, c in pairs]
                self.values.append(plugin.strength / 2 * sum(one.sum().item() for one in squares))

    formula = Formula()
    trace = trained(method, formula).traces.by_name[f"loss_{method.replace('-', '_')}"]
    assert list(trace.values()) == pytest.approx(formula.values, rel=1e-4)
    assert trace[0] == 0
    assert trace[8] > 0


class Adds(SupervisedPlugin):
    """Adds 2 and 3 to the loss, as two terms of one name or without a name."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name

    def before_backward(self, strategy, **_):
        for value in (torch.tensor(2.0), torch.tensor(3.0)):
            if self.name:
                add_term(strategy, self.name, value)
            else:
                strategy.loss += value  # in place, as Avalanche's plugins do


@pytest.mark.parametrize(("name", "trace"), [("mine", "loss_mine"), ("", "loss_other")])
def test_a_term_with_a_name_has_a_trace_and_all_others_have_one_together(name, trace):
    strategy = trained("naive", Adds(name))
    assert list(strategy.traces.by_name[trace].values()) == pytest.approx([5] * 9, abs=1e-4)
    plain = trained("naive")
    assert ("loss_other" in strategy.traces.by_name) == (not name)
    for step, loss in plain.traces.by_name["loss"].items():
        assert strategy.traces.by_name["loss"][step] == pytest.approx(loss + 5, rel=1e-5)


def test_terms_work_without_lifegens_template():
    script = SimpleNamespace(loss=torch.tensor(1.0))
    add_term(script, "mine", torch.tensor(2.0))
    trace_term(script, "other_one", lambda: pytest.fail("nobody records it"))
    assert script.loss == 3


@pytest.mark.parametrize("name", ["reconstruction", "other", "My term", "", "a/b", "a\n"])
def test_a_name_that_is_taken_or_no_name_is_refused(name):
    with pytest.raises(InputError, match="can't be called"):
        add_term(SimpleNamespace(loss=0), name, torch.tensor(2.0))


def test_rows_of_traces_come_first_and_a_term_that_is_not_finite_has_no_row():
    class Infinite(SupervisedPlugin):
        def before_training_iteration(self, strategy, **_):
            trace_term(strategy, "odd", lambda: torch.tensor(torch.inf if strategy.experience.interval else 1.0))

    stream = tiny("ab", steps=3)
    strategy = build_method(parse_spec("method", f"naive:{SMALL}")).strategy(stream, Seeds(0))
    strategy.plugins.insert(0, Infinite())
    evaluator = Evaluator(stream, Seeds(0), list(stream.train_stream))
    for interval, has_rows in ((0, True), (1, False)):
        strategy.train(stream.train_stream[interval], eval_streams=[])
        rows = evaluator.measure(strategy, interval, train_seconds=0.0)
        are_traces = [row["step"] is not None for row in rows]
        assert are_traces == sorted(are_traces, reverse=True)  # whoever watches a cell reads only its last rows
        assert any(row["metric"] == "loss_odd" for row in rows) == has_rows


def test_a_state_from_before_the_traces_of_the_loss_is_still_restored(tmp_path):
    write_state(tmp_path / "state", {}, {"plugin": Traces()})
    state = read_state(tmp_path / "state")
    nodes = [
        node | {"class": "lifegen.benchmark.training.counting:GradientNorms", "attributes": {"steps": 7}}
        if isinstance(node, dict) and node.get("class") == "lifegen.benchmark.training.traces:Traces"
        else node
        for node in state.nodes
    ]
    assert nodes != state.nodes
    traces = Traces()
    restore(State({}, nodes, state.tensors), {"plugin": traces}, [], torch.device("cpu"))
    assert vars(traces) == {"steps": 7}
    strategy = trained("naive")
    strategy.plugins[strategy.plugins.index(strategy.traces)] = strategy.traces = traces
    strategy.train(tiny("a", steps=3).train_stream[0], eval_streams=[])
    assert list(traces.by_name["loss"]) == [0, 1, 2]


def test_an_older_cell_is_computed_again_without_traces_that_it_lacks():
    def cell(**values):
        lines = [
            f'{{"interval": 0, "distribution": null, "step": null, "metric": "{name}", "value": {value}}}'
            for name, value in values.items()
        ]
        content = "\n".join(lines).encode()
        return SimpleNamespace(record={"metrics": {"a": 1, "b": 1}}, content=lambda _: content, has=lambda _: False)

    assert compare_cells(cell(a=1), cell(a=1, loss=2, loss_mine=3)).equal
    assert compare_cells(cell(a=1), cell(a=1, b=2)).differing.keys() == {"b"}  # it was measured, and had no value
    assert compare_cells(cell(a=1, loss_mine=3), cell(a=1)).differing.keys() == {"loss_mine"}


def test_a_cell_with_named_terms_keeps_its_numbers_in_its_record(tmp_path):
    """Else every table would have to read its rows."""
    (cell,) = product([parse_spec("scenario", TINY)], [parse_spec("method", "lifelong-vae:width=8")], [0])
    assert run_cell(cell, Store.create(tmp_path / "s").path, tmp_path, "cpu") == "done"
    stored = Store(tmp_path / "s").cell(cell.name)
    rows = map(json.loads, stored.content("metrics.jsonl").splitlines())
    assert "loss_consistency" in {row["metric"] for row in rows}
    assert stored.record["numbers"]["negative_elbo"] > 0
    assert not [name for name in stored.record["numbers"] if name.startswith("loss")]


def trace_of(*values: float) -> dict[int, float]:
    """A trace that is recorded every twenty steps."""
    return {20 * i: value for i, value in enumerate(values)}


def test_a_plateau_begins_where_the_moving_mean_stays_near_the_final_level():
    fallen = [100.0] * 7 + [0.0] * 43
    assert steps_to_plateau(trace_of(*fallen)) == 20 * 9  # the first window of five without a 100
    bumped = [*fallen[:30], 40.0, *fallen[31:]]
    assert steps_to_plateau(trace_of(*bumped)) == 20 * 33  # 40 / 5 is more than 5 % of the fall
    small = [*fallen[:30], 20.0, *fallen[31:]]
    assert steps_to_plateau(trace_of(*small)) == 20 * 9
    late = [100.0] * 45 + [0.0] * 5
    assert steps_to_plateau(trace_of(*late)) is None  # its level isn't one


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 3 + [0.0] * 7,  # too few
        [0.0] * 20 + [100.0] * 30,  # it rises
        [5.0] * 50,
        [100.0] * 7 + [0.0, 30.0] * 21 + [0.0],  # the noise is larger than 5 % of the fall
        [math.inf] + [0.0] * 49,
    ],
)
def test_a_trace_without_a_plateau_has_no_steps_to_it(values):
    assert steps_to_plateau(trace_of(*values)) is None


@given(st.floats(1, 300), st.floats(0.1, 50), st.integers(-3, 3))
def test_units_and_level_do_not_matter_to_a_plateau_and_a_slower_fall_is_later(rate, scale, level):
    def steps(rate: float, scale: float = 1.0, level: float = 0.0) -> float:
        found = steps_to_plateau({20 * i: level + scale * math.exp(-20 * i / rate) for i in range(50)})
        return math.inf if found is None else found

    assert steps(rate, scale, level) == steps(rate)
    assert steps(rate) <= steps(1.5 * rate)
    assert steps(rate) <= 3 * rate + 60 or steps(rate) == math.inf  # log 20 = 3.0, and the window's width


def test_an_interval_has_a_row_for_each_trace_with_a_plateau():
    traces = SimpleNamespace(by_name={"loss": trace_of(*[100.0] * 7, *[0.0] * 43), "gradient_norm": trace_of(1.0)})
    interval = SimpleNamespace(strategy=SimpleNamespace(traces=traces))
    found = {name: list(METRICS[f"steps_to_plateau_{name}"].target(interval)) for name in traces.by_name}
    assert found == {"loss": [Row(180.0)], "gradient_norm": []}

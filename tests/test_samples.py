"""Metrics of samples, on models whose samples are known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.registry import METRICS, Entry
from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring import sample_quality as quality
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.experts import load_expert
from lifegen.benchmark.measuring.rows import Row
from lifegen.benchmark.measuring.samples import Comparison, Gallery, Samples, in_bytes, too_few
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.reporting import tables
from lifegen.benchmark.reporting.plots import drawings
from lifegen.benchmark.running.build import build_gallery, build_method, build_stream
from lifegen.benchmark.running.state import read_state
from lifegen.benchmark.seeds import Seeds, global_states
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import Store
from lifegen.methods.models.vae import CodeStyleVAE

from .commands import lifegen
from .stores import write
from .test_measures import strategy, values

SEEDS = Seeds(0, "split-digits")


def stream_of(options: str = "steps=1") -> Stream:
    return build_stream(parse_spec("scenario", f"split-digits:{options}"), SEEDS, Path())


@pytest.fixture(scope="module")
def stream() -> Stream:
    return stream_of()


@pytest.fixture(scope="module")
def gallery(stream: Stream) -> Gallery:
    return Gallery(stream, load_expert("digits"))


class Known(CodeStyleVAE):
    """A model that samples given images, from a place that its generator draws."""

    def __init__(self, images: Tensor) -> None:
        super().__init__((1, 8, 8), codes=2, style=2, width=8, init=Seeds(0).generator("init"))
        self.images = to_unit(images)
        self.drawn = 0

    def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        self.drawn += n
        return self.images[torch.randint(len(self.images), (n,), generator=generator)]


def training(stream: Stream, *names: str) -> Tensor:
    return torch.cat([stream.images("train", name).x for name in names or stream.distributions])


def measured(stream: Stream, gallery: Gallery, images: Tensor, interval: int) -> list[dict[str, Any]]:
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery)
    return evaluator.measure(strategy(Known(images).eval()), interval, 0.0)


def union(rows: list[dict[str, Any]], metric: str) -> float:
    return values(rows, metric)[None]


def test_the_numbers_of_images(stream, gallery):
    smallest = min(len(stream.images("test", name).x) for name in stream.distributions)
    assert (gallery.n, gallery.n_seen, gallery.n_of_one, gallery.n_at_the_end) == (350, smallest, smallest, None)
    fewer = Gallery(stream_of("steps=1,sample_images=200,test_images=20"), load_expert("digits"))
    assert (fewer.n, fewer.n_seen) == (200, smallest)  # test_images doesn't count
    real = gallery.real(stream.distributions, 350).labels.bincount()
    assert (real >= 30).all()  # by the expert's word


def floor_of(stream: Stream, gallery: Gallery) -> dict[str, float]:
    """The values for training images in place of samples."""
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery)
    return evaluator.facts_of_samples(at_the_end=True)["floor"]


def test_a_model_that_generates_training_images_is_at_the_floor(stream, gallery):
    rows = measured(stream, gallery, training(stream), 9)
    floor = floor_of(stream, gallery)
    assert union(rows, "coverage") == pytest.approx(floor["coverage"], abs=0.06)
    assert floor["coverage"] == pytest.approx(1 - math.prod((350 - i) / (700 - i) for i in range(1, 6)), abs=0.04)
    assert floor["frechet_distance"] < 1
    assert union(rows, "frechet_distance") < 2.5  # drawn with replacement
    assert union(rows, "classes_covered") == floor["classes_covered"] == 10
    assert union(rows, "class_distance") < 0.1
    assert abs(union(rows, "kernel_distance")) < 5 * union(rows, "kernel_distance_error")
    assert union(rows, "prd_f8") > 0.85
    assert union(rows, "prd_f1_8") > 0.85
    assert union(rows, "fitting_capacity") > 0.85
    assert union(rows, "coverage_of_each") > 0.8
    assert values(rows, "frechet_distance_10k") == {}


def test_a_forgetful_model_covers_the_present_and_not_the_past(stream, gallery):
    rows = measured(stream, gallery, training(stream, "4"), 4)
    each = values(rows, "coverage_of_each")
    assert each.keys() == {None, "0", "1", "2", "3", "4"}
    assert each["4"] > 0.9 > 0.1 > sum(each[name] for name in "0123") / 4  # a few ones look like fours
    assert each[None] == pytest.approx(sum(each[name] for name in "01234") / 5)
    assert values(rows, "recall_of_each").keys() == each.keys()
    assert union(rows, "classes_covered") == union(rows, "classes_covered_seen") == 1
    assert union(rows, "class_distance") == pytest.approx(0.9, abs=0.02)
    assert union(rows, "class_distance_seen") == pytest.approx(0.8, abs=0.03)
    assert union(rows, "precision") > 0.8
    assert values(rows, "fitting_capacity") == {}  # at the end only


def test_codes_that_draw_one_class_each_are_pure_and_say_it(stream, gallery):
    class OfCodes(Known):
        def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
            chosen = torch.randint(len(self.images), (n,), generator=generator)
            return self.images[chosen] if code is None else by_code[code][chosen % len(by_code[code])]

    def both(codes: list[Tensor], interval: int = 9) -> tuple[float, float]:
        by_code.clear()
        by_code.update(enumerate(to_unit(images) for images in codes))
        rows = evaluator.measure(strategy(OfCodes(training(stream)).eval()), interval, 0.0)
        return tuple(values(rows, name).get(None) for name in ("code_purity", "code_class_information"))

    by_code: dict[int, Tensor] = {}
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery)
    zeros, ones = training(stream, "0"), training(stream, "1")
    assert both([zeros, ones]) == pytest.approx((1, math.log(2) / math.log(10)), abs=0.03)
    assert both([zeros, zeros]) == pytest.approx((1, 0), abs=0.03)
    assert both([training(stream)] * 2)[0] < 0.3
    assert both([zeros, ones], interval=3) == (None, None)  # at the end only


def test_a_model_of_means_is_precise_and_recalls_nothing(stream, gallery):
    means = [training(stream, name).double().mean(0).round().byte() for name in stream.distributions]
    rows = measured(stream, gallery, torch.stack(means), 9)
    assert union(rows, "classes_covered") == 10
    assert union(rows, "recall") < 0.05
    assert union(rows, "precision") > 0.5
    assert union(rows, "frechet_distance") > 10


def test_the_whole_stream_counts_as_soon_as_it_begins(stream, gallery):
    rows = measured(stream, gallery, training(stream, "0"), 0)
    assert union(rows, "coverage_seen") > 0.9 > 0.2 > union(rows, "coverage")


def test_samples_have_the_same_noise_after_each_interval_and_draw_from_nothing_else(stream, gallery):
    model = CodeStyleVAE((1, 8, 8), codes=2, style=2, width=8, init=Seeds(0).generator("init")).eval()
    model.generator = Seeds(0).generator("noise")
    before, own = global_states(), model.generator.get_state()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    first, later = (Samples(model, gallery, SEEDS, ("0", "1", "2")) for _ in range(2))
    few = first.of_seen.features[1]
    many = later.of("0").features[1]  # others come first, and more
    assert torch.equal(many[: len(few)], few)
    assert torch.equal(first.of_all.features[1], later.of_all.features[1])
    assert global_states() == before
    assert torch.equal(model.generator.get_state(), own)
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())


def test_what_was_replayed_is_compared_with_the_past(stream, gallery):
    """A teacher that has lost the zeros hands on no zeros."""
    lossy = to_unit(training(stream, "1", "2"))

    def replayed(n: int, generator: torch.Generator) -> Tensor:
        return lossy[torch.randint(len(lossy), (n,), generator=generator)]

    view = list(stream.train_stream)
    one = strategy(Known(training(stream)).eval(), plugins=[SimpleNamespace(), SimpleNamespace(replayed=replayed)])
    rows = Evaluator(stream, SEEDS, view, gallery=gallery).measure(one, 3, 0.0)
    assert union(rows, "classes_covered_replayed") == 2
    assert union(rows, "class_distance_replayed") == pytest.approx(1 / 3, abs=0.08)
    assert union(rows, "coverage_replayed") == pytest.approx(2 / 3, abs=0.15)
    assert union(rows, "precision_replayed") > 0.85
    assert values(Evaluator(stream, SEEDS, view, gallery=gallery).measure(one, 0, 0.0), "coverage_replayed") == {}


@pytest.mark.parametrize(
    "method",
    [
        "generative-replay:",
        "lifelong-vae:",
        "growing-cvae:",
        "avalanche-generative-replay:",
        "growing-mixture-student:threshold=0,",
    ],
)
def test_methods_that_replay_show_what_they_hand_on(method, tmp_path):
    out = tmp_path / "store"
    lifegen("run", "-s", "split-digits:steps=3,class_order=[0,1],classes_per_interval=1", "-m", f"{method}width=8",
            "--seeds", "0", "--out", out)  # fmt: skip
    rows = load(out)
    found = rows[rows["metric"] == "classes_covered_replayed"]
    assert found["interval"].tolist() == [1]


def test_a_metric_may_ask_for_more_samples(stream, gallery):
    def greedy(m: Any) -> Iterator[Row]:
        yield Row(m.samples.fitting_capacity)

    entry = Entry("metric", "greedy", 1, greedy, None, dict(METRICS["coverage"].facts))
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery, metrics=[entry])
    real = build_method(parse_spec("method", "naive:width=8")).strategy(stream, SEEDS, torch.device("cpu"))
    real.train(stream.train_stream[0], eval_streams=[])
    assert 0 < union(evaluator.measure(real, 0, 0.0), "greedy") < 1


def test_few_training_images_cost_no_cell(stream):
    few = {name: Parts(stream.images("train", name).select(slice(7)), stream.images("valid", name),
                       stream.whole_test[name]) for name in stream.distributions}  # fmt: skip
    small = make_stream(few, list(few), ScenarioConfig(steps=1), SEEDS)
    floor = floor_of(small, Gallery(small, load_expert("digits")))
    assert "frechet_distance" not in floor
    assert floor["precision"] > 0.8
    few["0"] = few["0"]._replace(train=few["0"].train.select(slice(3)))
    assert too_few(make_stream(few, list(few), ScenarioConfig(steps=1), SEEDS)) == (
        "distribution '0' has 3 training images; 6 are needed"
    )


def test_samples_are_drawn_once_for_all_metrics(stream, gallery):
    model = Known(training(stream))
    Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery).measure(strategy(model.eval()), 4, 0.0)
    assert model.drawn == 500


def test_a_models_images_are_rounded_to_the_nearest_byte():
    levels = torch.tensor([0.0, 1.4, 1.6, 254.4, 255.0]) / 255
    assert in_bytes(levels, "f").tolist() == [0, 1, 2, 254, 255]


@pytest.mark.parametrize("wrong", [math.nan, 1.5, -0.25])
def test_samples_that_arent_images_are_refused(stream, gallery, wrong):
    model = Known(training(stream))
    model.images = torch.full_like(model.images, wrong)
    with pytest.raises(ValueError, match=r"Known.sample returns values from \S+ to \S+: images are in \[0, 1\]"):
        _ = Samples(model, gallery, SEEDS, ("0",)).of_all


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        ("split-digits:sample_images=none", "sample_images=none"),
        ("permuted-digits", "no expert knows the images of permuted-digits"),
    ],
)
def test_the_reason_why_samples_arent_measured(scenario, why):
    spec = parse_spec("scenario", scenario)
    reason = build_gallery(spec, build_stream(spec, SEEDS, Path()), Path(), torch.device("cpu"))
    assert isinstance(reason, str)
    assert reason.startswith(why)


@pytest.mark.parametrize("track", ["bernoulli-binarised", "bernoulli-redrawn"])
def test_on_tracks_of_drawn_pixels_samples_and_real_images_are_drawn(track):
    scenario = parse_spec("scenario", f"split-digits:steps=1,track={track}")
    stream = build_stream(scenario, SEEDS, Path())
    gallery = build_gallery(scenario, stream, Path(), torch.device("cpu"))
    assert isinstance(gallery, Gallery)
    assert gallery.expert.facts.name == "binary-digits"
    # Grey levels are what a decoder's means are.
    grey = torch.cat([images.x for images in stream.whole_test.values()])
    samples = Samples(Known(grey), gallery, SEEDS, stream.distributions)
    drawn = samples.of_all
    (images, seen), *_ = samples.drawn
    assert images.unique().tolist() == [0, 255]
    assert float(images.double().mean()) == pytest.approx(float(grey.double().mean()), abs=3)
    assert torch.equal(gallery.expert.look(images).features, seen.features)
    assert drawn.neighbours.coverage == pytest.approx(gallery.floor.neighbours.coverage, abs=0.06)
    assert quality.frechet_distance(*drawn.features) < 2 * quality.frechet_distance(*gallery.floor.features) + 1
    # Real images of another reading of the means, black and white without chance, are other images.
    hard = samples_of((grey > 127).byte() * 255, gallery, stream)
    assert quality.frechet_distance(*hard.features) > 2 * quality.frechet_distance(*drawn.features)
    assert gallery.fitting_capacity(images, seen, SEEDS) > 0.3


def samples_of(images: Tensor, gallery: Gallery, stream: Stream) -> Comparison:
    return Samples(Known(images), gallery, SEEDS, stream.distributions).of_all


def test_an_expert_of_other_images_is_refused_before_training(stream):
    with pytest.raises(InputError, match="the expert mnist knows images of 1×28×28 .*, not 1×8×8"):
        Gallery(stream, load_expert("mnist"))


def test_classes_that_an_expert_doesnt_know_are_refused(stream):
    expert = load_expert("digits")
    nine = expert.facts.model_copy(update={"classes": 9})
    try:
        expert.facts, kept = nine, expert.facts
        with pytest.raises(InputError, match="the expert digits knows the labels 0 to 8; '9' has 9"):
            Gallery(stream, expert)
    finally:
        expert.facts = kept


def test_a_run_records_its_expert_and_tables_have_the_floor(tmp_path):
    out = tmp_path / "store"
    lifegen("run", "-s", "split-digits:steps=2", "-m", "naive:width=8", "--seeds", "0", "--out", out)
    (cell,) = Store(out).cells()
    facts = cell.facts.samples
    assert (facts.expert, facts.digest, facts.images) == ("digits", load_expert("digits").digest, 350)
    assert facts.floor["coverage"] > 0.95
    assert np.shape(facts.classes) == (10, 10)
    assert {sum(row) for row in facts.classes} == {350}
    (drawing,) = drawings(Store(out), ["classes"])
    assert drawing.data["interval"].unique().tolist() == drawing.data["class"].unique().tolist() == list(range(10))
    assert drawing.data.groupby("interval")["percent"].sum().tolist() == pytest.approx([100] * 10)
    board = leaderboard(Store(out))
    (table,) = tables.tables_of(board)
    line = table.lines[-1]
    assert (line.method, line.kind) == ("real images", "floor")
    assert line.texts[table.titles.index("coverage")] == f"{facts.floor['coverage']:.2f}"
    assert json.loads(tables.to_json(board))["floors"]["split-digits:steps=2"] == facts.floor
    assert "real images: training images in place of samples" in " ".join(tables.legend(board))


def test_classes_are_counted_after_each_interval(stream, gallery):
    """Of a model that draws only the class of the interval, whatever came before."""
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream), gallery=gallery)
    for interval, name in enumerate(("0", "6")):
        evaluator.measure(strategy(Known(training(stream, name)).eval()), interval, 0.0)
    counts = np.array(evaluator.classes)
    assert counts.argmax(1).tolist() == [0, 6]
    assert (counts.max(1) > 340).all()


def test_a_resumed_cell_has_the_classes_of_all_intervals(tmp_path):
    """Its record may be an interval ahead of its state."""
    command = ["run", "-s", "split-digits:steps=2", "-m", "naive:width=8", "--seeds", "0", "--states", "all", "--out"]
    lifegen(*command, tmp_path / "store")
    (whole,) = Store(tmp_path / "store").cells()
    record, facts = whole.record | {"status": "running"}, whole.facts
    folder = whole.folder.rename(f"{whole.folder}.0123456789abcdef")
    ahead = record["samples"] | {"classes": record["samples"]["classes"][:4]}
    write_record(folder, {key: record[key] for key in record if key not in ("seal", "finished")} | {"samples": ahead})
    state = folder / "state-3.safetensors"
    rows = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(rows[: read_state(state).facts["bytes"]])
    state.rename(folder / "state.safetensors")
    lifegen(*command, tmp_path / "store")
    (again,) = Store(tmp_path / "store").cells()
    assert again.record["resumed"][0]["after"] == 2
    assert again.facts.samples == facts.samples


def test_values_of_different_experts_never_meet(tmp_path):
    store = Store.create(tmp_path / "store")
    for seed, expert in enumerate(("a", "a", "b")):
        write(store, "good", seed, 100.0 + seed, expert=expert)
    write(store, "old", 0, 90.0)
    board = leaderboard(store)
    found = board.table.set_index(["method", "metric"])
    assert found.loc[("good", "frechet_distance"), "n"] == 2
    assert found.loc[("good", "negative_elbo"), "n"] == 3
    assert ("old", "frechet_distance") not in found.index
    assert any("another expert" in note and "good-1-2" in note for note in board.scores.notes)
    assert board.scores.floors == {"split-x": {"frechet_distance": 0.25}}

"""From Avalanche: its benchmarks as scenarios, its plugins as methods."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from avalanche.benchmarks import (
    CLScenario,
    DatasetExperience,
    EagerCLStream,
    benchmark_from_datasets,
    class_incremental_benchmark,
    nc_benchmark,
    new_instances_benchmark,
    ni_benchmark,
)
from avalanche.benchmarks.classic import SplitMNIST
from avalanche.benchmarks.utils import as_classification_dataset, make_avalanche_dataset
from avalanche.core import SupervisedPlugin
from avalanche.training import plugins as avalanche_plugins
from torch.utils.data import TensorDataset

from lifegen.benchmark.contracts.registry import SCENARIOS
from lifegen.benchmark.contracts.stream import ScenarioConfig, Stream
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.models.stock import StockMethod
from lifegen.methods.naive import Naive
from lifegen.scenarios.from_avalanche import register_benchmark, stream_of

from .conftest import tiny
from .small_data import small_data  # noqa: F401  (a fixture)
from .test_methods import SMALL, begin, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated function update:DeprecationWarning"),  # Avalanche's own
    pytest.mark.filterwarnings("ignore:Multiple task labels:UserWarning"),
]


class Pictures(TensorDataset):
    """As a user has them: images, labels, and the field that Avalanche asks for."""

    def __init__(self, n: int, classes: int = 4, channels: int = 1, seed: int = 0) -> None:
        pixels = torch.randint(0, 256, (n, channels, 4, 4), generator=torch.Generator().manual_seed(seed))
        super().__init__(pixels / 255, torch.arange(n) % classes)
        self.targets = self.tensors[1]


def classification(n: int, **options: int):
    return as_classification_dataset(Pictures(n, **options))


def converted(benchmark: object, **options: object) -> Stream:
    return stream_of(benchmark, ScenarioConfig(steps=3, **options), Seeds(0))


def names(stream: Stream) -> list[str]:
    return [one.distribution for one in stream.train_stream]


def sizes(stream: Stream, part: str) -> list[int]:
    return [len(stream.images(part, name).x) for name in stream.distributions]


# Benchmarks


def class_incremental(channels: int = 1) -> CLScenario:
    parts = {"train": Pictures(80, channels=channels), "test": Pictures(20, channels=channels, seed=1)}
    return class_incremental_benchmark(parts, class_order=[2, 0, 3, 1], num_experiences=2)


def older_class_incremental():
    return nc_benchmark(Pictures(80), Pictures(20, seed=1), 2, task_labels=False, fixed_class_order=[2, 0, 3, 1])


@pytest.mark.parametrize("make", [class_incremental, older_class_incremental])
def test_classes_name_the_distributions_and_each_is_held_out_alike(make):
    stream = converted(make(), validation=0.2)
    assert names(stream) == ["0+2", "1+3"]
    assert (sizes(stream, "train"), sizes(stream, "valid"), sizes(stream, "test")) == ([32, 32], [8, 8], [10, 10])
    for part, each in (("train", 16), ("valid", 4), ("test", 5)):
        assert stream.images(part, "0+2").y.bincount().tolist() == [each, 0, each]
    assert stream.images("test", "0+2").y[:4].unique().tolist() == [0, 2]  # the first ones are measured
    everything = {tuple(image.flatten().tolist()) for image in (Pictures(80).tensors[0] * 255).round().byte()}
    held = torch.cat([stream.images(part, name).x for part in ("train", "valid") for name in stream.distributions])
    assert {tuple(image.flatten().tolist()) for image in held} == everything
    last = (Pictures(80).tensors[0] * 255).round().byte()[Pictures(80).targets == 0][-4:]  # of its class, in its order
    valid = stream.images("valid", "0+2")
    assert torch.equal(valid.x[valid.y == 0], last)


def test_images_may_be_rgb():
    stream = converted(class_incremental(channels=3))
    assert stream.image_shape == (3, 4, 4)
    strategy = begin(Naive, stream)
    train(strategy, stream)
    assert strategy.real_samples == 3 * 12


@pytest.mark.parametrize("make", [new_instances_benchmark, ni_benchmark])
def test_new_instances_share_the_only_test_experience(make):
    stream = converted(make(classification(60), classification(20, seed=1), 3))
    assert names(stream) == ["experience-0", "experience-1", "experience-2"]
    assert sum(sizes(stream, "train")) + sum(sizes(stream, "valid")) == 60
    assert sizes(stream, "test") == [20, 20, 20]


def test_of_a_test_experience_the_classes_count_that_are_trained_on():
    train_stream = [classification(20), as_classification_dataset(Pictures(20, classes=2, seed=2))]
    stream = converted(benchmark_from_datasets(train=train_stream, test=[classification(20, seed=1)]))
    assert names(stream) == ["0+1+2+3", "0+1"]
    assert sizes(stream, "test") == [20, 10]


@pytest.mark.parametrize("same_object", [True, False])
def test_equal_images_are_one_distribution_that_comes_back(same_object):
    first, test = classification(20), classification(8, seed=1)
    again = first if same_object else classification(20)
    other = classification(20, seed=2)
    stream = converted(benchmark_from_datasets(train=[first, other, again], test=[test, test, test]))
    assert names(stream) == ["experience-0", "experience-1", "experience-0"]
    assert [one.is_new for one in stream.train_stream] == [True, True, False]
    assert len(stream.distributions) == 2


def test_what_differs_in_its_test_images_is_another_distribution():
    data = classification(20)
    tests = [classification(8, seed=1), classification(8, seed=2)]
    assert len(converted(benchmark_from_datasets(train=[data, data], test=tests)).distributions) == 2


def test_images_need_no_labels():
    data = make_avalanche_dataset(TensorDataset(torch.rand(20, 1, 4, 4)))
    stream = converted(benchmark_from_datasets(train=[data], test=[data]))
    assert names(stream) == ["experience-0"]
    assert not stream.images("train", "experience-0").y.any()


def test_many_classes_are_no_name():
    data = classification(60, classes=30)
    assert names(converted(benchmark_from_datasets(train=[data], test=[data]))) == ["experience-0"]


def states() -> list[object]:
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002


def test_what_a_benchmark_draws_is_the_same_each_time_and_moves_no_global_generator(monkeypatch):
    monkeypatch.setattr(SCENARIOS, "_entries", {})

    def noisy(x):
        return (x + 0.1 * torch.rand_like(x) + 0.1 * random.random()).clamp(0, 1)

    @register_benchmark("drawn", version=1)
    def drawn():
        torch.manual_seed(7)  # as some constructors do
        np.random.rand(3)  # noqa: NPY002
        groups = {"train": (noisy, None), "eval": (None, None)}
        data = as_classification_dataset(Pictures(40), transform_groups=groups)
        test = as_classification_dataset(Pictures(20, seed=1), transform_groups=groups)
        return class_incremental_benchmark({"train": data, "test": test}, num_experiences=2)

    streams = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = states()
        streams.append(SCENARIOS["drawn"].target(ScenarioConfig(steps=3), Seeds(seed), Path()))
        assert states() == before
    first, second = streams
    assert names(first) == names(second)
    for name in first.distributions:
        assert torch.equal(first.images("train", name).x, second.images("train", name).x)
    clean = {tuple(x.flatten().tolist()) for x in (Pictures(20, seed=1).tensors[0] * 255).round().byte()}
    tested = torch.cat([first.images("test", name).x for name in first.distributions])
    assert {tuple(x.flatten().tolist()) for x in tested} == clean  # with the transforms of their part: none


def scenario(train: list, test: list) -> CLScenario:
    streams = {"train": train, "test": test}
    return CLScenario(
        [EagerCLStream(name, [DatasetExperience(dataset=one) for one in data]) for name, data in streams.items()]
    )


def normalised():
    data = Pictures(20)
    data.tensors = ((data.tensors[0] - 0.13) / 0.31, data.tensors[1])
    return scenario([as_classification_dataset(data)], [classification(8)])


def pil():
    from torchvision.transforms import ToPILImage

    groups = {"train": (ToPILImage(), None), "eval": (ToPILImage(), None)}
    data = as_classification_dataset(Pictures(20), transform_groups=groups)
    return scenario([data], [data])


def float_labels():
    data = make_avalanche_dataset(TensorDataset(torch.rand(6, 1, 4, 4)))
    return scenario([data.update_data_attribute("targets", [0.5] * 6)], [classification(8)])


def without_channels():
    data = make_avalanche_dataset(TensorDataset(torch.rand(6, 4, 4)))
    return scenario([data], [data])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [1], r"an Avalanche benchmark has streams; found: \[1\]"),
        (
            lambda: CLScenario([EagerCLStream("train", []), EagerCLStream("out", [])]),
            "is to have a train and a test stream; its streams are: train, out",
        ),
        (lambda: scenario([], [classification(8)]), "train stream has no experience"),
        (
            lambda: scenario([classification(20)] * 3, [classification(8)] * 2),
            "3 train and 2 test experiences; there are to be as many, which are paired by position, or a single",
        ),
        (lambda: scenario([classification(20)], []), "1 train and 0 test experiences"),
        (
            normalised,
            r"train experience 0: .* in \[0, 1\]; found: float32, -0.4.* to 2.79.*train_transform=ToTensor\(\)",
        ),
        (pil, r"train experience 0: its images can't be put into one tensor: .*train_transform=ToTensor\(\)"),
        (float_labels, "train experience 0: labels are to be integers; found: 0.5"),
        (without_channels, r"\(n, channels, height, width\); found: \(5, 4, 4\)"),
        (
            lambda: scenario([classification(20)], [classification(20).subset([])]),
            "test experience 0: there are no images",
        ),
        (
            lambda: scenario([Pictures(20)], [classification(8)]),
            "its data set is a Pictures; as_classification_dataset of avalanche.benchmarks.utils makes it one",
        ),
        (
            lambda: scenario(
                [classification(20, classes=1)] * 2,
                [classification(8), as_classification_dataset(Pictures(8, classes=2)).subset([1, 3, 5])],
            ),
            "train experience 1 has the classes 0, and its test experience 1; experiences are paired by position",
        ),
        (lambda: scenario([classification(1)], [classification(8)]), "1 training images are too few"),
    ],
)
def test_what_cannot_be_a_stream_is_refused_with_what_was_found(make, message):
    with pytest.raises(InputError, match=message):
        converted(make())


# Registering


class PairsConfig(ScenarioConfig):
    steps: int = 5
    classes: int = 4
    """Classes of the benchmark."""


def test_a_function_or_a_lambda_is_registered_as_its_file_has_it(monkeypatch):
    monkeypatch.setattr(SCENARIOS, "_entries", {})

    @register_benchmark("decorated", version=3, config=PairsConfig, data=("digits",))
    def decorated(config, data_root):
        """Two classes after another."""
        parts = {"train": Pictures(80, classes=config.classes), "test": Pictures(20, classes=config.classes)}
        return class_incremental_benchmark(parts, class_order=list(range(config.classes)), num_experiences=2)

    returned = register_benchmark("in-one-line", lambda seeds: class_incremental(), version=1)
    entry = SCENARIOS["decorated"]
    assert (entry.version, entry.summary, entry.config) == (3, "Two classes after another.", PairsConfig)
    assert (entry.target.__module__, entry.target.__qualname__) == (decorated.__module__, decorated.__qualname__)
    assert entry.data(entry.config()) == ("digits",)
    assert names(entry.target(PairsConfig(classes=6), Seeds(0), Path())) == ["0+1+2", "3+4+5"]
    assert callable(decorated)
    assert callable(returned)
    entry = SCENARIOS["in-one-line"]
    assert (entry.target.__module__, entry.target.__qualname__) == (__name__, "in-one-line")
    assert entry.summary == "An Avalanche benchmark."
    assert names(entry.target(ScenarioConfig(steps=3), Seeds(0), Path())) == ["0+2", "1+3"]
    register_benchmark("told", class_incremental, version=1, summary="Four classes.")
    assert SCENARIOS["told"].summary == "Four classes."


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: None, "<lambda> asks for root; .* can have the parameters config, seeds, data_root"),
        (SplitMNIST, "SplitMNIST asks for n_experiences"),
        (7, "built by a function of your own file; found: 7. Put `lambda data_root:` before the call"),
    ],
)
def test_what_builds_no_benchmark_is_refused_when_it_is_registered(build, message):
    with pytest.raises(InputError, match=message):
        register_benchmark("refused", build, version=1)
    assert "refused" not in {entry.name for entry in SCENARIOS}


def test_classics_read_below_the_data_root(small_data):  # noqa: F811
    raw = {"train_transform": None, "eval_transform": None}
    stream = converted(SplitMNIST(5, seed=0, dataset_root=small_data, **raw))
    assert stream.image_shape == (1, 28, 28)
    assert sorted("+".join(names(stream)).split("+")) == list("0123456789")
    assert (sum(sizes(stream, "train")), sum(sizes(stream, "valid")), sum(sizes(stream, "test"))) == (55, 5, 20)
    with pytest.raises(
        InputError, match="None for both if its images are such tensors already, as those of SplitMNIST"
    ):
        converted(SplitMNIST(5, seed=0, dataset_root=small_data))


# Plugins


def method_of(*made: object) -> type[StockMethod]:
    class Mine(StockMethod):
        """A plugin as a method."""

        def plugin(self):
            return made[0]() if callable(made[0]) else made[0]

    return Mine


REFUSED = {
    "BiCPlugin": "bias among classes, .* tells no classes apart; use avalanche-replay instead",
    "CoPEPlugin": "prototype of each class",
    "LwFPlugin": "distils the classes' logits, .*; use lifelong-vae",
    "FeatureDistillationPlugin": "model.features, which",
    "MASPlugin": "an output that is one tensor, .*; use ewc or synaptic-intelligence",
    "SynapticIntelligencePlugin": "it does nothing; use synaptic-intelligence",
    "TrainGeneratorAfterExpPlugin": "the model is the generator",
    "CurrentDataNCMUpdate": "statistics of each class",
    "MemoryNCMUpdate": "statistics of each class",
    "NCMOracle": "statistics of each class",
    "CurrentDataFeCAMUpdate": "statistics of each class",
    "MemoryFeCAMUpdate": "statistics of each class",
    "FeCAMOracle": "statistics of each class",
    "GSS_greedyPlugin": "gradients of single images",
    "LFLPlugin": "get_features",
    "MIRPlugin": "a criterion with a `reduction`",
    "RARPlugin": "towards another class",
    "EarlyStoppingPlugin": "interval_length=early-stopping",
    "CWRStarPlugin": "a classifier's weights of each class",
}
ARGUMENTS = {
    "SynapticIntelligencePlugin": (1.0,),
    "LFLPlugin": (1.0,),
    "MIRPlugin": (6,),
    "RARPlugin": (6,),
    "EarlyStoppingPlugin": (1, "valid"),
    "CWRStarPlugin": (torch.nn.Linear(1, 1),),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_with_a_generative_model_is_refused_when_the_method_is_made(name):
    kind = getattr(avalanche_plugins, name)
    with pytest.raises(InputError, match=f"Avalanche's {name} can't be a method: .*{REFUSED[name]}"):
        method_of(lambda: kind(*ARGUMENTS.get(name, ())))()
    assert method_of(lambda: type("Repaired", (kind,), {})(*ARGUMENTS.get(name, ())))()  # its author's own


def test_rwalk_needs_a_model_without_batch_norm():
    mine = method_of(avalanche_plugins.RWalkPlugin)
    with pytest.raises(
        InputError, match="RWalkPlugin can't be a method with norm=batch: .* use norm=group or norm=none"
    ):
        mine({"norm": "batch"})
    assert mine()


@pytest.mark.parametrize("found", [None, SupervisedPlugin, torch.nn.Linear(1, 1)])
def test_a_plugin_is_an_object(found):
    with pytest.raises(InputError, match=r"plugin\(\) is to return an Avalanche plugin; found: "):
        method_of(lambda: found)()


def begun(plugin: object, visits: str = "ab", **options: object) -> GenerativeTemplate:
    Seeds(0).seed_globals()
    stream = tiny(visits, steps=5)
    strategy = begin(method_of(lambda: plugin), stream, **options)
    train(strategy, stream)
    return strategy


def test_the_memory_of_stock_plugins_is_counted():
    strategy = begun(avalanche_plugins.EWCPlugin(1.0))
    weights = sum(p.numel() for p in strategy.model.parameters())
    assert strategy.stored_parameters == count_state(strategy.model) + 2 * 2 * weights
    strategy = begun(avalanche_plugins.FromScratchTrainingPlugin())
    assert strategy.stored_parameters == 2 * count_state(strategy.model)
    strategy = begun(avalanche_plugins.ReplayPlugin(20))
    assert (strategy.stored_parameters, strategy.stored_samples) == (count_state(strategy.model), 20)
    strategy = begun(avalanche_plugins.GDumbPlugin(9))
    assert (strategy.stored_parameters, strategy.stored_samples) == (2 * count_state(strategy.model), 9)
    strategy = begun(avalanche_plugins.RWalkPlugin(delta_t=2), norm="none")
    assert strategy.stored_parameters > 8 * sum(p.numel() for p in strategy.model.parameters())


def test_what_stock_plugins_draw_beside_the_batch_is_counted():
    strategy = begun(avalanche_plugins.AGEMPlugin(9, 4))  # a batch of 4, of 4 and of 1, which batch norm can't take
    assert (strategy.real_samples, strategy.synthetic_samples, strategy.stored_samples) == (5 * (12 + 4), 0, 18)
    assert strategy.stored_parameters == count_state(strategy.model)
    strategy = begun(avalanche_plugins.GEMPlugin(6, 0.5), "abc")
    assert (strategy.real_samples, strategy.stored_samples) == (5 * (12 + 2 * 6), 18)
    assert strategy.stored_parameters == count_state(strategy.model)
    for options in ({"replay_size": 7}, {"replay_size": 7, "is_weighted_replay": True}):
        strategy = begun(avalanche_plugins.GenerativeReplayPlugin(**options))
        assert (strategy.real_samples, strategy.synthetic_samples) == (5 * 12, 5 * 7)
        assert strategy.stored_parameters == 2 * count_state(strategy.model)


class Hoarder(SupervisedPlugin):
    """Keeps what ``keep`` makes of the strategy."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep
        self.kept = None

    def after_training_exp(self, strategy, **kwargs):
        self.kept = self.keep(strategy)


class Box:
    def __init__(self, inside):
        self.inside = inside


@pytest.mark.parametrize(
    ("keep", "numbers", "images"),
    [
        (lambda s: None, 0, 0),
        (lambda s: [torch.zeros(3), {"a": (torch.zeros(2, 2), torch.zeros(5, dtype=torch.int64))}], 7, 0),
        (lambda s: Box(Box(torch.nn.Linear(3, 2))), 8, 0),
        (lambda s: [torch.zeros(4)] * 2, 4, 0),  # one tensor, twice
        (lambda s: torch.zeros(9, 1, 4, 4), 0, 9),
        (lambda s: [s.mb_x[0], s.mb_x[1:3]], 0, 3),
        (lambda s: torch.zeros(9, 16, dtype=torch.uint8), 0, 9),
        (lambda s: np.zeros((9, 1, 4, 4), np.uint8), 0, 9),
        (lambda s: np.zeros(9), 9, 0),
        (lambda s: s.experience, 0, 37),
        (lambda s: [s.experience.dataset, s.experience.dataset.subset([1, 2])], 0, 39),
        (lambda s: TensorDataset(torch.zeros(6, 1)), 0, 6),
        # what others have anyhow
        (lambda s: s, 0, 0),
        (lambda s: [s.model, s.optimizer, s.model.encoder], 0, 0),
        (lambda s: [p.detach().flatten() for p in s.model.parameters()], 0, 0),
    ],
)
def test_all_that_a_plugin_holds_is_looked_at(keep, numbers, images):
    strategy = begun(Hoarder(keep))
    assert strategy.stored_parameters - count_state(strategy.model) == numbers
    assert strategy.stored_samples == images


def test_a_plugin_that_says_what_it_keeps_is_believed():
    class Says(Hoarder):
        stored_parameters = 5

    strategy = begun(Says(lambda s: [torch.zeros(100), torch.zeros(2, 1, 4, 4)]))
    assert strategy.stored_parameters == count_state(strategy.model) + 5
    assert strategy.stored_samples == 2


def test_what_is_counted_changes_no_number():
    stream = tiny("abc", steps=5)
    weights = []
    for method in (method_of(lambda: avalanche_plugins.EWCPlugin(10.0)), Naive):
        strategy = method(SMALL).strategy(stream, Seeds(0))
        if method is Naive:
            strategy.plugins.insert(-3, avalanche_plugins.EWCPlugin(10.0))
        train(strategy, stream)
        weights.append(torch.cat([p.detach().flatten() for p in strategy.model.parameters()]))
    assert torch.equal(*weights)

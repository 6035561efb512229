"""The methods: what each does to a batch, a model and a loss. The names in brackets are the traps of the papers' public
code (specification, section 4.D)."""

from __future__ import annotations

import copy
import hashlib
import math

import pytest
import torch
from avalanche.core import SupervisedPlugin
from pydantic import ValidationError

from lifegen.benchmark.contracts.stream import Stream
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.method import Method
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.batch import Batch
from lifegen.methods.generative_replay import GenerativeReplay, ReplayOptions, TeacherPlugin
from lifegen.methods.lifelong_vae import LifelongVAE
from lifegen.methods.models.divergences import mutual_information, padded_reverse_kl
from lifegen.methods.models.plugins import TemperaturePlugin
from lifegen.methods.naive import Naive

from .conftest import tiny

SMALL = {"width": 8, "style": 2, "batch_size": 12}


class Spy(SupervisedPlugin):
    """Calls a function at a hook, last of all plugins."""

    def __init__(self, **hooks):
        super().__init__()
        for name, function in hooks.items():
            setattr(self, name, lambda strategy, f=function, **_: f(strategy))


def begin(method: type[Method], stream: Stream, seed: int = 0, **options: object) -> GenerativeTemplate:
    return method({**SMALL, **options}).strategy(stream, Seeds(seed))


def train(strategy: GenerativeTemplate, stream: Stream) -> None:
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])


def teacher_of(strategy: GenerativeTemplate) -> TeacherPlugin:
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, TeacherPlugin))


def state_hash(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("method", [GenerativeReplay, LifelongVAE])
def test_the_teacher_does_not_change_within_an_interval(method):
    """[D1] Weights and batch-norm buffers alike, and always in evaluation mode."""
    hashes: dict[int, set[str]] = {}

    def look(strategy):
        teacher = teacher_of(strategy).teacher
        if teacher is not None:
            assert not any(module.training for module in teacher.modules())
            assert not any(parameter.requires_grad for parameter in teacher.parameters())
            hashes.setdefault(strategy.experience.interval, set()).add(state_hash(teacher))

    stream = tiny("abc")
    strategy = begin(method, stream)
    spy = Spy(before_training_exp=look, before_forward=look, after_update=look, after_training_exp=look)
    strategy.plugins.insert(-1, spy)
    train(strategy, stream)
    assert [len(hashes[interval]) for interval in (1, 2)] == [1, 1]
    assert hashes[1] != hashes[2]


def test_the_teacher_is_the_student_of_the_interval_before_and_shares_no_tensor_with_it():
    stream = tiny("ab")
    strategy = begin(GenerativeReplay, stream)
    strategy.train(stream.train_stream[0], eval_streams=[])
    before = {key: value.clone() for key, value in strategy.model.state_dict().items()}
    strategy.train(stream.train_stream[1], eval_streams=[])
    teacher = teacher_of(strategy).teacher
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    students = {tensor.data_ptr() for tensor in strategy.model.state_dict().values()}
    assert not students & {tensor.data_ptr() for tensor in teacher.state_dict().values()}


def test_the_optimiser_holds_the_grown_students_parameters_and_nothing_else():
    """[D2]"""
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, optimizer_state="reset")

    def look(strategy):
        held = {id(p) for group in strategy.optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for p in strategy.model.parameters()}
        if strategy.clock.train_exp_iterations == 0:
            assert {state["step"].item() for state in strategy.optimizer.state.values()} == {1.0}

    strategy.plugins.insert(-1, Spy(after_update=look))
    train(strategy, stream)


def test_a_new_distribution_grows_one_code_and_a_known_one_none():
    """[D12]"""
    stream = tiny("abab" + "c")
    strategy = begin(LifelongVAE, stream)
    codes, distributions, teachers = [], [], []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        teacher = teacher_of(strategy)
        codes.append(strategy.model.codes)
        distributions.append(teacher.distributions)
        teachers.append(teacher.teacher.codes if teacher.teacher else 0)
    assert codes == distributions == [1, 2, 2, 2, 3]
    assert teachers == [0, 1, 2, 2, 2]


def test_weights_are_kept_and_norm_statistics_forgotten_at_a_transition():
    stream = tiny("ab")
    strategy = begin(LifelongVAE, stream, norm="batch", latent_layers="reinitialise")
    strategy.train(stream.train_stream[0], eval_streams=[])
    before = copy.deepcopy(strategy.model.state_dict())
    restarted = set()

    def look(strategy):
        now = strategy.model.state_dict()
        for key, value in before.items():
            if "running_mean" in key:
                assert not now[key].any()
            elif "running_var" in key:
                assert (now[key] == 1).all()
            elif key.startswith(("encoder_head", "decoder_input")):
                restarted.add(key)
                assert "bias" in key or not torch.isin(now[key], value).any()
            elif "num_batches" not in key:
                assert torch.equal(now[key], value)

    strategy.plugins.insert(-1, Spy(before_training_exp=look))
    strategy.train(stream.train_stream[1], eval_streams=[])
    assert len(restarted) == 4


@pytest.mark.parametrize(("batch", "shares"), [(12, [12, 6, 4, 3]), (10, [10, 5, 3, 2]), (2, [2, 1, 1, 1])])
def test_real_images_have_the_share_of_one_distribution_and_counts_are_what_was_drawn(batch, shares):
    """n_real = max(1, ⌊B / K⌋); a revisit changes nothing."""
    stream = tiny("abcda", steps=5)
    strategy = begin(LifelongVAE, stream, batch_size=batch)
    real: list[int] = []

    def look(strategy):
        x, y, t = strategy.mbatch
        assert len(x) == len(y) == len(t) == batch
        assert (y >= 0).tolist() == [True] * real_now(y) + [False] * (batch - real_now(y))
        real.append(real_now(y))

    def real_now(y):
        return int((y >= 0).sum())

    strategy.plugins.insert(-1, Spy(after_forward=look))
    for interval, experience in enumerate(stream.train_stream):
        real.clear()
        strategy.train(experience, eval_streams=[])
        expected = [*shares, shares[-1]][interval]
        assert real == [expected] * 5
        assert strategy.real_samples == sum(real)
        assert strategy.synthetic_samples == 5 * batch - sum(real)


def test_real_images_are_the_first_of_those_that_naive_sees():
    stream = tiny("abc")
    seen: dict[type[Method], list[torch.Tensor]] = {}
    for method in (Naive, GenerativeReplay):
        batches: list[torch.Tensor] = []
        strategy = begin(method, stream)
        strategy.plugins.insert(
            -1, Spy(after_forward=lambda s, b=batches: b.append(s.mb_x[: max(1, (s.mb_y >= 0).sum())]))
        )
        train(strategy, stream)
        seen[method] = batches
    for all_of_them, few in zip(seen[Naive], seen[GenerativeReplay], strict=True):
        assert torch.equal(all_of_them[: len(few)], few)


def test_replay_decodes_the_teachers_codes_only_and_uses_its_means():
    """[D5] The student's new code is untrained: replaying it would be garbage."""
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, replay_images="mean")
    drawn = []

    def listen(strategy):
        teacher = teacher_of(strategy).teacher
        if teacher is None or hasattr(teacher, "heard"):
            return
        teacher.heard = True
        decode = teacher.decode

        def heard(style, code):
            parameters = decode(style, code)
            drawn.append((strategy.experience.interval, code, parameters))
            return parameters

        teacher.decode = heard

    synthetic = []
    strategy.plugins.insert(0, Spy(before_training_iteration=listen))
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: synthetic.append(s.mb_x[s.mb_y < 0])))
    train(strategy, stream)
    assert {(interval, code.shape[1]) for interval, code, _ in drawn} == {(1, 1), (2, 2)}
    replayed = [x for x in synthetic if len(x)]
    for (_, _, parameters), x in zip(drawn, replayed, strict=True):
        assert torch.equal(parameters.sigmoid().view_as(x), x)


def consistency_terms(strategy: GenerativeTemplate) -> list[tuple[float, float]]:
    """(what the loss gained beyond the ELBO, the formula of equation 3) at each step with a teacher, for λ = 0."""
    terms = []

    def look(strategy):
        teacher = teacher_of(strategy)
        if teacher.teacher is None:
            return
        output = strategy.mb_output
        is_synthetic = strategy.mb_y < 0
        with torch.no_grad():
            student = output.posterior.code_logits.log_softmax(1)
            target = teacher.teacher.encode(strategy.mb_x).code_logits.log_softmax(1)
            each = padded_reverse_kl(student, target)
        gained = strategy.loss - output.negative_elbo().mean()
        terms.append((gained.item(), (each * is_synthetic).sum().item() / len(strategy.mb_x)))

    strategy.plugins.insert(-1, Spy(before_backward=look))
    return terms


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_consistency_is_the_mean_over_the_whole_batch_of_the_synthetic_images_divergence(weight):
    """[D3, D4] Divided by B, on synthetic rows only, from probabilities without Gumbel noise."""
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, mutual_information_weight=0, consistency_weight=weight)
    terms = consistency_terms(strategy)
    train(strategy, stream)
    assert len(terms) == 8
    for gained, formula in terms:
        assert gained == pytest.approx(weight * formula, abs=2e-4)
    assert max(formula for _, formula in terms) > 0.01


def test_no_gradient_reaches_the_teacher():
    """[D3]"""
    stream = tiny("ab")
    strategy = begin(LifelongVAE, stream)
    train(strategy, stream)
    assert all(parameter.grad is None for parameter in teacher_of(strategy).teacher.parameters())


def test_the_information_term_sees_the_whole_mixed_batch_in_every_interval():
    """[A2, D8] On real images alone the marginal would peak on one code; and it acts after the first interval too."""
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, mutual_information_weight=0.7, consistency_weight=0)
    seen = []

    def look(strategy):
        output = strategy.mb_output
        gained = strategy.loss - output.negative_elbo().mean()
        formula = -0.7 * mutual_information(output.posterior.code_logits.log_softmax(1))
        assert gained.item() == pytest.approx(formula.item(), abs=2e-5)
        seen.append((strategy.experience.interval, len(output.x), formula.item()))

    strategy.plugins.insert(-1, Spy(before_backward=look))
    train(strategy, stream)
    assert {(interval, n) for interval, n, _ in seen} == {(0, 12), (1, 12), (2, 12)}
    assert all(value == 0 for interval, _, value in seen if interval == 0)  # [D7] one code
    assert min(value for interval, _, value in seen if interval == 2) < -1e-4


@pytest.mark.parametrize(("method", "restarts"), [(Naive, False), (GenerativeReplay, True), (LifelongVAE, True)])
def test_the_temperature_restarts_with_a_new_student_only_and_evaluation_does_not_advance_it(method, restarts):
    """[D9]"""
    stream = tiny("ab", steps=10)
    strategy = begin(method, stream)
    temperatures: list[float] = []
    strategy.plugins.insert(-1, Spy(before_forward=lambda s: temperatures.append(s.model.temperature)))
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        strategy.eval(stream.test_stream)
    first, second = temperatures[:10], temperatures[10:]
    assert first[0] == 1.0
    assert first[:6] == sorted(first[:6], reverse=True)
    assert first[5:] == pytest.approx([0.5] * 5)  # the floor, at half of the steps
    assert second == pytest.approx(first if restarts else [0.5] * 10)


def test_evaluation_does_not_advance_a_temperature_that_goes_on():
    """[D9]"""
    stream = tiny("ab", steps=10)
    strategy = begin(Naive, stream, temperature_rate=0.01, temperature_floor=0.1)
    temperatures: list[float] = []
    strategy.plugins.insert(-1, Spy(before_forward=lambda s: temperatures.append(s.model.temperature)))
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        strategy.eval(stream.test_stream)
    assert temperatures == pytest.approx([math.exp(-0.01 * step) for step in range(20)])


def test_the_papers_temperature_schedule_is_reachable():
    stream = tiny("a", steps=3)
    strategy = begin(LifelongVAE, stream, temperature_rate=3e-5, learning_rate=1e-4)
    temperatures: list[float] = []
    strategy.plugins.insert(-1, Spy(before_forward=lambda s: temperatures.append(s.model.temperature)))
    train(strategy, stream)
    assert temperatures == pytest.approx([math.exp(-3e-5 * i) for i in range(3)])
    assert strategy.optimizer.param_groups[0]["lr"] == 1e-4
    plugin = TemperaturePlugin(rate=3e-5)
    plugin._step = 23_106
    plugin._current_rate = 3e-5
    plugin.before_training_iteration(strategy)
    assert strategy.model.temperature == 0.5


def test_batch_sees_everything_with_the_whole_streams_steps():
    """[D10]"""
    stream = tiny("abab", steps=6)
    method = Batch(SMALL)
    view = method.view(stream)
    strategy = method.strategy(stream, Seeds(0))
    labels: set[int] = set()
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: labels.update(s.mb_y.tolist())))
    for experience in view:
        strategy.train(experience, eval_streams=[])
    assert len(view) == 1
    assert strategy.optimizer_steps == 24
    assert labels == {0, 1}
    assert strategy.model.codes == 2


def test_fixed_codes_have_the_streams_number_of_distributions_unless_configured():
    assert begin(Naive, tiny("abcab")).model.codes == 3
    assert begin(Naive, tiny("abcab"), codes=7).model.codes == 7
    assert begin(LifelongVAE, tiny("abcab"), codes=2).model.codes == 2


def test_stored_numbers_include_the_teacher():
    stream = tiny("ab")
    strategy = begin(LifelongVAE, stream)
    strategy.train(stream.train_stream[0], eval_streams=[])
    alone = count_state(strategy.model)
    assert strategy.stored_parameters == alone
    strategy.train(stream.train_stream[1], eval_streams=[])
    assert strategy.stored_parameters == alone + count_state(strategy.model)
    assert strategy.stored_samples == 0


@pytest.mark.parametrize(
    "options",
    [{"codes": 0}, {"style": -1}, {"learning_rate": 0}, {"batch_size": 1}, {"temperature_floor": 2}, {"colour": "red"}],
)
def test_options_are_checked_when_a_method_is_made(options):
    with pytest.raises(ValidationError):
        LifelongVAE(options)


def test_options_are_frozen():
    with pytest.raises(ValidationError):
        LifelongVAE().config.codes = 3


def test_a_plugin_takes_a_methods_options_or_single_ones_by_name():
    config = LifelongVAE({"growth": 3}).config
    assert TeacherPlugin(Seeds(0), config).options is config
    assert TeacherPlugin(Seeds(0), growth=3).options == ReplayOptions(growth=3)
    assert TeacherPlugin(Seeds(0)).options == ReplayOptions()
    with pytest.raises(ValidationError, match="grwoth"):
        TeacherPlugin(Seeds(0), grwoth=3)
    with pytest.raises(TypeError, match="as Config and by name: growth"):
        TeacherPlugin(Seeds(0), config, growth=2)

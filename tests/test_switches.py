"""The lifelong VAE's switches: each does what it says, against its formula."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Categorical, Normal, kl_divergence

from lifegen.benchmark import images_of, to_unit
from lifegen.benchmark.contracts.registry import METHODS
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.methods import lgm
from lifegen.methods.generative_replay import AlignmentPlugin, GenerativeReplay
from lifegen.methods.lifelong_vae import LifelongVAE, MutualInformationPlugin
from lifegen.methods.models.divergences import entropy, gaussian, padded_forward_kl
from lifegen.methods.models.vae import CodeStyleVAE

from .conftest import tiny
from .test_methods import Spy, begin, teacher_of, train

OFF = {"consistency_weight": 0, "mutual_information": "none"}


def gained(strategy, stream, formula, **tolerance: float) -> list[float]:
    """Train, and check at each step with a teacher that the loss gained the formula beyond the ELBO.

    Returns:
        the formula's value at each of these steps.
    """
    terms = []

    def look(strategy):
        if teacher_of(strategy).teacher is not None:
            extra = strategy.loss - strategy.mb_output.negative_elbo().mean()
            terms.append((extra.item(), formula(strategy)))

    strategy.plugins.insert(-1, Spy(before_backward=look))
    train(strategy, stream)
    for extra, expected in terms:
        assert extra == pytest.approx(expected, **tolerance)
    return [expected for _, expected in terms]


def test_the_gaussian_divergence_is_torchs():
    generator = Seeds(0).generator("gaussians")
    mean, other_mean = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    std, other_std = torch.rand(2, 50, 3, generator=generator, dtype=torch.float64) + 0.1
    expected = kl_divergence(Normal(mean, std), Normal(other_mean, other_std)).sum(1)
    torch.testing.assert_close(gaussian(mean, std, other_mean, other_std), expected)


def test_the_forward_divergence_is_torchs_with_zeros_for_new_codes():
    generator = Seeds(0).generator("codes")
    student = torch.randn(50, 5, generator=generator, dtype=torch.float64).log_softmax(1)
    teacher = torch.randn(50, 3, generator=generator, dtype=torch.float64).log_softmax(1)
    padded = torch.nn.functional.pad(teacher.exp(), (0, 2))
    expected = kl_divergence(Categorical(padded), Categorical(student.exp()))
    torch.testing.assert_close(padded_forward_kl(student, teacher), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("on", ["zd", "zc", "both"])
@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_consistency_acts_on_what_it_is_asked_to_in_either_direction(on, direction):
    stream = tiny("abc")
    options = {"consistency_on": on, "consistency_direction": direction, "mutual_information": "none"}
    strategy = begin(LifelongVAE, stream, learning_rate=0.01, **options)

    def formula(strategy):
        x = strategy.mb_x
        with torch.no_grad():
            target = teacher_of(strategy).teacher.encode(x)
        student = strategy.mb_output.posterior
        codes = student.code_logits.shape[1]
        p = torch.nn.functional.pad(target.code_logits.softmax(1), (0, codes - target.code_logits.shape[1])) + 1e-6
        pairs = {
            "zd": (Categorical(logits=student.code_logits), Categorical(p)),
            "zc": (Normal(student.mean, student.std), Normal(target.mean, target.std)),
        }
        total = 0.0
        for name in ("zd", "zc") if on == "both" else (on,):
            first, second = pairs[name] if direction == "reverse" else pairs[name][::-1]
            each = kl_divergence(first, second)
            total += (each.sum(1) if name == "zc" else each)[strategy.mb_y < 0].sum().item() / len(x)
        return total

    terms = gained(strategy, stream, formula, abs=2e-3, rel=1e-3)
    assert len(terms) == 8
    assert max(terms) > 0.01


def test_likelihood_consistency_rebuilds_what_the_teacher_rebuilds():
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, likelihood_consistency_weight=0.5, **OFF)

    def formula(strategy):
        output, synthetic = strategy.mb_output, strategy.mb_y < 0
        with torch.no_grad():
            target = teacher_of(strategy).teacher.reconstruct(strategy.mb_x).flatten(1)
        p = output.parameters.sigmoid()
        each = -(target * p.log() + (1 - target) * (1 - p).log()).sum(1)
        return 0.5 * each[synthetic].sum().item() / len(each)

    terms = gained(strategy, stream, formula, rel=1e-4)
    assert min(terms) > 1


def test_prior_entropy_with_weight_one_cancels_the_codes_divergence():
    """λ = 1: −log J + mean H(q) is minus the mean KL[q ‖ uniform] (specification, 1.5)."""
    stream = tiny("abc")
    strategy = begin(
        LifelongVAE, stream, consistency_weight=0, mutual_information="prior-entropy", mutual_information_weight=1
    )

    def formula(strategy):
        log_q = strategy.mb_output.posterior.code_logits.log_softmax(1)
        return -(math.log(log_q.shape[1]) - entropy(log_q).mean().item())

    terms = gained(strategy, stream, formula, abs=2e-5)
    assert min(terms) < -1e-3


def test_infogan_scores_the_drawn_code_on_the_reconstruction_and_leaves_no_statistics():
    stream = tiny("abc")
    options = {"consistency_weight": 0, "mutual_information": "infogan", "mutual_information_weight": 0.7}
    strategy = begin(LifelongVAE, stream, norm="batch", **options)
    running = []

    def formula(strategy):
        output, model = strategy.mb_output, strategy.model
        again = copy.deepcopy(model).train().code_log_posterior(output.parameters.sigmoid().view_as(output.x))
        chosen = output.code.argmax(1)
        running.append(model.encoder[2].num_batches_tracked.item())
        return -0.7 * (math.log(model.codes) + again[torch.arange(len(chosen)), chosen].mean().item())

    gained(strategy, stream, formula, abs=2e-5)
    assert running == [1, 2, 3, 4] * 2  # one pass a step counts


@pytest.mark.parametrize("estimator", ["batch-marginal", "prior-entropy", "infogan"])
def test_information_has_a_gradient_on_the_code(estimator):
    stream = tiny("ab")
    strategy = begin(
        LifelongVAE, stream, mutual_information=estimator, mutual_information_weight=50.0, consistency_weight=0
    )
    plain = begin(LifelongVAE, stream, **OFF)
    for one in (strategy, plain):
        train(one, stream)
    assert not torch.equal(strategy.model.encoder_head.weight, plain.model.encoder_head.weight)


def test_without_its_terms_it_is_generative_replay():
    stream = tiny("abc")
    states = []
    for method, options in ((LifelongVAE, OFF), (GenerativeReplay, {})):
        strategy = begin(method, stream, **options)
        train(strategy, stream)
        states.append(strategy.model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("real_share", "parts"), [("equal", [1, 2, 3, 4]), ("half", [1, 2, 2, 2])])
def test_fixed_mixing_has_so_many_real_images(real_share, parts):
    stream = tiny("abcd", steps=3)
    strategy = begin(GenerativeReplay, stream, real_share=real_share)
    for experience, part in zip(stream.train_stream, parts, strict=True):
        strategy.train(experience, eval_streams=[])
        assert (strategy.real_samples, strategy.synthetic_samples) == (36 // part, 36 - 36 // part)


@pytest.mark.parametrize(("batch", "visits"), [(12, "abcdefa"), (5, "abcabc"), (2, "abcd")])
def test_dithered_batches_give_each_distribution_its_share_to_within_one_image(batch, visits):
    """After every n batches ⌊nB/K⌋ images were real, also where K is more than B; in each interval anew."""
    stream = tiny(visits, steps=11)
    strategy = begin(GenerativeReplay, stream, real_rounding="dithered", batch_size=batch)
    real: list[int] = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: real.append(int((s.mb_y >= 0).sum()))))
    for interval, experience in enumerate(stream.train_stream):
        real.clear()
        strategy.train(experience, eval_streams=[])
        met = len(set(visits[: interval + 1]))
        assert [sum(real[:n]) for n in range(12)] == [n * batch // met for n in range(12)]
        assert set(real) <= {batch // met, -(-batch // met)}
        assert (strategy.real_samples, strategy.synthetic_samples) == (sum(real), 11 * batch - sum(real))


@pytest.mark.parametrize("other", [{"mixing": "bernoulli"}, {"real_share": "added"}, {"real_share": "none"}])
def test_dithering_has_no_effect_where_nothing_is_rounded(other):
    with pytest.raises(ValidationError, match="real_rounding has an effect with mixing=fixed and real_share=equal"):
        GenerativeReplay.Config(real_rounding="dithered", **other)


def test_a_student_may_see_replay_alone():
    """Also of a distribution that comes back, where one part in K would be all of the batch."""
    stream = tiny("aab", steps=3)
    strategy = begin(GenerativeReplay, stream, real_share="none")
    batch = strategy.train_mb_size
    for interval, real in zip(stream.train_stream, (3 * batch, 0, 0), strict=True):
        strategy.train(interval, eval_streams=[])
        assert (strategy.real_samples, strategy.synthetic_samples) == (real, 3 * batch - real)


def test_passes_end_though_no_image_is_trained_on():
    stream = tiny("aa", steps=3000, passes=1)
    strategy = begin(GenerativeReplay, stream, real_share="none")
    for interval in stream.train_stream:
        strategy.train(interval, eval_streams=[])
    assert (strategy.real_samples, strategy.synthetic_samples > 0) == (0, True)


def test_mixing_has_no_effect_without_real_images():
    with pytest.raises(ValidationError, match="mixing"):
        GenerativeReplay.Config(real_share="none", mixing="bernoulli")


@pytest.mark.parametrize(("real_share", "parts"), [("equal", [1, 2, 3, 4]), ("half", [1, 2, 2, 2])])
def test_bernoulli_mixing_draws_each_image_with_its_share_and_counts_stay_exact(real_share, parts):
    stream = tiny("abcd", steps=200)
    strategy = begin(GenerativeReplay, stream, mixing="bernoulli", real_share=real_share)
    real: list[int] = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: real.append(int((s.mb_y >= 0).sum()))))
    for interval, experience in enumerate(stream.train_stream):
        real.clear()
        strategy.train(experience, eval_streams=[])
        assert strategy.real_samples == sum(real)
        assert strategy.real_samples + strategy.synthetic_samples == 200 * 12
        share = 1 / parts[interval]
        error = 5 * math.sqrt(share * (1 - share) / 2400)
        assert sum(real) / 2400 == pytest.approx(share, abs=error or 1e-9)
        assert (len(set(real)) > 2) == (interval > 0)
    assert real_share == "half" or min(real) == 0  # it happens, and training goes on


def test_replayed_draws_are_binary_where_the_likelihood_is():
    stream = tiny("ab")
    strategy = begin(GenerativeReplay, stream, replay_images="draw")
    synthetic = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: synthetic.append(s.mb_x[s.mb_y < 0])))
    train(strategy, stream)
    assert set(torch.cat(synthetic).unique().tolist()) == {0.0, 1.0}


def test_a_student_may_rebuild_means_of_what_it_sees_drawn():
    """Then its loss on a replayed image is the cross-entropy with the teacher's probabilities."""
    strategy = begin(GenerativeReplay, stream := tiny("abc"), replay_targets="means")

    def formula(strategy):
        output, teacher, synthetic = strategy.mb_output, teacher_of(strategy), strategy.mb_y < 0
        drawn, mean = output.x[synthetic].flatten(1), teacher.means.flatten(1)
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        p = output.parameters[synthetic].sigmoid()
        cross, own = (-(x * p.log() + (1 - x) * (1 - p).log()).sum() for x in (mean, drawn))
        return (cross - own).item() / len(output.x)

    terms = gained(strategy, stream, formula, abs=1e-3, rel=1e-3)
    assert len(terms) == 8
    assert teacher_of(strategy).means is None  # nothing is kept between intervals


def test_means_are_those_that_images_were_drawn_from():
    strategy = begin(GenerativeReplay, stream := tiny("ab"), replay_targets="means", batch_size=1000)
    seen = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: seen.append((s.mb_x[s.mb_y < 0], teacher_of(s).means))))
    train(strategy, stream)
    drawn, mean = (torch.cat(parts) for parts in zip(*(pair for pair in seen if pair[1] is not None), strict=True))
    bright, dark = mean > 0.6, mean < 0.4
    assert drawn[bright].mean() == pytest.approx(mean[bright].mean().item(), abs=0.02)
    assert drawn[dark].mean() == pytest.approx(mean[dark].mean().item(), abs=0.02)


def test_alignment_is_the_cross_entropy_of_both_decoders_at_what_was_decoded():
    strategy = begin(GenerativeReplay, stream := tiny("abc"), replay_alignment=0.7)

    def formula(strategy):
        plugin, model = teacher_of(strategy), strategy.model
        mean, p = (one.decoded(*plugin.latents, None, draw=False).flatten(1) for one in (plugin.teacher, model))
        assert len(mean) == (strategy.mb_y < 0).sum()
        return -0.7 * (mean * p.log() + (1 - mean) * (1 - p).log()).sum().item() / len(strategy.mb_y)

    terms = gained(strategy, stream, formula, abs=1e-3, rel=1e-3)
    assert len(terms) == 8
    assert teacher_of(strategy).latents is None  # nothing is kept between intervals


def test_alignment_pulls_at_nothing_where_the_student_is_its_teacher():
    strategy = begin(GenerativeReplay, stream := tiny("ab", steps=3), replay_alignment=1.0)
    strategy.train(stream.train_stream[0], eval_streams=[])
    gradients, kept = [], AlignmentPlugin.before_backward

    def look(plugin, strategy, **kwargs):
        before = strategy.loss
        kept(plugin, strategy, **kwargs)
        if plugin._teacher.teacher is not None:
            parameters = list(strategy.model.decoder.parameters())
            gradients.append(torch.autograd.grad(strategy.loss - before, parameters, retain_graph=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AlignmentPlugin, "before_backward", look)
        strategy.train(stream.train_stream[1], eval_streams=[])
    sizes = [max(one.abs().max().item() for one in step) for step in gradients]
    assert sizes[0] < 1e-5 < 1e-3 < sizes[1]  # the first step moves the student


@pytest.mark.parametrize("method", [GenerativeReplay, LifelongVAE])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_an_averaged_teacher_is_the_moving_average_of_the_student(method, norm):
    decay = 0.8
    strategy = begin(method, stream := tiny("ab"), teacher_average=decay, norm=norm)
    averages = []

    def start(strategy):
        averages.append({name: value.clone() for name, value in strategy.model.state_dict().items()})

    def follow(strategy):
        for name, value in strategy.model.state_dict().items():
            if value.is_floating_point():
                averages[-1][name].mul_(decay).add_(value, alpha=1 - decay)

    strategy.plugins.append(Spy(before_training_exp=start, after_training_iteration=follow))
    strategy.train(stream.train_stream[0], eval_streams=[])
    assert not torch.equal(averages[0]["encoder.1.weight"], strategy.model.encoder[1].weight)
    students = []
    strategy.plugins.append(Spy(before_training_exp=lambda s: students.append(copy.deepcopy(s.model.state_dict()))))
    strategy.train(stream.train_stream[1], eval_streams=[])
    teacher = teacher_of(strategy).teacher
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, averages[0][name])
    # A student takes over its teacher's weights, not its own last ones, and grows from there.
    assert torch.equal(students[0]["encoder.1.weight"], teacher.encoder[1].weight)
    assert strategy.model.codes == teacher.codes + 1
    counted = teacher_of(strategy).stored_parameters
    assert counted == count_state(teacher) + count_state(strategy.model)


def test_a_student_without_weight_transfer_starts_anew_beside_an_averaged_teacher():
    strategy = begin(GenerativeReplay, stream := tiny("ab"), teacher_average=0.5, weight_transfer=False)
    students = []
    strategy.plugins.append(Spy(before_training_exp=lambda s: students.append(copy.deepcopy(s.model.state_dict()))))
    train(strategy, stream)
    assert not torch.equal(students[1]["encoder.1.weight"], teacher_of(strategy).teacher.encoder[1].weight)


def test_means_as_targets_need_draws():
    with pytest.raises(ValidationError, match="replay_targets has an effect with replay_images=draw only"):
        GenerativeReplay({"replay_images": "mean", "replay_targets": "means"})


def test_the_aggregate_prior_replays_used_codes_only_and_as_often():
    """[D6] With a hundred codes and uniform replay most samples come from codes that nothing ever trained."""
    stream = tiny("ab", steps=30)
    strategy = begin(GenerativeReplay, stream, codes=100, growth=0, replay_prior="aggregate")
    strategy.train(stream.train_stream[0], eval_streams=[])
    with torch.no_grad():  # only codes 3 and 4 are used, three times as often the latter
        strategy.model.encoder_head.weight[4:].zero_()
        strategy.model.encoder_head.bias[4:] = -100
        strategy.model.encoder_head.bias[4 + 3] = 0
        strategy.model.encoder_head.bias[4 + 4] = math.log(3)
    teacher = teacher_of(strategy)
    teacher._usage, teacher._steps = None, 0
    strategy.model.train()
    strategy.mb_output = strategy.model(torch.rand(12, 1, 4, 4))
    teacher.after_forward(strategy)
    strategy.mb_output = None
    drawn = []

    def listen(strategy):
        decode = type(teacher.teacher).decode
        teacher.teacher.decode = lambda style, code: drawn.append(code) or decode(teacher.teacher, style, code)

    strategy.plugins.insert(-1, Spy(before_training_exp=listen))
    strategy.train(stream.train_stream[1], eval_streams=[])
    share = torch.cat(drawn).mean(0)
    assert share.nonzero().flatten().tolist() == [3, 4]
    assert share[4].item() == pytest.approx(0.75, abs=0.15)


def test_the_usage_of_codes_is_a_mean_over_recent_batches():
    stream = tiny("ab", steps=6)
    strategy = begin(GenerativeReplay, stream, codes=4, replay_prior="aggregate")
    seen = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: seen.append(
        s.mb_output.posterior.code_logits.detach().softmax(1).mean(0))))  # fmt: skip
    strategy.train(stream.train_stream[0], eval_streams=[])
    torch.testing.assert_close(teacher_of(strategy)._usage, torch.stack(seen).mean(0))


@pytest.mark.parametrize(("growth", "codes"), [(0, [2, 2, 2]), (3, [2, 5, 8])])
def test_the_code_grows_by_g(growth, codes):
    stream = tiny("abc")
    strategy = begin(LifelongVAE, stream, codes=2, growth=growth)
    sizes = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        sizes.append(strategy.model.codes)
    assert sizes == codes


def at_the_second_interval(**options):
    """The student's state before its first step, and the teacher's."""
    stream = tiny("ab")
    strategy = begin(LifelongVAE, stream, **options)
    states = []
    strategy.plugins.insert(-1, Spy(before_training_exp=lambda s: states.append(copy.deepcopy(s.model.state_dict()))))
    train(strategy, stream)
    return states[1], teacher_of(strategy).teacher.state_dict()


def test_preserved_latent_layers_keep_their_rows_and_columns():
    student, teacher = at_the_second_interval(latent_layers="preserve")
    assert torch.equal(student["encoder_head.bias"][:-1], teacher["encoder_head.bias"])
    assert torch.equal(student["decoder_input.bias"], teacher["decoder_input.bias"])
    assert teacher["decoder_input.bias"].any()
    assert torch.equal(student["encoder_head.weight"][:-1], teacher["encoder_head.weight"])
    assert torch.equal(student["decoder_input.weight"][:, :-1], teacher["decoder_input.weight"])


def test_copied_codes_start_as_the_code_that_the_new_images_get_most():
    student, teacher = at_the_second_interval(codes=3, growth=2, new_codes="copied")
    rows, columns = "encoder_head.weight", "decoder_input.weight"
    made = begin(LifelongVAE, tiny("ab"), codes=3).model
    made.load_state_dict(teacher)
    images = to_unit(images_of(tiny("ab").train_stream[1].dataset))
    usage = made.eval().encode(images).code_logits.softmax(1).mean(0)
    commonest, style = int(usage.argmax()), made.style
    assert usage[commonest] > usage.sort().values[-2]
    assert torch.equal(student[rows][-2:], teacher[rows][2 * style + commonest].expand(2, -1))
    assert torch.equal(student["encoder_head.bias"][-2:], teacher["encoder_head.bias"][2 * style + commonest].expand(2))
    assert torch.equal(student[columns][:, -2:], teacher[columns][:, [style + commonest]].expand(-1, 2))
    assert torch.equal(student[rows][:-2], teacher[rows])
    assert torch.equal(student[columns][:, :-2], teacher[columns])


@pytest.mark.parametrize(("codes", "code", "copies"), [(1, 0, 1), (3, 1, 1), (4, 3, 2)])
def test_a_copied_code_decodes_alike_and_is_as_probable(codes, code, copies):
    draws = Seeds(0).generator("code copy")
    model = CodeStyleVAE((1, 4, 4), codes=codes, style=2, width=3, init=draws)
    x, style = torch.rand(5, 1, 4, 4, generator=draws), torch.randn(7, 2, generator=draws)
    before = model.encode(x).code_logits
    model.grow(copies, draws, preserve=True)
    model.copy_code(code, copies)
    expected = torch.cat([before, before[:, [code]].expand(-1, copies)], 1)
    torch.testing.assert_close(model.encode(x).code_logits, expected)
    original = model.parameters_of(style, torch.full((7,), code))
    for new in range(codes, codes + copies):
        torch.testing.assert_close(model.parameters_of(style, torch.full((7,), new)), original)


@pytest.mark.parametrize("other", [{"growth": 0}, {"latent_layers": "reinitialise"}, {"weight_transfer": False}])
def test_codes_are_copied_only_where_there_is_something_to_copy(other):
    with pytest.raises(ValidationError, match="new_codes has an effect with"):
        GenerativeReplay.Config(new_codes="copied", **other)


def test_without_growth_everything_is_transferred():
    student, teacher = at_the_second_interval(growth=0, norm="batch", norm_reset="none")
    assert all(torch.equal(student[key], teacher[key]) for key in teacher)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_without_weight_transfer_nothing_is(architecture):
    student, teacher = at_the_second_interval(
        weight_transfer=False, architecture=architecture, width=4, growth=0, norm="batch", norm_reset="none"
    )
    for key, value in student.items():
        if value.is_floating_point():
            assert value.shape == teacher[key].shape
            assert not torch.equal(value, teacher[key]), key


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_a_free_first_layer_starts_anew_and_nothing_else_does(architecture):
    student, teacher = at_the_second_interval(first_layer="reinitialise", architecture=architecture, width=4, growth=0)
    anew = {key for key in student if not torch.equal(student[key], teacher[key])}
    assert anew == {"encoder.1.weight", "encoder.1.bias"}
    assert not student["encoder.1.bias"].any()


def test_a_distribution_that_comes_back_keeps_the_first_layer():
    stream = tiny("aa")
    strategy = begin(LifelongVAE, stream, first_layer="reinitialise")
    states = []
    strategy.plugins.insert(-1, Spy(before_training_exp=lambda s: states.append(copy.deepcopy(s.model.state_dict()))))
    train(strategy, stream)
    teacher = teacher_of(strategy).teacher.state_dict()
    assert all(torch.equal(states[1][key], teacher[key]) for key in teacher)


@pytest.mark.parametrize(("reset", "running", "scales"), [("stats", 0, 1), ("all", 0, 0), ("none", 1, 1)])
def test_normalisation_forgets_what_it_is_asked_to(reset, running, scales):
    student, teacher = at_the_second_interval(norm="batch", norm_reset=reset, growth=0)
    assert torch.equal(student["encoder.2.running_mean"], teacher["encoder.2.running_mean"]) == bool(running)
    assert torch.equal(student["encoder.2.weight"], teacher["encoder.2.weight"]) == bool(scales)
    if not running:
        assert not student["encoder.2.running_mean"].any()
    if not scales:
        assert (student["encoder.2.weight"] == 1).all()


def test_what_resets_normalisation_needs_one():
    with pytest.raises(ValueError, match="norm_reset has an effect with norm=batch or norm=group only"):
        LifelongVAE({"norm_reset": "none"})


def test_a_revisit_grows_nothing_under_any_growth():
    stream = tiny("aba")
    strategy = begin(LifelongVAE, stream, growth=4)
    train(strategy, stream)
    assert strategy.model.codes == 5


def test_presets_are_the_lifelong_vae_with_other_defaults():
    defaults = LifelongVAE().config.model_dump()
    other = {name: {key: value for key, value in METHODS[name].target().config if value != defaults[key]}
             for name in ("lgm-iclr", "lgm-2019")}  # fmt: skip
    conventions = {
        "norm": "batch", "optimizer_state": "reset", "latent_layers": "reinitialise",
    }  # fmt: skip
    assert other["lgm-iclr"] == {"learning_rate": 1e-4, "width": 512, "temperature_rate": 3e-5, **conventions}
    assert other["lgm-2019"] == {
        **conventions, "replay_images": "mean",
        "learning_rate": 1e-4, "batch_size": 128, "style": 5, "architecture": "conv", "width": 128,
        "activation": "selu", "temperature_rate": 3e-6, "norm_reset": "all", "consistency_weight": 0.5,
        "likelihood_consistency_weight": 1.0,
    }  # fmt: skip
    assert begin(lgm.LGM2019, tiny("a")).model.encoder[1].kernel_size == (5, 5)


def test_replayed_images_are_fresh_at_every_step():
    stream = tiny("ab")
    strategy = begin(GenerativeReplay, stream)
    synthetic = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: synthetic.append(s.mb_x[s.mb_y < 0])))
    train(strategy, stream)
    first, *others = [x for x in synthetic if len(x)]
    assert len(others) == 3
    assert not any(torch.equal(first, x) for x in others)


def test_the_usage_of_codes_starts_anew_with_each_interval():
    stream = tiny("ab", steps=6)
    strategy = begin(GenerativeReplay, stream, codes=4, growth=0, replay_prior="aggregate")
    seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: seen[s.experience.interval].append(
        s.mb_output.posterior.code_logits.detach().softmax(1).mean(0))))  # fmt: skip
    train(strategy, stream)
    torch.testing.assert_close(teacher_of(strategy)._usage, torch.stack(seen[1]).mean(0))
    torch.testing.assert_close(teacher_of(strategy)._prior, torch.stack(seen[0]).mean(0))


def test_infogan_and_prior_entropy_cannot_see_a_collapse_and_the_batch_marginal_can():
    stream = tiny("a")
    model = begin(LifelongVAE, stream, codes=10).model
    with torch.no_grad():
        model.encoder_head.weight[4:].zero_()
        model.encoder_head.bias[4] = 100.0
    output = model(torch.rand(12, 1, 4, 4))
    scores = {kind: MutualInformationPlugin(1.0, kind)._information(model, output).item()
              for kind in ("batch-marginal", "prior-entropy", "infogan")}  # fmt: skip
    assert scores["batch-marginal"] == pytest.approx(0, abs=1e-5)
    assert scores["prior-entropy"] == scores["infogan"] == pytest.approx(math.log(10), abs=1e-5)

"""Teacher and student with generative replay: Lifelong Generative Modeling's "without" arm.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847): the student-teacher machine
of its section 4 without the consistency and information terms, so the loss is the plain ELBO on real and synthetic
images.

Memory: the student's state and the teacher's; no real image of the past.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lifegen.benchmark import Options, Seeds, Stream, add_term, count_state, images_of, later, register_method, to_unit

from .models.method import VAEMethod, acts
from .models.plugins import RealShare, hand_back, mixed, options_of, parts_of, real_parts
from .models.vae import CodeStyleVAE, VAEOutput


class ReplayOptions(Options):
    """Options of a teacher and its student."""

    growth: NonNegativeInt = 1
    """g, codes appended for each new distribution; 0 keeps the size."""
    latent_layers: Literal["reinitialise", "preserve"] = "preserve"
    """Whether growth starts the layers on either side of the latent variables anew or only adds to them."""
    new_codes: Annotated[Literal["random", "copied"], later()] = "random"
    """Whether the weights of appended codes are drawn, or copied from the code that the new distribution's images get
    most, as components of CURL are (Rao et al., arXiv 1910.14481): such a code draws no noise, and images get it from
    the first step on."""
    weight_transfer: bool = True
    """Whether a student starts from its teacher's weights."""
    first_layer: Annotated[Literal["keep", "reinitialise"], later()] = "keep"
    """Whether a new distribution starts the encoder's first layer anew, so that a student is free to see other features
    than its teacher."""
    norm_reset: Literal["stats", "all", "none"] = "stats"
    """Parts of normalisation that a transition resets: running statistics, scales and shifts as well, or none. With
    batch norm at 1,000 steps no difference was seen."""
    mixing: Literal["fixed", "bernoulli"] = "fixed"
    """Whether a batch has a fixed number of real images, or each is real with that probability."""
    real_share: RealShare | Literal["none"] = "equal"
    """Real images of a batch: one part in K, the number of distributions met (the paper's rule); half of it; all of
    it, with as many replayed images added; or none from the second interval on."""
    real_rounding: Annotated[Literal["down", "dithered"], later()] = "down"
    """How a share of B/K images becomes a number: rounded down, at least one (the authors' code: the current
    distribution gets 68 % of its share at K = 34 of B = 100); or down and up in turn, so that the mean is B/K."""
    replay_images: Literal["mean", "draw"] = "draw"
    """Images that the teacher replays: its decoder's means, or draws from its likelihood (the paper's text)."""
    replay_targets: Annotated[Literal["images", "means"], later()] = "images"
    """What a student reconstructs of a replayed image: the image itself, or the teacher's mean that it was drawn
    from."""
    replay_alignment: Annotated[NonNegativeFloat, later()] = 0.0
    """Weight of −log p(m | z) of the teacher's mean m at each z that it decoded, by the student: its decoder is held to
    the teacher's there; 0: without."""
    teacher_average: Annotated[float, Field(ge=0, lt=1), later()] = 0.0
    """Decay of the moving average of a student's weights over all steps of its interval, which becomes the next
    teacher; 0: its last weights, or those that early stopping chose."""
    replay_prior: Literal["uniform", "aggregate"] = "uniform"
    """Whether the teacher's codes are drawn uniformly, or as often as they are used."""


class TeacherPlugin(SupervisedPlugin):
    """At each transition freezes the model as the teacher and grows the student; then replays the teacher's samples.

    With K distributions met, the current one included, a batch of B images holds max(1, ⌊B/K⌋) real ones, the first of
    those drawn, and fresh samples of the teacher for the rest: each distribution has about the same share. With
    ``real_share=half``, half of it is real; with ``added``, B samples come beside B real images; with
    ``none``, all are samples. With ``real_rounding=dithered``, the first n batches of an interval hold ⌊nB/K⌋ real
    images: the number changes from step to step, so that a term over the synthetic images alone can't be captured.
    """

    def __init__(self, seeds: Seeds, options: ReplayOptions | None = None, **named: Any) -> None:
        """Make the plugin.

        Args:
            seeds: where the grown layers' weights, the mixture and the teacher's samples come from.
            options: all options, such as a method's ``Config``.
            named: single options by their names, instead; the others have their defaults.
        """
        super().__init__()
        self.options = options_of(ReplayOptions, options, named)
        self.teacher: CodeStyleVAE | None = None
        """The frozen model of everything before this interval; None in the first."""
        self.distributions = 0
        """K. A distribution that comes back is counted once."""
        self.real = 0
        """Real images in the current batch; they come first. Another number at every step, unless
        ``has_fixed_counts``."""
        self.synthetic_samples = 0
        """Images drawn from teachers so far."""
        self.has_fixed_counts = self.options.mixing == "fixed" and self.options.real_rounding == "down"
        """Whether every batch has the same number of real images."""
        self.capturable = self.options.replay_prior != "aggregate"  # it counts steps
        self._init = seeds.generator("growth")
        self._mixture = seeds.generator("mixture")
        self._replay = seeds.late_generator("replay")
        self.means: Tensor | None = None
        """Means of the teacher that the current batch's synthetic images were drawn from; only with
        ``replay_targets=means`` or ``replay_alignment``."""
        self.latents: tuple[Tensor, Tensor] | None = None
        """Styles and codes that these means were decoded from; likewise."""
        self._average: CodeStyleVAE | None = None
        self._prior: Tensor | None = None
        self._usage: Tensor | None = None
        self._steps = 0
        self._replayed = 0
        self._batches = 0

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that the teacher keeps, and the average that becomes the next one."""
        return sum(count_state(model) for model in (self.teacher, self._average) if model is not None)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: Avalanche hands the grown student's parameters to the optimiser afterwards.
        is_first = self.distributions == 0
        is_new = getattr(strategy.experience, "is_new", True)
        self.distributions += is_new
        if is_first:
            return
        # The teacher shares no tensor with the student, never learns, and normalises by its running statistics.
        self.teacher = self.next_teacher(strategy).eval().requires_grad_(False)
        self._prior, self._usage, self._steps, self._batches = self._usage, None, 0, 0
        student: CodeStyleVAE = strategy.model
        options = self.options
        if self._average is not None and options.weight_transfer:
            student.load_state_dict(self.teacher.state_dict())
        self._average = None
        if is_new and options.growth:
            student.grow(options.growth, self._init, options.latent_layers == "preserve")
            if options.new_codes == "copied":
                student.copy_code(self._commonest_code(strategy), options.growth)
        if is_new and options.first_layer == "reinitialise":
            student.reinitialise_first_layer(self._init)
        if not options.weight_transfer:
            student.reinitialise(self._init)
        if options.norm_reset != "none":
            student.reset_norm(affine=options.norm_reset == "all")

    @torch.no_grad()
    def _commonest_code(self, strategy: Any) -> int:
        """The code that the teacher gives at most a thousand of the interval's images most often."""
        assert self.teacher is not None
        x = to_unit(images_of(strategy.experience.dataset, 1000, self._init).to(strategy.device))
        return int(self.teacher.encode(x).code_logits.softmax(1).mean(0).argmax())

    def next_teacher(self, strategy: Any) -> CodeStyleVAE:
        """Return the model that the next interval's teacher will be, which shares no tensor with the student."""
        return deepcopy(strategy.model) if self._average is None else self._average

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        if self.options.teacher_average:
            self._average = deepcopy(strategy.model)

    @torch.no_grad()
    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self._average is not None:
            average, now = (_state(model) for model in (self._average, strategy.model))
            get_ema_multi_avg_fn(self.options.teacher_average)(average, now, None)

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        self.means = self.latents = None

    @property
    def generators(self) -> list[torch.Generator]:
        """Generators that a captured step draws from."""
        return self._replay.made

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.teacher is None:
            return
        batch = len(strategy.mb_x)
        self.real, self._replayed = self._parts(batch)
        self.synthetic_samples += self._replayed
        hand_back(strategy, batch, self.real)
        if not self.has_fixed_counts:
            self._mix(strategy)

    def before_forward(self, strategy: Any, **_: Any) -> None:
        # Here the teacher's samples are part of a captured step, in which no number of images may change.
        if self.teacher is not None and self.has_fixed_counts:
            self._mix(strategy)

    @torch.no_grad()
    def _mix(self, strategy: Any) -> None:
        assert self.teacher is not None
        noise = self._replay.on(strategy.mb_x.device)
        latents = self._latents(self._replayed, noise)
        parameters = self.teacher.parameters_of(*latents)
        if self.options.replay_targets == "means" or self.options.replay_alignment:
            self.latents, self.means = latents, self.teacher.images_of(parameters)
        synthetic = self.teacher.images_of(parameters, noise, self.options.replay_images == "draw")
        strategy.mbatch = mixed(strategy.mbatch, synthetic, self.real)

    def replayed(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Return means of n images that the teacher replayed in this interval; None in the first."""
        return None if self.teacher is None else self.teacher.decoded(*self._latents(n, generator), None, draw=False)

    def _latents(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Styles, (n, style), and codes, (n,), that the teacher decodes."""
        assert self.teacher is not None
        return self.teacher.draw_prior(n, generator, self._prior)

    def _parts(self, batch: int) -> tuple[int, int]:
        share = self.options.real_share
        if share == "none":
            return 0, batch
        if self.has_fixed_counts:
            return parts_of(batch, self.distributions, share)
        parts = real_parts(self.distributions, share)
        if self.options.mixing == "bernoulli":
            real = int((torch.rand(batch, generator=self._mixture) * parts < 1).sum())
        else:
            before, self._batches = self._batches, self._batches + 1
            real = self._batches * batch // parts - before * batch // parts
        return real, batch - real

    @torch.no_grad()
    def after_forward(self, strategy: Any, **_: Any) -> None:
        if self.options.replay_prior == "aggregate":
            # The mean over the interval's mixed batches, or over about the last hundred.
            now = strategy.mb_output.posterior.code_logits.softmax(1).mean(0)
            self._steps += 1
            self._usage = now if self._usage is None else self._usage.lerp(now, max(1 / self._steps, 0.01))


def _state(model: torch.nn.Module) -> list[Tensor]:
    """A model's floating-point tensors, buffers included."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


class SyntheticTermPlugin(SupervisedPlugin):
    """Adds w/B Σ of a term over the batch's synthetic images. The sum is divided by the size B of the whole batch, to
    which real images contribute nothing."""

    term: str
    """The term's name."""

    def __init__(self, teacher: TeacherPlugin, weight: float = 1.0) -> None:
        """Make the plugin.

        Args:
            teacher: the plugin that replays; it must come first in the strategy's list.
            weight: w.
        """
        super().__init__()
        self.capturable = teacher.has_fixed_counts
        self._teacher = teacher
        self._weight = weight

    def before_backward(self, strategy: Any, **_: Any) -> None:
        if self._teacher.teacher is None:
            return
        output: VAEOutput = strategy.mb_output
        each = self._term(strategy.model, self._teacher.teacher, output, slice(self._teacher.real, None))
        add_term(strategy, self.term, self._weight * each.sum() / len(output.x))

    def _term(self, model: CodeStyleVAE, teacher: CodeStyleVAE, output: VAEOutput, synthetic: slice) -> Tensor:
        """The term of each synthetic image, (synthetic,)."""
        raise NotImplementedError


class MeanTargetsPlugin(SyntheticTermPlugin):
    """Lets the student reconstruct the teacher's means m instead of the images x̂ that were drawn from them: adds
    log p(x̂ | z) − log p(m | z), z the student's latent draw for x̂.

    Over draws x̂, a Bernoulli's −log p(m | z) is the mean of −log p(x̂' | z) for a further draw x̂' from m: the student
    learns the teacher's likelihood, and no single draw's noise.
    """

    term = "mean_targets"

    def _term(self, model: CodeStyleVAE, teacher: CodeStyleVAE, output: VAEOutput, synthetic: slice) -> Tensor:
        assert self._teacher.means is not None
        targets = output.x[synthetic].flatten(1), self._teacher.means.flatten(1)
        drawn, mean = (model.likelihood.log_prob(x, output.parameters[synthetic]) for x in targets)
        return drawn - mean


class AlignmentPlugin(SyntheticTermPlugin):
    """Holds the student's decoder to the teacher's at the latent variables z that were decoded, by −log p(m | z) of the
    teacher's means m.

    It is replay alignment (Wu et al., Memory Replay GANs, arXiv 1809.02058), there the squared distance of a GAN's
    images: of Bernoulli pixels, KL[teacher's p(x | z) ‖ student's p(x | z)] and a constant.
    """

    term = "alignment"

    def _term(self, model: CodeStyleVAE, teacher: CodeStyleVAE, output: VAEOutput, synthetic: slice) -> Tensor:
        assert self._teacher.latents is not None
        assert self._teacher.means is not None
        return -model.likelihood.log_prob(self._teacher.means.flatten(1), model.parameters_of(*self._teacher.latents))


@register_method(
    "generative-replay", version=2, uses=("boundaries",), look={"colour": "#de8f05", "marker": "s", "dash": "dashed"}
)
class GenerativeReplay(VAEMethod):
    """Teacher and student with replay and the plain ELBO: the paper's "without"."""

    class Config(ReplayOptions, VAEMethod.Config):
        codes: PositiveInt = 1
        """Size J of the code at the start."""

        @model_validator(mode="after")
        def _resets(self) -> Self:
            acts(self, self.real_share != "none", "real images in batches: real_share=equal, half or added", "mixing")
            is_rounded = self.mixing == "fixed" and self.real_share in ("equal", "half")
            acts(self, is_rounded, "mixing=fixed and real_share=equal or half", "real_rounding")
            acts(self, self.weight_transfer, "weight_transfer=true", "first_layer", "new_codes")
            acts(self, self.latent_layers == "preserve", "latent_layers=preserve", "new_codes")
            acts(self, self.growth > 0, "growth above 0", "new_codes")
            acts(self, self.replay_images == "draw", "replay_images=draw", "replay_targets")
            return acts(self, self.norm != "none", "norm=batch or norm=group", "norm_reset")

    restarts_temperature = True
    teacher: ClassVar[type[TeacherPlugin]] = TeacherPlugin
    """The kind of its teacher."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        teacher = self.teacher(seeds, self.config)
        plugins = [*super().plugins(stream, seeds), teacher]
        if self.config.replay_targets == "means":
            plugins.append(MeanTargetsPlugin(teacher))
        if weight := self.config.replay_alignment:
            plugins.append(AlignmentPlugin(teacher, weight))
        return plugins

"""Avalanche's own plugins as methods: each is used as it ships, beside lifegen's model and loop.

Their strengths and memories mean what Avalanche's documentation says. What is stated here, in the small subclasses, is
only what they keep and draw, and one repair: on a CPU, SynapticIntelligence takes the live weights where it means a
copy of them, so that every distance is 0 and the plugin does nothing at all.

Not here, since they don't act on or don't run with a generative model: MIR, RWalk, MAS, LwF, GSS, LFL, BiC, CoPE.
"""

from __future__ import annotations

from typing import Any

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import (
    AGEMPlugin,
    EWCPlugin,
    GEMPlugin,
    GenerativeReplayPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
)
from pydantic import NonNegativeFloat, PositiveInt

from lifegen.benchmark.registry import register_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream
from lifegen.benchmark.template import count_state

from .models.method import VAEMethod


class StockMethod(VAEMethod):
    """A stock plugin on the code/style VAE, whose code keeps its size."""

    def plugin(self) -> SupervisedPlugin:
        """Avalanche's plugin, with the method's options."""
        raise NotImplementedError

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), self.plugin()]


def _numbers(*kept: dict[Any, Any]) -> int:
    """Numbers in (nested) dictionaries of Avalanche's ``ParamData``."""
    values = [value for one in kept for value in one.values()]
    return sum(_numbers(value) if isinstance(value, dict) else value.data.numel() for value in values)


class _EWC(EWCPlugin):
    @property
    def stored_parameters(self) -> int:
        return _numbers(self.saved_params, self.importances)


@register_method("avalanche-ewc", version=1, uses=("boundaries",))
class AvalancheEWC(StockMethod):
    """Avalanche's EWC: squared gradients of batch means, one penalty per interval."""

    class Config(StockMethod.Config):
        strength: NonNegativeFloat = 100.0
        """ewc_lambda, weight of the penalty (without the factor ½ of ``ewc``)."""

    def plugin(self) -> SupervisedPlugin:
        return _EWC(self.config.strength)


class _SynapticIntelligence(SynapticIntelligencePlugin):
    @property
    def stored_parameters(self) -> int:
        return _numbers(*self.ewc_data, self.syn_data)

    # What the plugin takes for a copy is on a CPU a view of the live weights (avalanche-lib 0.6, extract_weights).

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_exp(strategy, **kwargs)
        _own(self.ewc_data[0])

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        _own(self.syn_data["old_theta"])


def _own(weights: dict[str, Any]) -> None:
    for kept in weights.values():
        kept.data = kept.data.clone()


@register_method("synaptic-intelligence", version=1, uses=("boundaries",))
class SynapticIntelligence(StockMethod):
    """Avalanche's Synaptic Intelligence (Zenke et al., arXiv 1703.04200), with its copies of weights made copies."""

    class Config(StockMethod.Config):
        strength: NonNegativeFloat = 100.0
        """si_lambda, weight of the penalty."""

    def plugin(self) -> SupervisedPlugin:
        return _SynapticIntelligence(self.config.strength)


class _AGEM(AGEMPlugin):
    extra_rows = 0

    @property
    def stored_samples(self) -> int:
        return sum(len(buffer) for buffer in self.buffers)

    def sample_from_memory(self) -> Any:
        batch = super().sample_from_memory()
        self.extra_rows += len(batch[0])
        return batch


@register_method("avalanche-agem", version=1, uses=("boundaries", "past-data"))
class AvalancheAGEM(StockMethod):
    """Avalanche's A-GEM: gradients that would raise the loss on remembered real images are projected."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 100
        """Real images kept of each interval."""
        sample_size: PositiveInt = 100
        """Remembered images that each step compares its gradient with, beside its batch."""

    def plugin(self) -> SupervisedPlugin:
        return _AGEM(self.config.images_per_interval, self.config.sample_size)


class _GEM(GEMPlugin):
    extra_rows = 0

    @property
    def stored_samples(self) -> int:
        return sum(len(images) for images in self.memory_x.values())

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        self.extra_rows += self.stored_samples


@register_method("avalanche-gem", version=1, uses=("boundaries", "past-data"))
class AvalancheGEM(StockMethod):
    """Avalanche's GEM: as A-GEM, with one constraint for each interval. Its time grows with the stream."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 20
        """Real images kept of each interval; all of them go through the model at each step."""
        memory_strength: NonNegativeFloat = 0.5
        """Offset of the projection in favour of the past (γ of Lopez-Paz and Ranzato, arXiv 1706.08840)."""

    def plugin(self) -> SupervisedPlugin:
        return _GEM(self.config.images_per_interval, self.config.memory_strength)


class _Replay(ReplayPlugin):
    @property
    def stored_samples(self) -> int:
        return len(self.storage_policy.buffer)


@register_method("avalanche-replay", version=1, uses=("boundaries", "past-data"))
class AvalancheReplay(StockMethod):
    """Avalanche's replay of real images: half of each batch, from a memory balanced over intervals."""

    class Config(StockMethod.Config):
        images: PositiveInt = 200
        """Real images in memory (mem_size)."""

    def plugin(self) -> SupervisedPlugin:
        half = self.config.batch_size // 2
        return _Replay(self.config.images, batch_size=self.config.batch_size - half, batch_size_mem=half)


class _GenerativeReplay(GenerativeReplayPlugin):
    synthetic_samples = 0

    @property
    def stored_parameters(self) -> int:
        return 0 if self.untrained_solver or not hasattr(self, "old_generator") else count_state(self.old_generator)

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if not self.untrained_solver:
            # The plugin appends to the batch; these make room, so that a step costs what it costs other methods.
            strategy.mbatch = [part[: len(part) - self.replay_size] for part in strategy.mbatch]
            self.synthetic_samples += self.replay_size
        super().before_training_iteration(strategy, **kwargs)


@register_method("avalanche-generative-replay", version=1, uses=("boundaries",))
class AvalancheGenerativeReplay(StockMethod):
    """Avalanche's generative replay: half of each batch, however many distributions there were."""

    def plugin(self) -> SupervisedPlugin:
        return _GenerativeReplay(replay_size=self.config.batch_size // 2)

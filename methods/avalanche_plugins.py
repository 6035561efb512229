"""Avalanche's own plugins as methods, beside lifegen's model and loop.

Their strengths and memories mean what Avalanche's documentation says. The small subclasses differ from what ships in
three things. On a CPU, SynapticIntelligence takes the live weights where it means a copy of them, so that every
distance is 0 and it does nothing at all: here they are copies. GEM's projection, a quadratic program of one variable
for each interval, is solved by scipy instead of a package of another licence. GenerativeReplay appends to the batch;
here it replaces its second half, so that a step costs what it costs others.

Replay's loader has batches of its own: half from memory, but for the last of an epoch, which is short of new images.

Memory: EWC two numbers a weight for each interval; SynapticIntelligence seven a weight; A-GEM, GEM and Replay real
images; GenerativeReplay a copy of the model. References: Kirkpatrick et al. (arXiv 1612.00796), equation 3; Zenke et
al. (1703.04200), equations 4 and 5; Chaudhry et al. (1812.00420), equation 11; Lopez-Paz and Ranzato (1706.08840),
equation 11; Shin et al. (1705.08690).

``models/stock.py`` has those that can't be methods, with the reasons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import AGEMPlugin, EWCPlugin, ReplayPlugin, SynapticIntelligencePlugin
from pydantic import NonNegativeFloat, PositiveInt
from scipy.optimize import lsq_linear
from torch import Tensor

from lifegen.benchmark.registry import register_method

from .models.stock import CountingGEM, CountingGenerativeReplay, StockMethod


@register_method(
    "avalanche-ewc", version=1, uses=("boundaries",), look={"colour": "#6b3d00", "marker": "P", "dash": "dashed"}
)
class AvalancheEWC(StockMethod):
    """Avalanche's EWC: squared gradients of batch means, one penalty per interval."""

    class Config(StockMethod.Config):
        strength: NonNegativeFloat = 100.0
        """ewc_lambda, weight of the penalty (without the factor ½ of ``ewc``)."""

    def plugin(self) -> SupervisedPlugin:
        return EWCPlugin(self.config.strength)


def _numbers(*kept: dict[Any, Any]) -> int:
    """Numbers in (nested) dictionaries of Avalanche's ``ParamData``."""
    values = [value for one in kept for value in one.values()]
    return sum(_numbers(value) if isinstance(value, dict) else value.data.numel() for value in values)


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


@register_method(
    "synaptic-intelligence",
    version=1,
    uses=("boundaries",),
    look={"colour": "#6b3d00", "marker": "s", "dash": "dotted"},
)
class SynapticIntelligence(StockMethod):
    """Avalanche's Synaptic Intelligence, with its copies of weights made copies.

    It caps a weight's importance at 0.001, which losses in nats per image exceed for nearly every weight: what remains
    is about a squared distance to the weights of the interval before.
    """

    class Config(StockMethod.Config):
        strength: NonNegativeFloat = 100.0
        """si_lambda, weight of the penalty."""

    def plugin(self) -> SupervisedPlugin:
        return _SynapticIntelligence(self.config.strength)


@register_method(
    "avalanche-agem",
    version=1,
    uses=("boundaries", "past-data"),
    restarts="its plugin holds a live iterator over its memory",
    look={"colour": "#332288", "marker": "X", "dash": "dashed"},
)
class AvalancheAGEM(StockMethod):
    """Avalanche's A-GEM: gradients that would raise the loss on remembered real images are projected."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 100
        """Real images kept of each interval."""
        sample_size: PositiveInt = 100
        """Remembered images that each step compares its gradient with, beside its batch."""

    def plugin(self) -> SupervisedPlugin:
        return AGEMPlugin(self.config.images_per_interval, self.config.sample_size)


class _GEM(CountingGEM):
    def solve_quadprog(self, g: Tensor) -> Tensor:
        """v minimises ½ vᵀ(P + 0.001 I)v + (Mg)ᵀv with v ≥ memory_strength, for P = MMᵀ; the projection is g + Mᵀv."""
        memories, gradient = self.G.double(), g.double()
        products = memories @ memories.T + 1e-3 * torch.eye(len(memories), dtype=torch.float64, device=g.device)
        root = torch.linalg.cholesky(products)
        target = -torch.linalg.solve_triangular(root, (memories @ gradient)[:, None], upper=False)[:, 0]
        solved = lsq_linear(root.T.cpu().numpy(), target.cpu().numpy(), (self.memory_strength, np.inf), method="bvls")
        projected: Tensor = gradient + torch.from_numpy(solved.x).to(g.device) @ memories
        return projected.float()


@register_method(
    "avalanche-gem",
    version=1,
    uses=("boundaries", "past-data"),
    look={"colour": "#332288", "marker": "s", "dash": "dash-dot"},
)
class AvalancheGEM(StockMethod):
    """Avalanche's GEM: as A-GEM, with one constraint for each interval. Its time grows with the stream."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 20
        """Real images kept of each interval; all of them go through the model at each step."""
        memory_strength: NonNegativeFloat = 0.5
        """Offset of the projection in favour of the past (γ of Lopez-Paz and Ranzato, arXiv 1706.08840)."""

    def plugin(self) -> SupervisedPlugin:
        return _GEM(self.config.images_per_interval, self.config.memory_strength)


@register_method(
    "avalanche-replay",
    version=1,
    uses=("boundaries", "past-data"),
    look={"colour": "#56b4e9", "marker": "o", "dash": "dashed"},
)
class AvalancheReplay(StockMethod):
    """Avalanche's replay of real images: half of each batch, from a memory balanced over intervals."""

    class Config(StockMethod.Config):
        images: PositiveInt = 200
        """Real images in memory (mem_size)."""

    def plugin(self) -> SupervisedPlugin:
        half = self.config.batch_size // 2
        return ReplayPlugin(self.config.images, batch_size=self.config.batch_size - half, batch_size_mem=half)


class _GenerativeReplay(CountingGenerativeReplay):
    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if not self.untrained_solver:
            # The plugin appends to the batch; these make room, so that a step costs what it costs other methods.
            strategy.mbatch = [part[: max(1, len(part) - self.replay_size)] for part in strategy.mbatch]
        super().before_training_iteration(strategy, **kwargs)


@register_method(
    "avalanche-generative-replay",
    version=1,
    uses=("boundaries",),
    look={"colour": "#de8f05", "marker": "D", "dash": "dotted"},
)
class AvalancheGenerativeReplay(StockMethod):
    """Avalanche's generative replay: half of each batch, however many distributions there were."""

    def plugin(self) -> SupervisedPlugin:
        return _GenerativeReplay(replay_size=self.config.batch_size // 2)

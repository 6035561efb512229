"""Avalanche's own GEM plugin as a method. Its size and its memory strength mean what Avalanche's documentation says.

The projection, a quadratic program of one variable for each interval, is solved by scipy instead of a package of
another licence.

Reference: Lopez-Paz and Ranzato, Gradient episodic memory for continual learning (arXiv 1706.08840), equation 11.
Memory: real images of each interval.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat, PositiveInt
from scipy.optimize import lsq_linear
from torch import Tensor

from lifegen.benchmark import register_method, searched

from .models.counting import CountingGEM
from .models.stock import StockMethod


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
    version=2,
    uses=("boundaries", "past-data"),
    look={"colour": "#332288", "marker": "s", "dash": "dash-dot"},
)
class AvalancheGEM(StockMethod):
    """Avalanche's GEM: as A-GEM, with one constraint for each interval. Its time grows with the stream."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 20
        """Real images kept of each interval; all of them go through the model at each step."""
        memory_strength: Annotated[NonNegativeFloat, searched(0, 1, log=False)] = 0.5
        """Offset of the projection in favour of the past (γ of Lopez-Paz and Ranzato, arXiv 1706.08840)."""

    def plugin(self) -> SupervisedPlugin:
        return _GEM(self.config.images_per_interval, self.config.memory_strength)

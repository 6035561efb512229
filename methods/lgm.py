"""Presets of the lifelong VAE: as the paper has it, and as its authors' later scripts have it.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847), and the public repositories
jramapuram/LifelongVAE (TensorFlow) and jramapuram/LifelongVAE_pytorch. Memory: as ``lifelong-vae``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from lifegen.benchmark import register_method

from .lifelong_vae import LifelongVAE
from .models.networks import Activation, Norm


@register_method(
    "lgm-iclr",
    version=2,
    uses=("boundaries",),
    preset=True,
    look={"colour": "#0173b2", "marker": "P", "dash": "dashed"},
)
class LGMICLR(LifelongVAE):
    """The lifelong VAE as the ICLR 2018 paper has it, with its authors' TensorFlow code where it is silent."""

    class Config(LifelongVAE.Config):
        learning_rate: PositiveFloat = 1e-4
        """Adam's step size (paper, appendix)."""
        norm: Norm = "batch"
        """Normalisation everywhere but beside the latent variables and at the output."""
        optimizer_state: Literal["keep", "reset"] = "reset"
        """Whether Adam's moments live on across intervals."""
        latent_layers: Literal["reinitialise", "preserve"] = "reinitialise"
        """Whether growth starts the layers on either side of the latent variables anew or only adds to them."""
        width: PositiveInt | None = 512
        """Units per hidden layer."""
        temperature_rate: NonNegativeFloat | None = 3e-5
        """Decay of the temperature per step (TensorFlow code)."""


@register_method(
    "lgm-2019",
    version=1,
    uses=("boundaries",),
    preset=True,
    look={"colour": "#0173b2", "marker": "X", "dash": "dash-dot"},
)
class LGM2019(LifelongVAE):
    """The lifelong VAE with the options of its authors' PyTorch scripts of 2019, without their errors.

    Those scripts train students from scratch, pad logarithms of probabilities, lack the code's divergence from its
    prior and have an information term that rewards a code for surviving reconstruction; here students start from their
    teacher, the bounds hold, and the term is ``batch-marginal``. Their intervals end by early stopping and their
    Fashion-MNIST is binary: both are the scenario's (``interval_length``, ``track``).
    """

    class Config(LifelongVAE.Config):
        norm: Norm = "batch"
        """Normalisation everywhere but beside the latent variables and at the output."""
        optimizer_state: Literal["keep", "reset"] = "reset"
        """Whether Adam's moments live on across intervals."""
        latent_layers: Literal["reinitialise", "preserve"] = "reinitialise"
        """Whether growth starts the layers on either side of the latent variables anew or only adds to them."""
        replay_images: Literal["mean", "draw"] = "mean"
        """Images that the teacher replays: its decoder's means, or draws from its likelihood."""
        batch_size: Annotated[int, Field(ge=2)] = 128
        """Images per optimiser step, real and synthetic together."""
        learning_rate: PositiveFloat = 1e-4
        """Adam's step size."""
        style: PositiveInt = 5
        """Size F of the style."""
        architecture: Literal["mlp", "conv"] = "conv"
        """Two hidden layers each way, or the strided convolutional network for 32 × 32 images."""
        width: PositiveInt | None = 128
        """Filters of the first layer."""
        activation: Activation = "selu"
        """Activation function of every hidden layer."""
        temperature_rate: NonNegativeFloat | None = 3e-6
        """Decay of the temperature per step."""
        norm_reset: Literal["stats", "all", "none"] = "all"
        """Parts of normalisation that a transition resets: running statistics, scales and shifts as well, or none."""
        consistency_weight: NonNegativeFloat = 0.5
        """γ, weight of the consistency term."""
        likelihood_consistency_weight: NonNegativeFloat = 1.0
        """Weight of the likelihood of the teacher's reconstructions under the student."""

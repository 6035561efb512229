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
    """The lifelong VAE as the ICLR 2018 paper has it, with its authors' code, or our choice, where it is silent.

    The paper says: two hidden layers of 512 units each way, ELU, batch norm beside neither latent variables nor output;
    Adam with 1e-4, reset with batch norm's statistics when weights are transferred (page 13); the layers around the
    latent variables start anew with a new distribution, all others keep their weights (page 14); one code more for each
    distribution; equal shares of all distributions in a batch (page 5); x̂ drawn from P(x | z) (pages 4 and 5);
    consistency on zd with weight 1, student first (page 6), the teacher's probabilities padded with zeros (page 14); an
    information term of weight λ (page 6).

    The TensorFlow code says: a style of 14 (its README), batches of 100, a real share rounded down, a temperature that
    falls from 1 to 0.5 at 3e-5 a step, in each interval anew, Bernoulli likelihood on grey levels, 1e-6 added to padded
    probabilities. It replays the decoder's means (``replay_images=mean``), and its λ never acts.

    The PyTorch code has one number here, λ = 0.3, from its scripts of 2019; the others are ``lgm-2019``'s.

    Ours: to take that λ, since the paper states none (suite ``information`` tries others); the estimator of the
    information; a diagonal posterior, where page 5 writes σ²I.
    """

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
        replay_images: Literal["mean", "draw"] = "draw"
        """Images that the teacher replays: means (authors' code), or draws from its likelihood (paper)."""
        style: PositiveInt = 14
        """Size F of the style (TensorFlow code)."""
        batch_size: Annotated[int, Field(ge=2)] = 100
        """Images per optimiser step, real and synthetic together (TensorFlow code)."""
        consistency_weight: NonNegativeFloat = 1.0
        """γ, weight of the consistency term (paper)."""
        mutual_information_weight: NonNegativeFloat = 0.3
        """λ, weight of the mutual information: ours, since the paper states none (PyTorch code: 0.3)."""


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

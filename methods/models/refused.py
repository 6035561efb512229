"""Stock plugins of Avalanche's that can't be methods, with the reasons and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping

from avalanche.core import BasePlugin
from avalanche.training import plugins as stock

from lifegen.benchmark import InputError, brief

_NO_CLASSES = "a generative model tells no classes apart"
_REFUSED: Mapping[type, tuple[str, str]] = {
    stock.BiCPlugin: (f"it corrects a classifier's bias among classes, and {_NO_CLASSES}", "avalanche-replay"),
    stock.CoPEPlugin: (
        f"it replaces the loss by one on a prototype of each class, and {_NO_CLASSES}",
        "avalanche-replay",
    ),
    stock.CWRStarPlugin: (f"it keeps a classifier's weights of each class, and {_NO_CLASSES}", "ewc"),
    stock.LwFPlugin: (f"it distils the classes' logits, and {_NO_CLASSES}", "lifelong-vae, which distils codes"),
    stock.FeatureDistillationPlugin: (
        "it distils model.features, which a generative model doesn't have",
        "lifelong-vae with consistency_on=both",
    ),
    stock.LFLPlugin: (
        "it distils model.get_features(x), which a generative model doesn't have",
        "lifelong-vae with consistency_on=both",
    ),
    stock.MASPlugin: (
        "its importances are of the norm of an output that is one tensor, which a generative model's isn't",
        "ewc or synaptic-intelligence",
    ),
    stock.MIRPlugin: (
        "it chooses images by a criterion with a `reduction`, which the negative ELBO doesn't have",
        "exact-replay or avalanche-replay",
    ),
    stock.RARPlugin: (
        f"it moves remembered images towards another class, and {_NO_CLASSES}",
        "exact-replay or avalanche-replay",
    ),
    stock.GSS_greedyPlugin: (
        "it takes gradients of single images in the midst of a step and leaves them in that step's gradient",
        "exact-replay or avalanche-replay",
    ),
    stock.SynapticIntelligencePlugin: (
        "on a CPU, what it takes for copies of the weights are the weights, so that it does nothing",
        "synaptic-intelligence",
    ),
    stock.EarlyStoppingPlugin: (
        "it waits for a metric of Avalanche's evaluator, which doesn't run in lifegen's loop",
        "a scenario's interval_length=early-stopping",
    ),
    stock.TrainGeneratorAfterExpPlugin: (
        "it trains a generator beside a classifier, and here the model is the generator",
        "avalanche-generative-replay",
    ),
    **dict.fromkeys(
        (
            stock.CurrentDataNCMUpdate,
            stock.MemoryNCMUpdate,
            stock.NCMOracle,
            stock.CurrentDataFeCAMUpdate,
            stock.MemoryFeCAMUpdate,
            stock.FeCAMOracle,
        ),
        (f"it updates a classifier's statistics of each class, and {_NO_CLASSES}", "avalanche-replay"),
    ),
}
"""Why each can't be a method, and what to use instead. A subclass isn't refused: it may be a repair."""


def refuse_unusable(plugin: object, norm: str) -> None:
    """See whether a plugin can make a method.

    Args:
        plugin: the plugin.
        norm: normalisation of the model's networks.

    Raises:
        InputError: it can't work with a generative model.
    """
    if not isinstance(plugin, BasePlugin):
        raise InputError(f"plugin() is to return an Avalanche plugin; found: {brief(plugin)}")
    name = type(plugin).__name__
    if type(plugin) in _REFUSED:
        why, instead = _REFUSED[type(plugin)]
        raise InputError(f"Avalanche's {name} can't be a method: {why}; use {instead} instead")
    if type(plugin) is stock.RWalkPlugin and norm == "batch":
        raise InputError(
            f"Avalanche's {name} can't be a method with norm=batch: it leaves the model in evaluation mode, where "
            "batch norm ignores the batch; use norm=group or norm=none"
        )

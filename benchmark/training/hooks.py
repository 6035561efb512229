"""The hooks of a step: which plugins have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from avalanche.core import SupervisedPlugin

HOOKS = (
    "before_training_iteration", "before_forward", "after_forward", "before_backward", "after_backward",
    "before_update", "after_update", "after_training_iteration",
)  # fmt: skip


def acting(plugins: Iterable[object], hook: str) -> list[Callable[..., Any]]:
    """A hook's functions, of the plugins where it isn't Avalanche's empty one."""
    empty = getattr(SupervisedPlugin, hook, None)
    found = (getattr(plugin, hook, None) for plugin in plugins)
    return [function for function in found if function is not None and getattr(function, "__func__", None) is not empty]

"""The gate: every method goes through it, and it catches what does nothing."""

from __future__ import annotations

import importlib

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import SynapticIntelligencePlugin

from lifegen.benchmark.catalogue import describe
from lifegen.benchmark.gate import GateError, check_method
from lifegen.benchmark.method import Method
from lifegen.benchmark.registry import METHODS, Entry
from lifegen.methods.models.method import VAEMethod


@pytest.mark.parametrize("name", sorted(describe("method")))
def test_every_method_acts(name):
    """In or out of the tree; a method that skips itself fails, too."""
    importlib.import_module(describe("method")[name].module)
    try:
        check_method(METHODS[name])
    except pytest.skip.Exception as skipped:
        pytest.fail(f"{name} has skipped the gate: {skipped}")

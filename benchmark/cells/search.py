"""Trials of a method's options: the same number for every method, spread evenly over what its author declares.

The trials don't depend on results. So any number of processes computes them, a search goes on where it stopped, and
it is the same on every machine. At a dozen trials little is lost: samplers that learn draw their first ten at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .spec import Spec, configure
from .values import equal

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)


def space(spec: Spec) -> dict[str, Mapping[str, Any]]:
    """Return what is searched of each option that is at its default, as :func:`searched` declares it; nothing of a
    preset."""
    if spec.facts["preset"]:
        return {}
    return {
        name: schema["search"]
        for name, schema in spec.description.options.items()
        if "search" in schema and equal(spec.config[name], schema.get("default"))
    }


def trials(defaults: Spec, number: int) -> list[Spec]:
    """Make the trials of a method: its defaults, then the points of a Halton sequence (Halton 1960), of which any
    first ones are spread evenly.

    Args:
        defaults: the method, with a suite's conventions.
        number: of trials, the defaults included. A method without anything to search has the defaults alone.
    """
    wanted = space(defaults)
    specs = {defaults.label: defaults}
    for i in range(1, number if wanted else 1):
        values = {
            name: _value(_inverse(i, base), defaults.description.options[name])
            for (name, base) in zip(wanted, _PRIMES, strict=False)
        }
        spec = configure(defaults.description, {**defaults.config, **values})
        specs.setdefault(spec.label, spec)
    return list(specs.values())


def _inverse(i: int, base: int) -> float:
    """The radical inverse of i: its digits, mirrored at the point."""
    share, value = 1.0, 0.0
    while i:
        i, digit = divmod(i, base)
        share /= base
        value += digit * share
    return value


def _value(share: float, schema: Mapping[str, Any]) -> Any:
    """The value at a share of an option's range, to two digits, which suffice and are readable."""
    search = schema["search"]
    if "among" in search:
        return search["among"][int(share * len(search["among"]))]
    low, high = search["low"], search["high"]
    value = low * (high / low) ** share if search["log"] else low + (high - low) * share
    rounded = float(f"{value:.2g}")
    return round(rounded) if schema.get("type") == "integer" else rounded

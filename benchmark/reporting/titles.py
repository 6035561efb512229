"""Titles: the names of scenarios, suites and methods in figures. Tables, files and commands have labels instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..cells.spec import parse_spec
from ..cells.suite import Suite
from ..cells.values import split
from ..discovery.index import base_name, describe
from ..discovery.plugin_file import file_in
from ..errors import InputError, unknown

_SPELLINGS = {
    "agem": "A-GEM", "celeba": "CelebA", "cifar": "CIFAR", "cvae": "CVAE", "ewc": "EWC", "gem": "GEM",
    "iclr": "(ICLR)", "kl": "KL", "lgm": "LGM", "mnist": "MNIST", "rgb": "RGB", "svhn": "SVHN", "vae": "VAE",
}  # fmt: skip
"""Words of names that aren't written as they are registered."""
_LONG = 48
"""Characters of a title with its options; a longer one leaves those to the caption that don't tell methods apart."""
_PRECISION = re.compile(r"(.*) \((\w+)\)", re.DOTALL)


@dataclass(frozen=True)
class Titles:
    """The titles of a store's scenarios and methods, by label."""

    scenarios: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    """Labels whose titles a user chose."""

    def scenario(self, label: str) -> str:
        """Return a scenario's title."""
        return self.scenarios.get(label) or _made("scenario", [label])[label]

    def method(self, label: str) -> str:
        """Return a method's title."""
        return self.methods.get(label) or _made("method", [label])[label]

    def told(self, scenarios: Iterable[str], methods: Iterable[str]) -> str:
        """Say what titles stand for, as the end of a caption; nothing where names without options make them.

        Args:
            scenarios: labels; several are listed.
            methods: labels.
        """
        several = sorted({*scenarios})
        named = [(self.scenario(label), label) for label in several]
        named += [(self.method(label), label) for label in sorted({*methods})]
        parts = [f"Scenarios: {'; '.join(title for title, _ in named[: len(several)])}"] if len(several) > 1 else []
        options = [f"{title} is {label}" for title, label in named if ":" in label or label in self.own]
        return ". ".join([*parts, *(["; ".join(options)] if options else [])])


def titles_of(scenarios: Iterable[str], methods: Iterable[str], own: Mapping[str, str]) -> Titles:
    """Make the titles of a store.

    Args:
        scenarios: labels.
        methods: labels.
        own: a user's titles, by label.
    """
    return Titles(
        {label: own.get(label, made) for label, made in _made("scenario", sorted({*scenarios})).items()},
        {label: own.get(label, made) for label, made in _made("method", sorted({*methods})).items()},
        frozenset(own),
    )


def title(name: str) -> str:
    """Write a registered name as a title: ``split-mnist`` is Split MNIST."""
    words = " ".join(_SPELLINGS.get(word, word) for word in name.split("-"))
    return words[:1].upper() + words[1:]


def of_suite(suite: Suite, known: Iterable[str]) -> dict[str, str]:
    """Return the titles that a suite gives, by the label of a store.

    Args:
        suite: the suite, which may write options in another order than labels.
        known: the store's labels.
    """
    found: dict[str, str] = {}
    known = set(known)
    for name, text in suite.labels.items():
        # A file isn't run to know its label: the suite may be a stranger's.
        labels = {name} if file_in(name) else {name, *_labels(suite, name)}
        if text.isprintable():
            found |= dict.fromkeys(labels & known, text)
    return found


def check_labels(suite: Suite) -> None:
    """Check that a suite has what it gives titles to.

    Raises:
        InputError: it hasn't; the text has the suite's file and the key.
    """
    names = {"scenarios": suite.scenarios, "methods": suite.methods}
    known = {label for texts in names.values() for text in texts for label in (text, *_labels(suite, text))}
    for name, own in suite.labels.items():
        with suite.at("labels", name):
            _check_title(own)
            if "all" not in suite.methods and known.isdisjoint((name, *_labels(suite, name))):
                raise unknown("scenario or method of this suite", name, known)


def read_labels(texts: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """Read ``NAME=TITLE``, where the name is a label and may itself have options.

    Args:
        texts: what the user typed.
        known: the store's labels.

    Raises:
        InputError: there is no equals sign, or no such label.
    """
    known = sorted({*known}, key=len, reverse=True)
    own = {}
    for text in texts:
        label = next((label for label in known if text.startswith(f"{label}=")), None)
        if label is None:
            name, equals, _ = text.rpartition("=")
            if not equals:
                raise InputError(f"--label {text!r} isn't of the form NAME=TITLE")
            raise unknown("scenario or method in this store", name, known)
        own[label] = text[len(label) + 1 :]
        _check_title(own[label])
    for label, text in own.items():
        if same := [other for other in own if other != label and own[other] == text]:
            raise InputError(f"{label} and {same[0]} can't both be called {text!r}")
    return own


def _check_title(text: str) -> None:
    if not text.strip():
        raise InputError("a title is empty")
    if not text.isprintable():  # an SVG can't hold all others
        raise InputError(f"the title {text!r} has characters that can't be printed")


def _labels(suite: Suite, text: str) -> set[str]:
    """The labels that a suite's text may stand for."""
    labels = set()
    for read in (suite.method, lambda name: parse_spec("scenario", name)):
        try:
            labels.add(read(text).label)
        except InputError:
            continue
    return labels


def _made(kind: str, labels: Sequence[str]) -> dict[str, str]:
    """Titles from names and options, by label. Where one of a name's is long, the options that all of them have in
    common are left to the caption."""
    by_name: dict[str, dict[str, list[str]]] = {}
    for label in labels:
        by_name.setdefault(base_name(label), {})[label] = _options(label)
    made: dict[str, str] = {}
    for name, options in by_name.items():
        head = _stated(kind, name)
        if any(len(", ".join([head, *parts])) > _LONG for parts in options.values()):
            common = set.intersection(*map(set, options.values()))
            options = {label: [part for part in parts if part not in common] for label, parts in options.items()}
        end = " (reconstruction)" if _fact(kind, name, "reconstruction") else ""
        made |= {label: ", ".join([head, *parts]) + end for label, parts in options.items()}
    return made


def _stated(kind: str, name: str) -> str:
    return str(_fact(kind, name, "title") or title(name))


def _fact(kind: str, name: str, fact: str) -> object:
    entry = describe(kind).get(name)
    return entry.facts.get(fact) if entry else None


def _options(label: str) -> list[str]:
    """A label's options and precision in words."""
    precision = _PRECISION.fullmatch(label)
    options = (precision[1] if precision else label).partition(":")[2]
    return [*(_in_words(part) for part in split(options) if part), *([precision[2]] if precision else [])]


def _in_words(option: str) -> str:
    """An option in words: ``steps=1000`` is 1,000 steps."""
    name, _, value = option.partition("=")
    words = name.replace("_", " ")
    if value in ("true", "false"):
        return words if value == "true" else f"no {words}"
    if value.isdecimal() and name.endswith("s"):
        return f"{int(value):,} {words if value != '1' else words.removesuffix('es' if name.endswith('sses') else 's')}"
    return f"{words} {value}"

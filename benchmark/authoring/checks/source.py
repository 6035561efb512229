"""The promises of a data source: it can be fetched, and gives the same usable images each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from ...contracts.data_sources import LabelledData, Source
from ...contracts.registry import Entry
from ...contracts.stream import Parts, ScenarioConfig, make_stream
from ...errors import InputError
from ...seeds import Seeds
from .findings import Finding, at

_DESCRIBED = "it is described"
_FETCHED = "it is fetched"
_LOADED = "its images and labels are those of a stream: uint8, of one shape, with a label each"
_TWICE = "it loads the same images and labels each time"


def check_source(entry: Entry, data_root: Path | None = None) -> Iterator[Finding]:
    """See whether a registered data source keeps its promises.

    Args:
        entry: its entry in the registry.
        data_root: folder of the data sets, which are downloaded if missing; None: the commands' folder.
    """
    if data_root is None:
        from ...running.local import default_data_root

        data_root = default_data_root()
    if entry.summary:
        yield Finding(_DESCRIBED)
    else:
        yield Finding(_DESCRIBED, "broken", "a first line of its docstring", "it has none", entry.origin)
    try:
        source: Source = entry.target(entry.name)
        source.fetch(data_root)
        yield Finding(_FETCHED)
        first, again = source.load(data_root), source.load(data_root)
    except InputError as error:  # the data can't be had here
        yield Finding(_FETCHED, "skipped", seen=str(error))
        return
    except (Exception, SystemExit) as error:
        yield Finding(_FETCHED, "broken", "no error", at(error, entry), entry.origin)
        return
    try:
        parts = Parts(first.train, first.train, first.test)
        make_stream({entry.name: parts}, [entry.name], ScenarioConfig(), Seeds(0))
    except (InputError, AttributeError, TypeError, ValueError) as error:
        yield Finding(_LOADED, "broken", "LabelledData(train, test, classes)", str(error), f"load of {entry.origin}")
        return
    yield Finding(_LOADED)
    if _same(first, again):
        yield Finding(_TWICE)
    else:
        yield Finding(_TWICE, "broken", "the same", "others", "random draws and changes in place in load")


def _same(first: LabelledData, again: LabelledData) -> bool:
    parts = zip((*first.train, *first.test), (*again.train, *again.test), strict=True)
    return first.classes == again.classes and all(torch.equal(one, other) for one, other in parts)

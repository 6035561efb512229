"""Folders and files of results. Nothing is derived here."""

from typing import Any

from .. import _moved


def __getattr__(name: str) -> Any:
    return _moved.attribute(__name__, name)  # names of the module that once had this path

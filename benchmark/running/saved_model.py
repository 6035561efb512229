"""Models as files: weights in safetensors, with the recipe of the empty model in the header. No pickle."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from ..contracts.model import GenerativeModel
from ..contracts.registry import FILE_MODULES
from ..discovery.plugin_file import files_of
from ..errors import InputError
from ..files import texts_in, write_atomically
from ..store.cell_folder import StoredCell

_WRONG = (OSError, ImportError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""Errors from a file of another kind."""


def unsavable(model: GenerativeModel) -> str:
    """Why a model can't be written; empty if it can."""
    name = f"{type(model).__qualname__}.recipe()"
    try:
        recipe = model.recipe()
        json.dumps(recipe)
    except Exception as error:  # its author's code
        return f"{name}: {type(error).__name__}: {error}"
    return "" if recipe is not None else f"{name} returns None"


def save_model(model: GenerativeModel, file: Path) -> bool:
    """Write a model whose class gives a ``recipe`` of the empty model.

    Returns:
        whether it was written.
    """
    recipe = model.recipe()
    if recipe is None:
        return False
    kind = type(model)
    # Shared tensors are written once, since safetensors refuses duplicates.
    unique = {tensor.data_ptr(): (key, tensor) for key, tensor in reversed(model.state_dict().items())}
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in unique.values()}
    header = {"module": kind.__module__, "class": kind.__qualname__, "recipe": json.dumps(recipe)}
    write_atomically(file, save(state, header))  # not save_file, whose files only their owner may read
    return True


def load_model(file: Path | str) -> GenerativeModel:
    """A model that a cell has kept, on the CPU, in evaluation mode. Its class is imported, so load only trusted files.

    Args:
        file: ``STORE/cells/NAME/model.safetensors``.

    Raises:
        InputError: the file is missing, or isn't such a model.
    """
    try:
        cell = StoredCell(Path(file).parent)
        content = cell.kept(Path(file).name)
        state = load(content)
        header = texts_in(content)
        if header["module"].startswith(FILE_MODULES):  # the record beside it has the extension file's text
            files_of(cell.record)[header["module"].removeprefix(FILE_MODULES)].load()
        kind = getattr(import_module(header["module"]), header["class"])
        if not issubclass(kind, GenerativeModel):
            raise TypeError(f"{kind} isn't a GenerativeModel")
        model: GenerativeModel = kind(**json.loads(header["recipe"]))
        missing, unexpected = model.load_state_dict(state, strict=False)
        own = model.state_dict()
        loaded = {own[key].data_ptr() for key in state.keys() & own.keys()}
        if unexpected or any(own[key].data_ptr() not in loaded for key in missing):
            raise ValueError(f"its tensors {sorted(state)} aren't those of {kind.__qualname__}")
    except (SafetensorError, *_WRONG) as error:
        raise InputError(f"{file} isn't a model that lifegen can load: {error}") from None
    model.eval()
    return model

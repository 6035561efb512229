"""The notebook of the documentation, in a kernel of its own, as Jupyter runs it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import PROGRAMS
from .waiting import HANG

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Its code cells, with what they gave."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient isn't installed: it is in the extra dev")
    pytest.importorskip("ipykernel", reason="ipykernel isn't installed: it is in the extra dev")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, 4)
    folder = tmp_path_factory.mktemp("notebook")
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", "")])
    client = nbclient.NotebookClient(notebook, timeout=HANG, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"PATH": path})  # an error in a cell is raised
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cells: list[Any], source: str) -> list[Any]:
    """The outputs of the only cell with this in its text."""
    (cell,) = [cell for cell in cells if source in cell.source]
    return list(cell.outputs)


def printed(cells: list[Any], source: str) -> str:
    return "".join(output.get("text", "") for output in outputs(cells, source))


def test_functions_print_nothing_and_return_tables_and_pictures(cells):
    assert outputs(cells, "store = run(") == []
    for source in ("leaderboard(store", "load(store)"):
        (table,) = outputs(cells, source)
        assert "generative-replay" in table.data["text/html"]
    for source in ('plot(store, "final")', 'plot(store, "negative_elbo")'):
        (figure,) = outputs(cells, source)
        assert figure.data["image/png"]
    assert "95 % interval" in printed(cells, "compare(store")


def test_a_command_in_a_cell_goes_on_with_the_same_store(cells):
    """A notebook's kernel sets MPLBACKEND for it and its workers."""
    text = printed(cells, "!lifegen run")
    assert "9 cells, 6 done, 3 to run: runs/notebook" in text
    assert text.count(": done in ") == 3
    (table,) = outputs(cells, "leaderboard(store")
    assert "batch" in table.data["text/html"]


def test_a_command_in_a_cell_prints_plain_lines(cells):
    """Nothing is overwritten: a notebook shows a terminal's live rows as a heap of lines."""
    text = re.sub(r"\x1b\[[\d;]*m", "", printed(cells, "!lifegen run"))  # bold and grey are shown as such
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "")
    progress = text.partition("mean over seeds")[0]
    assert len(progress.splitlines()) < 10, progress


def test_a_kept_model_knows_what_it_has_learned(cells):
    learned, unseen = re.findall(r": ([\d.]+) nats", printed(cells, "load_model(file)"))
    assert float(learned) < float(unseen)

"""Published numbers beside ours."""

from __future__ import annotations

import json

import pytest

from lifegen.benchmark.cells.suite import cells_of, suite, suites
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reporting import tables
from lifegen.benchmark.reporting.report import report
from lifegen.benchmark.store.store import Store

from .stores import write


def test_a_suite_of_anchors_has_their_cells_and_no_others():
    anchors = suites()["anchors"].anchors
    cells = cells_of("anchors", seeds=[0])
    assert (
        len(cells)
        == len({(one.scenario, one.method) for one in anchors})
        < len(cells_of("anchors", scenarios=suites()["anchors"].scenarios, seeds=[0]))
    )


def test_nats_are_those_of_the_published_bits_per_dimension():
    """CN-DPM's README gives bits per dimension of 784 pixels."""
    from math import log

    published = {one.row: one.published for one in suites()["anchors"].anchors if "CN-DPM" in one.source}
    bits = (0.1806, 0.2156, 0.2817, 0.2234)
    assert sorted(published.values()) == pytest.approx(sorted(784 * log(2) * one for one in bits), abs=0.06)


def test_the_leaderboard_prints_ours_beside_what_is_published(tmp_path):
    anchor = suites()["anchors"].anchors[1]
    cell = next(c for c in cells_of("anchors", seeds=[0]) if c.method.label.startswith("batch:batch_size=10"))
    store = Store.create(tmp_path / "store")
    name, _, options = cell.method.label.partition(":")
    for seed, value in enumerate((118.0, 119.0, 120.0)):
        write(store, name, seed, value, options=options, scenario=cell.scenario.label, suite="anchors", intervals=1)
    board = leaderboard(store)
    (line,) = board.anchors
    assert line.anchor == anchor
    assert line.difference == pytest.approx(119.0 - 117.2)
    table = tables.anchor_table(board)
    # t(2) at 97.5 % is 4.303; s = 1, n = 3
    assert table.lines[0].texts == ("117.2", "119.0 ± 2.5", "+1.8", anchor.differs)
    for form in ("markdown", "latex", "html"):
        assert "119.0" in tables.FORMATS[form](board)
        assert anchor.row in tables.FORMATS[form](board)
    assert anchor.row in report(store).read_text().replace("<wbr>", "").replace("\u200b", "")
    assert json.loads(tables.to_json(board))["anchors"][0]["published"] == 117.2


def test_other_stores_have_no_anchors(tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "naive", 0, 100.0)
    assert leaderboard(store).anchors == ()
    assert tables.anchor_table(leaderboard(store)) is None


def test_an_anchor_that_names_nothing_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "own.toml"
    text = """summary = "s"\nbudget = "b"\nseeds = [0]\nsmoke = {{}}
[[anchors]]\nrow = "r"\nscenario = "split-digits"\nmethod = "{}"\ndiffers = "nothing"\n"""
    file.write_text(text.format("naive"))
    assert suite(str(file)).methods == ["naive"]
    assert [cell.method.name for cell in cells_of(str(file))] == ["naive"]
    file.write_text(text.format("niave"))
    with pytest.raises(InputError, match=r"anchors\[0\].method: .*naive"):
        cells_of(str(file))
    file.write_text(text.format("naive").replace("[[", 'methods = ["naive"]\n[['))
    with pytest.raises(InputError, match="methods: a suite with anchors takes"):
        cells_of(str(file))
    file.write_text(text.format("naive").replace("row", "rwo"))
    with pytest.raises(InputError, match=r"anchors\[0\]"):
        cells_of(str(file))

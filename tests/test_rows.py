"""What becomes of a metric's rows before they are stored."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring.rows import Row, kept_rows
from lifegen.benchmark.store.measured import _read_fast, read_rows
from lifegen.benchmark.store.row_check import odd_row

NAMES = ("dark", "bright")


def kept(*rows: Any) -> list[Row]:
    return kept_rows(iter(rows), "mine", 3, NAMES)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        np.float32(1.5),
        np.float64(1.5),
        np.longdouble(1.5),
        np.array(1.5),
        torch.tensor(1.5),
        torch.tensor(1.5, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.tensor(1.5)),
        Decimal("1.5"),
        Fraction(3, 2),
    ],
)
def test_a_number_of_any_library_is_stored_as_a_plain_one(value):
    ((number, distribution, step),) = kept(Row(value, np.str_("dark"), np.int64(4)))
    assert (number, distribution, step) == (1.5, "dark", 4)
    assert (type(number), type(distribution), type(step)) == (float, str, int)
    assert json.dumps([number, distribution, step]) == '[1.5, "dark", 4]'


def test_whole_numbers_are_numbers():
    values = [row.value for row in kept(*(Row(n, step=i) for i, n in enumerate((2, np.int64(2), torch.tensor(2)))))]
    assert [(value, type(value)) for value in values] == [(2, int), (2.0, float), (2.0, float)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (1.5, "metric mine yields 1.5, which isn't a Row: yield Row"),
        ((1.5, None, None), r"yields \(1.5, None, None\), which isn't a Row"),
        (Row(True), "a value that is a bool, True: float"),
        (Row(np.True_), "a value that is a bool, np.True_"),
        (Row(torch.tensor(True)), r"a value that is a Tensor, tensor\(True\)"),
        (Row("1.5"), "a value that is a str, '1.5'"),
        (Row(None), "a value that is a NoneType"),
        (Row(1j), "a value that is a complex"),
        (Row(torch.ones(1)), "a value that is a Tensor"),
        (Row(np.int64(2**60 + 1)), "a value that is a int64"),  # no float holds it
        (Row(Decimal("0.1")), "a value that is a Decimal"),
        (Row(1.0, "dusk"), "distribution 'dusk', which isn't one of dark, bright"),
        (Row(1.0, 7), "distribution 7, which isn't one of"),
        (Row(1.0, ["dark"]), "distribution .* isn't one of"),
        (Row(1.0, None, 0.5), "a step that is a float, 0.5: int"),
        (Row(1.0, None, True), "a step that is a bool"),
        (Row(1.0, None, "1"), "a step that is a str"),
        (Row(float("nan"), "dark"), "mine is nan of 'dark' after interval 3: where it is undefined, yield no row"),
        (Row(np.float32("inf")), "mine is inf after interval 3"),
        (Row(torch.tensor(float("nan"))), "mine is nan after interval 3"),
    ],
)
def test_what_no_store_can_keep_is_refused_with_the_reason(row, reason):
    with pytest.raises(InputError, match=reason) as error:
        kept(Row(1.0, "bright"), row)
    assert "metric mine" in str(error.value)


def test_two_rows_of_one_thing_are_refused():
    assert kept(Row(1.0), Row(2.0, "dark"), Row(3.0, step=0), Row(4.0, "dark", 0))
    for first in (Row(1.0), Row(1.0, "dark"), Row(1.0, step=2)):
        with pytest.raises(InputError, match=f"several rows of distribution {first.distribution!r}, step {first.step}"):
            kept(first, first._replace(value=2.0))


@pytest.mark.parametrize("returned", [1.5, None])
def test_one_that_yields_nothing_is_told_how(returned):
    with pytest.raises(InputError, match=f"metric mine returns {returned}, not rows: yield Row"):
        kept_rows(returned, "mine", 0, NAMES)


def test_a_stored_row_that_is_odd_is_said_to_be_so_and_why():
    whole = {"interval": 1, "distribution": "a", "step": None, "metric": "mine", "value": 1.5}
    assert odd_row([whole], [["a"], ["b"]]) is None
    for change, why in (
        ({"interval": 2}, "its interval isn't one of 0 to 1"),
        ({"distribution": "c"}, "its distribution isn't one of the cell's"),
        ({"step": 0.5}, "its step is a float, not a whole number"),
        ({"metric": "a\nb"}, "its metric isn't a name"),
        ({"value": True}, "its value is a bool, not a number"),
        ({"value": float("nan")}, "its value isn't finite"),
    ):
        problem = odd_row([whole, whole | change], [["a"], ["b"]])
        assert str(problem).startswith(f"row 2 isn't a measurement of this cell: {why}")
    assert "it lacks one of" in str(odd_row([{"interval": 0}], [["a"]]))


VISITS = [["dark"], ["bright"]]
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([1]), st.just({"a": 1})
)
ROW = st.fixed_dictionaries(
    {
        "interval": st.sampled_from([0, 1]),
        "distribution": st.sampled_from([None, *NAMES]),
        "step": st.one_of(st.none(), st.integers(0, 9)),
        "metric": st.sampled_from(["negative_elbo", "step", "distribution", "é"]),
        "value": st.one_of(st.integers(-9, 9), st.floats(-1e299, 1e299)),
    }
)


@given(
    rows=st.lists(ROW, max_size=9),
    at=st.integers(0, 8),
    key=st.sampled_from(["interval", "distribution", "step", "metric", "value", "more"]),
    value=st.one_of(st.just("gone"), ANYTHING),
)
@example(rows=[{"interval": 0, "distribution": None, "step": None, "metric": "m", "value": 1}], at=0, key="step",
         value="gone")  # fmt: skip
def test_what_is_read_fast_is_what_is_read_with_care(rows, at, key, value):
    """One row has another value, or lacks one."""
    if rows and key in (changed := rows[at % len(rows)]) | {"more": 0}:
        changed[key] = value
        if value == "gone":
            del changed[key]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    try:
        expected = read_rows(content, VISITS, is_whole=False)
    except (ValueError, RecursionError):
        with pytest.raises(ValueError, match="."):
            read_rows(content, VISITS, is_whole=True)
    else:
        assert read_rows(content, VISITS, is_whole=True).equals(expected)


def test_rows_of_a_worker_are_read_fast():
    rows = [
        {"interval": i, "distribution": name, "step": step, "metric": "negative_elbo", "value": 1.5}
        for i, (name, step) in product((0, 1), [("dark", None), ("bright", None), (None, None), (None, 3)])
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = _read_fast(content, VISITS)
    assert table is not None
    assert table.to_pylist() == rows

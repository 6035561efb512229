"""Metrics that follow from the matrix, against matrices computed by hand."""

import pandas as pd
import pytest

from lifegen.benchmark.derived import derive


def rows(matrix: dict[str, list[float]]) -> pd.DataFrame:
    entries = [(t, j, "negative_elbo", value) for j, column in matrix.items() for t, value in enumerate(column)]
    unions = [(t, None, "negative_elbo", 0.0) for t in range(len(next(iter(matrix.values()))))]
    return pd.DataFrame(entries + unions, columns=["interval", "distribution", "metric", "value"])


def derived(matrix: dict[str, list[float]], first: dict[str, int]) -> dict[str, float]:
    table = derive(rows(matrix), first)
    assert set(table["interval"]) <= {len(next(iter(matrix.values()))) - 1}
    return dict(zip(table["metric"], table["value"], strict=True))


def test_one_class_after_another():
    #            after interval  0    1    2
    matrix = {"a": [10.0, 12.0, 15.0], "b": [30.0, 9.0, 8.0], "c": [40.0, 36.0, 7.0]}
    assert derived(matrix, {"a": 0, "b": 1, "c": 2}) == pytest.approx(
        {
            "forgetting": ((15 - 10) + (8 - 8)) / 2,
            "backward_transfer": ((10 - 15) + (9 - 8)) / 2,
            "forward_transfer": ((30 - 30) + (40 - 36)) / 2,
        }
    )


def test_a_distribution_that_comes_back_counts_from_its_first_interval():
    # visits a, b, a, c
    matrix = {"a": [10.0, 14.0, 9.0, 13.0], "b": [30.0, 8.0, 20.0, 11.0], "c": [40.0, 37.0, 33.0, 6.0]}
    assert derived(matrix, {"a": 0, "b": 1, "c": 3}) == pytest.approx(
        {
            "forgetting": ((13 - 9) + (11 - 8)) / 2,
            "backward_transfer": ((10 - 13) + (8 - 11)) / 2,
            "forward_transfer": ((30 - 30) + (40 - 33)) / 2,
        }
    )


def test_one_interval_has_none():
    assert derived({"a": [10.0], "b": [12.0]}, {"a": 0, "b": 0}) == {}


def test_one_distribution_has_no_forward_transfer():
    assert derived({"a": [10.0, 9.0]}, {"a": 0}) == pytest.approx({"forgetting": 0.0, "backward_transfer": 1.0})

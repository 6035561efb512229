"""Metrics that follow from the matrix, against matrices computed by hand."""

import pytest

from lifegen.benchmark.measuring.derived import derive


def derived(matrix: dict[str, list[float]], first: dict[str, int]) -> dict[str, float]:
    entries = [(t, j, value) for j, column in matrix.items() for t, value in enumerate(column)]
    intervals = len(next(iter(matrix.values())))
    rows = [
        {"interval": t, "distribution": j, "metric": "negative_elbo", "value": value}
        for t, j, value in [*entries, *((t, None, 0.0) for t in range(intervals))]
    ]
    made = derive(rows, [[j for j in first if first[j] == t] for t in range(intervals)])
    assert not made.problems
    assert {row["interval"] for row in made.rows} <= {intervals - 1}
    return {row["metric"]: row["value"] for row in made.rows}


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

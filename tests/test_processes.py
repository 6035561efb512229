"""Processes of one task each: what becomes of one that ends without an answer."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest
from pebble import ProcessExpired

from lifegen.benchmark.processes import _is_free, _locked, pool


def double(number: int) -> int:
    return 2 * number


def end(code: int) -> None:
    os._exit(code)


def leave_a_child_behind(seconds: int) -> None:
    """End while a process that was forked from this one goes on."""
    if os.fork() == 0:
        os.execlp("sleep", "sleep", str(seconds))
    os._exit(0)


def test_an_answer_comes_and_an_end_without_one_is_noticed():
    with pool(2) as processes:
        assert processes.result(processes.schedule(double, 3)) == 6
        for function, argument in ((end, 0), (end, 3), (leave_a_child_behind, 60)):
            with pytest.raises(ProcessExpired):
                processes.result(processes.schedule(function, argument))
        assert processes.result(processes.schedule(double, 4)) == 8


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSPC])
def test_without_locks_the_work_is_done_as_well(tmp_path, monkeypatch, number):
    def refused(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    file = tmp_path / "0"
    file.touch()
    monkeypatch.setattr(fcntl, "lockf", refused)
    assert _locked(file, double, 3) == 6
    assert not _is_free(file)
    file.unlink()  # by somebody who cleans up
    assert not _is_free(file)

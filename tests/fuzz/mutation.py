"""Damaged copies of valid inputs, and the loop that feeds a reader with them."""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from lifegen.benchmark.errors import InputError

FOUND = Path(__file__).parent / "found"
SECONDS_EACH = 20
"""A reader that takes longer hangs."""

BYTES = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u202e".encode(), "\U0001f600".encode(), b"\x1b[2J"),
    *(b"\r\n", b"\n\n", b"\\ud800", b"\\u0000", b"\\", b'"', b"'", b'"""', b"'''", b"[[", b"../"),
    *(b"[", b"]", b"{", b"}", b"=", b",", b".", b":", b"#", b"{}", b"[]", b"null", b"true", b"-1"),
    *(b"NaN", b"Infinity", b"1e999", b"9" * 25, b"9" * 5000, b"[" * 3000, b"a." * 500),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400),
    *(0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf")),
    *("", " ", ".", "..", "../x", "/", "a/b", "a\\b", "\0", "\n", "\x1b[2J", "\u202e", "é" * 300, "x" * 300),
    *("all", "naive", "split-digits:steps=1", "naive:" + "," * 9000, "naive:codes=" + "[" * 3000),
    *([], {}, [[]], [None], {"": 0}, [0] * 300),
]


def damaged(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A copy with one to four bytes or stretches changed."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at:at] = rng.choice(BYTES)
            case 3:
                del data[at : min(end, at + rng.choice((1, 10, 1000)))]
            case 4:
                data[at:at] = data[at:end]
            case 5:
                data[at:end] = rng.choice(others)[at:end]
            case 6:
                data[at:] = rng.choice(others)[rng.randrange(len(data) + 1) :]
            case _:
                digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
                if digits:
                    at = rng.choice(digits)
                    data[at : at + 1] = rng.choice(BYTES)
    return bytes(data)


def changed(rng: random.Random, tree: Any) -> Any:
    """A copy of JSON values with one to three of them replaced, removed, doubled, renamed or moved."""
    tree = deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = [(holder, key) for holder in _holders(tree) for key in _keys(holder)]
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(7):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                name = rng.choice(
                    [value for value in VALUES if isinstance(value, str)] + [key[:-1], key + "s", key.upper()]
                )
                holder[name] = holder.pop(key)
            case 3:
                other, place = rng.choice(places)
                if place in other or isinstance(other, list):
                    holder[key] = deepcopy(other[place % len(other)] if isinstance(other, list) else other[place])
            case 4:
                holder[key] = [holder[key]]
            case _:
                holder[key] = deepcopy(rng.choice(VALUES))
    return tree


def _holders(tree: Any) -> list[Any]:
    if isinstance(tree, dict | list):
        return [
            tree,
            *(one for value in (tree.values() if isinstance(tree, dict) else tree) for one in _holders(value)),
        ]
    return []


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def fuzz(
    name: str, mutate: Callable[[random.Random], Mapping[str, bytes]], read: Callable[[Mapping[str, bytes]], Any]
) -> None:
    """Read mutated files for as long as the command line says, and keep whatever ends in anything but a result or an
    InputError of one line, once for each place where it goes wrong.

    Args:
        name: of the reader: kept files begin with it.
        mutate: makes the files of one input, by name.
        read: takes them.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    counts: Counter[str] = Counter()
    places = set()
    signal.signal(signal.SIGALRM, _too_slow)
    ends = time.monotonic() + arguments.seconds
    while time.monotonic() < ends:
        files = mutate(rng)
        counts["inputs"] += 1
        signal.alarm(SECONDS_EACH)
        try:
            counts[outcome(lambda: read(files))] += 1  # noqa: B023  (called at once)
        except BaseException as error:
            signal.alarm(0)
            if isinstance(error, KeyboardInterrupt):
                raise
            counts["findings"] += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = (type(error).__name__, frame.filename, frame.lineno)
            if where not in places:
                places.add(where)
                keep(name, files)
                print(traceback.format_exc()[-3000:])
        finally:
            signal.alarm(0)
    print(f"{name}, seed {arguments.seed}: {dict(counts)}, {len(places)} places")


def outcome(read: Callable[[], Any]) -> str:
    """ "refused" or "read"; anything else is raised."""
    try:
        read()
    except InputError as refused:
        text = str(refused)
        assert text.isprintable(), f"not a line: {text!r}"
        assert 10 < len(text) < 5000, f"{len(text)} characters: {text[:300]}"
        return "refused"
    return "read"


def keep(name: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a finding into ``found``, each as READER-HASH-NAME."""
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:8]
    FOUND.mkdir(exist_ok=True)
    for file, content in files.items():
        (FOUND / f"{name}-{digest}-{file}").write_bytes(content)
        print("kept", f"{name}-{digest}-{file}")


def kept(name: str) -> list[dict[str, bytes]]:
    """The files of every finding of a reader."""
    inputs: dict[str, dict[str, bytes]] = {}
    for path in sorted(FOUND.glob(f"{name}-*")):
        _, digest, file = path.name.split("-", 2)
        inputs.setdefault(digest, {})[file] = path.read_bytes()
    return list(inputs.values())


def _too_slow(*_: Any) -> None:
    raise TimeoutError(f"it takes longer than {SECONDS_EACH} seconds")

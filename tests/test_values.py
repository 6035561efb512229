"""Values of options: the type decides how a text is read, and a label is read back as what it stands for."""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PositiveInt

from lifegen.benchmark.cells.spec import Spec, configure
from lifegen.benchmark.cells.values import expected, read, split
from lifegen.benchmark.contracts.options import Options, schemas_of
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.errors import InputError


class Mode(Enum):
    """How."""

    FAST = "fast"
    HALF = "0.5"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Network(BaseModel):
    """A network."""

    width: PositiveInt = 8
    note: str = "a"
    mode: Mode = Mode.FAST
    inner: Network | None = None


class Needed(BaseModel):
    k: int


class Config(Options):
    mode: Mode = Mode.FAST
    level: Level = Level.LOW
    network: Network = Network()
    maybe: Network | None = None
    needed: Needed | None = None
    share: Literal["1/K", "0.5"] = "1/K"
    choice: Literal[1, "a", None] = 1
    text: str = "x"
    some_text: str | None = None
    either: int | str = 3
    number: int | float = 1
    rate: float = 0.1
    flag: bool = False
    words: list[str] = Field(["a"])
    list_or_text: str | list[str] = "sorted"
    pair: tuple[int, str] = (1, "a")
    table: dict[str, float] = Field({})
    texts: dict[str, str] = Field({})
    names: frozenset[str] = frozenset({"b", "a", "c"})
    most: Annotated[int | None, Field(ge=2)] = 2
    numbers: list[int] = Field(default_factory=lambda: [1, 2])
    modes: tuple[Mode, ...] = (Mode.FAST,)
    anything: Any = None


THING = IndexEntry("method", "thing", 1, "", "m", schemas_of(Config))


def chosen(text: str) -> Spec:
    """As ``choose`` reads the options behind a name."""
    parts = (part.partition("=") for part in split(text))
    return configure(THING, {key: read(value.strip(), THING.options[key]) for key, _, value in parts})


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("mode=0.5", "0.5", "mode=0.5"),
        ("mode=fast", "fast", ""),
        ("level=2", 2, "level=2"),
        ("share=0.5", "0.5", "share=0.5"),
        ('share="0.5"', "0.5", "share=0.5"),
        ("choice=1.0", 1, ""),
        ("choice=a", "a", "choice=a"),
        ("choice=null", None, "choice=null"),
        ("text=0.5", "0.5", "text=0.5"),
        ("text=null", "null", "text=null"),
        ("text=NaN", "NaN", "text=NaN"),
        ("text=[1,2]", "[1,2]", "text=[1,2]"),
        ('text="a,b=[c"', "a,b=[c", 'text="a,b=[c"'),
        ("text=a:b.py", "a:b.py", "text=a:b.py"),
        ("text=", "", "text="),
        ('text=" x"', " x", 'text=" x"'),
        ('text=it"s', 'it"s', 'text=it"s'),
        ("some_text=null", None, ""),
        ('some_text="null"', "null", 'some_text="null"'),
        ("either=4", 4, "either=4"),
        ('either="4"', "4", 'either="4"'),
        ("either=007", "007", "either=007"),
        ("number=2.5", 2.5, "number=2.5"),
        ("number=3.0", 3, "number=3"),
        ("rate=2", 2.0, "rate=2"),
        ("flag=true", True, "flag=true"),
        ("words=[0.5, b]", ["0.5", "b"], 'words=["0.5","b"]'),
        ('words=["a,b",{}, "["]', ["a,b", "{}", "["], 'words=["a,b","{}","["]'),
        ("list_or_text=[a,b]", ["a", "b"], 'list_or_text=["a","b"]'),
        ('list_or_text="[a,b]"', "[a,b]", 'list_or_text="[a,b]"'),
        ("pair=[2,3]", [2, "3"], 'pair=[2,"3"]'),
        ("table={b:2,a:1}", {"a": 1.0, "b": 2.0}, 'table={"a":1.0,"b":2.0}'),
        ('texts={"a":"b,c",d:{}}', {"a": "b,c", "d": "{}"}, 'texts={"a":"b,c","d":"{}"}'),
        ("names=[c,b,a]", ["a", "b", "c"], ""),
        ("numbers=[1,2]", [1, 2], ""),
        ("modes=[0.5,fast]", ["0.5", "fast"], 'modes=["0.5","fast"]'),
        ("network={}", {"width": 8, "note": "a", "mode": "fast", "inner": None}, ""),
        ("needed={k:1.0}", {"k": 1}, 'needed={"k":1}'),
        (
            'maybe={width:3,note:0.5,"mode":0.5}',
            {"width": 3, "note": "0.5", "mode": "0.5", "inner": None},
            'maybe={"width":3,"note":"0.5","mode":"0.5","inner":null}',
        ),
        ("anything=6.0", 6, "anything=6"),
    ],
)
def test_the_type_decides_how_a_text_is_read(text, value, label):
    key = text.partition("=")[0]
    found = chosen(text)
    assert json.dumps(found.config[key]) == json.dumps(value)  # 1, 1.0 and true are three values
    assert found.label.removeprefix("thing").removeprefix(":") == label
    Config.model_validate(found.config)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text('a0.5,:={}[]" \\én', max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text('a,:="', max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*THING.options]), VALUES, max_size=4))
def test_a_label_is_read_back_as_the_same_choice(given_options):
    try:
        found = configure(THING, given_options)
    except InputError:
        return
    again = chosen(found.label.partition(":")[2]) if ":" in found.label else configure(THING, {})
    assert again == found
    assert configure(THING, json.loads(json.dumps(found.config))) == found  # as a record has it


@given(st.text('a0.5,:={}[]" \\é', max_size=12))
def test_every_text_can_be_a_texts_value(text):
    found = configure(THING, {"text": text, "list_or_text": text, "some_text": text, "flag": True})
    assert chosen(found.label.partition(":")[2]) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode=slow", "option 'mode': 'slow' doesn't fit; expected: one of fast, 0.5"),
        ("share=0.25", "option 'share': 0.25 doesn't fit; expected: one of 1/K, 0.5"),
        ("choice=true", "option 'choice': True doesn't fit; expected: one of 1, a, null"),
        ("flag=1", "expected: boolean"),
        ("network={widht:3}", "unknown option of method 'thing': 'network.widht'.*mean 'network.width'"),
        ("network={width:-1}", "option 'network.width': -1 doesn't fit; expected: integer above 0"),
        ("network=3", "expected: {width: integer above 0, note: string, mode: one of fast, 0.5, inner: "),
        ("maybe={mode:slow}", "option 'maybe.mode': 'slow' doesn't fit; expected: one of fast, 0.5"),
        ("needed={}", "option 'needed': {} lacks k"),
        ("modes=[fast,slow]", r"option 'modes\[1\]': 'slow' doesn't fit"),
        ("pair=[a,b]", r"option 'pair\[0\]': 'a' doesn't fit; expected: integer"),
        ("pair=[1]", r"expected: \[integer, string\]"),
        ("table={a:x}", "option 'table.a': 'x' doesn't fit; expected: number"),
        ('table={"a":1,"a":2}', "doesn't fit; expected: {name: number, ...}"),
        ("names=[a,a]", "expected: list of string without repetition"),
        ("most=1", "expected: integer at least 2 or null"),
        ('texts={a:"\\n"}', "can't be printed"),
        ("number=1e400", "isn't a finite number"),
        ("numbers=[1", "'\\[1' doesn't fit; expected: list of integer"),
        *(("anything=" + "[" * depth + "]" * depth, "lie too deep") for depth in (31, 900)),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(text, message):
    with pytest.raises(InputError, match=message) as caught:
        chosen(text)
    assert str(caught.value).isprintable()


def test_an_option_without_a_default_must_be_given():
    class Must(Options):
        size: int

    thing = IndexEntry("method", "thing", 1, "", "m", schemas_of(Must))
    with pytest.raises(InputError, match=r"method 'thing' needs its option 'size': thing:size=\.\.\. \(integer\)"):
        configure(thing, {})
    assert configure(thing, {"size": 3}).label == "thing:size=3"


def test_schemas_are_complete_in_themselves_and_defaults_are_json():
    assert "$ref" not in json.dumps(THING.options)
    assert THING.options["names"]["default"] == ["a", "b", "c"]
    assert THING.options["numbers"]["default"] == [1, 2]
    assert THING.options["network"]["default"]["mode"] == "fast"
    assert "description" not in THING.options["mode"]  # its type's docstring isn't its meaning
    assert expected(THING.options["most"]) == "integer at least 2 or null"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("a=1,b=2", ["a=1", "b=2"]),
        ('a=[1,{"b":"]"}],c={d:[e,f]},g="h,\\"i"', ['a=[1,{"b":"]"}]', "c={d:[e,f]}", 'g="h,\\"i"']),
        ('a=it"s,b="', ['a=it"s', 'b="']),
        ("a=[b,c=}],d={[}", ["a=[b,c=}]", "d={[}"]),
        ("a=[b,c={d", ["a=[b", "c={d"]),
        ("," * 3, [""] * 4),
        ("[{" * 4000, ["[{" * 4000]),
    ],
)
def test_commas_within_brackets_and_quotes_separate_nothing(text, parts):
    assert split(text) == parts

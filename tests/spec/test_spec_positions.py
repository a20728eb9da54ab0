"""Spans: the text at the span of a value is that value, in TOML and JSON, for documents of any shape."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from n2nspec.diagnostics import Span
from n2nspec.spec import load
from n2nspec.spec.source import Source

SPECS = Path(__file__).parents[2] / "specs"

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=5)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        return [(path, value)]
    return [leaf for key, item in items for leaf in leaves(item, (*path, key))]


def cut(text: str, span: Span) -> str:
    """The text at a span, by the definition of its lines and columns."""
    lines = text.split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)


def check(source: Source, *, toml: bool) -> None:
    for path, value in leaves(source.document):
        place = source.places[path]
        shown = cut(source.text, place.value)
        assert (tomllib.loads(f"v = {shown}")["v"] if toml else json.loads(shown)) == value
        assert place.value.text == source.text.split("\n")[place.value.line - 1].removesuffix("\r")
        if isinstance(path[-1], str):
            key = cut(source.text, place.key)
            assert (next(iter(tomllib.loads(f"{key} = 0"))) if toml else json.loads(key)) == path[-1]


@given(documents)
def test_toml_spans(document: dict[str, Any]) -> None:
    text = tomli_w.dumps(document)
    check(Source(file="a.toml", text=text, document=tomllib.loads(text)), toml=True)


@given(documents, st.sampled_from([None, 1]))
def test_json_spans(document: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=indent is None)
    check(Source(file="a.json", text=text, document=json.loads(text)), toml=False)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_json_numbers(number: str) -> None:
    text = f'{{"1e+1 \\"": [{number}, {number} , "e+"], "b": {number}}}'
    check(Source(file="a.json", text=text, document=json.loads(text)), toml=False)


@pytest.mark.parametrize(
    "spelling",
    [
        "+1", "1_000", "0o17", "0b1", "0xdead_BEEF", "1e+16", "1E5", "-1.5e-3", "6.6_2e1_0", "-0", "-0.0",
        "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00.5-07:00", "1979-05-27T07:32:00", "1979-05-27",
        "07:32:00.999",
        '""', "''", r'"a\"b\\"', r"'a\'", r'"\U0001F600"', '""""""', '""""two quotes"""""', "''''quote''''",
        '"""\nfirst\nsecond"""', '"""one \\\n   line"""', "'''\r\nwindows\r\n'''", "[]", "[ ]", "{}", "{ }",
        "[\n# comment\n1 # comment\n,\n2,]", "[[],[[]]]", "{a.b=1, 'c'.d=2}", "[{}, {x = [ {y = 1} ]}]",
    ],
)  # fmt: skip
def test_toml_spellings(spelling: str) -> None:
    text = f"a = {spelling} # comment\nb = 1\n[t]\nc = [{spelling}]\nd = 2"
    check(Source(file="a.toml", text=text, document=tomllib.loads(text)), toml=True)


@pytest.mark.parametrize("path", sorted(SPECS.iterdir()), ids=lambda path: path.name)
def test_shipped_specs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    toml = path.suffix == ".toml"
    document = tomllib.loads(text) if toml else json.loads(text)
    check(Source(file=str(path), text=text, document=document), toml=toml)


EVERY_SHAPE = """\
# comment
top = 1
"quoted key" = [1, { x = 2, y.z = 3 }, # comment
  "三", [4, 5],
]
a.b . "c.d" = 'literal'
日 = 1
[t.u]   # comment
k = '''multi
line'''
[[list]]
n = 1
[list.sub]
z = 1979-05-27
[[list.deep]]
z = 2
[[list.deep]]
z = 3
[[list]]
n = 0x1F
t = "é\\t\\u00e9" # é
after = true
[[list.deep]]
z = 4
[list.deep.er]
f = 1e-3
[ "odd" . table ]
x = -1_000
""".replace("日 = 1\n", '"日" = 1\n')


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_shape_of_toml(ends: str) -> None:
    text = EVERY_SHAPE.replace("\n", ends)
    source = Source(file="a.toml", text=text, document=tomllib.loads(text))
    check(source, toml=True)
    places = source.places
    assert (places["list", 1, "after"].value.line, places["list", 1, "after"].value.column) == (22, 9)
    assert cut(text, places["list",].value) == "[[list]]"
    assert places["list", 1].value.line == 19
    assert cut(text, places["t", "u"].value) == "[t.u]"
    assert cut(text, places["t", "u"].key) == "u"
    assert cut(text, places["a", "b"].key) == "b"
    assert cut(text, places["list", 1, "deep", 0, "er"].value) == "[list.deep.er]"
    assert cut(text, places["quoted key", 1, "y"].key) == "y"


def test_columns_count_characters_not_bytes(tmp_path: Path) -> None:
    file = tmp_path / "wide.toml"
    file.write_text(
        'spec_version = 1\nname = "n"\ninput = { "x" = [3] }\n'
        'data = { val = "日本語 é", train = "t" }\nencoder = [{ type = "ReLU" }]\n',
        encoding="utf-8",
    )
    spec = load(file)
    val, train = spec.locate(("data", "val")), spec.locate(("data", "train"), key=True)
    assert val is not None
    assert train is not None
    assert (val.column, val.end_column, train.column) == (16, 23, 25)


def test_a_value_that_is_not_written_has_the_place_of_its_table() -> None:
    spec = load(SPECS / "n2n.toml")
    header = spec.locate(("encoder", 0))
    assert header is not None
    assert header.text == "[[encoder]]"
    assert spec.locate(("encoder", 0, "dilation")) == header
    assert spec.locate(("encoder", 0, "dilation", 1)) == header
    assert spec.locate(("nothing", "like", "it")) == spec.locate(())
    assert (
        load({"spec_version": 1, "name": "n", "input": {"x": [3]}, "encoder": [{"type": "ReLU"}]}).locate(())
        is None
    )


def test_every_place_of_a_text_can_be_listed() -> None:
    text = "a = 1\n[t]\nb.c = [1, { d = 2 }]\n[t.b.e]\nf = 3\n[[u]]\n"
    places = Source(file="a.toml", text=text, document=tomllib.loads(text)).places
    assert set(places) == {
        (), ("a",), ("t",), ("t", "b"), ("t", "b", "c"), ("t", "b", "c", 0), ("t", "b", "c", 1),
        ("t", "b", "c", 1, "d"), ("t", "b", "e"), ("t", "b", "e", "f"), ("u",), ("u", 0),
    }  # fmt: skip
    assert len(places) == 12
    assert (places["t", "b"].key.line, places["t", "b", "e"].value.line) == (3, 4)
    assert ("t", "q") not in places


def test_every_place_of_a_json_text_can_be_listed() -> None:
    text = '{"a": 1, "t": {"b": [1, {"d": 2}]}}'
    places = Source(file="a.json", text=text, document=json.loads(text)).places
    assert set(places) == {
        (), ("a",), ("t",), ("t", "b"), ("t", "b", 0), ("t", "b", 1), ("t", "b", 1, "d"),
    }  # fmt: skip
    assert len(places) == 7
    assert places["t", "b", 1, "d"].key.column == 26
    assert ("t", "b", 2) not in places
    assert ("a", "q") not in places

"""A misspelt key by which a layer is named, placed or made is one mistake: what it says is known."""

from __future__ import annotations

from typing import Any

import pytest
from language import conv, document

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph import check

RELU = {"type": "ReLU"}
BLOCK = {"params": ["ch"], "layers": [conv("${ch}", name="c"), {"type": "Add", "from": ["c", "c"]}]}


def diagnostics(source: Any) -> tuple[Diagnostic, ...]:
    try:
        check(source)
    except DiagnosticError as error:
        return error.diagnostics
    return ()


def told(source: Any) -> list[tuple[str, str, str]]:
    return [(diagnostic.code, diagnostic.path, diagnostic.help) for diagnostic in diagnostics(source)]


@pytest.mark.parametrize("key", ["nam", "naem", "Name", "names"])
def test_a_misspelt_name_is_not_missed(key: str) -> None:
    spec = document({**RELU, key: "a"}, RELU, {"type": "Add", "from": ["a", "relu1"]})
    assert told(spec) == [("E110", f"encoder[0].{key}", 'did you mean "name"?')]


@pytest.mark.parametrize("key", ["nam", "naem", "nme"])
def test_nor_is_that_of_a_block(key: str) -> None:
    uses = [{"block": "b", "ch": 3, key: "a"}, {"type": "Add", "from": ["a", "a.c"]}]
    found = diagnostics(document(*uses, blocks={"b": BLOCK}))
    assert [(d.code, d.path, d.help) for d in found] == [
        ("E123", f"encoder[0].{key}", 'did you mean "name"?')
    ]


def test_nor_inside_a_block_however_often_it_is_used() -> None:
    layers = [conv(4, nmae="a"), {"type": "Add", "from": ["a", "in"]}]
    use = {"block": "b", "from": "first"}
    spec = document(conv(4, padding=1, name="first"), use, use, blocks={"b": {"layers": layers}})
    assert ("E110", "blocks.b.layers[0].nmae", 'did you mean "name"?') in told(spec)
    assert not [code for code, _, _ in told(spec) if code == "E203"]


def test_what_is_read_under_a_misspelt_key_is_judged() -> None:
    spec = document(
        conv(4, name="a", padding=1),
        conv(6, name="b", padding=1),
        {"type": "Add", "form": ["a", "b"]},
        {"type": "Concat", "fom": ["a", "bb"]},
        {"block": "b", "form": ["a", "b"]},
        blocks={"b": {"layers": [{"type": "Concat", "from": ["in1", "in2"]}]}},
    )
    assert sorted((code, path) for code, path, _ in told(spec)) == [
        ("E110", "encoder[2].form"), ("E110", "encoder[3].fom"), ("E123", "encoder[4].form"),
        ("E203", "encoder[3].fom[1]"), ("E206", "encoder[2]"),
    ]  # fmt: skip


def test_a_layer_is_judged_under_a_misspelt_type_or_block() -> None:
    spec = document(
        {"typ": "MaxPool2d", "kernel_size": 0},
        {"blok": "b", "chh": 3, "name": "a"},
        {"type": "Add", "from": ["a", "a.c"]},
        blocks={"b": BLOCK},
    )
    assert told(spec) == [
        ("E110", "encoder[0].typ", 'did you mean "type"?'),
        ("E113", "encoder[0].kernel_size", "kernel_size: Height and width of the window."),
        ("E110", "encoder[1].blok", 'did you mean "block"?'),
        ("E123", "encoder[1].chh", 'did you mean "ch"?'),
    ]


def test_what_a_layer_is_tells_which_keys_it_has() -> None:
    layers = [
        {"nmae": "a", "typ": "ReLU"},
        {"nmae": "b", "blok": "b"},
        {"form": "a", "blok": "c", "chh": 3},
        {"type": "Add", "from": ["a", "b"]},
    ]
    spec = document(*layers, blocks={"b": {"layers": [RELU]}})
    assert sorted((code, path) for code, path, _ in told(spec)) == [
        ("E110", "encoder[0].nmae"), ("E110", "encoder[0].typ"), ("E110", "encoder[1].blok"),
        ("E110", "encoder[2].blok"), ("E122", "encoder[2].blok"), ("E123", "encoder[1].nmae"),
    ]  # fmt: skip


def test_a_misspelt_key_of_a_block_that_there_is_not() -> None:
    layers = [{"form": "a", "blok": "c", "name": "d", "shar": "e"}, {**RELU, "from": "d"}]
    assert [(code, path) for code, path, _ in told(document(*layers))] == [
        ("E110", "encoder[0].blok"), ("E122", "encoder[0].blok"),
    ]  # fmt: skip


def test_repetitions_are_counted_under_a_misspelt_key() -> None:
    spec = document({**RELU, "name": "a", "repeet": 3}, {"type": "Add", "from": ["a.1", "a.3"]})
    assert told(spec) == [("E110", "encoder[0].repeet", 'did you mean "repeat"?')]


@pytest.mark.parametrize("value", [3, ["a"], None, True, {}])
def test_what_cannot_be_a_name_is_none(value: Any) -> None:
    assert [code for code, _, _ in told(document({**RELU, "nam": value}))][:1] in (["E110"], ["E112"])


def test_a_key_that_is_there_is_not_given_again() -> None:
    spec = document({**RELU, "name": "a", "nam": "b"}, {**RELU, "nam": "c", "nme": "d", "from": "a"})
    assert [(code, path) for code, path, _ in told(spec)] == [
        ("E110", "encoder[0].nam"), ("E110", "encoder[1].nam"), ("E110", "encoder[1].nme"),
    ]  # fmt: skip

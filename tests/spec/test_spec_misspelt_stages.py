"""Layers under a misspelt stage are judged as those of the stage that was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from language import conv, document

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check

RELU = {"type": "ReLU"}


def told(source: Any) -> list[tuple[str, str]]:
    try:
        check(source)
    except DiagnosticError as error:
        return [(diagnostic.code, diagnostic.path) for diagnostic in error.diagnostics]
    return []


@pytest.mark.parametrize("key", ["encodr", "Encoder", "encoders", "layers", "network"])
def test_what_is_wrong_in_its_layers_is_told(key: str) -> None:
    layers = [
        {**RELU, "name": "a"},
        {"type": "Relu"},
        conv(4, paddin=1),
        conv(5, groups=2),
        conv(9, groups=9),
    ]
    spec = document(decoder=[{"type": "Add", "from": ["a", "b"]}], **{key: layers})
    assert sorted(told(spec)) == sorted([
        ("E110", key), ("E116", f"{key}[1].type"), ("E110", f"{key}[2].paddin"), ("E115", f"{key}[3].groups"),
        ("E203", "decoder[0].from[1]"),
    ])  # fmt: skip


def test_they_come_between_the_others_as_they_are_written(tmp_path: Path) -> None:
    layer = '[[{}]]\ntype = "Conv2d"\nout_channels = {}\ngroups = {}\nkernel_size = 3\n'
    chain = [("encoder", 6, 1), ("encodr", 12, 6), ("encoder", 24, 12), ("encodr", 48, 24), ("encoder", 5, 5)]
    text = 'spec_version = 1\nname = "n"\ninput.x = ["N", 3, "H", "W"]\n'
    file = tmp_path / "spec.toml"
    file.write_text(text + "".join(layer.format(*fields) for fields in chain), encoding="utf-8")
    assert told(file) == [("E110", "encodr"), ("E206", "encoder[2].groups")]


def test_without_a_text_their_order_is_not_known() -> None:
    layers = [conv(6, groups=4), conv(9, groups=9), conv(5, groups=5, **{"from": "x"})]
    assert told(document(conv(6, **{"from": "x"}), encodr=layers)) == [
        ("E110", "encodr"), ("E115", "encodr[0].groups"), ("E206", "encodr[2].groups"),
    ]  # fmt: skip


def test_they_change_those_of_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = document(conv(4, name="a"), decoder=[conv(5, groups=4)])
    Path("base.json").write_text(json.dumps(base), encoding="utf-8")
    change = {"name": "a", "out_channels": 3}
    spec = {"extends": "base.json", "encodr": [change, {"after": "b", **RELU}]}
    assert sorted(told(spec)) == [
        ("E110", "encodr"),
        ("E115", "decoder[0].groups"),
        ("E127", "encodr[1].after"),
    ]


@pytest.mark.parametrize("key", ["ecoder", "stages", "blocs"])
def test_what_may_be_another_one_holds_back_the_graph(key: str) -> None:
    spec = document(
        {**RELU, "from": "b"}, conv(4, paddin=1), **{key: [{**RELU, "name": "b"}, {"type": "Relu"}]}
    )
    assert sorted(told(spec)) == sorted([("E110", "encoder[1].paddin"), ("E110", key)])


def test_a_single_table_is_no_stage() -> None:
    assert told(document(RELU, decodr={"type": "Relu"})) == [("E110", "decodr")]

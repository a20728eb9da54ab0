"""An unreadable base, or a setting that leads nowhere, hides no mistake that does not depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from language import conv, document

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check
from n2nspec.spec import load, read_overrides

RELU = {"type": "ReLU"}


def told(source: Any, overrides: Any = None) -> list[tuple[str, str]]:
    try:
        check(source, overrides)
    except DiagnosticError as error:
        return [(diagnostic.code, diagnostic.path) for diagnostic in error.diagnostics]
    return []


CHILD = """\
extends = "base.toml"
colour = "red"
remove = ["drop1", "drop1"]

[vars]
half = "${width // 2}"
third = "${1 +}"

[defaults.Conv2d]
kernel_sise = 3
stride = "${width}"

[blocks.own]
params = ["ch"]
[[blocks.own.layers]]
type = "Conv2d"
out_channels = "${ch}"
paddin = 1
[[blocks.own.layers]]
type = "ReLU"
from = "nobody"

[blocks.base]
output = "last"

[[encoder]]
name = "conv1"
out_channels = 32

[[encoder]]
name = "conv2"
type = "Conv2d"
padding = -1

[[encoder]]
after = "conv7"
type = "Relu"

[[encoder]]
type = "OfThePluginOfTheBase"

[[encoder]]
type = "Conv2d"
from = ["conv2", "conv9"]
out_channels = 5
groups = 2
bias = "yes"

[[encoder]]
block = "base"
ch = 3

[[encoder]]
block = "of_the_base"
ch = 3

[[encoder]]
name = "use"
block = "own"

[[decoder]]
block = "own"
colour = 3
ch = 3

[[decoder]]
from = "conv2"

[output]
y = "last"

[require]
same_size = ["x", "conv2"]

[train]
epochs = "ten"
optimizer = { lr = "high" }
loss = { type = "MSE", size = 3 }
"""
OWN = [
    ("E110", "colour"),
    ("E127", "remove[1]"),
    ("E120", "vars.third"),
    ("E110", "defaults.Conv2d.kernel_sise"),
    ("E110", "blocks.own.layers[0].paddin"),
    ("E203", "blocks.own.layers[1].from"),
    ("E113", "encoder[1].padding"),
    ("E116", "encoder[2].type"),
    ("E115", "encoder[4].groups"),
    ("E112", "encoder[4].bias"),
    ("E123", "decoder[0].colour"),
    ("E111", "decoder[1].type"),
    ("E112", "train.epochs"),
    ("E110", "train.loss.size"),
]


@pytest.mark.parametrize(("base", "mistakes"), [
    (None, [("E124", "extends")]),
    ("name =\n[[[\n", [("E102", ""), ("E102", "")]),
    ('name = "b"\nextends = "none.toml"\nhight = 3\n', [("E124", "extends"), ("E110", "hight")]),
])  # fmt: skip
def test_the_own_mistakes_of_a_spec_are_told_without_its_base(
    base: str | None, mistakes: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if base is not None:
        Path("base.toml").write_text(base, encoding="utf-8")
    Path("spec.toml").write_text(CHILD, encoding="utf-8")
    found = told("spec.toml")
    assert [item for item in found if item in OWN] == OWN
    assert [item for item in found if item not in OWN] == mistakes


def test_a_sound_spec_has_no_mistake_but_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = {
        "extends": "none.json",
        "remove": ["a"],
        "encoder": [
            {"name": "b", "stride": 2},
            {"name": "c", "type": "Conv2d", "from": "b", "padding": "same"},
            {"after": "d", "type": "MaxPool2d"},
            {"block": "e", "f": "${g}"},
            {"name": "h", "repeat": 3},
            {"name": "c", "type": "Conv2d", "stride": 2},
        ],
        "blocks": {"i": {"layers": [{"type": "Conv2d"}, {"block": "e"}]}, "j": {"params": ["k"]}},
        "defaults": {"Conv2d": {"kernel_size": 3}, "OfAPluginOfTheBase": {"a": 3}},
        "output": {"y": "l"},
        "train": {"optimizer": {"nesterov": True}, "loss": {}},
        "data": {"patch": 32},
    }
    assert told(spec) == [("E124", "extends")]
    overrides = {"train.optimizer.momentum": 0.9, "encoder.m.stride": 2, "vars.n": 3, "data.noise.sigma": 1}
    assert told(spec, overrides) == [("E124", "extends")]
    assert told(spec, {"a b": 1, "train.epochs": "x"}) == [
        ("E124", "extends"),
        ("E117", "a b"),
        ("E112", "train.epochs"),
    ]


def test_what_a_base_of_another_kind_could_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.json").write_text(json.dumps(document(RELU)), encoding="utf-8")
    spec = {"train": {"epochs": "x"}}
    assert told(spec, {"extends": "base.json"}) == [("E112", "train.epochs"), ("E117", "extends")]
    with pytest.raises(DiagnosticError) as caught:
        load(spec, {"extends": "base.json"})
    assert len(caught.value.diagnostics) == 2


LOST: list[tuple[str, Any]] = [
    ("encoder.9.bias", False),
    ("encoder.nobody.bias", False),
    ("vars.qqqq", 3),
    ("a b", 3),
    ("name.x", 3),
]


@pytest.mark.parametrize(("key", "value"), LOST)
def test_a_setting_that_leads_nowhere_hides_nothing(key: str, value: Any) -> None:
    spec = document(
        conv(5, groups=2), conv(4, paddin=1), {**RELU, "from": "b"}, conv(9, groups=9, **{"from": "x"}),
        vars={"width": "${w}"}, train={"epochs": -1},
    )  # fmt: skip
    alone = told(spec)
    assert len(alone) == 6
    assert sorted(told(spec, {key: value, "train.seed": 0})) == sorted([*alone, ("E117", key)])


def test_what_it_was_meant_to_set_is_not_judged() -> None:
    spec = document(
        conv("${width}", name="conv1"), conv(4, groups=4), conv(5, name="last", groups=2, **{"from": "x"}),
        vars={"width": 3}, require={"check": ["${width == 4}"]}, train={"epochs": "${width}"},
    )  # fmt: skip
    assert told(spec, {"vars.widht": 4}) == [("E115", "encoder[2].groups"), ("E117", "vars.widht")]
    assert ("E115", "encoder[2].groups") not in told(spec, {"encoder.lasd.groups": 5})


def test_a_setting_without_a_value_is_told_beside_the_rest() -> None:
    spec = document(conv(4, paddin=1))
    found = told(spec, read_overrides(["train.epochs", "train.seed=-1", "=3"]))
    assert found == [("E110", "encoder[0].paddin"), ("E117", ""), ("E117", ""), ("E113", "train.seed")]
    assert told(document(RELU), read_overrides(["train.epochs"])) == [("E117", "")]

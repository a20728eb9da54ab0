"""Fields that contradict each other are told beside whatever else is wrong with their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language import conv, document

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check

RELU = {"type": "ReLU"}
POOL = {"type": "MaxPool2d", "kernel_size": 2}
UP = {"type": "TransposeConv2d", "out_channels": 5, "kernel_size": 3, "groups": 2}
SGD = {"type": "SGD", "lr": 0.1, "nesterov": True}


def told(source: Any, **options: Any) -> list[tuple[str, str]]:
    try:
        check(source, **options)
    except DiagnosticError as error:
        return [(diagnostic.code, diagnostic.path.rpartition(".")[2]) for diagnostic in error.diagnostics]
    return []


LAYERS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (conv(5, groups=2, bias="yes"), [("E112", "bias"), ("E115", "groups")]),
    (conv(5, groups=2, colour=3), [("E110", "colour"), ("E115", "groups")]),
    (conv(5, groups=2, padding="same", stride=2), [("E115", "groups"), ("E115", "padding")]),
    (conv(5, groups=2, padding="same", stride=0), [("E113", "stride"), ("E115", "groups")]),
    (conv(5, groups=2, name=3), [("E112", "name"), ("E115", "groups")]),
    (conv(5, groups=2, **{"from": 3}), [("E112", "from"), ("E115", "groups")]),
    ({"type": "Conv2d", "out_channels": 5, "groups": 2}, [("E111", "kernel_size"), ("E115", "groups")]),
    ({**POOL, "padding": 2, "stride": 0}, [("E113", "stride"), ("E115", "padding")]),
    ({**UP, "output_padding": 4}, [("E115", "groups"), ("E115", "output_padding")]),
    # what is held against each other may be what is wrong, or missing because a key is misspelt
    (conv("5", groups=2), [("E112", "out_channels")]),
    (conv(2**70, groups=3), [("E113", "out_channels")]),
    (conv(5, grups=2), [("E110", "grups")]),
    ({"type": "Conv2d", "filters": 5, "kernel_size": 3, "groups": 2}, [("E110", "filters")]),
    ({"type": "MaxPool2d", "kernel": 2, "padding": 2}, [("E110", "kernel")]),
]


@pytest.mark.parametrize(("layer", "mistakes"), LAYERS, ids=str)
def test_in_a_layer(layer: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    assert sorted(told(document(layer))) == sorted(mistakes)


@pytest.mark.parametrize(("optimizer", "mistakes"), [
    ({**SGD, "lr": "0.1"}, [("E115", "nesterov"), ("E112", "lr")]),
    ({**SGD, "dampening": 0.5}, [("E115", "nesterov"), ("E115", "dampening")]),
    ({**SGD, "momentum": -1, "dampening": 0.5}, [("E115", "dampening"), ("E113", "momentum")]),
    ({**SGD, "momentm": 0.9}, [("E110", "momentm")]),
], ids=str)  # fmt: skip
def test_in_the_optimizer(optimizer: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    assert sorted(told(document(RELU, train={"optimizer": optimizer}))) == sorted(mistakes)


def test_a_network_without_layers_is_told_beside_other_mistakes() -> None:
    empty = {key: value for key, value in document(RELU).items() if key != "encoder"}
    assert told({**empty, "train": {"epochs": -1}}) == [("E201", ""), ("E113", "epochs")]
    for key in ("encoder", "encodr", "layers", "stage"):  # there are some, or may be
        assert ("E201", "") not in told({**empty, key: [conv("3")], "train": {"epochs": -1}})


def test_a_block_is_told_once_and_its_uses_one_by_one() -> None:
    inner = [conv(5, groups=2, bias="yes"), conv("${ch}", groups=3, stride="2")]
    uses = [{"block": "b", "ch": ch} for ch in (3, 4, 6, 7)]
    blocks = {"b": {"params": ["ch"], "layers": inner}}
    assert sorted(told(document(*uses, blocks=blocks))) == [
        ("E112", "bias"), ("E112", "stride"), ("E115", "groups"), ("E115", "groups"),
    ]  # fmt: skip


def test_defaults_are_not_held_against_each_other() -> None:
    layers = conv(6), {"type": "Conv2d", "kernel_size": 3, "groups": 1, "bias": 1}
    spec = document(*layers, defaults={"Conv2d": {"out_channels": 5, "groups": 3}})
    assert told(spec) == [("E112", "bias")]
    spec = document(conv(4, bias=1), defaults={"Conv2d": {"groups": 3}})
    assert told(spec) == [("E112", "bias"), ("E115", "groups")]


PLUGIN = '''
from typing import Literal

from pydantic import Field, field_validator, model_validator

from n2nspec.layers import Case, LayerSpec


class OddSpec(LayerSpec):
    """Judged in many ways."""

    type: Literal["Odd"] = "Odd"
    a: int = Field(1, description="One.")
    b: int = Field(1, description="Two.")
    c: int = Field(1, description="Three.")

    CASES = (Case(inputs=((2, 3),)),)

    def forward(self, params, x):
        return x, None

    def backward(self, params, saved, gy, needs):
        return (gy,), {}

    @field_validator("c")
    @classmethod
    def _double(cls, c):
        return 2 * c

    @model_validator(mode="after")
    def _ascending(self):
        if self.a > self.b:
            raise ValueError("a is more than b")
        return self

    @model_validator(mode="after")
    def _odd(self):
        assert self.b % 2, "b is even"
        return self

    @model_validator(mode="after")
    def _small(self):
        if self.c == 1:
            raise ValueError("pydantic never gives this value")
        return self

    @model_validator(mode="after")
    def _broken(self):
        return self if isinstance(self.b, int) and self.b < 100 else self.nothing
'''


def test_the_validators_of_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(PLUGIN, encoding="utf-8")

    def messages(layer: dict[str, Any]) -> list[str]:
        spec = document({"type": "Odd", **layer}, plugins=["odd.py"])
        with pytest.raises(DiagnosticError) as caught:
            check(spec, allow_plugins=True, folder=tmp_path)
        return [diagnostic.message.rpartition(": ")[2] for diagnostic in caught.value.diagnostics]

    wrong = 'unknown key "colour" in Odd'
    assert messages({"a": 3, "colour": 3}) == ["a is more than b", wrong]
    assert messages({"b": 2, "colour": 3}) == ["assertion failed, b is even", wrong]
    assert messages({"a": "3.5", "b": 2})[0] == "assertion failed, b is even"
    assert messages({"b": 101, "colour": 3}) == [wrong]

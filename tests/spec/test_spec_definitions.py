"""Mistakes in what nothing uses, and mistakes that are copied many times: each is told, and told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language import conv, document, problems, refused

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import build, check, size_values, warnings_at
from n2nspec.spec import load
from n2nspec.spec.expand import ENOUGH
from n2nspec.spec.flatten import flatten, gather
from n2nspec.spec.source import wrap
from n2nspec.spec.trace import UNKNOWN, Problems

RELU = {"type": "ReLU"}


def spare(*layers: dict[str, Any], **block: Any) -> dict[str, Any]:
    """A spec with a block that nothing uses."""
    return document(RELU, blocks={"b": {"layers": list(layers), **block}})


LAYER = "blocks.b.layers[0]"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (spare(conv(-1)), [("E113", f"{LAYER}.out_channels")]),
        (spare(conv("4")), [("E112", f"{LAYER}.out_channels")]),
        (spare(conv("${ch}", pading=1), params=["ch"]), [("E110", f"{LAYER}.pading")]),
        (spare(conv("${ch}", padding=-1), params=["ch"]), [("E113", f"{LAYER}.padding")]),
        (spare(conv(4, groups=3)), [("E115", f"{LAYER}.groups")]),
        (spare({"type": "Conv2d", "out_channels": 3}), [("E111", f"{LAYER}.kernel_size")]),
        (spare(conv(3, padding=None)), [("E112", f"{LAYER}.padding")]),
        (spare({"type": "RELU"}, {**RELU, "from": "relu1"}), [("E116", f"{LAYER}.type")]),
        (spare({"block": "c"}), [("E122", f"{LAYER}.block")]),
        (spare({"block": "c"}, {**RELU, "from": "nothing"}),
         [("E122", f"{LAYER}.block"), ("E203", "blocks.b.layers[1].from")]),
        (spare(conv("${ch +}"), params=["ch"]), [("E120", f"{LAYER}.out_channels")]),
        (spare(conv("${ch // 0}"), params=["ch"]), [("E120", f"{LAYER}.out_channels")]),
        (spare(conv("${ch + hc}"), params=["ch"]), [("E121", f"{LAYER}.out_channels")]),
        (spare({**RELU, "name": "${ch}_${hc}"}, params=["ch"]), [("E121", f"{LAYER}.name")]),
        (spare(conv("${ch}"), params=[{"ch": "${w}"}]), [("E121", "blocks.b.params[0].ch")]),
        (spare(conv("${ch}"), params=[{"ch": None}]), [("E112", "blocks.b.params[0].ch")]),
        ({**spare(conv("${w}")), "vars": {"w": -1}}, [("E113", f"{LAYER}.out_channels")]),
        (spare({**RELU, "repeat": "${n}", "name": "r"}, {**RELU, "from": ["r.7", "s.7"]}, params=["n"]),
         [("E203", "blocks.b.layers[1].from[1]")]),
        (spare({**RELU, "repeat": 10**9}), [("E125", f"{LAYER}.repeat")]),
        # mistakes in the block itself hide none in its layers, and none follows from them
        (spare(conv("${ch}", pading=1), parms=["ch"]),
         [("E110", "blocks.b.parms"), ("E110", f"{LAYER}.pading")]),
        (spare(conv(-1, name="a"), conv(1, name="a")),
         [("E113", f"{LAYER}.out_channels"), ("E202", "blocks.b.layers[1].name")]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_block_that_nothing_uses(
    source: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert problems(source) == expected


def test_blocks_that_only_unused_ones_use() -> None:
    inner = {"params": ["ch"], "layers": [conv("${ch}", name="c")]}
    layers = [
        {"block": "inner", "ch": -1, "name": "u", "from": "un"}, {**RELU, "from": "u.c"},
        {**RELU, "from": "u.d"}, {"block": "inner", "chh": 1}, {"block": "inner"},
    ]  # fmt: skip
    source = document(RELU, blocks={"outer": {"layers": layers}, "inner": inner})
    assert sorted(problems(source)) == [
        ("E113", "blocks.inner.layers[0].out_channels"), ("E123", "blocks.outer.layers[3].chh"),
        ("E123", "blocks.outer.layers[4].block"), ("E203", "blocks.outer.layers[0].from"),
        ("E203", "blocks.outer.layers[2].from"),
    ]  # fmt: skip


def test_circles_and_bombs_that_nothing_uses() -> None:
    circle = {"b": {"layers": [{"block": "c"}]}, "c": {"layers": [{"block": "b"}]}}
    assert problems(document(RELU, blocks=circle)) == [("E123", "blocks.c.layers[0].block")]
    # one mistake, from whichever side it is entered
    assert problems(document({"block": "b"}, {"block": "c"}, blocks=circle)) == [
        ("E123", "blocks.c.layers[0].block")
    ]
    assert problems(document({"block": "c"}, blocks=circle)) == [("E123", "blocks.b.layers[0].block")]
    bomb = {f"b{i}": {"layers": [{"block": f"b{i + 1}"}] * 2} for i in range(30)}
    assert problems(document(RELU, blocks={**bomb, "b30": {"layers": [RELU]}})) == [("E125", "blocks.b14")]


@pytest.mark.parametrize(
    "source",
    [
        spare({"type": "${t}", "kernel": 3}, {**RELU, "from": "relu1"}, params=["t"]),
        spare(conv("${ch}", groups="${g}"), params=["ch", {"g": 4}]),
        spare({**RELU, "name": "${a}"}, {**RELU, "from": "anything"}, params=["a"]),
        spare({**RELU, "repeat": "${n}"}, {**RELU, "from": "relu7"}, params=["n"]),
        spare({**RELU, "from": ["in1", "in3"]}),
        spare({"block": "${b}", "q": 1}, {**RELU, "from": "double3.c"}, params=["b"]),
        spare(conv("${ch // n}"), params=["ch", "n"]),
        spare({**RELU, "from": "${f}", "repeat": 500}, {**RELU, "from": "relu450"}, params=["f"]),
        spare({"type": "Conv2d", "out_channels": 3}) | {"defaults": {"Conv2d": {"kernel_size": 3}}},
        document(RELU, defaults={"Conv2d": {"padding": "same", "stride": 2}}),
    ],
)
def test_what_a_use_could_make_right_is_no_mistake(source: dict[str, Any]) -> None:
    assert {warning.code for warning in load(source).warnings} <= {"W210", "W211", "W212"}


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({"Conv2d": {"padding": -1}}, [("E113", "defaults.Conv2d.padding")]),
        ({"Sigmoid": {}, "Linear": {"bias": 3}}, [("E112", "defaults.Linear.bias")]),
        ({"Conv2d": {"padding_mode": "mirror"}}, [("E114", "defaults.Conv2d.padding_mode")]),
        ({"Conv2d": {"padding": None}}, [("E112", "defaults.Conv2d.padding")]),
    ],
)
def test_mistakes_in_defaults_that_no_layer_takes(
    defaults: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert problems(document(RELU, defaults=defaults)) == expected
    own = {"padding": 1, "padding_mode": "zeros"}
    assert problems(document(conv(3, **own), defaults=defaults)) == expected


def test_one_mistake_is_told_once_whether_or_not_it_is_used_as_well(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    text = (
        'spec_version = 1\nname = "n"\ninput.x = ["N", 3, "H", "W"]\nvars.w = -1\ndefaults.Linear.bias = 2\n'
        '[[blocks.b.layers]]\ntype = "Conv2d"\nout_channels = "${w}"\nkernel_sise = 3\n'
    )
    file.write_text(text + '[[encoder]]\ntype = "Conv2d"\nout_channels = "${w}"\nkernel_size = 3\n')
    assert [(d.code, d.span and d.span.line, [label.text for label in d.labels]) for d in refused(file)] == [
        ("E112", 5, []), ("E110", 9, []), ("E113", 12, ["w is -1"]),
    ]  # fmt: skip
    file.write_text(text + '[[encoder]]\nblock = "b"\n')
    shown = [(d.code, d.span and d.span.line, [label.text for label in d.labels]) for d in refused(file)]
    use = 'block "b", used here (b1)'
    assert shown == [("E112", 5, []), ("E113", 8, ["w is -1", use]), ("E110", 9, [use])]


MANY = 10_000
BROKEN = {"b": {"layers": [conv(3, pading=1), RELU]}}


@pytest.mark.parametrize(
    "encoder",
    [
        [{"block": "b", "repeat": MANY}],
        [{"block": "b", "repeat": MANY, "name": "e"}, {**RELU, "from": f"e.{MANY}.relu1"}],
        [{"block": "b"}] * MANY,
        [{"block": "many"}],
        [{"block": "b"}, conv(3, repeat=MANY)],
    ],
)
def test_what_is_wrong_is_not_copied_without_end(encoder: list[dict[str, Any]]) -> None:
    many = {"layers": [{"block": "b", "repeat": MANY}]}
    source = document(*encoder, blocks={**BROKEN, "many": many}, train={"epochs": -1})
    assert sorted(problems(source)) == [("E110", "blocks.b.layers[0].pading"), ("E113", "train.epochs")]
    flat = flatten(gather(wrap(source), {}, Problems()), Problems())
    assert flat.document is not None
    assert len(flat.document.value["encoder"]) <= ENOUGH + len(encoder)
    assert UNKNOWN in [layer["type"] for layer in flat.document.value["encoder"]]  # in place of the rest


def test_neither_is_a_wrong_layer_that_is_repeated() -> None:
    source = document(conv(3, pading=1, repeat=MANY))
    assert problems(source) == [("E110", "encoder[0].pading")]
    flat = flatten(gather(wrap(source), {}, Problems()), Problems())
    assert flat.document is not None
    assert len(flat.document.value["encoder"]) <= ENOUGH


def test_a_mistake_in_a_definition_hides_none_in_the_graph() -> None:
    source = document({"block": "b"}, conv(6, groups=5, name="c"), blocks=BROKEN)
    source["encoder"].append({**RELU, "from": "nothing"})
    spare_too = {**source, "blocks": {"b": {"layers": [RELU]}, "spare": BROKEN["b"]}}
    with pytest.raises(DiagnosticError) as caught:
        check(spare_too)
    assert [(found.code, found.path) for found in caught.value.diagnostics] == [
        ("E115", "encoder[1].groups"), ("E203", "encoder[2].from"), ("E110", "blocks.spare.layers[0].pading"),
    ]  # fmt: skip


def test_misspelt_parameters_are_one_mistake() -> None:
    blocks = {"b": {"params": ["ch"], "layers": [conv("${ch}")]}}
    (found,) = refused(document({"block": "b", "chh": 3, "name": "e"}, blocks=blocks))
    assert (found.code, found.help) == ("E123", 'did you mean "ch"?')
    (found,) = refused(document({"block": "b", "params": {"ch": 3}}, blocks=blocks))
    assert (found.code, found.path) == ("E123", "encoder[0].params")
    assert "beside `block`" in found.help


WARNED = """\
spec_version = 1
name = "n"
input.x = ["N", 3, "H", "W"]
[[blocks.b.layers]]
type = "ReLU"
[[blocks.b.layers]]
type = "ReLU"
[[blocks.b.layers]]
name = "c"
type = "Conv2d"
out_channels = 3
kernel_size = 3
stride = 2
[[blocks.b.layers]]
type = "Sigmoid"
from = "c"
[[blocks.b.layers]]
type = "Identity"
from = "c"
[[encoder]]
block = "b"
repeat = 3
"""


def test_a_warning_is_told_once_for_each_place_in_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(WARNED)
    graph = check(file)
    places = [(warning.code, warning.span and warning.span.line) for warning in graph.warnings]
    assert places == [("W202", 6), ("W201", 14)]
    assert [warning.code for warning in build(load(file)).warnings] == ["W201"]
    at_30 = warnings_at(graph, size_values(graph, (30, 30), 1))  # 30, 14 and 6: a row is left each time
    assert [(warning.code, warning.span and warning.span.line) for warning in at_30] == [
        ("W202", 6), ("W203", 13), ("W201", 14),
    ]  # fmt: skip

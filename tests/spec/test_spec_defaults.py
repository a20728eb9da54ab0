"""`[defaults.TYPE]`, and the warnings about what nothing uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language import conv, document, flat, problems, refused

from n2nspec.spec import load

RELU = {"type": "ReLU"}
UP = {"out_channels": 3, "kernel_size": 3}


def test_defaults_fill_what_a_layer_leaves_out() -> None:
    written = document(
        conv(), conv(padding=0), {"type": "Conv2d", "out_channels": 2}, {"block": "b"}, RELU,
        defaults={"Conv2d": {"padding": "${p}", "kernel_size": [5, 3]}},
        vars={"p": 1}, blocks={"b": {"params": {"t": "Conv2d"}, "layers": [
            {"type": "${t}", "out_channels": 1}]}},
        decoder=[conv(stride=2)],
    )  # fmt: skip
    spec = flat(written)
    shown = [
        (layer.get("kernel_size"), layer.get("padding")) for layer in [*spec["encoder"], *spec["decoder"]]
    ]
    assert shown == [(3, 1), (3, 0), ([5, 3], 1), ([5, 3], 1), (None, None), (3, 1)]


def test_aliases_share_defaults_and_the_own_spelling_comes_first() -> None:
    layers = [{"type": "TransposeConv2d", **UP}, {"type": "ConvTranspose2d", **UP}]
    shared = flat(document(*layers, defaults={"ConvTranspose2d": {"stride": 2}}))["encoder"]
    assert [layer["stride"] for layer in shared] == [2, 2]
    both = {"ConvTranspose2d": {"stride": 2, "padding": 1}, "TransposeConv2d": {"stride": 3, "bias": False}}
    first, second = flat(document(*layers, defaults=both))["encoder"]
    assert (first["stride"], first["padding"], first["bias"]) == (3, 1, False)
    assert (second["stride"], second["padding"], second["bias"]) == (2, 1, False)


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ([], [("E112", "defaults")]),
        ({"Conv2d": 1}, [("E112", "defaults.Conv2d")]),
        ({"conv2d": {}}, [("E116", "defaults.conv2d")]),
        ({"Conv2d": {"pading": 1}}, [("E110", "defaults.Conv2d.pading")]),
        ({"Conv2d": {"in_channels": 1}}, [("E110", "defaults.Conv2d.in_channels")]),
        ({"Conv2d": {"name": "c"}}, [("E110", "defaults.Conv2d.name")]),
        ({"Conv2d": {"from": "x"}}, [("E110", "defaults.Conv2d.from")]),
        ({"Conv2d": {"repeat": 2}}, [("E110", "defaults.Conv2d.repeat")]),
        ({"Conv2d": {"padding": -1}}, [("E113", "defaults.Conv2d.padding")]),
        ({"Conv2d": {"padding": "some"}}, [("E114", "defaults.Conv2d.padding")]),
        ({"Conv2d": {"padding": [1, "x"]}}, [("E112", "defaults.Conv2d.padding[1]")]),
        ({"Conv2d": {"padding": None}}, [("E112", "defaults.Conv2d.padding")]),
        ({"Conv2d": {"padding": "${q}"}}, [("E121", "defaults.Conv2d.padding")]),
        ({"Conv2d": {"stride": 0}, "ReLU": {"inplce": True}},
         [("E113", "defaults.Conv2d.stride"), ("E110", "defaults.ReLU.inplce")]),
    ],
)  # fmt: skip
def test_one_mistake_in_defaults_is_one_diagnostic(defaults: Any, expected: list[tuple[str, str]]) -> None:
    found = problems(document(conv(), conv(), RELU, conv(), defaults=defaults))
    assert sorted(found) == sorted(expected)


def test_a_bad_default_points_at_itself_and_at_a_layer(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "n"\ninput.x = [3, 8, 8]\ndefaults.Conv2d.padding = -1\n'
        + 3 * '[[encoder]]\ntype = "Conv2d"\nout_channels = 1\nkernel_size = 1\n'
    )
    (found,) = refused(file)
    assert found.span is not None
    assert (found.span.line, found.span.column) == (4, 27)
    assert [(label.text, label.span.line) for label in found.labels] == [("for this layer", 5)]


USE = {"block": "b", "ch": 1}
BLOCK = {"params": ["ch", {"k": 3}], "layers": [conv("${ch}", kernel_size="${k}")]}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"vars": {"a": 4}}, [("W210", "vars.a")]),
        ({"vars": {"a": 4, "b": "${a}"}}, [("W210", "vars.b")]),
        ({"vars": {"a": 4, "b": 4}, "require": {"check": ["${a == b}"]}}, []),
        ({"vars": {"a": 4}, "description": "$${a}"}, [("W210", "vars.a")]),
        ({"vars": {"a": 4}, "description": "of ${a}"}, []),
        ({"vars": {"a": 4}, "blocks": {"b": {"layers": [conv("${a}")]}}}, [("W211", "blocks.b")]),
        ({"vars": {"ch": 4}, "encoder": [USE], "blocks": {"b": BLOCK}}, [("W210", "vars.ch")]),
        ({"encoder": [USE], "blocks": {"b": {**BLOCK, "params": ["ch", "k"]}}}, None),
        ({"encoder": [USE], "blocks": {"b": {**BLOCK, "params": [{"k": 1, "q": 2}, "ch"]}}},
         [("W210", "blocks.b.params[0].q")]),
        ({"encoder": [{"block": "b", "n": 1}], "blocks": {"b": {"params": {"n": 1}, "layers": [RELU]}}},
         [("W210", "blocks.b.params.n")]),
        ({"blocks": {"b": {"layers": [{"block": "c"}]}, "c": {"layers": [RELU]}}}, [("W211", "blocks.b")]),
        ({"encoder": [{"block": "b", "kind": "c"}], "blocks": {
            "b": {"params": ["kind"], "layers": [{"block": "${kind}"}]}, "c": {"layers": [RELU]}}}, []),
        ({"defaults": {"Conv2d": {"padding": 1}}}, [("W212", "defaults.Conv2d")]),
        ({"defaults": {"ReLU": {}}}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_what_nothing_uses_is_a_warning(
    others: dict[str, Any], expected: list[tuple[str, str]] | None
) -> None:
    source = {**document(RELU), **others}
    if expected is None:
        assert problems(source) == [("E123", "encoder[0].block")]
    else:
        assert [(found.code, found.path) for found in load(source).warnings] == expected

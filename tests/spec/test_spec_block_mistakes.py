"""Blocks and their uses, every way to be wrong: one mistake is told once, where the author made it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from language import conv, document, problems, refused

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check
from n2nspec.spec import load

RELU = {"type": "ReLU"}
ADD = {"type": "Identity"}  # any layer: how many inputs it takes is the graph's matter
DOUBLE = {
    "params": ["ch", {"k": 3}],
    "layers": [conv("${ch}", kernel_size="${k}", name="conv1"), RELU, conv("${2*ch}"), RELU],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"block": "duoble"}, [("E122", "encoder[0].block")]),
        ({"block": 3}, [("E112", "encoder[0].block")]),
        ({"block": "${ch}"}, [("E121", "encoder[0].block")]),
        ({"type": "ReLU"}, [("E123", "encoder[0].block")]),
        ({"ch": None}, [("E112", "encoder[0].ch")]),
        ({"ch": -1}, [("E113", "blocks.double.layers[0].out_channels")]),
        ({"ch": "${w}"}, [("E121", "encoder[0].ch")]),
        ({"q": 1}, [("E123", "encoder[0].q")]),
        ({"kernel_size": 1}, [("E123", "encoder[0].kernel_size")]),
        ({"name": "a.b"}, [("E118", "encoder[0].name")]),
        ({"name": "a b"}, [("E118", "encoder[0].name")]),
        ({"name": 3}, [("E112", "encoder[0].name")]),
        ({"name": "x"}, [("E202", "encoder[0].name")]),
        ({"name": "r"}, [("E202", "encoder[1].name")]),
        ({"name": "n" * 101}, [("E118", "encoder[0].name")]),
        ({"from": "y"}, [("E203", "encoder[0].from")]),
        ({"from": ["x", "y"]}, [("E203", "encoder[0].from[1]")]),
        ({"from": "r.a"}, [("E203", "encoder[0].from")]),
        ({"from": []}, [("E113", "encoder[0].from")]),
        ({"from": [""]}, [("E113", "encoder[0].from[0]")]),
        ({"from": 3}, [("E112", "encoder[0].from")]),
        ({"from": "${w}"}, [("E121", "encoder[0].from")]),
        ({"repeat": 0}, [("E113", "encoder[0].repeat")]),
        ({"repeat": -1}, [("E113", "encoder[0].repeat")]),
        ({"repeat": 1.0}, [("E112", "encoder[0].repeat")]),
        ({"repeat": True}, [("E112", "encoder[0].repeat")]),
        ({"repeat": "${w}"}, [("E121", "encoder[0].repeat")]),
        ({"repeat": 10**30}, [("E125", "encoder[0]")]),
    ],
)
def test_one_mistake_in_a_use_is_one_diagnostic(
    change: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    use = {"block": "double", "ch": 4, "name": "e1", **change}
    source = document(use, {**RELU, "name": "r"}, {**ADD, "from": ["r", use["name"]]}
                      if isinstance(use["name"], str) and "." not in use["name"] else RELU,
                      blocks={"double": DOUBLE})  # fmt: skip
    assert problems(source) == expected


def test_a_parameter_that_is_not_given() -> None:
    (found,) = refused(
        document({"block": "double"}, {**RELU, "from": "double1.conv1"}, blocks={"double": DOUBLE})
    )
    assert (found.code, found.path, found.help) == ("E123", "encoder[0].block", "add ch = …")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([], [("E112", "blocks")]),
        ({"b": []}, [("E112", "blocks.b")]),
        ({"b": {}}, [("E111", "blocks.b")]),
        ({"b": {"layers": []}}, [("E113", "blocks.b.layers")]),
        ({"b": {"layers": RELU}}, [("E112", "blocks.b.layers")]),
        ({"b": {"layers": ["ReLU"]}}, [("E112", "blocks.b.layers[0]")]),
        ({"b": {"layer": [RELU]}}, [("E110", "blocks.b.layer")]),
        ({"b": {"layers": [RELU], "parms": []}}, [("E110", "blocks.b.parms")]),
        ({"b": {"layers": [RELU], "params": "k"}}, [("E112", "blocks.b.params")]),
        ({"b": {"layers": [RELU], "params": [3]}}, [("E112", "blocks.b.params[0]")]),
        ({"b": {"layers": [RELU], "params": ["a-b"]}}, [("E118", "blocks.b.params[0]")]),
        ({"b": {"layers": [RELU], "params": {"from": 1}}}, [("E118", "blocks.b.params.from")]),
        ({"b": {"layers": [RELU], "params": ["k", {"k": 1}]}}, [("E123", "blocks.b.params[1].k")]),
        ({"b": {"layers": [RELU], "params": [{"k": "${j}"}]}}, [("E121", "blocks.b.params[0].k")]),
        ({"b": {"layers": [RELU], "output": "relu2"}}, [("E203", "blocks.b.output")]),
        ({"b": {"layers": [RELU], "output": 3}}, [("E112", "blocks.b.output")]),
        ({"b": {"layers": [{**RELU, "name": "in"}]}}, [("E118", "blocks.b.layers[0].name")]),
        ({"b": {"layers": [{**RELU, "name": "in2"}]}}, [("E118", "blocks.b.layers[0].name")]),
        ({"b": {"layers": [{**RELU, "name": "a.b"}]}}, [("E118", "blocks.b.layers[0].name")]),
        ({"b": {"layers": [{**RELU, "name": 3}]}}, [("E112", "blocks.b.layers[0].name")]),
        ({"b": {"layers": [{**RELU, "name": "a"}] * 2}}, [("E202", "blocks.b.layers[1].name")]),
        ({"b": {"layers": [{**RELU, "name": "a${1}"}] * 2}}, [("E202", "blocks.b.layers[1].name")]),
        ({"b": {"layers": [{**RELU, "from": "r"}]}}, [("E203", "blocks.b.layers[0].from")]),
        ({"b": {"layers": [{**RELU, "from": "in2"}]}}, [("E203", "blocks.b.layers[0].from")]),
        ({"b": {"layers": [{**RELU, "from": ["in", "relu3"]}]}}, [("E203", "blocks.b.layers[0].from[1]")]),
        ({"b": {"layers": [{**RELU, "from": [3]}]}}, [("E112", "blocks.b.layers[0].from[0]")]),
        ({"b": {"layers": [{**RELU, "repeat": "x"}]}}, [("E112", "blocks.b.layers[0].repeat")]),
        ({"b": {"layers": [{**RELU, "after": "r"}]}}, [("E110", "blocks.b.layers[0].after")]),
        ({"b": {"layers": [{"typ": "ReLU"}]}}, [("E110", "blocks.b.layers[0].typ")]),
        ({"b": {"layers": [{"blok": "c"}]}, "c": {"layers": [RELU]}}, [("E110", "blocks.b.layers[0].blok")]),
        ({"b": {"layers": [{"block": "b"}]}}, [("E123", "blocks.b.layers[0].block")]),
        ({"b": {"layers": [{"block": "c"}]}, "c": {"layers": [RELU, {"block": "b"}]}},
         [("E123", "blocks.c.layers[1].block")]),
        ({"b": {"layers": [RELU]}, "relu": {"layers": [RELU]}}, [("E118", "blocks.relu")]),
        ({"b": {"layers": [RELU]}, "a b": {"layers": [RELU]}}, [("E118", 'blocks."a b"')]),
    ],
)  # fmt: skip
def test_one_mistake_in_a_block_is_one_diagnostic(blocks: Any, expected: list[tuple[str, str]]) -> None:
    if "'from': 'in2'" not in str(blocks):  # how much a block reads is known when it is used
        assert problems(document({**RELU, "name": "r"}, blocks=blocks)) == expected
    uses = [{"block": "b", "repeat": 50}, {"block": "b", "name": "e"}]
    source = document({**RELU, "name": "r"}, *uses, {**RELU, "from": "e"}, blocks=blocks)
    found = problems(source)
    if blocks == []:
        found = [problem for problem in found if problem[0] != "E122"]
    assert found == expected


def test_helps() -> None:
    block = {"layers": [{**RELU, "name": "first"}, {**RELU, "from": "frist"}, {**RELU, "from": "r"}]}
    first, second = refused(document({**RELU, "name": "r"}, {"block": "b"}, blocks={"b": block}))
    assert first.help == 'did you mean "first"?'
    assert "what its use names in `from`" in second.help
    block = {"layers": [{**RELU, "name": "first"}]}
    uses = [{"block": "b", "name": "e"}, {**RELU, "from": "e.frist"}, {**RELU, "from": "f"}]
    first, second = refused(document(*uses, blocks={"b": block}))
    assert (first.message, first.help) == ('there is no layer "frist" in "e"', 'did you mean "first"?')
    assert "e.first" in second.help


def test_an_unknown_name_hides_no_mistake_in_the_graph() -> None:
    source = document(
        {"block": "b", "name": "e"}, {**RELU, "from": "e.c9"}, conv(6, groups=3), {**RELU, "from": "nothing"},
        blocks={"b": {"layers": [conv(name="c")]}},
    )  # fmt: skip
    with pytest.raises(DiagnosticError) as caught:
        check({**source, "encoder": [{"block": "b", "name": "d"}, conv(6, groups=3), *source["encoder"]]})
    assert [(found.code, found.path) for found in caught.value.diagnostics] == [
        ("E206", "encoder[1].groups"), ("E203", "encoder[3].from"), ("E203", "encoder[5].from"),
    ]  # fmt: skip


def chain(count: int, entries: Any, last: Any, **others: Any) -> dict[str, Any]:
    """Blocks b0, b1, … each of which has the entries for the next one; the last one has `last`."""
    blocks = {f"b{i}": {"layers": entries(f"b{i + 1}"), **others} for i in range(count)}
    return {**blocks, f"b{count}": {"layers": last, **others}}


@pytest.mark.parametrize(
    "source",
    [
        document(conv(name="c", repeat=100_001)),
        document(conv(name="c", repeat=2**62)),
        document(conv(repeat=60_000), conv(repeat=60_000)),
        document({"block": "b0"}, blocks=chain(30, lambda b: [{"block": b}] * 2, [RELU])),
        document({"block": "b0"}, blocks=chain(9, lambda b: [{"block": b, "repeat": 99}], [RELU])),
        document({"block": "b0", "repeat": 99_999}, blocks=chain(31, lambda b: [{"block": b}], [RELU])),
        document({"block": "b0"}, blocks=chain(40, lambda b: [{"block": b}], [RELU])),
        document(
            {"block": "b0", "s": "word"},
            blocks=chain(30, lambda b: [{"block": b, "s": "${s}${s}"}], [{"type": "${s}"}], params=["s"]),
        ),
        document(
            {"block": "b0", "s": [1]},
            blocks=chain(30, lambda b: [{"block": b, "s": ["${s}"] * 2}], [{"type": "${s}"}], params=["s"]),
        ),
        document(
            RELU, {"block": "b0"},
            blocks=chain(30, lambda b: [{"block": b, "from": ["in", "in"]}], [{**ADD, "from": "in"}]),
        ),
        document(conv(repeat=50_000), defaults={"Conv2d": {"padding": [1] * 100_000}}),
        document(conv(repeat=50_000, padding=[1] * 100_000)),
        document({"block": "b", "n": 9}, blocks={"b": {"params": ["n"], "layers": [
            {"block": "b", "n": "${n*n}", "repeat": "${n}"}]}}),
        document({"block": "a", "n": 99}, blocks={
            "a": {"params": ["n"], "layers": [{"block": "b", "n": "${n*n}", "repeat": "${n}"}]},
            "b": {"params": ["n"], "layers": [{"block": "c", "n": "${n*n}", "repeat": "${n}"}]},
            "c": {"params": ["n"], "layers": [{"type": "ReLU", "repeat": "${n}"}]}}),
    ],
)  # fmt: skip
def test_bombs_end_in_one_diagnostic_soon(source: dict[str, Any]) -> None:
    started = time.perf_counter()
    (found,) = refused(source)
    assert found.code in ("E125", "E123")
    assert time.perf_counter() - started < 30  # a guard against hanging: it takes well under 2 s


def test_a_mistake_in_a_block_that_is_used_thousands_of_times_is_told_once() -> None:
    block = {"layers": [conv(-1, name="c", padding="same", pading=1), {**RELU, "from": "d"}]}
    assert problems(document({"block": "b", "repeat": 2000}, blocks={"b": block})) == [
        ("E113", "blocks.b.layers[0].out_channels"), ("E110", "blocks.b.layers[0].pading"),
        ("E203", "blocks.b.layers[1].from"),
    ]  # fmt: skip


SHARING = """
spec_version = 1
name = "t"
input.x = ["N", 3, "H", "W"]

[defaults.Conv2d]
out_channels = 3
kernel_size = 3
padding = 1

[blocks.twice]
params = []
[[blocks.twice.layers]]
name = "first"
type = "Conv2d"
[[blocks.twice.layers]]
type = "Conv2d"
share = "{share}"

[[encoder]]
name = "a"
block = "twice"
repeat = 2
[[decoder]]
type = "Conv2d"
share = "a.2.first"
"""


def test_share_names_the_layer_of_its_own_use(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(SHARING.replace("{share}", "first"))
    spec = load(file)
    shares = [entry.share for entry in (*spec.encoder, *spec.decoder)]
    assert shares == [None, "a.1.first", None, "a.2.first", "a.2.first"]


def test_share_of_an_unknown_layer_in_a_block_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(SHARING.replace("{share}", "frist"))
    with pytest.raises(DiagnosticError) as error:
        load(file)
    (problem,) = error.value.diagnostics
    assert (problem.code, problem.message) == ("E203", 'there is no layer "frist" in the block "twice"')
    assert problem.span is not None
    assert problem.span.line == 18
    assert '"first"' in problem.help


@pytest.mark.parametrize(
    ("params", "help"),
    [
        ({}, 'add params = ["channels"] to [blocks.b]'),
        ({"params": ["chanels"]}, 'did you mean "chanels"?'),
        ({"params": ["width"]}, 'add "channels" to params of [blocks.b]'),
        ({"params": {"k": 3}}, 'add "channels" to params of [blocks.b]'),
    ],
)
def test_a_parameter_that_is_not_declared_is_one_mistake(params: dict[str, Any], help: str) -> None:
    block = {**params, "layers": [conv("${channels}"), conv("${2*channels}")]}
    uses = [{"block": "b", "channels": 3}, {"block": "b", "channels": 4, "name": "use"}]
    (found,) = refused(document(*uses, blocks={"b": block}))
    assert (found.code, found.path, found.help) == ("E121", "blocks.b.layers[0].out_channels", help)


def test_what_no_layer_of_a_block_uses_is_no_parameter_of_it() -> None:
    block = {"layers": [conv("${ch}"), conv("${width}")]}
    use = {"block": "b", "ch": 3, "width": 2, "colour": 1}
    assert problems(document(use, blocks={"b": block}, vars={"width": 3})) == [
        ("E123", "encoder[0].width"), ("E123", "encoder[0].colour"),
        ("E121", "blocks.b.layers[0].out_channels"),
    ]  # fmt: skip


def test_a_parameter_that_is_not_declared_is_no_misspelt_key() -> None:
    block = {"layers": [conv("${repeats}")]}
    found = problems(document({"block": "b", "repeats": 3}, blocks={"b": block}))
    assert found == [("E121", "blocks.b.layers[0].out_channels")]


def test_a_variable_and_a_parameter_of_one_name_are_two_mistakes() -> None:
    blocks = {name: {"layers": [conv("${ch}")]} for name in ("b", "c")}
    found = problems(document(conv("${ch}"), {"block": "b"}, {"block": "c"}, blocks=blocks))
    assert found == [
        ("E121", "encoder[0].out_channels"), ("E121", "blocks.b.layers[0].out_channels"),
        ("E121", "blocks.c.layers[0].out_channels"),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["share", "block", "from", "name", "type"])
def test_a_parameter_in_place_of_a_name_is_one_mistake_of_the_block(key: str) -> None:
    layer = {"block": "${ch}"} if key == "block" else {**conv(), key: "${ch}"}
    block = {"params": ["ch"], "layers": [conv("${ch}"), layer]}
    uses = [{"block": "b", "ch": ch} for ch in (16, 24, "${width}")]
    found = problems(document(*uses, blocks={"b": block}, vars={"width": 3}))
    assert found == [("E112", f"blocks.b.layers[1].{key}")]


@pytest.mark.parametrize("key", ["share", "block"])
def test_a_variable_in_place_of_names_is_one_mistake(key: str) -> None:
    layer = {"block": "${ch}"} if key == "block" else conv(share="${ch}")
    blocks = {name: {"layers": [conv("${ch}"), layer]} for name in ("b", "c")}
    source = document({"block": "b"}, {"block": "c"}, vars={"ch": 3}, blocks=blocks)
    assert problems(source) == [("E112", f"blocks.b.layers[1].{key}")]


def test_parameters_in_place_of_several_names_are_all_told_at_once() -> None:
    layers = [{**conv("${ch}"), "from": "${ch}"}, {"type": "ReLU", "name": "${ch}"}, {"type": "${ch}"}]
    uses = [{"block": "b", "ch": ch} for ch in (16, 24)]
    found = problems(document(*uses, blocks={"b": {"params": ["ch"], "layers": layers}}))
    places = [(0, "from"), (1, "name"), (2, "type")]
    assert found == [("E112", f"blocks.b.layers[{index}].{key}") for index, key in places]

"""`[blocks.NAME]` and `repeat`: the flat layers, their names, what they read; and every way to be wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from language import conv, document, flat, problems, refused

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import build, check
from n2nspec.spec import load

RELU = {"type": "ReLU"}
ADD = {"type": "Identity"}  # any layer: how many inputs it takes is the graph's matter
DOUBLE = {
    "params": ["ch", {"k": 3}],
    "layers": [conv("${ch}", kernel_size="${k}", name="conv1"), RELU, conv("${2*ch}"), RELU],
}


def nodes(source: dict[str, Any]) -> list[str]:
    """`name type ← from` of every flat layer; names that the graph chooses and inputs are left out there."""
    written = flat(source)
    shown = []
    for layer in [*written.get("encoder", []), *written.get("decoder", [])]:
        sources = layer.get("from", "")
        names = sources if isinstance(sources, str) else " ".join(sources)
        shown.append(f"{layer.get('name', '')} {layer['type']}" + (f" ← {names}" if names else ""))
    return shown


def test_a_block_with_and_without_a_name() -> None:
    source = document(
        {"block": "double", "ch": 4, "name": "e1"}, {"block": "double", "ch": 5, "k": 1}, RELU,
        blocks={"double": DOUBLE},
    )  # fmt: skip
    assert nodes(source) == [
        "e1.conv1 Conv2d", "e1.relu1 ReLU", "e1.conv2d1 Conv2d", "e1.relu2 ReLU",
        "double1.conv1 Conv2d", "double1.relu1 ReLU", "double1.conv2d1 Conv2d", "double1.relu2 ReLU", " ReLU",
    ]  # fmt: skip
    layers = flat(source)["encoder"]
    assert [layers[i]["out_channels"] for i in (0, 2, 4, 6)] == [4, 8, 5, 10]
    assert [layers[i]["kernel_size"] for i in (0, 2, 4, 6)] == [3, 3, 1, 3]


def test_state_is_named_after_the_nodes() -> None:
    spec = load(document({"block": "double", "ch": 4, "name": "e1"}, RELU, blocks={"double": DOUBLE}))
    graph = build(spec)
    assert [node.name for node in graph.nodes] == [
        "e1.conv1", "e1.relu1", "e1.conv2d1", "e1.relu2", "relu1",
    ]  # fmt: skip
    assert graph.nodes[-1].inputs == ("e1.relu2",)


def test_inner_names_hide_outer_ones_and_numbers_skip_names_that_are_taken() -> None:
    source = document(
        {**RELU, "name": "one1"}, conv(name="a"),
        {"block": "one"}, {"block": "one", "name": "a2"},
        blocks={"one": {"layers": [{**RELU, "name": "a"}, RELU, {**RELU, "name": "relu1"},
                                   {**ADD, "from": ["a", "relu2"]}]}},
    )  # fmt: skip
    assert nodes(source) == [
        "one1 ReLU", "a Conv2d",
        "one2.a ReLU", "one2.relu2 ReLU", "one2.relu1 ReLU", "one2.identity1 Identity ← one2.a one2.relu2",
        "a2.a ReLU", "a2.relu2 ReLU", "a2.relu1 ReLU", "a2.identity1 Identity ← a2.a a2.relu2",
    ]  # fmt: skip


def test_what_a_block_reads() -> None:
    source = document(
        RELU,
        {"block": "res", "name": "r"},
        {"block": "res", "name": "s", "from": "relu1"},
        {"block": "join", "name": "j", "from": ["r", "s", "x"]},
        blocks={
            "res": {"layers": [conv(name="c"), {**ADD, "from": ["c", "in"]}, {**ADD, "from": ["in1", "c"]}]},
            "join": {"layers": [ADD, {**ADD, "from": "in2"}, {**ADD, "from": ["identity1", "in", "in3"]}]},
        },
    )
    assert nodes(source) == [
        "relu1 ReLU",
        "r.c Conv2d", "r.identity1 Identity ← r.c relu1", "r.identity2 Identity ← relu1 r.c",
        "s.c Conv2d ← relu1", "s.identity1 Identity ← s.c relu1", "s.identity2 Identity ← relu1 s.c",
        "j.identity1 Identity ← r.identity2 s.identity2 x", "j.identity2 Identity ← s.identity2",
        "j.identity3 Identity ← j.identity1 r.identity2 s.identity2 x x",
    ]  # fmt: skip


def test_a_first_block_reads_the_input_and_the_decoder_goes_on_after_the_encoder() -> None:
    block = {"layers": [RELU, {**ADD, "from": ["relu1", "in"]}]}
    source = document({"block": "b"}, decoder=[{"block": "b"}, RELU], blocks={"b": block})
    assert nodes(source) == [
        "b1.relu1 ReLU", "b1.identity1 Identity ← b1.relu1 x",
        "b2.relu1 ReLU", "b2.identity1 Identity ← b2.relu1 b1.identity1", " ReLU",
    ]  # fmt: skip


def test_the_result_of_a_block_is_its_output() -> None:
    block = {"output": "a", "layers": [{**RELU, "name": "a"}, {**RELU, "name": "b"}]}
    outer = {"output": "i", "layers": [{"block": "b", "name": "i"}, {**RELU, "from": "i.b"}]}
    source = document(
        {"block": "outer", "name": "o"}, RELU, {**ADD, "from": ["o", "o.i", "o.i.b", "o.relu1"]},
        blocks={"b": block, "outer": outer}, output={"y": "o.i.a"}, require={"same_size": ["x", "o"]},
    )  # fmt: skip
    assert nodes(source) == [
        "o.i.a ReLU", "o.i.b ReLU", "o.relu1 ReLU ← o.i.b", " ReLU ← o.i.a",
        " Identity ← o.i.a o.i.a o.i.b o.relu1",
    ]  # fmt: skip
    assert flat(source)["output"] == {"y": "o.i.a"}
    assert flat(source)["require"] == {"same_size": ["x", "o.i.a"]}


def test_blocks_nest_and_hand_parameters_on() -> None:
    blocks = {
        "unit": {"params": {"ch": "${w}", "act": "ReLU", "pad": [1, 2]}, "layers": [
            conv("${ch}", padding="${pad}"), {"type": "${act}"}, {"type": "${act}", "name": "${act}_${ch}"},
        ]},
        "stage": {"params": ["n", {"a": "Sigmoid"}], "layers": [
            {"block": "unit", "ch": "${2*n}", "act": "${a}", "name": "u"}, {"block": "unit", "ch": "${n}"},
        ]},
    }  # fmt: skip
    source = document({"block": "stage", "n": "${w + 1}"}, {"block": "unit"}, vars={"w": 3}, blocks=blocks)
    assert nodes(source) == [
        "stage1.u.conv2d1 Conv2d", "stage1.u.sigmoid1 Sigmoid", "stage1.u.Sigmoid_8 Sigmoid",
        "stage1.unit1.conv2d1 Conv2d", "stage1.unit1.relu1 ReLU", "stage1.unit1.ReLU_4 ReLU",
        "unit1.conv2d1 Conv2d", "unit1.relu1 ReLU", "unit1.ReLU_3 ReLU",
    ]  # fmt: skip
    layers = flat(source)["encoder"]
    assert [layers[i]["out_channels"] for i in (0, 3, 6)] == [8, 4, 3]
    assert layers[0]["padding"] == [1, 2]


def test_a_parameter_hides_a_variable_and_is_known_in_its_block_only() -> None:
    inner = {"layers": [conv("${ch}")]}
    outer = {"params": ["ch"], "layers": [conv("${ch}"), {"block": "inner"}]}
    source = document(
        {"block": "outer", "ch": 5}, conv("${ch}"), vars={"ch": 2}, blocks={"inner": inner, "outer": outer}
    )
    assert [layer["out_channels"] for layer in flat(source)["encoder"]] == [5, 2, 2]
    del source["vars"]
    assert problems(source) == [
        ("E121", "encoder[1].out_channels"), ("E121", "blocks.inner.layers[0].out_channels"),
    ]  # fmt: skip


def test_repeat() -> None:
    source = document(
        RELU, {**RELU, "repeat": 2}, conv(name="c", repeat="${n}"),
        {"block": "b", "name": "e", "repeat": 2}, {"block": "b", "repeat": 2}, conv(name="d", repeat=1),
        {**ADD, "from": ["c", "c.1", "e", "e.1", "e.1.relu1", "e.relu1", "relu3"]},
        vars={"n": 3}, blocks={"b": {"layers": [{**RELU, "repeat": 2}, conv(name="i", repeat=2)]}},
        output={"y": "e"},
    )  # fmt: skip
    inner = ["relu1 ReLU", "relu2 ReLU", "i.1 Conv2d", "i.2 Conv2d"]
    assert nodes(source) == [
        " ReLU", " ReLU", " ReLU", "c.1 Conv2d", "c.2 Conv2d", "c.3 Conv2d",
        *(f"{use}.{node}" for use in ("e.1", "e.2", "b1", "b2") for node in inner), "d Conv2d",
        " Identity ← c.3 c.1 e.2.i.2 e.1.i.2 e.1.relu1 e.2.relu1 relu3",
    ]  # fmt: skip
    assert flat(source)["output"] == {"y": "e.2.i.2"}
    assert flat(document(conv(repeat=3))) == flat(document(conv(), conv(), conv()))


def test_repetitions_with_a_from_of_their_own_read_one_another() -> None:
    source = document(
        {**RELU, "name": "a"}, RELU, {**RELU, "name": "r", "from": "a", "repeat": 2},
        {"block": "b", "name": "e", "from": ["a", "r.1"], "repeat": 2},
        blocks={"b": {"layers": [{**ADD, "from": "in"}]}},
    )  # fmt: skip
    assert nodes(source) == [
        "a ReLU", " ReLU", "r.1 ReLU ← a", "r.2 ReLU",
        "e.1.identity1 Identity ← a r.1", "e.2.identity1 Identity ← e.1.identity1",
    ]  # fmt: skip


def test_overrides_reach_blocks_and_their_uses() -> None:
    source = document({"block": "double", "ch": 4, "name": "e1"}, blocks={"double": DOUBLE})
    changed = flat(source, {"encoder.e1.ch": 6, "blocks.double.layers.conv1.padding": 1})["encoder"]
    assert (changed[0]["out_channels"], changed[0]["padding"]) == (6, 1)


def test_where_the_trail_of_a_value_leads() -> None:
    spec = load(document({"block": "double", "ch": 4, "name": "e1"}, blocks={"double": DOUBLE}))
    assert spec.written(("encoder", 2, "stride")) == ("blocks", "double", "layers", 2, "stride")
    assert spec.trail(("encoder", 2)) == ()  # no text to point at


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


@pytest.mark.parametrize("key", ["share", "block"])
def test_a_parameter_in_place_of_a_name_is_one_mistake_of_the_block(key: str) -> None:
    layer = {"block": "${ch}"} if key == "block" else conv(share="${ch}")
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

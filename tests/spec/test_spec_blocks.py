"""`[blocks.NAME]` and `repeat`: the flat layers, their names, what they read."""

from __future__ import annotations

from typing import Any

from language import conv, document, flat, problems

from n2nspec.graph import build
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

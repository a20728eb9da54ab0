"""The difference of two graphs: what was done to one is what is reported, and nothing else."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from n2nspec.graph import ShapedGraph, check, matching
from n2nspec.graph.diff import GraphDiff, diff

Layers = list[dict[str, Any]]


def spec(layers: Layers, channels: int = 3, **tables: Any) -> ShapedGraph:
    document = {"spec_version": 1, "name": "net", "input": {"x": ["N", channels, "H", "W"]}}
    return check({**document, "encoder": copy.deepcopy(layers), **tables})


def conv(name: str, out: int = 4, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "Conv2d", "out_channels": out, "kernel_size": 3, "padding": 1, **fields}


def layer(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def said(found: GraphDiff) -> list[tuple[Any, ...]]:
    """What is reported, without the nodes themselves."""
    return [
        (*node.change, node.before and node.before.name, node.after and node.after.name, dict(node.fields))
        for node in found.nodes
    ]


def kinds(found: GraphDiff) -> Counter[str]:
    return Counter(change for node in found.nodes for change in node.change)


CHAIN = [
    conv("first", 8), layer("ReLU"), conv("second", 8), layer("ReLU"), conv("third", 8), layer("ReLU"),
    conv("last", 3),
]  # fmt: skip


def test_a_graph_and_itself() -> None:
    found = diff(spec(CHAIN), spec(CHAIN))
    assert found.equal
    assert (found.nodes, found.affected, found.weights) == ((), (), "fit")


def test_a_node_put_in_is_all_there_is_to_say() -> None:
    found = diff(spec(CHAIN), spec([*CHAIN[:3], layer("Identity", name="here"), *CHAIN[3:]]))
    assert said(found) == [("added", None, "here", {})]
    assert found.output_equal
    assert not found.equal


def test_activations_that_are_renumbered_are_not_renamed() -> None:
    found = diff(spec(CHAIN), spec([CHAIN[0], layer("ReLU"), layer("Sigmoid"), *CHAIN[2:]]))
    assert said(found) == [("added", None, "sigmoid1", {})]
    found = diff(spec(CHAIN), spec([layer("ReLU"), *CHAIN]))
    assert said(found) == [("added", None, "relu1", {})]


def test_a_numbered_layer_with_weights_is_renamed_as_its_weights_are() -> None:
    layers = [layer("Conv2d", out_channels=3, kernel_size=1), layer("ReLU")]
    stem = layer("Conv2d", out_channels=3, kernel_size=5, padding=2)
    found = diff(spec(layers), spec([stem, *layers]))
    assert said(found) == [("added", None, "conv2d1", {}), ("renamed", "conv2d1", "conv2d2", {})]


def test_of_equal_nodes_those_are_the_same_that_read_the_same() -> None:
    """Two branches that nobody uses, both a ReLU and an Identity; the numbers of the latter move on."""

    def network(source: str, *first: dict[str, Any]) -> ShapedGraph:
        pool = layer("AvgPool2d", name="pool", kernel_size=2, **{"from": source})
        used = layer("Sigmoid", name="used", **{"from": "pool"})
        relus = [layer("ReLU", **{"from": "pool"}), layer("ReLU", **{"from": source})]
        branches = [*relus, *(layer("Identity", **{"from": name}) for name in ("relu2", "relu1"))]
        return spec([*first, pool, used, *branches], output={"y": "used"})

    found = diff(network("x"), network("identity1", layer("Identity")))
    assert said(found) == [("added", None, "identity1", {})]


def test_a_field_is_changed_and_what_follows_is_told_apart() -> None:
    found = diff(spec(CHAIN), spec([*CHAIN[:2], conv("second", 16, stride=2), *CHAIN[3:]]))
    assert said(found) == [
        ("changed", "second", "second", {"out_channels": (8, 16), "stride": ((1, 1), (2, 2))})
    ]
    assert [old.name for old, _ in found.affected] == ["relu2", "third", "relu3", "last"]
    assert found.weights == "do not fit"


def test_a_stride_leaves_the_weights_as_they_are() -> None:
    found = diff(spec(CHAIN), spec([*CHAIN[:2], conv("second", 8, stride=2), *CHAIN[3:]]))
    assert not found.equal
    assert found.weights == "fit"


def test_a_type_is_changed_where_the_name_stays() -> None:
    before, after = (
        [conv("c"), {"name": "act", **act}] for act in (layer("ReLU"), layer("LeakyReLU", negative_slope=0.2))
    )
    assert said(diff(spec(before), spec(after))) == [
        ("changed", "act", "act", {"type": ("ReLU", "LeakyReLU"), "negative_slope": (None, 0.2)})
    ]


def test_a_swap_of_two_layers_is_one_move() -> None:
    norm, relu = layer("BatchNorm2d", name="norm"), layer("ReLU")
    found = diff(spec([CHAIN[0], relu, norm, *CHAIN[2:]]), spec([CHAIN[0], norm, relu, *CHAIN[2:]]))
    ((change, before, after, fields),) = said(found)
    assert (change, before, fields) == ("moved", after, {})
    assert before in ("norm", "relu1")


def test_a_row_of_layers_that_moves_is_one_move() -> None:
    row = [conv("a", 8), layer("Sigmoid")]
    found = diff(spec([*CHAIN[:2], *row, *CHAIN[2:]]), spec([*CHAIN[:4], *row, *CHAIN[4:]]))
    ((change, before, _, _),) = said(found)
    assert change == "moved"
    assert before in ("a", "second")  # either row went past the other


def test_a_join_that_reads_something_else_is_moved() -> None:
    def skip(source: str) -> ShapedGraph:
        return spec([*CHAIN[:6], layer("Add", name="skip", **{"from": ["relu3", source]}), CHAIN[6]])

    assert said(diff(skip("first"), skip("second"))) == [("moved", "skip", "skip", {})]


def test_the_order_of_arguments_is_wiring() -> None:
    def less(sources: list[str]) -> ShapedGraph:
        return spec([conv("a"), conv("b"), layer("Sub", name="less", **{"from": sources})])

    assert said(diff(less(["a", "b"]), less(["b", "a"]))) == [("moved", "less", "less", {})]


def test_the_order_in_the_file_is_none() -> None:
    branches = [conv("a", **{"from": "x"}), conv("b", dilation=2, **{"from": "x", "padding": 2})]
    join = layer("Concat", name="join", **{"from": ["a", "b"]})
    found = diff(spec([*branches, join]), spec([*branches[::-1], join]))
    assert found.equal
    assert found.nodes == ()


def test_a_renamed_node() -> None:
    found = diff(spec(CHAIN), spec([conv("stem", 8), *CHAIN[1:]]))
    assert found.equal
    assert said(found) == [("renamed", "first", "stem", {})]
    assert found.weights == "fit when renamed"


def test_names_that_were_exchanged_are_no_change_of_what_is_computed() -> None:
    layers = [conv("a", 8), conv("b", 3, stride=2)]
    other = [conv("b", 8), conv("a", 3, stride=2)]
    found = diff(spec(layers), spec(other))
    assert found.equal
    assert kinds(found) == {"renamed": 2}


def test_numbers_in_names_that_moved_on() -> None:
    """A new first layer, and all others renumbered by hand."""
    layers = [conv(f"conv{number}", 8 * number) for number in (1, 2, 3)]
    other = [conv("conv1", 4), *(conv(f"conv{number + 1}", 8 * number) for number in (1, 2, 3))]
    assert said(diff(spec(layers), spec(other))) == [
        ("added", None, "conv1", {}), ("renamed", "conv1", "conv2", {}), ("renamed", "conv2", "conv3", {}),
        ("renamed", "conv3", "conv4", {}),
    ]  # fmt: skip


def test_a_block_repeated_once_more() -> None:
    def network(repeat: int) -> ShapedGraph:
        block = {"params": [], "layers": [layer("Conv2d", out_channels=3, kernel_size=3, padding=1),
                                          layer("ReLU")]}  # fmt: skip
        return spec(
            [{"name": "body", "block": "double", "repeat": repeat}, conv("out", 3)], blocks={"double": block}
        )

    added = [("added", None, "body.4.conv2d1", {}), ("added", None, "body.4.relu1", {})]
    assert said(diff(network(3), network(4))) == added


def test_two_names_of_one_type_are_equal() -> None:
    fields = {"out_channels": 3, "kernel_size": 2}
    found = diff(spec([layer("ConvTranspose2d", name="up", **fields)]),
                 spec([layer("TransposeConv2d", name="up", **fields)]))  # fmt: skip
    assert found.equal
    assert found.nodes == ()


def test_a_default_that_is_written_out_is_no_change() -> None:
    found = diff(spec(CHAIN), spec([conv("first", 8, stride=1, bias=True), *CHAIN[1:]]))
    assert found.equal
    assert found.written_out == ("first.stride", "first.bias")


def test_sharing_weights_is_a_change() -> None:
    apart = [conv("a", 3), conv("b", 3), conv("c", 3)]
    one = [conv("a", 3), conv("b", 3, share="a"), conv("c", 3)]
    other = [conv("a", 3), conv("b", 3), conv("c", 3, share="a")]
    found = diff(spec(apart), spec(one))
    assert said(found) == [("changed", "b", "b", {"share": (None, "a")})]
    assert found.weights == "do not fit"
    assert said(diff(spec(one), spec(other))) == [
        ("changed", "b", "b", {"share": ("a", None)}), ("changed", "c", "c", {"share": (None, "a")}),
    ]  # fmt: skip
    assert diff(spec(one), spec(one)).equal


def test_the_input_its_symbols_and_its_name() -> None:
    def network(name: str, dims: list[Any]) -> ShapedGraph:
        return check({"spec_version": 1, "name": "n", "input": {name: dims}, "encoder": [conv("a", 3)]})

    base = network("x", ["N", 3, "H", "W"])
    same = diff(base, network("picture", ["N", 3, "height", "width"]))
    assert same.equal
    assert not same.affected
    for dims in (["N", 1, "H", "W"], ["N", 3, "H", "H"], ["N", 3, 32, "W"], [3, "H", "W"]):
        found = diff(base, network("x", dims))
        assert not found.input_equal
        assert not found.equal


def test_another_output() -> None:
    found = diff(spec(CHAIN), spec(CHAIN, output={"y": "third"}))
    assert not found.output_equal
    assert not found.equal
    assert found.nodes == ()


def test_a_requirement_changes_the_sizes_that_work() -> None:
    layers = [conv("a", stride=2), layer("NearestUpsampling", name="up", scale_factor=2)]
    found = diff(spec(layers), spec(layers, require={"same_size": ["x", "up"]}))
    assert not found.sizes_equal
    assert not found.equal
    assert found.nodes == ()
    assert found.affected == ()  # sizes of nodes are compared for the pictures that both take


def test_the_work_on_large_graphs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all cannot be compared with all, what is equal and what has the same name still finds itself."""
    compared = 0
    score = matching._Matcher._score

    def counted(self: Any, a: int, b: int) -> int:
        nonlocal compared
        compared += 1
        return score(self, a, b)

    monkeypatch.setattr(matching._Matcher, "_score", counted)
    monkeypatch.setattr(matching, "LARGEST_GAP", 1_000)
    layers = [layer("Conv2d", out_channels=3, kernel_size=1), layer("ReLU")] * 200
    changed = [*layers]
    changed[40] = {**layers[0], "kernel_size": 3}
    changed[340] = {**layers[0], "bias": False}
    changed.insert(200, layer("Sigmoid"))
    assert kinds(diff(spec(layers), spec(changed))) == {"changed": 2, "added": 1}
    assert 0 < compared < 10_000  # 90,000 otherwise, for each way to match
    wider = [{**entry, "kernel_size": 5} if entry["type"] == "Conv2d" else entry for entry in layers]
    monkeypatch.setattr(matching, "EFFORT", 0)
    assert kinds(diff(spec(layers), spec(wider))) == {"changed": 200}

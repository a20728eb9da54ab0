"""Programs as they come from a graph, and what passes ask of them."""

from __future__ import annotations

import pytest
from programs import (
    SPECS,
    agree,
    conv,
    graph_of,
    model_of,
    of_model,
    of_program,
    pictures,
    program_of,
    spec_graph,
)

from n2nspec.compiler.program import LayerOp, Weights, program
from n2nspec.graph.cost import cost


def test_every_operation_is_a_layer_as_written() -> None:
    steps = program_of(
        [conv("a"), {"type": "ReLU", "name": "r"}, conv("b", "a", stride=2)], "b", (3, 2, 8, 6)
    )
    assert [(op.name, op.kind, op.inputs, op.shape) for op in steps.ops] == [
        ("a", "Conv2d", ("x",), (3, 2, 8, 6)),
        ("b", "Conv2d", ("a",), (3, 2, 4, 3)),
    ], "what the output does not need is left out"
    assert (steps.input_name, steps.input_shape, steps.output) == ("x", (3, 2, 8, 6), "b")
    assert steps.shapes == {"x": (3, 2, 8, 6), "a": (3, 2, 8, 6), "b": (3, 2, 4, 3)}


def test_a_composite_is_its_parts() -> None:
    up = {"type": "Upsampling", "name": "up", "out_channels": 3, "kernel_size": 3, "padding": 1}
    steps = program_of([up, {"type": "Tanh"}])
    first, second, _ = steps.ops
    assert (first.name, first.kind, first.shape) == ("up:upsample", "NearestUpsampling", (2, 2, 16, 16))
    assert (second.name, second.kind, second.inputs) == ("up", "Conv2d", ("up:upsample",))
    assert isinstance(second, LayerOp)
    assert second.weights == Weights(owner="up", node="up", prefix="conv.")
    assert first.covers == second.covers == ("up",)


def test_shared_weights_belong_to_their_owner() -> None:
    steps = program_of([conv("a"), conv("b", share="a")])
    assert [op.weights for op in steps.ops if isinstance(op, LayerOp)] == [
        Weights(owner="a", node="a"),
        Weights(owner="a", node="b"),
    ]


def test_readers_and_only_reader() -> None:
    steps = program_of(
        [conv("a"), {"type": "Add", "name": "twice", "from": ["a", "a"]}, conv("b"),
         {"type": "Add", "name": "sum", "from": ["a", "b"]}]
    )  # fmt: skip
    assert [op.name for op in steps.readers["a"]] == ["twice", "sum"]
    assert [op.name for op in steps.readers["twice"]] == ["b"], "one reader, though it reads twice"
    assert steps.only_reader("a") is None
    assert steps.only_reader("twice") is steps.by_name["b"]
    assert steps.only_reader("sum") is None, "the output is read from outside"


def test_without_some_operations_what_fed_only_them_goes_too() -> None:
    steps = program_of([conv("a"), conv("b"), {"type": "Add", "name": "s", "from": ["b", "x"]}])
    less = steps.renamed({"s": "x"}, steps.ops)
    assert (less.ops, less.output) == ((), "x")
    through = steps.renamed({"b": "a"}, steps.ops)
    assert [(op.name, op.inputs) for op in through.ops] == [("a", ("x",)), ("s", ("a", "x"))]


def test_a_chain_of_names_leads_to_the_last() -> None:
    steps = program_of([conv("a"), {"type": "ReLU", "name": "r"}, {"type": "Tanh", "name": "t"}, conv("b")])
    less = steps.renamed({"t": "r", "r": "a"}, steps.ops)
    assert [(op.name, op.inputs) for op in less.ops] == [("a", ("x",)), ("b", ("a",))]


@pytest.mark.parametrize("name", SPECS)
def test_costs_are_those_of_the_graph(name: str) -> None:
    graph, shape = spec_graph(name), SPECS[name]
    steps = program(graph, shape)
    assert steps.macs == cost(graph, shape[2:], shape[0]).macs


@pytest.mark.parametrize("name", SPECS)
def test_a_program_as_written_is_the_network(name: str) -> None:
    graph, x = spec_graph(name), pictures(SPECS[name])
    agree(of_program(graph, program(graph, SPECS[name]), x), of_model(model_of(graph, "reference"), x))


def test_a_layer_with_a_field_called_parts_is_no_composite(monkeypatch: pytest.MonkeyPatch) -> None:
    from n2nspec.layers.relu import ReLUSpec

    monkeypatch.setattr(ReLUSpec, "parts", 3, raising=False)
    assert [op.kind for op in program(graph_of([{"type": "ReLU"}]), (1, 2, 4, 4)).ops] == ["ReLU"]

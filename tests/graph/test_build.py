"""Names, connections, order."""

from __future__ import annotations

from typing import Any

import pytest

from n2nspec import load
from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import build


def spec(*layers: dict[str, Any], decoder: tuple[dict[str, Any], ...] = (), **more: Any) -> Any:
    return load(
        {
            "spec_version": 1,
            "name": "t",
            "input": {"x": ["N", 3, "H", "W"]},
            "encoder": list(layers),
            "decoder": list(decoder),
            **more,
        }
    )


def codes(error: pytest.ExceptionInfo[DiagnosticError]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


RELU = {"type": "ReLU"}


def test_a_layer_follows_the_one_before_and_the_decoder_the_encoder() -> None:
    graph = build(spec(RELU, {"type": "Sigmoid"}, decoder=(RELU, {"type": "Identity", "name": "out"})))
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("relu1", ("x",)),
        ("sigmoid1", ("relu1",)),
        ("relu2", ("sigmoid1",)),
        ("out", ("relu2",)),
    ]
    assert graph.output == "out"


def test_a_given_name_that_looks_automatic_is_stepped_over() -> None:
    graph = build(spec(RELU, {"type": "ReLU", "name": "relu1"}, RELU))
    assert [node.name for node in graph.nodes] == ["relu2", "relu1", "relu3"]


def test_from_may_name_a_later_layer_and_order_stays_as_written_otherwise() -> None:
    graph = build(
        spec(
            {"type": "ReLU", "name": "a", "from": "c"},
            {"type": "ReLU", "name": "b", "from": "x"},
            {"type": "ReLU", "name": "c", "from": "b"},
            output={"y": "a"},
        )
    )
    assert [node.name for node in graph.nodes] == ["b", "c", "a"]


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(DiagnosticError) as error:
        build(
            spec(
                {"type": "ReLU", "name": "a"},
                {"type": "ReLU", "name": "a"},
                {"type": "ReLU", "from": "aa"},
                {"type": "ReLU", "from": ["x", "a"]},
                output={"y": "b"},
            )
        )
    assert sorted(codes(error)) == ["E202", "E203", "E203", "E205"]
    assert any('did you mean "a"' in diagnostic.help for diagnostic in error.value.diagnostics)


def test_a_node_called_like_the_input_is_a_duplicate() -> None:
    with pytest.raises(DiagnosticError) as error:
        build(spec({"type": "ReLU", "name": "x"}, RELU))
    assert "E202" in codes(error)


def test_circles_name_their_nodes() -> None:
    with pytest.raises(DiagnosticError) as error:
        build(
            spec(
                {"type": "ReLU", "name": "a", "from": "b"},
                {"type": "ReLU", "name": "b", "from": "a"},
                {"type": "ReLU", "name": "self", "from": "self"},
            )
        )
    assert codes(error) == ["E204", "E204"]
    assert "a → b → a" in str(error.value) or "b → a → b" in str(error.value)
    assert "self → self" in str(error.value)


def test_an_output_cut_off_from_the_input_is_refused() -> None:
    graph = build(spec({"type": "ReLU", "name": "a"}, {"type": "ReLU", "name": "b", "from": "x"}))
    assert graph.output == "b"
    assert [warning.code for warning in graph.warnings] == ["W201"]
    assert graph.live == {"b"}


def test_a_dead_branch_is_one_warning_at_its_end() -> None:
    graph = build(spec({"type": "ReLU", "name": "a"}, {"type": "ReLU", "name": "b"}, RELU, output={"y": "a"}))
    assert [(warning.code, "relu1" in warning.message) for warning in graph.warnings] == [("W201", True)]

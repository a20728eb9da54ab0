"""Shapes, and the picture sizes that work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec import load
from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import concrete
from n2nspec.graph import ShapedGraph, analyse, cost


def spec(*layers: dict[str, Any], **more: Any) -> Any:
    return load(
        {"spec_version": 1, "name": "t", "input": {"x": ["N", 3, "H", "W"]}, "encoder": list(layers), **more}
    )


def conv(out: int = 4, kernel: int = 3, **fields: Any) -> dict[str, Any]:
    return {"type": "Conv2d", "out_channels": out, "kernel_size": kernel, **fields}


@pytest.fixture(scope="module")
def figure1() -> ShapedGraph:
    return analyse(load("specs/n2n.toml"))


def test_figure_1_has_the_known_parameters_and_macs(figure1: ShapedGraph) -> None:
    assert figure1.parameter_count == 10_147
    costs = cost(figure1, (32, 32))
    assert costs.macs == 2_027_520
    sizes = [costs.nodes[node.name].shape[-1] for node in figure1.nodes if node.parameters]
    assert sizes == [16, 8, 16, 32]


def test_figure_1_works_for_multiples_of_4(figure1: ShapedGraph) -> None:
    for axis in "HW":
        assert [h for h in range(1, 30) if h in figure1.size_contract[axis]] == list(range(4, 30, 4))


def test_without_a_requirement_every_size_works() -> None:
    graph = analyse(
        spec(
            conv(stride=2, padding=1),
            {"type": "Upsampling", "out_channels": 3, "kernel_size": 3, "padding": 1},
        )
    )
    assert all(h in graph.size_contract["H"] for h in range(1, 50))


def contract(document: Any) -> set[int]:
    """The heights up to 120 that a spec with free sizes declares to work."""
    try:
        sizes = analyse(document).size_contract
    except DiagnosticError as error:
        if {problem.code for problem in error.diagnostics} != {"E207"}:
            raise
        return set()
    assert sizes["H"] == sizes["W"]
    return {h for h in range(1, 121) if h in sizes["H"]}


def accepts(layers: list[dict[str, Any]], h: int) -> bool:
    """Whether the layers take an h × h picture and give its size back, by their rules on plain numbers."""
    fixed = {"spec_version": 1, "name": "t", "input": {"x": ["N", 3, h, h]}, "encoder": layers}
    try:
        graph = analyse(load(fixed))
    except DiagnosticError as error:
        if {problem.code for problem in error.diagnostics} != {"E206"}:
            raise
        return False
    return graph.nodes[-1].shape[-2:] == (h, h)


@settings(deadline=None, max_examples=60)
@given(
    kernels=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 2)),
        min_size=1,
        max_size=4,
    ),
    ups=st.lists(st.integers(1, 3), max_size=2),
)
def test_the_contract_is_what_brute_force_finds(
    kernels: list[tuple[int, int, int, int]], ups: list[int]
) -> None:
    """Sizes up to 120, node by node, against the layers' own rules on numbers."""
    layers = [conv(2, k, stride=s, padding=p, dilation=d) for k, s, p, d in kernels]
    layers += [{"type": "NearestUpsampling", "scale_factor": u} for u in ups]
    last = len(layers) - 1
    layers[last]["name"] = "last"
    works = {h for h in range(1, 121) if accepts(layers, h)}
    found = contract(spec(*layers, require={"same_size": ["x", "last"]}))
    assert found == works


def test_an_impossible_shape_says_which_layer_and_shows_the_formula() -> None:
    document = {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["N", 3, 4, "W"]},
        "encoder": [conv(kernel=7, name="big")],
    }
    with pytest.raises(DiagnosticError) as error:
        analyse(load(document))
    (problem,) = error.value.diagnostics
    assert problem.code == "E206"
    assert '"big"' in problem.message
    assert "floor((4 + 2·0 - 1·(7 - 1) - 1) / 1) + 1" in problem.message


def test_one_bad_layer_is_one_error() -> None:
    with pytest.raises(DiagnosticError) as error:
        analyse(spec(conv(), conv(groups=3, out=3, name="bad"), conv(), conv()))
    assert len(error.value.diagnostics) == 1
    assert '"bad"' in str(error.value)


def test_a_requirement_that_no_size_satisfies_is_an_error() -> None:
    with pytest.raises(DiagnosticError) as error:
        analyse(spec(conv(name="c"), require={"same_size": ["x", "c"]}))
    assert {problem.code for problem in error.value.diagnostics} == {"E207"}
    assert "H-2" in str(error.value)


def test_requirements_between_fixed_and_free_sizes_leave_a_finite_set() -> None:
    document = {
        "spec_version": 1, "name": "t", "input": {"x": ["N", 3, "H", 32]},
        "encoder": [conv(stride=2, padding=1, name="c")],
    }  # fmt: skip
    graph = analyse(load(document))
    contract = graph.size_contract
    assert [w for w in range(1, 100) if w in contract["W"]] == [32]
    assert all(h in contract["H"] for h in range(1, 100))


def test_one_symbol_for_both_axes_means_square_pictures() -> None:
    document = {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["N", 3, "S", "S"]},
        "encoder": [conv(padding=1)],
    }
    graph = analyse(load(document))
    cost(graph, (8, 8))
    with pytest.raises(DiagnosticError, match="both S"):
        cost(graph, (8, 9))


def test_a_symbol_of_batch_and_size_is_one_number() -> None:
    document = {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["S", 3, "S", "S"]},
        "encoder": [{"type": "ReLU"}],
    }
    graph = analyse(load(document))
    assert cost(graph, (8, 8), batch=8).nodes["relu1"].shape == (8, 3, 8, 8)
    with pytest.raises(DiagnosticError, match="the batch would make it 2"):
        cost(graph, (8, 8), batch=2)


def test_a_size_that_does_not_work_names_the_next_that_does(figure1: ShapedGraph) -> None:
    with pytest.raises(
        DiagnosticError,
        match=r"H = 33 does not work; sizes that do: any multiple of 4 from 4; the next is 36",
    ):
        cost(figure1, (33, 32))


def test_vectors_have_no_picture_sizes() -> None:
    document = {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["N", 10]},
        "encoder": [{"type": "Linear", "out_features": 4}],
    }
    graph = analyse(load(document))
    assert graph.size_contract == {}
    assert concrete(graph.nodes[0].shape, {"N": 7}) == (7, 4)

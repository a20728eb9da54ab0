"""Whatever the document, checking ends in a graph or in diagnostics, in bounded time."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import corrupted, networks

from n2nspec.diagnostics import CODES, DiagnosticError, render_all, to_github, to_json
from n2nspec.geometry import concrete
from n2nspec.graph import analyse, check, cost, receptive_field
from n2nspec.spec import load

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(document: Any) -> bool:
    """Checks, and uses what comes out of it; True for a graph."""
    try:
        graph = check(copy.deepcopy(document))
        receptive_field(graph)
        smallest = {symbol: sizes.smallest for symbol, sizes in graph.sizes.items()}
        values = {symbol: number for symbol, number in smallest.items() if number}
        if graph.size_contract and len(values) == len(smallest):
            larger = graph.enlarged(values, graph.sizes, training=False)
            shape = concrete(graph.input_shape, larger) if larger else None
            if shape:
                cost(graph, (shape[-2], shape[-1]), shape[0] if len(shape) > 3 else 1)
    except DiagnosticError as error:
        problems = error.diagnostics
        assert problems
        assert all(problem.severity == "error" for problem in problems)
    else:
        problems = graph.warnings
        assert all(problem.severity == "warning" for problem in problems)
    assert {problem.code for problem in problems} <= CODES.keys()
    assert json.dumps([to_json(problem) for problem in problems])
    assert bool(render_all(problems).encode()) == bool(problems)
    assert not any("\n" in to_github(problem) for problem in problems)
    seen = [(problem.code, problem.message, problem.path) for problem in problems]
    assert len(set(seen)) == len(seen), "told twice"
    return all(problem.severity == "warning" for problem in problems)


@SLOW
@given(corrupted())
def test_corrupted_networks(found: tuple[Any, bool]) -> None:
    document, certain = found
    sound = outcome(document)
    assert not (certain and sound)
    try:
        analyse(load(document))
    except DiagnosticError:
        assert not sound
    else:
        assert sound


WORDS = st.sampled_from(["x", "a", "b", "relu1", "relu2", "conv2d1", "identity1", "", "é", "x" * 200])
NUMBERS = st.sampled_from([1, 2, 3, 4, 7, 60_000, 65_535, 0, 2**31 - 1, -1, 2**70])
PAIRS = NUMBERS | st.lists(NUMBERS, min_size=2, max_size=2)
FIELDS: dict[str, tuple[list[str], list[str]]] = {  # needed, optional
    "ReLU": ([], []),
    "Sigmoid": ([], ["slope"]),
    "Relu": ([], []),
    "Linear": (["out_features"], []),
    "NearestUpsampling": (["scale_factor"], []),
    "Conv2d": (["out_channels", "kernel_size"], ["stride", "padding", "dilation", "groups"]),
    "Upsampling": (["out_channels", "kernel_size"], ["scale_factor", "padding", "dilation"]),
    "TransposeConv2d": (
        ["out_channels", "kernel_size"],
        ["stride", "padding", "dilation", "groups", "output_padding"],
    ),
}


def layers_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    def fields(names: list[str]) -> dict[str, st.SearchStrategy[Any]]:
        counts = ("out_channels", "out_features", "groups")
        return {name: NUMBERS if name in counts else PAIRS for name in names}

    needed, optional = FIELDS[kind]
    placed = {"name": WORDS, "from": WORDS | st.lists(WORDS, max_size=3)}
    return st.fixed_dictionaries(
        {"type": st.just(kind), **fields(needed)}, optional=placed | fields(optional)
    )


LAYERS = st.sampled_from(sorted(FIELDS)).flatmap(layers_of)
DIMS = st.lists(st.sampled_from(["N", "H", "W", "S", 1, 3, 32, 2**31 - 1, 0]), max_size=6)


@SLOW
@given(
    layers=st.lists(LAYERS, max_size=6),
    dims=st.sampled_from([["N", 3, "H", "W"], ["N", 3, 32, 32], ["N", 3, "S", "S"]]) | DIMS,
    names=st.lists(WORDS, max_size=4),
    output=st.none() | WORDS,
)
@example(
    layers=[{"type": "NearestUpsampling", "scale_factor": 65_535}] * 6,
    dims=["N", 3, "H", "W"], names=[], output=None,
)  # fmt: skip
@example(
    layers=[{"type": "Conv2d", "out_channels": 1, "kernel_size": 1, "stride": 65_535}] * 6,
    dims=["N", 3, "H", "W"], names=[], output=None,
)  # fmt: skip
@example(
    layers=[
        {"type": "NearestUpsampling", "scale_factor": 3},
        {"type": "Conv2d", "out_channels": 1, "kernel_size": 1, "stride": 2},
    ] * 14,
    dims=["N", 3, 8, 8], names=[], output=None,
)  # fmt: skip
@example(
    layers=[{"type": "TransposeConv2d", "out_channels": 1, "kernel_size": 65_535, "dilation": 65_535}] * 3,
    dims=["N", 3, "H", "W"], names=[], output=None,
)  # fmt: skip
def test_layers_of_any_fields(
    layers: list[Any], dims: list[Any], names: list[str], output: str | None
) -> None:
    document: dict[str, Any] = {"spec_version": 1, "name": "t", "input": {"x": dims}, "encoder": layers}
    if names:
        document["require"] = {"same_size": names}
    if output is not None:
        document["output"] = {"y": output}
    outcome(document)


@SLOW
@given(networks())
def test_sound_networks_have_no_errors(network: Any) -> None:
    assert outcome(network.document)

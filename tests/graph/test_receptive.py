"""Receptive fields against what autograd says an output pixel depends on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec import load
from n2nspec.graph import Reach, analyse, receptive_field
from n2nspec.oracle.twin import twin


def graph_of(layers: list[dict[str, Any]]) -> Any:
    return analyse(
        load({"spec_version": 1, "name": "t", "input": {"x": ["N", 1, "H", "W"]}, "encoder": layers})
    )


def test_figure_1_sees_11_or_15_pixels() -> None:
    field = receptive_field(analyse(load("specs/n2n.toml")))
    assert field["H"] == field["W"]
    reach = field["H"]
    assert isinstance(reach, Reach)
    assert set(reach.extents) == {11, 15}
    assert (reach.left, reach.right) == (9, 6)


def test_circular_padding_sees_the_whole_picture() -> None:
    layer = {"type": "Conv2d", "out_channels": 1, "kernel_size": 3, "padding": 1, "padding_mode": "circular"}
    assert receptive_field(graph_of([layer])) == {"H": "global", "W": "global"}


convolution = st.fixed_dictionaries(
    {
        "type": st.just("Conv2d"),
        "out_channels": st.just(1),
        "kernel_size": st.integers(1, 4),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 2),
    }
)
transposed = st.fixed_dictionaries(
    {
        "type": st.just("TransposeConv2d"),
        "out_channels": st.just(1),
        "kernel_size": st.integers(2, 4),
        "stride": st.integers(1, 2),
        "padding": st.integers(0, 1),
    }
)
upsampling = st.fixed_dictionaries({"type": st.just("NearestUpsampling"), "scale_factor": st.integers(1, 3)})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(convolution, transposed, upsampling), min_size=1, max_size=4))
def test_random_chains_agree_with_autograd(layers: list[dict[str, Any]]) -> None:
    graph = graph_of(layers)
    reach = receptive_field(graph)["H"]
    assert isinstance(reach, Reach)
    module = twin(graph, dtype=torch.float64)
    with torch.no_grad():  # positive weights: nothing cancels, so a zero gradient means "not read"
        for parameter in module.parameters():
            parameter.fill_(1.0)
    x = torch.zeros(1, 1, 160, 160, dtype=torch.float64)
    x.requires_grad_()
    y = module(x)
    phases = len(reach.extents)
    ratio = Fraction(1)  # input pixels an output pixel advances by
    for layer in layers:
        ratio = (
            ratio * layer["stride"]
            if layer["type"] == "Conv2d"
            else ratio / layer.get("stride", layer.get("scale_factor"))
        )
    start = y.shape[-2] // 2 // phases * phases
    lefts, rights = [], []
    for phase in range(phases):
        j = start + phase
        (gradient,) = torch.autograd.grad(
            y[0, 0, j, y.shape[-1] // 2 : y.shape[-1] // 2 + 12].sum(), x, retain_graph=True
        )
        rows = gradient[0, 0].sum(1).nonzero().flatten()
        extent = int(rows[-1] - rows[0]) + 1 if len(rows) else 0
        assert extent == reach.extents[phase]
        if len(rows):
            here = int(j * ratio)
            lefts.append(here - int(rows[0]))
            rights.append(int(rows[-1]) - here)
    assert reach.left == max(0, *lefts, 0)
    assert reach.right == max(0, *rights, 0)

"""Receptive fields against what autograd says an output pixel depends on."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d, pad, unfold

from n2nspec import load
from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import Reach, ShapedGraph, analyse, receptive_field
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


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "Conv2d", "out_channels": 1, "kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"type": "CircularPad2d", "padding": 1},
        {"type": "CircularPad2d", "padding": [-1, 2, 0, 0]},
        {"type": "BilinearUpsampling", "scale_factor": [2, 1], "align_corners": True},
    ],
    ids=str,
)
def test_some_layers_see_the_whole_picture(layer: dict[str, Any]) -> None:
    assert receptive_field(graph_of([layer])) == {"H": "global", "W": "global"}


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "CircularPad2d", "padding": 0},
        {"type": "BilinearUpsampling", "scale_factor": 1, "align_corners": True},
    ],
    ids=str,
)
def test_without_effect_they_see_a_pixel(layer: dict[str, Any]) -> None:
    one = Reach(left=0, right=0, extents=(1,))
    assert receptive_field(graph_of([layer])) == {"H": one, "W": one}


def test_a_crop_moves_what_is_seen() -> None:
    field = receptive_field(graph_of([{"type": "CircularPad2d", "padding": [-1, -3, -2, 0]}]))
    assert field == {
        "H": Reach(left=0, right=2, extents=(1,)), "W": Reach(left=0, right=1, extents=(1,))
    }  # fmt: skip


def layer(name: str, **fields: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A layer that acts on height alone, where it can: the picture is a column then."""
    pairs = {key: st.tuples(value, st.just(int(key != "padding"))).map(list) for key, value in fields.items()}
    return st.fixed_dictionaries({"type": st.just(name), **pairs}).map(lambda entry: [entry])


def convolution(channels: int = 1, **fields: Any) -> dict[str, Any]:
    return {"type": "Conv2d", "out_channels": channels, "kernel_size": 1, **fields}


def transposed(**fields: int) -> dict[str, Any]:
    pairs = {key: [value, 0 if "padding" in key else 1] for key, value in fields.items()}
    return {"type": "TransposeConv2d", "out_channels": 1, **pairs}


STRIDE = st.integers(1, 3)
CONVOLUTION = layer(
    "Conv2d", kernel_size=st.integers(1, 4), stride=STRIDE, padding=st.integers(0, 2),
    dilation=STRIDE,
).map(lambda entries: [{**entries[0], "out_channels": 1}])  # fmt: skip


def added(entries: list[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A transposed convolution with an output_padding that it may have."""
    most = max(entries[0]["stride"][0], entries[0]["dilation"][0]) - 1
    return st.integers(0, most).map(
        lambda extra: [{**entries[0], "out_channels": 1, "output_padding": [extra, 0]}]
    )


TRANSPOSED = layer(
    "TransposeConv2d", kernel_size=st.integers(1, 4), stride=STRIDE, padding=st.integers(0, 1),
    dilation=STRIDE,
).flatmap(added)  # fmt: skip
UPSAMPLING = st.sampled_from(["NearestUpsampling", "BilinearUpsampling"]).flatmap(
    lambda name: layer(name, scale_factor=STRIDE)
)
POOLING = st.sampled_from(["MaxPool2d", "AvgPool2d"]).flatmap(
    lambda name: st.tuples(
        layer(
            name,
            kernel_size=st.integers(2, 4),
            stride=STRIDE,
            padding=st.integers(0, 1),
            **({"dilation": STRIDE} if name == "MaxPool2d" else {}),
        ),
        st.booleans(),
    ).map(lambda drawn: [{**drawn[0][0], "ceil_mode": drawn[1]}])
)
SHUFFLE = st.integers(1, 3).map(
    lambda r: [convolution(r**2), {"type": "PixelShuffle", "upscale_factor": r}, convolution()]
)
UNSHUFFLE = st.integers(1, 3).map(
    lambda r: [{"type": "PixelUnshuffle", "downscale_factor": r}, convolution()]
)
PADDING = st.tuples(
    st.sampled_from(["ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d"]),
    st.integers(-5, 5), st.integers(-5, 5),
).map(
    lambda drawn: [
        {"type": drawn[0], "padding": [0, 0, *drawn[1:]], **({"value": 1} if "Con" in drawn[0] else {})}
    ]
)  # fmt: skip
CHAINS = st.lists(
    st.one_of(CONVOLUTION, TRANSPOSED, UPSAMPLING, POOLING, SHUFFLE, UNSHUFFLE, PADDING),
    min_size=1, max_size=4,
).map(lambda blocks: [entry for block in blocks for entry in block])  # fmt: skip


class SumPool(torch.nn.Module):
    """Sums the windows of a max pooling: the gradient is then not zero wherever the maximum may be."""

    def __init__(self, pool: torch.nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pool, (k, s, p, d) = self.pool, map(self._height, ("kernel_size", "stride", "padding", "dilation"))
        rows = max_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
        ).shape[2]
        reach = (rows - 1) * s + d * (k - 1) + 1 - p
        columns = pad(x, (0, 0, p, max(0, reach - x.shape[2]))).movedim(3, 0).flatten(0, 1).unsqueeze(2)
        sums = unfold(columns.movedim(2, 3), (k, 1), (d, 1), 0, (s, 1)).unflatten(1, (-1, k)).sum(2)
        return sums[..., :rows].unflatten(0, (x.shape[3], -1)).movedim(0, 3)

    def _height(self, name: str) -> int:
        value = getattr(self.pool, name)
        return value[0] if isinstance(value, tuple) else value


def assert_agrees_with_autograd(graph: ShapedGraph) -> None:
    reach = receptive_field(graph)["H"]
    assert isinstance(reach, Reach)
    assert reach.exact
    phases = len(reach.extents)
    ratio = prod(
        (Fraction(rule.period, rule.gain) for node in graph.nodes for rule in [node.layer.axes()[0]]),
        start=Fraction(1),
    )  # input pixels an output pixel advances by
    module = twin(graph, dtype=torch.float64)
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.MaxPool2d):
            module._modules[name] = SumPool(child)
    with torch.no_grad():  # positive weights: nothing cancels, so a zero gradient means "not read"
        for parameter in module.parameters():
            parameter.fill_(1.0)
    middle = 2 * (reach.left + reach.right + 2 * phases * int(ratio + 1)) + 200
    height, width = graph.size_contract["H"].at_least(middle), graph.size_contract["W"].at_least(1)
    assert height is not None
    assert width is not None
    x = torch.zeros(1, 1, height, width, dtype=torch.float64)
    x.requires_grad_()
    y = module(x)
    start = y.shape[-2] // 2 // phases * phases
    lefts, rights = [], []
    for phase in range(phases):
        j = start + phase
        (gradient,) = torch.autograd.grad(y[0, :, j].sum(), x, retain_graph=True)
        weights = gradient[0, 0].sum(1)
        rows = (weights > 1e-9 * weights.max()).nonzero().flatten()  # bilinear weights are rounded, in torch
        extent = int(rows[-1] - rows[0]) + 1 if len(rows) else 0
        assert extent == reach.extents[phase]
        if len(rows):
            here = int(j * ratio)
            lefts.append(here - int(rows[0]))
            rights.append(int(rows[-1]) - here)
    assert reach.left == max(0, *lefts, 0)
    assert reach.right == max(0, *rights, 0)


ALONE: list[dict[str, Any]] = [
    {"type": "MaxPool2d", "kernel_size": [3, 1], "stride": [2, 1], "padding": [1, 0]},
    {"type": "MaxPool2d", "kernel_size": [2, 1], "stride": [3, 1], "dilation": [4, 1], "ceil_mode": True},
    {"type": "AvgPool2d", "kernel_size": [3, 1]},
    {"type": "AvgPool2d", "kernel_size": [4, 1], "stride": [3, 1], "padding": [2, 0], "ceil_mode": True,
     "count_include_pad": False},
    {"type": "PixelUnshuffle", "downscale_factor": 3},
    *({"type": "BilinearUpsampling", "scale_factor": [s, 1]} for s in range(1, 6)),
    {"type": "ZeroPad2d", "padding": [0, 0, 3, 1]},
    {"type": "ZeroPad2d", "padding": [0, 0, -4, 6]},
    {"type": "ConstantPad2d", "padding": [0, 0, 2, -1], "value": 3.0},
    {"type": "ReflectionPad2d", "padding": [0, 0, 1, 5]},
    {"type": "ReplicationPad2d", "padding": [0, 0, -1, 2]},
    {"type": "CircularPad2d", "padding": [0, 0, -1, -3]},
    # output pixels that read nothing, or less than an earlier one
    transposed(kernel_size=1, stride=3, output_padding=1),
    transposed(kernel_size=2, stride=2, dilation=3, output_padding=2),
    transposed(kernel_size=3, stride=3, dilation=2, padding=1),
    transposed(kernel_size=2, stride=4, dilation=2),
]  # fmt: skip


@pytest.mark.parametrize("entry", ALONE, ids=lambda entry: "-".join(map(str, entry.values())))
def test_each_layer_agrees_with_autograd(entry: dict[str, Any]) -> None:
    assert_agrees_with_autograd(graph_of([entry]))
    wide = {"kernel_size": [3, 1], "padding": [1, 0]}
    assert_agrees_with_autograd(graph_of([convolution(**wide, stride=[2, 1]), entry, convolution(**wide)]))


@pytest.mark.parametrize("factor", range(1, 5))
def test_pixel_shuffle_agrees_with_autograd(factor: int) -> None:
    shuffle = {"type": "PixelShuffle", "upscale_factor": factor}
    wide = convolution(factor**2, kernel_size=[3, 1], stride=[2, 1])
    assert_agrees_with_autograd(graph_of([wide, shuffle]))
    assert_agrees_with_autograd(graph_of([wide, shuffle, convolution(kernel_size=[4, 1], padding=[1, 0])]))


@settings(max_examples=60, deadline=None)
@given(CHAINS)
def test_random_chains_agree_with_autograd(layers: list[dict[str, Any]]) -> None:
    try:
        graph = graph_of(layers)
    except DiagnosticError:  # no picture has a size that all these layers take
        assume(False)
    assert_agrees_with_autograd(graph)


@settings(max_examples=60, deadline=None)
@given(CHAINS, TRANSPOSED, CHAINS)
def test_what_a_transposed_convolution_skips_is_not_seen(
    before: list[dict[str, Any]], skipping: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    assume(skipping[0]["stride"][0] > 1)
    try:
        graph = graph_of([*before[:2], *skipping, *after[:3]])
    except DiagnosticError:
        assume(False)
    assert_agrees_with_autograd(graph)


def test_between_the_taps_of_a_dilation_nothing_is_seen() -> None:
    skipping = transposed(kernel_size=1, stride=3, output_padding=1)
    graph = graph_of([skipping, convolution(kernel_size=[3, 1], dilation=[2, 1], padding=[1, 0])])
    assert receptive_field(graph)["H"] == Reach(left=0, right=1, extents=(1, 1, 1))
    assert_agrees_with_autograd(graph)


def test_a_composite_is_followed_through_its_parts() -> None:
    up = {"type": "Upsampling", "out_channels": 1, "scale_factor": [2, 1], "kernel_size": [2, 1],
          "dilation": [4, 1], "padding": [3, 0]}  # fmt: skip
    graph = graph_of([transposed(kernel_size=1, stride=4, output_padding=3), up])
    assert_agrees_with_autograd(graph)


def test_too_many_pixels_to_tell_apart_are_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [
        transposed(kernel_size=1, stride=2), *[convolution(kernel_size=[3, 1], dilation=[2, 1])] * 3
    ]  # fmt: skip
    exact = receptive_field(graph_of(layers))["H"]
    monkeypatch.setattr("n2nspec.graph.receptive.MOST_PIECES", 20)
    bound = receptive_field(graph_of(layers))["H"]
    assert isinstance(exact, Reach)
    assert isinstance(bound, Reach)
    assert (exact.exact, exact.extents) == (True, (7, 0))
    assert (bound.exact, bound.extents) == (False, (7, 6))


def test_channels_are_not_followed() -> None:
    layers = [
        {"type": "PixelUnshuffle", "downscale_factor": 2}, {"type": "PixelShuffle", "upscale_factor": 2}
    ]  # fmt: skip
    assert receptive_field(graph_of(layers))["H"] == Reach(left=1, right=1, extents=(2, 2))

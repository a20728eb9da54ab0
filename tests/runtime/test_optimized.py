"""The optimised engine beside the reference: values, gradients and steps of every kind of network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import (
    FLOOR,
    SPECS,
    TOLERANCE,
    agree,
    both,
    conv,
    document,
    graph_of,
    model_of,
    of_model,
    pictures,
    spec_graph,
    steady,
)
from strategies import Network, fusable, networks
from torch import Tensor

from n2nspec.compiler import lowering
from n2nspec.graph import analyse
from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model
from n2nspec.runtime.optimized import buffers, correlate, sums, tiling
from n2nspec.spec import load

DTYPES = (torch.float64, torch.float32)
FAST = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ANY_LAYER = st.booleans().flatmap(lambda some: networks(layers=fusable() if some else None))


def agree_on_a_step(ours: Model, theirs: Model, x: Tensor) -> None:
    """The loss, the gradients and the running statistics of one step."""
    shape = tuple(model_of(theirs.graph, "reference", x.dtype, training=False).forward(x).shape)
    target = pictures(shape, 5, x.dtype)
    losses = ours.step(x, target), theirs.step(x, target)
    tolerance = TOLERANCE[x.dtype]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance, abs=0)
    expected = theirs.gradients()
    largest = max((float(g.abs().max()) for g in expected.values()), default=0.0)
    for name, gradient in ours.gradients().items():
        assert difference(gradient, expected[name], FLOOR[x.dtype] * largest).relative <= tolerance, name
    statistics, parameters = ours.state_dict(), ours.parameters()
    for name, tensor in theirs.state_dict().items():
        if name not in parameters:
            assert difference(statistics[name].double(), tensor.double()).relative <= tolerance, name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_our_specs_agree_with_the_reference(name: str, dtype: torch.dtype) -> None:
    graph = spec_graph(name)
    ours, theirs = both(graph, dtype)
    several = (pictures(SPECS[name], seed, dtype) for seed in range(20))
    x = next(x for x in several if dtype == torch.float64 or steady(graph, x))
    agree(of_model(ours, x), of_model(theirs, x))
    agree_on_a_step(ours, theirs, x)


@FAST
@given(ANY_LAYER)
def test_random_networks_agree_with_the_reference(network: Network) -> None:
    ours, theirs = both(analyse(load(network.document)))
    x = pictures(network.input_shape)
    agree(of_model(ours, x), of_model(theirs, x))
    ours.eval(), theirs.eval()
    agree(of_model(ours, x), of_model(theirs, x))
    agree_on_a_step(ours, theirs, x)


@FAST
@given(ANY_LAYER)
def test_random_networks_agree_in_single_precision(network: Network) -> None:
    graph = analyse(load(network.document))
    ours, theirs = both(graph, torch.float32)
    x = pictures(network.input_shape, dtype=torch.float32)
    assume(steady(graph, x))
    agree(of_model(ours, x), of_model(theirs, x))


def layer(kind: str, name: str = "", source: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        **({"name": name} if name else {}),
        **({"from": source} if source else {}),
        **fields,
    }


ONE = {"kernel_size": 1, "padding": 0}
CASES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nothing at all": ([layer("Identity")], ""),
    "no parameters": ([layer("Tanh"), layer("MaxPool2d", kernel_size=2)], ""),
    "a view of a gradient outlives it": (  # Add hands its gradient to p, while q's convolution works
        [conv("p0"), layer("Tanh", "p"), conv("q", "x", bias=False), layer("Add", "s", ["p", "q"]),
         conv("last", **ONE)], ""),
    "a view of a view of a gradient": (
        [conv("p0"), layer("Tanh", "p"), layer("Concat", "c", ["p", "p"], dim=2), conv("q0", "x", **ONE),
         layer("Concat", "q", ["q0", "q0"], dim=2), layer("Add", "s", ["c", "q"]), conv("last", **ONE)], ""),
    "the input's gradient is a view": (
        [conv("q", bias=False), layer("Add", "s", ["x", "q"]), conv("last", **ONE)], ""),
    "a view of a value outlives it": (  # Dropout hands on its input in evaluation
        [conv("p", **ONE), layer("Dropout", "d"), conv("q", "x"), conv("q2"), layer("Add", "s", ["d", "q2"])],
        ""),
    "the output is a view of a value": ([conv("p", **ONE), layer("Dropout", "d")], ""),
    "a value read twice by one layer": ([conv("a"), layer("Add", "s", ["a", "a"]), conv("b")], ""),
    "a value read twice by one convolution": ([conv("a"), layer("Concat", "c", ["a", "a"]), conv("b")], ""),
    "the input read twice by one convolution": ([layer("Concat", "c", ["x", "x"]), conv("b")], ""),
    "an output that dead layers read": (
        [conv("a"), conv("b"), layer("ReLU", "dead", "b"), layer("MaxPool2d", "deader", "b", kernel_size=2)],
        "b"),
    "readers of every kind": (
        [conv("a"), conv("c", "a"), layer("ReLU", "r", "a"), layer("Sigmoid", "g", "c"),
         layer("MaxPool2d", "p", "a", kernel_size=2), layer("NearestUpsampling", "u", "p", scale_factor=2),
         conv("d", "u"), layer("Concat", "j", ["a", "r", "u"]), conv("e", "j"), layer("Tanh", "t", "a"),
         layer("Add", "s1", ["g", "d"]), layer("Add", "s2", ["e", "t"]), layer("Add", "s3", ["s1", "s2"]),
         layer("Mul", "m", ["s3", "a"]), conv("last")], ""),
    "pools that leave pixels over, after another reader": (
        [conv("a"), layer("MaxPool2d", "p", kernel_size=3), layer("TransposeConv2d", "u", out_channels=2,
         kernel_size=3, stride=2), layer("CropLike", "k", ["a", "u"]), layer("Add", "s", ["k", "u"])], ""),
    "pools that leave pixels over, of the input": ([layer("MaxPool2d", kernel_size=[3, 1]), conv("a")], ""),
    "one pool after another": (
        [layer("MaxPool2d", "p", kernel_size=2), layer("MaxPool2d", "q", kernel_size=2)], ""),
    "a value pooled twice": (
        [conv("a"), layer("MaxPool2d", "p", "a", kernel_size=2), layer("MaxPool2d", "q", "a", kernel_size=4),
         layer("NearestUpsampling", "u", "q", scale_factor=2), layer("Sub", "s", ["p", "u"])], ""),
    "upsampling along one axis, a stride along the other": (
        [layer("NearestUpsampling", scale_factor=[2, 1]), conv("a", stride=[1, 2])], ""),
    "upsampling in front of everything": (
        [layer("Concat", "c", ["x", "x"]), layer("NearestUpsampling", "u", scale_factor=[3, 2]),
         conv("a", dilation=2, padding=[3, 0]), layer("LeakyReLU", negative_slope=0.3)], ""),
    "upsampled and other sources of one convolution": (
        [conv("a", stride=2, padding=0), layer("NearestUpsampling", "u", scale_factor=2),
         conv("k", "x", kernel_size=3, padding=0), layer("Concat", "c", ["u", "k"]), conv("b"),
         layer("LeakyReLU", negative_slope=0.3), layer("Concat", "c2", ["k", "u"]), conv("d"),
         layer("Sigmoid", "e"), layer("Add", "s", ["leakyrelu1", "e"])], ""),
    "shared weights at two sizes": (
        [conv("a"), layer("MaxPool2d", kernel_size=2), conv("b", share="a"),
         layer("NearestUpsampling", "u", scale_factor=2), conv("c", share="a"),
         layer("Add", "s", ["a", "c"])], ""),
    "a layer that looks as if it wrote on its input": (
        [conv("a"), layer("ReLU", "r", inplace=True), layer("LeakyReLU", "l", "a", inplace=True),
         layer("Sub", "s", ["r", "l"]), layer("Add", "t", ["s", "a"])], ""),
    "three channels": (
        [conv("a", out_channels=3), conv("b", out_channels=3), layer("Sigmoid"),
         layer("NearestUpsampling", "u", scale_factor=2), conv("c", out_channels=3), layer("ReLU"),
         layer("MaxPool2d", "p", kernel_size=2), layer("Concat", "d", ["p", "b"]), conv("e", out_channels=3)],
        ""),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("case", CASES)
def test_lifetimes(case: str, training: bool, dtype: torch.dtype) -> None:
    layers, output = CASES[case]
    ours, theirs = both(graph_of(layers, output), dtype, training=training)
    x = pictures((2, 2, 8, 12), dtype=dtype)
    for seed in (1, 2):  # the second time on memory that was used before
        agree(of_model(ours, x, seed), of_model(theirs, x, seed))
    agree_on_a_step(ours, theirs, x)


WAYS = {
    "copied windows": (10**6, 3 * 2**20),
    "copied windows, many tiles": (10**6, 1),
    "shifted pixels": (1, 3 * 2**20),
    "shifted pixels, many tiles": (1, 1),
}
"""Channels from which on pixels are shifted, and bytes in a tile. Small tiles go with sums of one picture at
a time, and with memory that all pictures share."""


@contextmanager
def multiplied(way: str) -> Iterator[None]:
    channels, tile = WAYS[way]
    small = tile == 1
    with (
        patch.object(tiling, "TILE", tile),
        patch.object(sums, "PART", 1 if small else sums.PART),
        patch.object(buffers, "LARGE", 0 if small else buffers.LARGE),
        patch.object(lowering, "SHIFTED_FORWARD", channels),
        patch.object(lowering, "SHIFTED_BACKWARD", channels),
        patch.object(correlate, "TILE", tile),
    ):
        yield


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_multiply_agrees(way: str, case: str) -> None:
    with multiplied(way):
        ours, theirs = both(graph_of(*CASES[case]))
        x = pictures((3, 2, 8, 12))
        agree(of_model(ours, x), of_model(theirs, x))
        agree_on_a_step(ours, theirs, x)


@pytest.mark.parametrize("way", WAYS)
@settings(FAST, max_examples=25)
@given(networks(largest=6, layers=fusable()))
def test_every_way_to_multiply_agrees_on_random_networks(way: str, network: Network) -> None:
    with multiplied(way):
        ours, theirs = both(analyse(load(network.document)))
        x = pictures(network.input_shape)
        agree(of_model(ours, x), of_model(theirs, x))
        agree_on_a_step(ours, theirs, x)


@pytest.mark.parametrize(
    "loss",
    [{"type": "MSE"}, {"type": "MSE", "reduction": "sum"}, {"type": "Charbonnier"}, {"type": "L1"}],
    ids=str,
)
@pytest.mark.parametrize("last", [{"type": "Sigmoid"}, {"type": "Tanh"}], ids=["fused", "a layer"])
def test_losses(last: dict[str, Any], loss: dict[str, Any]) -> None:
    graph = analyse(load(document([conv("a"), last], train={"loss": loss})))
    agree_on_a_step(*both(graph), pictures((2, 2, 7, 9)))

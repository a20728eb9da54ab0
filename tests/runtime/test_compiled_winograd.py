"""Kernels of 3 × 3 by transformed tiles, in the compiled engine.

Nothing is compiled here: it is the function that would be.
"""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from programs import SPECS, TOLERANCE, pictures, spec_graph
from strategies import Network
from test_compiled import ANY_LAYER, FAST, agree_on_steps, both, uncompiled

from n2nspec.compiler.correlation import AxisMap, convolution, transposed
from n2nspec.graph import analyse
from n2nspec.oracle.compare import difference
from n2nspec.runtime.compiled import functions, winograd
from n2nspec.runtime.compiled.correlate import Correlation
from n2nspec.runtime.compiled.precision import Precision
from n2nspec.runtime.compiled.winograd import Winograd
from n2nspec.spec import load

CPU = torch.device("cpu")
DOUBLE = Precision.of(torch.float64, "float32")
AXES = st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 9)).filter(lambda axis: _out(*axis) > 0)
"""Whether the kernel is turned round, padding, and pixels."""


def _out(turned: bool, padding: int, size: int) -> int:
    return size - 2 + 2 * (2 - padding if turned else padding)


def _map(turned: bool, padding: int) -> AxisMap:
    return transposed(3, 1, 1, padding) if turned else convolution(3, 1, 1, padding)


@FAST
@given(AXES, AXES, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_tiles_give_what_windows_give(
    down: tuple[bool, int, int], across: tuple[bool, int, int], n: int, channels: int, outputs: int
) -> None:
    maps = _map(*down[:2]), _map(*across[:2])
    size, out = (down[2], across[2]), (_out(*down), _out(*across))
    generator = torch.Generator().manual_seed(0)
    x, weights, gy = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((n, *size, channels), (3, 3, channels, outputs), (n, *out, outputs))
    )
    pixels = gy.reshape(-1, outputs)
    ways = (
        Winograd.make(maps, size, out, n, DOUBLE, CPU),
        Correlation.make(maps, size, out, n, channels, (3, 3), DOUBLE, CPU),
    )
    values, gradients, twice = [], [], []
    for way in ways:
        columns = way.columns(x)
        values.append(way.pixels(way.product(columns, weights)))
        gradients.append(way.gradient(columns, pixels))
        product, gradient = way.product_and_gradient(columns, weights, pixels)
        twice += [way.pixels(product), gradient]
    assert values[0].shape == (n, *out, outputs)
    assert difference(values[0], values[1]).relative <= 1e-13
    assert difference(gradients[0], gradients[1]).relative <= 1e-13
    assert difference(twice[0], values[0]).relative == 0.0
    assert difference(twice[1], gradients[0]).relative == 0.0


def test_what_is_done_to_each_number_is_done_to_all() -> None:
    maps = convolution(3, 1, 1, 1), convolution(3, 1, 1, 1)
    way = Winograd.make(maps, (5, 4), (5, 4), 2, DOUBLE, CPU)
    x, weights = torch.rand(2, 5, 4, 3, dtype=torch.float64), torch.rand(3, 3, 3, 2, dtype=torch.float64)
    product = way.product(way.columns(x), weights)
    assert torch.equal(way.pixels(product, lambda part: part * 2 + 1), way.pixels(product) * 2 + 1)


def test_it_is_for_many_channels_of_small_pictures_in_full_precision_on_a_cpu() -> None:
    def suits(
        m: AxisMap, pixels: int = 4096, channels: int = 16, outputs: int = 16,
        precision: Precision = DOUBLE, place: str = "cpu",
    ) -> bool:  # fmt: skip
        return Winograd.suits((m, m), pixels, channels, outputs, precision, torch.device(place))

    same = convolution(3, 1, 1, 1)
    assert suits(same)
    assert suits(same.adjoint())
    assert suits(same, place="meta")
    assert not suits(same, channels=15)
    assert not suits(same, outputs=15)
    assert not suits(same, pixels=2**20)
    assert not suits(same, place="cuda")
    assert not suits(same, precision=Precision.of(torch.float32, "bf16-mixed"))
    assert not suits(convolution(3, 2, 1, 1))
    assert not suits(convolution(3, 1, 2, 1))
    assert not suits(convolution(5, 1, 1, 2))
    assert not suits(convolution(3, 1, 1, 1, scale=2))


@FAST
@given(ANY_LAYER)
def test_random_networks_agree_with_the_reference(network: Network) -> None:
    graph = analyse(load(network.document))
    # the gradient of a bias before one is nothing but rounding, of which sums before products make more
    assume(not any("Norm" in node.layer.type for node in graph.nodes))
    with uncompiled(), mock.patch.object(winograd, "LEAST", 1):
        ours, theirs = both(graph)
        assume(not ours.warnings)
        agree_on_steps(ours, theirs, pictures(network.input_shape))
        assert not ours.warnings


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ["unet_small", "dncnn"])
def test_our_specs_agree_with_the_reference(name: str, dtype: torch.dtype) -> None:
    with uncompiled(), mock.patch.object(functions.Winograd, "make", wraps=Winograd.make) as made:
        agree_on_steps(*both(spec_graph(name), dtype), pictures(SPECS[name], 3, dtype))
    assert made.call_count


def test_two_hundred_steps_agree() -> None:
    with uncompiled():
        ours, theirs = both(spec_graph("unet_small"))
        for step in range(200):
            x, target = pictures((2, 3, 8, 8), 2 * step), pictures((2, 3, 8, 8), 2 * step + 1)
            assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=1e-8, abs=0)
    assert not ours.warnings
    expected = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert difference(tensor, expected[name]).relative <= 1e-8

"""Large pictures in the compiled engine: products in tiles, on pictures that are small enough to check.

Nothing is compiled here: it is the function that would be.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import assume, given
from programs import SPECS, TOLERANCE, conv, graph_of, model_of, pictures, spec_graph
from strategies import Network
from test_compiled import ANY_LAYER, FAST, agree_on_steps, both, uncompiled

from n2nspec.graph import analyse
from n2nspec.oracle.compare import difference
from n2nspec.runtime.compiled import tiles
from n2nspec.runtime.compiled.tiles import Window
from n2nspec.spec import load

WINDOW = Window(count=(3, 4), lengths=(3, 2), stride=(1, 1), dilation=(2, 1), begin=(1, 0))


def all_are_large(shifted: int = 1) -> Any:
    """Every window counts as too many; tiles of a line or two."""
    return mock.patch.multiple(tiles, TILE=600, SHIFTED=shifted, LARGE=0)


@pytest.mark.parametrize("shifted", [1, 99])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_products_in_tiles_are_those_of_all_windows(shifted: int, stride: tuple[int, int]) -> None:
    window = Window(
        count=(3, 4), lengths=WINDOW.lengths, stride=stride, dilation=WINDOW.dilation, begin=WINDOW.begin
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 12, 6, 3, generator=generator, dtype=torch.float64)
    kernels = torch.randn(18, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(24, 7, generator=generator, dtype=torch.float64)
    columns = window.view(x).reshape(24, 18)
    with mock.patch.multiple(tiles, TILE=600, SHIFTED=shifted):
        product = tiles.product(x, kernels, window)
        rows = window.rows(x)
        assert rows == ((12, 6) if shifted == 1 and stride == (1, 1) else (3, 4))
        kept = product.view(2, *rows, 5)[:, :3, :4].reshape(24, 5)
        gradient = tiles.gradient(x, y, window)
        twice = tiles.product_and_gradient(x, kernels, y, window)
    assert difference(kept, columns @ kernels).relative <= 1e-14
    assert difference(gradient, columns.t() @ y).relative <= 1e-14
    assert difference(twice[0], columns @ kernels).relative <= 1e-14
    assert difference(twice[1], columns.t() @ y).relative <= 1e-14


def test_a_window_survives_as_numbers() -> None:
    assert Window.of(WINDOW.numbers) == WINDOW


@FAST
@given(ANY_LAYER)
def test_random_networks_in_tiles_agree_with_the_reference(network: Network) -> None:
    graph = analyse(load(network.document))
    with uncompiled(), all_are_large():
        ours, theirs = both(graph)
        assume(not ours.warnings)
        agree_on_steps(ours, theirs, pictures(network.input_shape))
        assert not ours.warnings


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ["n2n", "unet_small"])
def test_our_specs_in_tiles_agree_with_the_reference(name: str, dtype: torch.dtype) -> None:
    with uncompiled(), all_are_large(shifted=4):
        agree_on_steps(*both(spec_graph(name), dtype), pictures(SPECS[name], 3, dtype))


@pytest.mark.slow
def test_tiles_compile() -> None:
    """With a picture that really is large: 16 channels of 9 places, 20 MiB of windows."""
    graph = graph_of([conv("a", out_channels=16), {"type": "ReLU"}, conv("b", out_channels=16), conv("c")])
    ours, theirs = model_of(graph, "compiled", torch.float32), model_of(graph, "reference", torch.float32)
    x = pictures((1, 2, 192, 192), dtype=torch.float32)
    agree_on_steps(ours, theirs, x)
    assert not ours.warnings

"""Pooling, interpolation and padding against torch over many arguments, and where a choice has to be torch's:
ties, NaN, infinities, divisors at the border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from n2nspec import layers
from n2nspec.layers._base import Needs
from n2nspec.layers._padding import pad, unpad

quick = settings(deadline=None, max_examples=150)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(1, 11), st.integers(1, 11))


def agree(ours: Any, theirs: Callable[[Tensor], Tensor], x: Tensor, seed: int = 0) -> None:
    """Output and gradient of the input; NaN where torch has it. A picture that torch refuses, we refuse."""
    leaf = x.clone().requires_grad_()
    try:
        y = theirs(leaf)
    except RuntimeError:
        with pytest.raises(ValueError, match="is too small"):
            ours.forward(x)
        return
    torch.testing.assert_close(ours.forward(x), y.detach(), rtol=1e-12, atol=1e-12, equal_nan=True)
    gy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(seed))
    y.backward(gy)
    torch.testing.assert_close(ours.backward(gy), leaf.grad, rtol=1e-12, atol=1e-12)


def picture(size: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def poolings(**extra: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "kernel_size": pairs,
            "stride": st.one_of(st.none(), st.tuples(st.integers(1, 6), st.integers(1, 6))),
            "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
            "ceil_mode": st.booleans(),
            **extra,
        }
    ).filter(lambda fields: all(2 * fields["padding"][i] <= fields["kernel_size"][i] for i in (0, 1)))


# -- max pooling -------------------------------------------------------------------------------------------


@quick
@given(fields=poolings(dilation=pairs), size=sizes, seed=seeds)
def test_the_largest_of_ties_nan_and_infinities_is_torchs(
    fields: dict[str, Any], size: tuple[int, int], seed: int
) -> None:
    values = torch.tensor([0.0, 1.0, 1.0, torch.nan, -torch.inf, -torch.inf, torch.inf], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    kinds = int(torch.randint(1, len(values) + 1, (1,), generator=generator))
    x = values[torch.randint(len(values) - kinds, len(values), (2, 2, *size), generator=generator)]
    if max(fields["dilation"]) > 1 and max(fields["padding"]):
        # a window may lie in the padding wholly: torch then writes the gradient beyond its memory
        assume(min(size) > 4)
    agree(layers.MaxPool2d(**fields), torch.nn.MaxPool2d(**fields), x, seed)


def test_of_equal_numbers_the_first_counts_and_of_nans_the_last() -> None:
    pool, gy = layers.MaxPool2d(2), torch.ones(1, 1, 1)
    nan = torch.nan
    for numbers, taken in (([5, 5, 5, 5], 0), ([1, 5, 5, 1], 1), ([nan, 5, nan, 1], 2), ([nan] * 4, 3)):
        y = pool.forward(torch.tensor(numbers, dtype=torch.float32).view(1, 2, 2))
        assert y.isnan().item() == (nan in numbers)
        assert pool.backward(gy).flatten().tolist() == [float(place == taken) for place in range(4)]


def test_an_infinite_gradient_spoils_no_neighbour() -> None:
    pool = layers.MaxPool2d(2, stride=1)
    pool.forward(torch.tensor([[[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]]))
    gx = pool.backward(torch.tensor([[[torch.inf, 1.0]]]))
    assert gx.tolist() == [[[torch.inf, 1.0, 0.0], [0.0, 0.0, 0.0]]]


def test_a_window_that_would_lie_in_the_padding_wholly_is_refused() -> None:
    """Dilated by 3, the second tap is beyond a picture of 2 × 2; in torch its gradient goes astray."""
    pool = layers.MaxPool2d(2, padding=1, dilation=3)
    with pytest.raises(ValueError, match="height 2 is too small, at least 3 is needed"):
        pool.forward(torch.ones(1, 2, 2))
    assert pool.forward(torch.ones(1, 3, 3)).isfinite().all()


def test_max_pooling_keeps_a_byte_a_window() -> None:
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    for kernel, bytes_each in ((2, 1), (8, 1), ((17, 16), 8)):
        spec = layers.MaxPool2dSpec(kernel_size=kernel, ceil_mode=True)
        _, (taken, _) = spec.forward({}, x)
        assert taken.element_size() == bytes_each
        assert spec.saves((tuple(x.shape),), tuple(taken.shape))[0].item_bytes == bytes_each


# -- average pooling -----------------------------------------------------------------------------------------


@settings(quick, max_examples=300)
@given(
    fields=poolings(
        count_include_pad=st.booleans(),
        divisor_override=st.one_of(st.none(), st.none(), st.integers(-5, 9).filter(bool)),
    ),
    size=sizes,
    seed=seeds,
)
@example(
    fields={"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": True,
            "count_include_pad": True, "divisor_override": None}, size=(6, 6), seed=0,
)  # fmt: skip
def test_divisors_are_torchs(fields: dict[str, Any], size: tuple[int, int], seed: int) -> None:
    agree(layers.AvgPool2d(**fields), torch.nn.AvgPool2d(**fields), picture(size, seed), seed)


# -- resampling ----------------------------------------------------------------------------------------------


@quick
@given(factor=st.tuples(st.integers(1, 7), st.integers(1, 7)), corners=st.booleans(), size=sizes, seed=seeds)
def test_bilinear_upsampling(
    factor: tuple[int, int], corners: bool, size: tuple[int, int], seed: int
) -> None:
    theirs = torch.nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=corners)
    agree(layers.BilinearUpsampling(factor, corners), theirs, picture(size, seed), seed)


@pytest.mark.parametrize("shape", [(2, 3, 8, 4, 6), (1, 2, 1, 4, 2, 4)])
def test_shuffles_take_any_number_of_batch_axes(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    agree(layers.PixelShuffle(2), torch.nn.PixelShuffle(2), x)
    agree(layers.PixelUnshuffle(2), torch.nn.PixelUnshuffle(2), x)


def test_shuffles_undo_each_other() -> None:
    x = torch.randn(0, 9, 3, 6)
    assert layers.PixelShuffle(3)(x).shape == (0, 1, 9, 18)  # which torch refuses to lay out
    x = torch.randn(2, 9, 3, 6)
    assert torch.equal(layers.PixelUnshuffle(3)(layers.PixelShuffle(3)(x)), x)


# -- padding -------------------------------------------------------------------------------------------------

sides = st.tuples(*(st.integers(-4, 6) for _ in range(4)))


@settings(quick, max_examples=300)
@given(mode=st.sampled_from(["Zero", "Constant", "Reflection", "Replication", "Circular"]), sides=sides,
       size=sizes, seed=seeds)  # fmt: skip
def test_padding(mode: str, sides: tuple[int, ...], size: tuple[int, int], seed: int) -> None:
    fields: dict[str, Any] = {"padding": sides, **({"value": -1.5} if mode == "Constant" else {})}
    left, right, top, bottom = sides
    for n, before, after in ((size[0], top, bottom), (size[1], left, right)):
        # torch's circle copies memory that it has not written
        assume(mode != "Circular" or n - max(-before, 0) - max(-after, 0) >= max(before, after, 1))
        assume(n + before + after > 0)  # torch lets a picture vanish, in some modes
    theirs = getattr(torch.nn, f"{mode}Pad2d")(**fields)
    agree(getattr(layers, f"{mode}Pad2d")(**fields), theirs, picture(size, seed), seed)


@pytest.mark.parametrize("padding", [(0, 0, 3, -2), (0, 0, -2, 3), (0, 0, -4, 0)])
def test_a_circle_longer_than_what_is_left_is_refused(padding: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="height 4 is too small, at least 5 is needed"):
        layers.CircularPad2d(padding)(torch.zeros(1, 4, 4))
    assert layers.CircularPad2d(padding)(torch.zeros(1, 5, 4)).shape[1] == 5 + sum(padding)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_unpad_is_the_adjoint_of_pad(mode: Any) -> None:
    """⟨pad(x), g⟩ = ⟨x, unpad(g)⟩, with cuts as well."""
    x = picture((6, 7), 0)
    for pads in (((2, 3), (0, 4)), ((-2, 1), (3, -1)), ((-1, -2), (-3, 0)), ((0, 0), (0, 0))):
        y = pad(x, pads, mode)
        g = torch.randn_like(y)
        torch.testing.assert_close((y * g).sum(), (x * unpad(g, pads, mode)).sum(), rtol=1e-12, atol=1e-12)


def test_gradients_that_nobody_needs_are_not_computed() -> None:
    x = torch.randn(1, 4, 4, 4)
    for spec in (
        layers.MaxPool2dSpec(kernel_size=2), layers.AvgPool2dSpec(kernel_size=2),
        layers.PixelShuffleSpec(upscale_factor=2), layers.PixelUnshuffleSpec(downscale_factor=2),
        layers.BilinearUpsamplingSpec(scale_factor=2), layers.ReflectionPad2dSpec(padding=1),
    ):  # fmt: skip
        y, saved = spec.forward({}, x)
        assert spec.backward({}, saved, torch.ones_like(y), Needs(inputs=(False,))) == ((None,), {})

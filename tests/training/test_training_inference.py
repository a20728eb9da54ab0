"""Whole pictures of any size: padding, cutting back, and what no padding can mend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import SizeSet
from n2nspec.graph import analyse
from n2nspec.spec import load
from n2nspec.training.inference import Frame, extend

STRIDE = {"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1}
UP = {"type": "Upsampling", "out_channels": 3, "kernel_size": 3, "padding": 1}
VALID = {"type": "Conv2d", "out_channels": 3, "kernel_size": 3}


def frame(layers: list[dict[str, Any]], x: list[str | int] | None = None) -> Frame:
    document = {"spec_version": 1, "name": "net", "input": {"x": x or ["N", 3, "H", "W"]}, "encoder": layers}
    return Frame(analyse(load(document)))


@given(own=st.integers(1, 9), extra=st.integers(0, 40))
def test_extend_reflects_as_often_as_needed(own: int, extra: int) -> None:
    row = torch.arange(own, dtype=torch.float64)
    extended = extend(row.expand(2, 1, own, own), own + extra, own + extra)
    assert extended.shape == (2, 1, own + extra, own + extra)
    period = 2 * own - 2 or 1
    expected = [float(min(i % period, period - i % period)) if own > 1 else 0.0 for i in range(own + extra)]
    assert extended[1, 0, 0].tolist() == expected
    assert torch.equal(extended[..., :own, :own], row.expand(2, 1, own, own))


def test_extend_agrees_with_torch_where_torch_can() -> None:
    x = torch.rand(2, 3, 6, 5)
    assert torch.equal(extend(x, 9, 8), torch.nn.functional.pad(x, (0, 3, 0, 3), mode="reflect"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (4, 4), (37, 53)])
def test_identity_gives_back_every_picture(height: int, width: int) -> None:
    x = torch.rand(2, 3, height, width)
    seen = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return batch

    y = frame([STRIDE, STRIDE, UP, UP]).apply(forward, x)
    assert torch.equal(y, x)
    assert seen == [(2, 3, -(-height // 4) * 4, -(-width // 4) * 4)]
    y += 1  # the result is the caller's own
    assert not torch.equal(y, x)


def test_sizes_that_are_taken_but_not_given_back_are_padded_too() -> None:
    # no [require]: the network takes 5 × 5 and makes 8 × 8 of it
    assert frame([STRIDE, STRIDE, UP, UP]).size(5, 6) == (8, 8)


def test_many_pictures_go_in_batches_of_bounded_size() -> None:
    sizes = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return batch * 2

    x = torch.rand(10, 3, 128, 256)
    assert torch.equal(frame([{"type": "Identity"}]).apply(forward, x), x * 2)
    assert sizes == [2] * 5


def test_a_fixed_batch_is_filled_up() -> None:
    sizes = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return batch

    x = torch.rand(6, 3, 5, 5)
    assert torch.equal(frame([{"type": "Identity"}], x=[4, 3, "H", "W"]).apply(forward, x), x)
    assert sizes == [4, 4]


def test_one_symbol_for_both_axes_means_square() -> None:
    assert frame([STRIDE, UP], x=["N", 3, "S", "S"]).size(3, 9) == (10, 10)


@pytest.mark.parametrize(
    ("layers", "x", "match"),
    [
        ([VALID], None, "never gives back the height"),
        ([{**STRIDE, "out_channels": 3}], [1, 3, 8, 8], "never gives back the height"),
        ([{**VALID, "out_channels": 2, "padding": 1}], None, "channels it was given"),
        ([{"type": "Linear", "out_features": 4}], ["N", 4], "takes and gives pictures"),
        ([{"type": "Identity"}], [3, "H", "W"], "takes and gives pictures"),
    ],
)
def test_networks_that_are_no_denoisers(layers: list[Any], x: list[Any] | None, match: str) -> None:
    with pytest.raises(DiagnosticError, match=match) as caught:
        frame(layers, x)
    assert [d.code for d in caught.value.diagnostics] == ["E208"]


def test_a_picture_larger_than_a_fixed_input() -> None:
    fixed = frame([STRIDE, UP], x=["N", 3, 8, 8])
    assert fixed.size(5, 8) == (8, 8)
    with pytest.raises(DiagnosticError, match="9 × 8 pixels is larger") as caught:
        fixed.size(9, 8)
    assert caught.value.diagnostics[0].code == "E208"


NORM = {"type": "InstanceNorm2d", "name": "norm"}
SAME = {"type": "Conv2d", "out_channels": 3, "kernel_size": 1}


@pytest.mark.parametrize(
    ("layers", "x", "size", "padded"),
    [
        ([NORM, SAME], ["N", 3, "H", "W"], (1, 1), (2, 1)),
        ([NORM, SAME], ["N", 3, "H", "W"], (1, 3), (1, 3)),
        ([NORM, SAME], ["N", 3, "S", "S"], (1, 1), (2, 2)),
        ([NORM, SAME], ["N", 3, 1, "W"], (1, 1), (1, 2)),
        ([{"type": "GroupNorm", "num_groups": 3}, SAME], ["N", 3, "H", "W"], (1, 1), (2, 1)),
        ([{"type": "AvgPool2d", "kernel_size": 4}, NORM, {"type": "NearestUpsampling", "scale_factor": 4}],
         ["N", 3, "H", "W"], (3, 7), (4, 8)),
        ([{"type": "AvgPool2d", "kernel_size": 4}, NORM, {"type": "NearestUpsampling", "scale_factor": 4}],
         ["N", 3, "H", "W"], (3, 3), (8, 4)),
    ],
)  # fmt: skip
def test_a_picture_that_leaves_a_single_value_is_padded(
    layers: list[dict[str, Any]], x: list[str | int], size: tuple[int, int], padded: tuple[int, int]
) -> None:
    found = frame(layers, x)
    assert found.size(*size) == padded
    seen: list[tuple[int, ...]] = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return batch

    pictures = torch.rand(2, 3, *size)
    assert torch.equal(found.apply(forward, pictures), pictures)
    assert seen == [(2, 3, *padded)]


def test_a_picture_too_small_for_a_network_of_few_sizes() -> None:
    """Narrowed by hand to one size, that which leaves a single value."""
    document = {
        "spec_version": 1, "name": "net", "input": {"x": ["N", 3, "H", "W"]},
        "encoder": [
            {"type": "Conv2d", "out_channels": 3, "kernel_size": 1, "stride": 4, "name": "small"},
            NORM,
            {"type": "NearestUpsampling", "scale_factor": 4, "name": "y"},
        ],
    }  # fmt: skip
    found = Frame(analyse(load(document)))
    found.heights = found.widths = SizeSet.finite([4])
    with pytest.raises(DiagnosticError, match="a picture of 3 × 4 pixels is too small: norm needs more"):
        found.size(3, 4)


def test_the_wrong_number_of_channels() -> None:
    with pytest.raises(DiagnosticError, match="takes pictures of 3 channels; this one has 1") as caught:
        frame([STRIDE, UP]).apply(lambda x: x, torch.rand(1, 1, 8, 8))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E304"
    assert "grey" in diagnostic.help

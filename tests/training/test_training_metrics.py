"""PSNR and moving averages against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from n2nspec.training import moving_average, psnr
from n2nspec.training.metrics import mean, picture_psnrs


def test_psnr_of_a_constant_error() -> None:
    # mse = 0.1² = 0.01, so -10·log10(0.01) = 20 dB
    assert psnr(torch.full((3, 4, 5), 0.6, dtype=torch.float64), torch.full((3, 4, 5), 0.5)) == pytest.approx(
        20
    )


def test_psnr_is_the_mean_over_pictures_not_of_the_errors() -> None:
    reference = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    prediction = torch.stack([torch.full((1, 2, 2), 0.1), torch.full((1, 2, 2), 0.01)]).double()
    assert picture_psnrs(prediction, reference) == pytest.approx([20, 40], abs=1e-6)
    assert psnr(prediction, reference) == pytest.approx(30, abs=1e-6)


def test_psnr_clips_nothing() -> None:
    # an overshoot of 1 is an error of 1: 0 dB
    assert psnr(torch.full((1, 2, 2), 2.0), torch.full((1, 2, 2), 1.0)) == 0


def test_equal_pictures_have_infinite_psnr() -> None:
    picture = torch.rand(2, 3, 4, 4)
    assert psnr(picture, picture.clone()) == math.inf
    assert picture_psnrs(picture, picture + torch.tensor([0.0, 0.1]).reshape(2, 1, 1, 1))[0] == math.inf


def test_psnr_of_broken_pixels_is_not_a_number() -> None:
    assert math.isnan(psnr(torch.full((1, 2, 2), math.nan), torch.zeros(1, 2, 2)))


@pytest.mark.parametrize(
    ("first", "second"),
    [((3, 4, 4), (1, 4, 4)), ((2, 3, 4, 4), (3, 4, 4)), ((4, 4), (4, 4)), ((0, 3, 4, 4),) * 2],
)
def test_psnr_refuses_other_shapes(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="psnr: expected"):
        psnr(torch.zeros(first), torch.zeros(second))


def test_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_moving_average() -> None:
    assert moving_average([1, 2, 6, 4], 2) == [1.5, 4, 5]
    assert moving_average([1, 2, 6, 4], 1) == [1, 2, 6, 4]
    assert moving_average([1, 2, 6, 4], 4) == [3.25]
    assert moving_average([1, 3], 10) == [2]
    assert moving_average([], 10) == []
    with pytest.raises(ValueError, match="window"):
        moving_average([1.0], 0)

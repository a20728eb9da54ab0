"""To [0, 1] and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from n2nspec.data import from_unit, to_unit
from n2nspec.data.scaling import to_tensor
from n2nspec.diagnostics import DiagnosticError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("through", [np.float32, np.float64])
def test_there_and_back_is_the_same(dtype: type, through: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    unit = to_unit(values, through)
    assert unit.dtype == through
    assert (unit.min(), unit.max()) == (0, 1)
    back = from_unit(unit, dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, values)


def test_it_rounds_and_cuts() -> None:
    values = np.array([-0.2, 0.4999, 0.5001, 254.6, 300.0]) / 255
    assert from_unit(values, np.uint8).tolist() == [0, 0, 1, 255, 255]


def test_floating_point_is_left_alone() -> None:
    values = np.array([-0.25, 1.5], dtype=np.float32)
    assert to_unit(values, np.float64).tolist() == from_unit(values, np.float32).tolist() == [-0.25, 1.5]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_has_no_colour(bad: float) -> None:
    with pytest.raises(DiagnosticError, match="E406"):
        from_unit(np.array([0.5, bad]), np.uint8)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64])
def test_a_range_that_nobody_knows(dtype: type) -> None:
    with pytest.raises(ValueError, match="expected uint8, uint16 or floating-point"):
        to_unit(np.zeros(2, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_are_as_accurate_as_a_division(dtype: torch.dtype) -> None:
    for white, kind in ((255, np.uint8), (65535, np.uint16)):
        values = np.arange(white + 1).astype(kind)
        assert torch.equal(to_tensor(values, dtype), torch.arange(white + 1, dtype=dtype) / white)


def test_a_tensor_has_memory_of_its_own() -> None:
    values = np.zeros(3)
    tensor = to_tensor(values, torch.float64)
    tensor += 1
    assert values.tolist() == [0, 0, 0]

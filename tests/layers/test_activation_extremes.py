"""Activations where arithmetic is hard: kinks, infinities, NaN, numbers near the end of the range.

The layers come from the registry, with every set of fields of their own cases.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from layer_pairs import SPECS, label, make_spec, make_twin
from torch import Tensor

from n2nspec.layers import GELU, LAYERS, LayerSpec, LeakyReLU, SiLU, Softplus
from n2nspec.layers._base import Case, Needs

SETTINGS = [
    (spec_type, fields)
    for spec_type in SPECS
    if spec_type.activation and spec_type.parameters is LayerSpec.parameters
    for fields in {str(case.fields): case.fields for case in spec_type.CASES}.values()
]
every_activation = pytest.mark.parametrize(("spec_type", "fields"), SETTINGS, ids=label)
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def run(spec: LayerSpec, x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    y, saved = spec.forward({}, x)
    (gx,), _ = spec.backward({}, saved, gy, Needs(inputs=(True,)))
    assert gx is not None
    assert y.dtype == gx.dtype == x.dtype
    return y, gx


def torch_run(spec: LayerSpec, x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    """In float64 and by its vector kernels, whatever the dtype: torch's other kernels differ in places."""
    repeated = x.double().repeat(16).requires_grad_()
    y = make_twin(spec, (tuple(repeated.shape),))(repeated)
    y.backward(gy.double().repeat(16))
    assert repeated.grad is not None
    return y.detach()[: len(x)].to(x.dtype), repeated.grad[: len(x)].to(x.dtype)


def same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_the_activations_are_there() -> None:
    names = {"ReLU", "LeakyReLU", "ELU", "SiLU", "GELU", "Tanh", "Sigmoid", "Softplus"}
    assert names <= {spec_type.model_fields["type"].default for spec_type, _ in SETTINGS}


@every_activation
@every_dtype
def test_kinks_infinities_and_nan_are_torchs(
    spec_type: type[LayerSpec], fields: dict[str, Any], dtype: torch.dtype
) -> None:
    spec = make_spec(spec_type, Case(fields=fields, inputs=((7,),)))
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-30, -1e-30], dtype=dtype)
    gy = torch.tensor([3.0, -2.0, 3.0, 3.0, 3.0, 3.0, 3.0], dtype=dtype)
    tolerance = 1e-8 if dtype == torch.float64 else 1e-6
    for ours, theirs in zip(run(spec, x, gy), torch_run(spec, x, gy), strict=True):
        same(ours, theirs, tolerance)


@every_activation
@every_dtype
def test_far_out_it_is_torchs(spec_type: type[LayerSpec], fields: dict[str, Any], dtype: torch.dtype) -> None:
    spec = make_spec(spec_type, Case(fields=fields, inputs=((1,),)))
    x = torch.tensor([30.0, 90.0, 1e3, 1e6, 1e15], dtype=dtype)
    x = torch.cat([x, -x])
    tolerance = 1e-8 if dtype == torch.float64 else 1e-6
    for ours, theirs in zip(
        run(spec, x, torch.ones_like(x)), torch_run(spec, x, torch.ones_like(x)), strict=True
    ):
        same(ours, theirs, tolerance)


@every_activation
@every_dtype
def test_what_is_finite_stays_finite(
    spec_type: type[LayerSpec], fields: dict[str, Any], dtype: torch.dtype
) -> None:
    """Up to the largest number there is, where torch itself has NaN in places (GELU's tanh form)."""
    spec = make_spec(spec_type, Case(fields=fields, inputs=((1,),)))
    largest = torch.finfo(dtype).max / 4  # Softplus(beta=3) multiplies
    x = torch.tensor([1.0, 800.0, 1e19, math.sqrt(largest), largest], dtype=dtype)
    x = torch.cat([x, -x])
    y, gx = run(spec, x, torch.ones_like(x))
    assert y.isfinite().all()
    assert gx.isfinite().all()
    assert (gx.abs() <= 2.5).all()


@every_activation
def test_an_infinite_gradient_comes_out_as_in_torch(
    spec_type: type[LayerSpec], fields: dict[str, Any]
) -> None:
    spec = make_spec(spec_type, Case(fields=fields, inputs=((1,),)))
    x = torch.tensor([0.7, -0.7, 0.0, 25.0], dtype=torch.float64)
    gy = torch.full_like(x, math.inf)
    same(run(spec, x, gy)[1], torch_run(spec, x, gy)[1])


def test_softplus_at_its_threshold_is_torchs() -> None:
    """Just at the threshold the smooth branch still holds; both give nearly the same output there."""
    spec = LAYERS["Softplus"](beta=2.0, threshold=1.0)
    x = torch.tensor([0.5, math.nextafter(0.5, 1), 0.6, 0.4], dtype=torch.float64)
    y, gx = run(spec, x, torch.ones_like(x))
    same(gx, torch_run(spec, x, torch.ones_like(x))[1])
    assert gx[0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert gx[1] == 1
    assert y[1] == x[1]


def test_softplus_needs_no_threshold_to_stay_finite() -> None:
    layer = Softplus(threshold=1e9)
    assert layer(torch.tensor([1000.0, -1000.0])).tolist() == [1000.0, 0.0]
    assert layer.backward(torch.ones(2)).tolist() == [1.0, 0.0]


def test_limits() -> None:
    """The values themselves, not torch's."""
    x = torch.tensor([-1000.0, 1000.0])
    for layer in (SiLU(), GELU(), GELU("tanh"), LeakyReLU(0)):
        assert layer(x).tolist() == [0.0, 1000.0]
        assert layer.backward(torch.ones(2)).tolist() == [0.0, 1.0]


def test_a_negative_slope_needs_the_input() -> None:
    """Below 0 and above it the output is positive: its sign says nothing."""
    x = torch.tensor([-2.0, 1.0], dtype=torch.float64)
    for name, field in (("LeakyReLU", "negative_slope"), ("ELU", "alpha")):
        for value, kept in ((-0.5, "input"), (0.0, "output"), (0.5, "output")):
            spec = LAYERS[name](**{field: value})
            assert [saved.of for saved in spec.saves((), ())] == [kept]
            same(run(spec, x, torch.ones_like(x))[1], torch_run(spec, x, torch.ones_like(x))[1])

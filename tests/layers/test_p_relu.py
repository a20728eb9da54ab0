"""PReLU at the edges: 0, infinity, no number; what its slopes start as."""

from __future__ import annotations

import pytest
import torch

from n2nspec.layers import PReLU


@pytest.mark.parametrize("slope", [0.25, 0.0, -2.0, 3.0])
def test_zero_infinity_and_nan_are_torchs(slope: float) -> None:
    inf, nan = float("inf"), float("nan")
    xs = torch.tensor([0.0, -0.0, 1.0, -1.0, inf, -inf, nan])
    for x, g in torch.cartesian_prod(xs, torch.tensor([1.0, -0.5, 0.0, inf, nan])):
        layer, twin = PReLU(init=slope), torch.nn.PReLU(init=slope)
        leaf = x.clone().requires_grad_()
        expected = twin(leaf)
        expected.backward(g)
        same = {"rtol": 0, "atol": 0, "equal_nan": True}
        torch.testing.assert_close(layer(x), expected.detach(), **same)
        torch.testing.assert_close(layer.backward(g), leaf.grad, **same)
        torch.testing.assert_close(layer.weight.grad, twin.weight.grad, **same)


def test_slopes_start_as_told_and_draw_nothing() -> None:
    state = torch.get_rng_state()
    layer = PReLU(3, -0.5, dtype=torch.float64)
    assert layer.weight.tolist() == [-0.5] * 3
    assert layer.weight.dtype == torch.float64
    layer.reset_parameters("xavier")
    assert layer.weight.tolist() == [-0.5] * 3
    assert torch.equal(torch.get_rng_state(), state)
    assert PReLU().weight.tolist() == [0.25]
    assert layer.init == -0.5

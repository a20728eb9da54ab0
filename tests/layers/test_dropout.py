"""Dropout's random numbers: torch's own on the CPU, bit for bit, and only in training."""

from __future__ import annotations

import pytest
import torch

from n2nspec.layers import Dropout
from n2nspec.layers._base import Mode, Needs
from n2nspec.layers.dropout import DropoutSpec


@pytest.mark.parametrize("p", [0.0, 0.04, 0.1, 0.111, 0.3, 0.5, 1 / 3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strided", [False, True])
def test_one_seed_gives_torchs_bits(p: float, dtype: torch.dtype, strided: bool) -> None:
    x, gy = (torch.randn((20, 50), dtype=dtype, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    if strided:
        x, gy = x.t(), gy.t()
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.nn.Dropout(p)(leaf)
        after = torch.get_rng_state()
        expected.backward(gy)
        torch.manual_seed(3)
        layer = Dropout(p)
        assert torch.equal(layer(x), expected.detach())
        assert torch.equal(torch.get_rng_state(), after), "what comes next would differ"
    assert torch.equal(layer.backward(gy), leaf.grad)
    own = torch.Generator().manual_seed(3)
    y, saved = DropoutSpec(p=p).forward({}, x, mode=Mode(training=True, generator=own))
    assert torch.equal(y, expected.detach())
    (gx,), _ = DropoutSpec(p=p).backward({}, saved, gy, Needs(inputs=(True,)))
    assert torch.equal(gx, leaf.grad)


def test_a_generator_of_its_own_leaves_torchs_alone() -> None:
    state, own = torch.get_rng_state(), torch.Generator().manual_seed(0)
    first, _ = DropoutSpec().forward({}, torch.ones(100), mode=Mode(training=True, generator=own))
    second, _ = DropoutSpec().forward({}, torch.ones(100), mode=Mode(training=True, generator=own))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)


def test_evaluation_draws_and_keeps_nothing() -> None:
    own, x = torch.Generator().manual_seed(0), torch.randn(9)
    state = own.get_state()
    y, saved = DropoutSpec().forward({}, x, mode=Mode(training=False, generator=own))
    assert torch.equal(y, x)
    assert saved is True
    assert torch.equal(own.get_state(), state)


def test_what_is_dropped_stays_no_number_as_in_torch() -> None:
    x = torch.tensor([float("nan"), float("inf"), 1.0] * 20)
    for p in (0.5, 1.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            expected = torch.nn.Dropout(p)(x)
            torch.manual_seed(0)
            torch.testing.assert_close(Dropout(p)(x), expected, rtol=0, atol=0, equal_nan=True)


def test_inplace_overwrites_its_input() -> None:
    x = torch.ones(1000)
    layer = Dropout(inplace=True)
    y = layer(x)
    assert y.data_ptr() == x.data_ptr()
    assert set(x.tolist()) == {0.0, 2.0}
    assert torch.equal(layer.backward(torch.ones(1000)), x)

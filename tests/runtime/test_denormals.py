"""Tiny numbers are zero inside, and afterwards whatever they were before."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

from n2nspec.runtime.denormals import denormals_are_zero


def flushed() -> bool:
    return bool(torch.full((3,), 1e-39).mul_(0.5).eq(0).all())


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor has no such switch")
    yield
    torch.set_flush_denormal(False)


def test_tiny_numbers_are_zero_inside_only() -> None:
    assert not flushed()
    with denormals_are_zero():
        assert flushed()
        with denormals_are_zero():
            assert flushed()
        assert flushed()
    assert not flushed()
    assert sys.float_info.min / 2 > 0


def test_who_wants_that_anyway_keeps_it() -> None:
    torch.set_flush_denormal(True)
    with denormals_are_zero():
        assert flushed()
    assert flushed()


def test_an_exception_changes_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), denormals_are_zero():
        raise KeyboardInterrupt
    assert not flushed()

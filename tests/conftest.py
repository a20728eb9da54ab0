"""For every test."""

from __future__ import annotations

import sys

import pytest
import torch

from n2nspec.runtime.optimized import tuning

# The tensors of the tests are tiny: a second thread only waits, and on a busy machine it waits long.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two equal ways is faster is no test's business, and the user's cache folder is the user's."""
    monkeypatch.setattr(tuning, "LEAST_MACS", sys.maxsize)

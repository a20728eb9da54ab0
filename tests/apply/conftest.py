"""Fixtures of the small world, and a run in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_world import pairs, spec

from n2nspec.spec import Spec
from n2nspec.training import Run, train

__all__ = ["pairs", "spec", "trained"]


@pytest.fixture
def trained(tmp_path: Path, spec: Callable[..., Spec]) -> Run:
    """One epoch of the small network, in `small-run` of the test's folder."""
    return train(spec(), tmp_path / "small-run", epochs=1)

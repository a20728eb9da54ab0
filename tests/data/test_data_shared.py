"""The mini-project's own files, where they are: they may not be shipped.

They are looked for in the folder that the variable N2NSPEC_DATA names, or in `shared/data` beside the
checkout.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from n2nspec.data import open_training, open_validation
from n2nspec.spec import Spec

BESIDE = Path(__file__).parents[3] / "shared" / "data"
FOLDER = Path(os.environ.get("N2NSPEC_DATA", BESIDE))


def shared(name: str) -> str:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{name} may not be shipped; it is not in {FOLDER} (set N2NSPEC_DATA to where it is)")
    return str(path)


def test_training_pairs(make_spec: Callable[..., Spec]) -> None:
    data = open_training(make_spec(train=shared("train_data.pkl"), patch=32), torch.float32)
    assert data.description == "10,000 pairs of 32 × 32 from train_data.pkl"
    assert (data.pairs_per_epoch, data.batches_per_epoch, data.channels) == (10_000, 313, 3)
    sizes = [first.shape[0] for first, _ in data.epoch(0)]
    assert sizes == [32] * 312 + [16]


@pytest.mark.parametrize(
    ("name", "count", "noisy_psnr"), [("val_data", 1000, 22.0), ("real20_val_data", 20, 21.5)]
)
def test_validation_pairs(make_spec: Callable[..., Spec], name: str, count: int, noisy_psnr: float) -> None:
    """The noisy pictures' PSNR is the design's reference figure."""
    data = open_validation(make_spec(), torch.float64, shared(f"{name}.pkl"))
    assert data is not None
    psnrs = [-10 * torch.log10(((p.noisy - p.reference) ** 2).mean()) for p in data]
    assert len(psnrs) == len(data) == count
    assert round(float(torch.stack(psnrs).mean()), 1) == noisy_psnr

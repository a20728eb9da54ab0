"""A small world to train in: twelve pairs of 8 × 8 pictures, three held-out ones, a small network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2nspec.spec import Spec, load

DOCUMENT: dict[str, Any] = {
    "spec_version": 1,
    "name": "small",
    "input": {"x": ["N", 3, "H", "W"]},
    "encoder": [
        {"name": "conv1", "type": "Conv2d", "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1},
        {"type": "ReLU"},
    ],
    "decoder": [
        {
            "name": "up1",
            "type": "Upsampling",
            "out_channels": 3,
            "kernel_size": 3,
            "scale_factor": 2,
            "padding": 1,
        },
        {"type": "Sigmoid", "name": "sigmoid"},
    ],
    "train": {"epochs": 2, "batch_size": 5, "seed": 3, "optimizer": {"type": "Adam", "lr": 0.01}},
}


def smooth(count: int, size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Pictures (N, H, W, 3) on [0, 1] whose colours rise along one diagonal."""
    rows, columns = np.linspace(0, 0.5, size[0]), np.linspace(0, 0.5, size[1])
    base = (rows[:, None] + columns[None, :])[None, :, :, None]
    return base * random.uniform(0.5, 1, (count, 1, 1, 3))


def noisy(clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.rint(np.clip(clean + random.normal(0, 0.1, clean.shape), 0, 1) * 255).astype(np.uint8)


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, Any]:
    """A `[data]` table over two files in the test's folder."""
    random = np.random.default_rng(0)
    clean = smooth(12, (8, 8), random)
    np.savez(tmp_path / "train.npz", a=noisy(clean, random), b=noisy(clean, random))
    clean = smooth(3, (7, 9), random)
    np.savez(tmp_path / "val.npz", a=noisy(clean, random), b=np.rint(clean * 255).astype(np.uint8))
    return {"train": str(tmp_path / "train.npz"), "val": str(tmp_path / "val.npz")}


@pytest.fixture
def spec(pairs: dict[str, Any]) -> Callable[..., Spec]:
    """`spec(**{"train.epochs": 3})`: the small spec, with overrides."""

    def make(**overrides: Any) -> Spec:
        document = copy.deepcopy(DOCUMENT) | {"data": dict(pairs)}
        return load(document, {key.replace("__", "."): value for key, value in overrides.items()})

    return make

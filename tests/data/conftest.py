"""Specs and folders of pictures for the tests of `n2nspec.data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2nspec.spec import Spec, load

MakeSpec = Callable[..., Spec]


@pytest.fixture
def make_spec() -> MakeSpec:
    """A spec with a given `[data]`; `channels`, `size` and `train` change the rest."""

    def make(
        channels: int = 3,
        size: tuple[int | str, int | str] = ("H", "W"),
        train_section: dict[str, Any] | None = None,
        **data: Any,
    ) -> Spec:
        document: dict[str, Any] = {
            "spec_version": 1,
            "name": "small",
            "input": {"x": ["N", channels, *size]},
            "encoder": [{"type": "ReLU"}],
            "train": train_section or {},
        }
        if data:
            document["data"] = data
        return load(document)

    return make


@pytest.fixture
def random_picture() -> Callable[..., np.ndarray]:
    """Random uint8 colours (H, W, C), or (H, W) for one channel."""

    def make(height: int = 12, width: int = 10, channels: int = 3, seed: int = 0) -> np.ndarray:
        shape = (height, width, channels) if channels > 1 else (height, width)
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def pair_folder(tmp_path: Path, random_picture: Callable[..., np.ndarray]) -> Path:
    """Three pairs of 12 × 10 RGB pictures, in a/ and b/ of a folder with a space in its name."""
    folder = tmp_path / "my pairs"
    for half, offset in (("a", 0), ("b", 10)):
        (folder / half).mkdir(parents=True)
        for index in range(3):
            suffix = ".PNG" if half == "b" and index == 1 else ".png"
            picture = Image.fromarray(random_picture(seed=index + offset))
            picture.save(folder / half / f"p {index}{suffix}", format="PNG")
    return folder

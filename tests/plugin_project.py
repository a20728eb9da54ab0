"""A layer of a user's own: Softsign, in one file beside the spec that uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_world import noisy, smooth

SOFTSIGN = '''
"""Softsign: x over one more than its size.

    forward    y = scale·x / (1 + |x|)
    backward   gx = scale·gy / (1 + |x|)²
    sizes      as the input's, of any shape
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from n2nspec.layers import Case, Count, Layer, LayerSpec, Needs, Saved

__all__ = ["Softsign", "SoftsignSpec"]


class SoftsignSpec(LayerSpec):
    """A sigmoid without exponentials."""

    type: Literal["Softsign"] = "Softsign"
    scale: Count = Field(1, description="The largest output.")

    twin: ClassVar[str] = "torch.nn.Softsign"

    def saves(self, inputs: Any, output: Any) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def forward(self, params: Any, *xs: Any) -> tuple[Any, Any]:
        (x,) = xs
        return self.scale * x / (1 + x.abs()), x

    def backward(self, params: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, dict[str, Any]]:
        return (self.scale * gy / (1 + saved.abs()) ** 2 if needs.inputs[0] else None,), {}

    def twin_fields(self) -> dict[str, Any]:
        return {}

    CASES: ClassVar[tuple[Case, ...]] = (Case(fields={"scale": 2}, inputs=((2, 3, 4, 5),)),)


class Softsign(Layer):
    """`Softsign(scale=1)`."""

    spec_type = SoftsignSpec
'''

SPEC = """\
spec_version = 1
name = "soft"
plugins = ["softsign.py"]

[input]
x = ["N", 3, "H", "W"]

[[encoder]]
type = "Conv2d"
out_channels = 3
kernel_size = 3
padding = 1

[[encoder]]
name = "soft"
type = "Softsign"

[train]
epochs = 1
batch_size = 4

[data]
train = "train.npz"
val = "val.npz"
"""

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`project()` writes the plugin, the spec and some data into a folder and gives the path of the spec.

    Both texts may be changed on the way: `project(spec=lambda text: …, plugin=lambda text: …)`.
    """

    def make(
        spec: Callable[[str], str] = lambda text: text, plugin: Callable[[str], str] = lambda text: text
    ) -> Path:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "softsign.py").write_text(plugin(SOFTSIGN), encoding="utf-8")
        (folder / "soft.toml").write_text(spec(SPEC), encoding="utf-8")
        random = np.random.default_rng(0)
        clean = smooth(8, (8, 8), random)
        np.savez(folder / "train.npz", a=noisy(clean, random), b=noisy(clean, random))
        np.savez(folder / "val.npz", a=noisy(clean, random), b=np.rint(clean * 255).astype(np.uint8))
        return folder / "soft.toml"

    return make

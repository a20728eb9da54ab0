"""InstanceNorm2d: each channel of each picture with mean 0 and variance 1, then scaled and shifted.

    forward    y = (x - μ) / √(σ² + eps)·w + b; μ and σ² are those of the channel over H and W, or in
               evaluation the running ones where these are tracked
    backward   gx = w·inv / n·(n·gy - Σ gy - x̂·Σ gy·x̂) with n = H·W; w·inv·gy where μ and σ² are given
               gw = Σ gy·x̂      gb = Σ gy
    running    r = (1 - momentum)·r + momentum·new, new being the mean over the batch, with unbiased variances
    sizes      as the input's, (N, C, H, W) or (C, H, W)

As in torch `num_batches_tracked` stays 0, and a momentum of None means 0: the statistics stay as they are.

Source: Ulyanov, Vedaldi and Lempitsky 2016, Instance Normalization; arguments and running statistics of
torch.nn.InstanceNorm2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._fields import Switch
from n2nspec.layers._module import Layer
from n2nspec.layers._norm import RunningNormSpec, Share

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["InstanceNorm2d", "InstanceNorm2dSpec"]


class InstanceNorm2dSpec(RunningNormSpec):
    """Normalisation of each channel over the picture."""

    type: Literal["InstanceNorm2d"] = "InstanceNorm2d"
    momentum: Annotated[Share, BeforeValidator(lambda value: 0.0 if value is None else value)] = Field(
        0.1, description="What a new batch counts in the running statistics."
    )
    affine: Switch = Field(False, description="Multiply each channel by a weight and add a bias to it.")
    track_running_stats: Switch = Field(
        False, description="Remember mean and variance of the training, for evaluation to go by."
    )

    reduced: ClassVar[tuple[int, ...]] = (-2, -1)
    twin: ClassVar[str] = "torch.nn.InstanceNorm2d"

    def updates(self, params: Mapping[str, Tensor], saved: Any) -> dict[str, Tensor]:
        return self.moved(params, saved, self.momentum)

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"num_features": 3}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 3, "affine": True, "track_running_stats": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 3, "eps": 0.1, "momentum": 0.3, "track_running_stats": True},
             inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 2, "affine": True, "bias": False, "track_running_stats": True,
                     "momentum": 1}, inputs=((2, 3, 1),)),
        Case(fields={"num_features": 3, "affine": True}, inputs=((3, 4, 5),)),
        Case(fields={"num_features": 1, "affine": True}, inputs=((1, 1, 1, 2),)),
        Case(fields={"num_features": 5, "affine": True}, inputs=((2, 5, 4, 3),), contiguous=False),
        Case(fields={"num_features": 3}, inputs=((0, 3, 4, 5),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"num_features": 0}, match="num_features: expected an integer"),
        BadCase(fields={"num_features": 3, "eps": -1e-5}, match="greater than or equal to 0"),
        BadCase(fields={"num_features": 3, "momentum": "slow"}, match="valid number"),
        BadCase(fields={"num_features": 3, "track_running_stats": 1}, match="boolean"),
        BadCase(fields={"num_features": 3, "affine": True}, inputs=((2, 4, 4, 5),),
                match="expects 3 for num_features"),
        BadCase(fields={"num_features": 3}, inputs=((3, 4),), match="expects pictures"),
        BadCase(fields={"num_features": 3}, inputs=((2, 3, 1, 1),), match="needs more than one value"),
        BadCase(fields={"num_features": 3, "track_running_stats": True}, inputs=((3, 1, 1),),
                match="needs more than one value"),
    )  # fmt: skip


class InstanceNorm2d(Layer):
    """`InstanceNorm2d(num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False,
    device=None, dtype=None, *, bias=True)`: as torch.nn.InstanceNorm2d, with a backward of its own.

    Input (N, C, H, W) or (C, H, W). Parameters `weight` and `bias` (C,) if affine; buffers `running_mean` and
    `running_var` (C,) and `num_batches_tracked` () if tracked.

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = InstanceNorm2dSpec

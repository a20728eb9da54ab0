"""BatchNorm2d: each channel with mean 0 and variance 1 over a batch of pictures, then scaled and shifted.

    forward    y = (x - μ) / √(σ² + eps)·w + b; in training μ and σ² are those of the channel over N, H and W,
               in evaluation the running ones
    backward   gx = w·inv / n·(n·gy - Σ gy - x̂·Σ gy·x̂) in training, with n = N·H·W; w·inv·gy in evaluation
               gw = Σ gy·x̂      gb = Σ gy
    running    r = (1 - momentum)·r + momentum·new, with the unbiased variance; after k batches their plain
               mean when momentum is None
    sizes      as the input's, (N, C, H, W)

Source: Ioffe and Szegedy 2015, Batch Normalization, algorithm 1 and section 3; arguments and running
statistics of torch.nn.BatchNorm2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema

from n2nspec.diagnostics import plural
from n2nspec.geometry import Shape, ShapeError, render_shape
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._module import Layer
from n2nspec.layers._norm import RunningNormSpec, Share

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BatchNorm2d", "BatchNorm2dSpec"]

CUMULATIVE = "cumulative"

Momentum = Annotated[
    Share | None,
    BeforeValidator(lambda value: None if value == CUMULATIVE else value),
    PlainSerializer(lambda value: CUMULATIVE if value is None else value),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"const": CUMULATIVE}]}),
]
"""A share, or None, which TOML cannot write."""


class BatchNorm2dSpec(RunningNormSpec):
    """Normalisation of each channel over a batch of pictures."""

    type: Literal["BatchNorm2d"] = "BatchNorm2d"
    eps: Annotated[float, Strict(), Field(gt=0, le=1e9, allow_inf_nan=False)] = Field(
        1e-5, description="Added to the variance, so that nothing is divided by 0."
    )
    momentum: Momentum = Field(
        0.1,
        description="What a new batch counts in the running statistics;"
        f' "{CUMULATIVE}" (None in Python) gives all batches the same weight.',
    )

    reduced: ClassVar[tuple[int, ...]] = (-4, -2, -1)
    twin: ClassVar[str] = "torch.nn.BatchNorm2d"

    def picture(self, shape: Shape) -> Shape:
        """`shape`, if it is that of a batch of pictures: one alone is no batch.

        Raises:
            ShapeError: it is not.
        """
        if len(shape) != 4:
            raise ShapeError(
                f"{self.type} expects a batch of pictures, (N, C, H, W); received"
                f" {plural(len(shape), 'dimension')}, {render_shape(shape)}"
            )
        return shape

    def mixes_batch(self, *, training: bool) -> bool:
        return training or not self.track_running_stats

    def updates(self, params: Mapping[str, Tensor], saved: Any) -> dict[str, Tensor]:
        if not self.track_running_stats:
            return {}
        tracked = params["num_batches_tracked"] + 1
        momentum = 1 / tracked.to(params["running_mean"].dtype) if self.momentum is None else self.momentum
        return {**self.moved(params, saved, momentum), "num_batches_tracked": tracked}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"num_features": 3}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 3, "momentum": "cumulative"}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 3, "eps": 0.1, "momentum": 0.3, "affine": False},
             inputs=((2, 3, 4, 5),)),
        Case(fields={"num_features": 2, "track_running_stats": False}, inputs=((3, 2, 4, 4),)),
        Case(fields={"num_features": 2, "affine": False, "track_running_stats": False},
             inputs=((3, 2, 4, 4),)),
        Case(fields={"num_features": 2, "bias": False, "momentum": 1.0}, inputs=((2, 2, 3, 1),)),
        Case(fields={"num_features": 1, "momentum": 0}, inputs=((1, 1, 1, 2),)),
        Case(fields={"num_features": 2}, inputs=((2, 2, 1, 1),)),
        Case(fields={"num_features": 5}, inputs=((2, 5, 4, 3),), contiguous=False),
        Case(fields={"num_features": 3}, inputs=((0, 3, 4, 5),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"num_features": 0}, match="num_features: expected an integer"),
        BadCase(fields={"num_features": 3, "eps": 0.0}, match="greater than 0"),
        BadCase(fields={"num_features": 3, "momentum": 1.5}, match="less than or equal to 1"),
        BadCase(fields={"num_features": 3, "momentum": "slow"}, match="valid number"),
        BadCase(fields={"num_features": 3, "affine": 1}, match="boolean"),
        BadCase(fields={"num_features": 3}, inputs=((2, 4, 4, 5),), match="expects 3 for num_features"),
        BadCase(fields={"num_features": 3}, inputs=((3, 4, 5),), match="expects a batch of pictures"),
        BadCase(fields={"num_features": 3}, inputs=((1, 3, 1, 1),), match="needs more than one value"),
        BadCase(fields={"num_features": 3, "track_running_stats": False}, inputs=((1, 3, 1, 1),),
                match="needs more than one value"),
    )  # fmt: skip


class BatchNorm2d(Layer):
    """`BatchNorm2d(num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None,
    dtype=None, *, bias=True)`: as torch.nn.BatchNorm2d, with a backward of its own.

    Input (N, C, H, W). Parameters `weight` and `bias` (C,); buffers `running_mean` and `running_var` (C,) and
    `num_batches_tracked` ().

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = BatchNorm2dSpec

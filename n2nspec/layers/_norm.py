"""Normalisation by means and variances: the mathematics, and what BatchNorm2d and InstanceNorm2d share.

With mean μ and variance σ² of n numbers each (σ² divided by n), inv = 1 / √(σ² + eps), x̂ = (x - μ)·inv:

    forward    y = x̂·w + b
    backward   gx = inv / n·(n·g - Σ g - x̂·Σ g·x̂)   with g = gy·w, when μ and σ² are those of x
               gx = inv·g                             when they are given
               gw = Σ gy·x̂      gb = Σ gy

Source: Ioffe and Szegedy 2015, Batch Normalization, section 3; the three terms of its chain rule collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, Strict

from n2nspec.geometry import Shape, elements
from n2nspec.layers._base import (
    EVALUATION,
    BufferSpec,
    ModalSpec,
    Mode,
    Needs,
    ParameterSpec,
    Saved,
    Several,
    fixed,
)
from n2nspec.layers._fields import Switch
from n2nspec.layers._memory import Memory

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Epsilon",
    "RunningNormSpec",
    "Share",
    "affine_parameters",
    "gradients",
    "moments",
    "normalisation_memory",
    "normalised",
]

Share = Annotated[float, Strict(), Field(ge=0, le=1)]

Epsilon = Annotated[float, Strict(), Field(ge=0, le=1e9, allow_inf_nan=False)]
"""What is added to a variance, so that the root of its inverse exists."""


def affine_parameters(channels: int, bias: bool) -> tuple[ParameterSpec, ...]:
    """`weight`, which starts as 1, and `bias`, which starts as 0."""
    weight = ParameterSpec(name="weight", shape=(channels,), value=1.0)
    return (weight, ParameterSpec(name="bias", shape=(channels,), value=0.0)) if bias else (weight,)


def moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance over these axes, which stay as 1. Two passes: E[x²] - E[x]² would cancel."""
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square_().mean(axes, keepdim=True)


def normalised(
    x: Tensor, mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """x̂·w + b; everything broadcasts against x."""
    inv = (var + eps).rsqrt_()
    y = (x - mean).mul_(inv) if weight is None else (x - mean) * (inv * weight)
    return y if bias is None else y.add_(bias)


def gradients(
    x: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    weight: Tensor | None,
    gy: Tensor,
    axes: tuple[int, ...] | None,
    *,
    input: bool,
    parameters: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """gx, and gy·x̂, whose sum is the gradient of the weight; each None where it is not asked for.

    `axes` are those of the moments; None when these do not depend on x, which is then needed for gy·x̂ only.
    """
    inv = (var + eps).rsqrt_()
    normal = None if x is None else (x - mean).mul_(inv)
    gx = None
    if input:
        gx = gy if weight is None else gy * weight
        if axes is not None and normal is not None:
            along = (gx * normal).mean(axes, keepdim=True)
            gx = gx - gx.mean(axes, keepdim=True) - normal * along
        gx = gx * inv
    return gx, gy * normal if parameters and normal is not None else None


def normalisation_memory(
    size: int, statistics: int, scales: int, *, affine: bool, needs: Needs
) -> Memory:  # fmt: skip
    """What `moments`, `normalised` and `gradients` allocate.

    Args:
        size: bytes of the input, and `statistics` those of a mean for each set of numbers that have one.
        scales: bytes of what the numbers of a channel are multiplied with, where there are weights.
    """
    forward = (1 + affine) * size + 3 * statistics + affine * scales
    gradient = size if needs.inputs[0] else 0
    # x̂, gy·w, and three parts of gx before they are one; else only the weight's gradient is wanted
    backward = ((4 + affine) * gradient or 2 * size) + 2 * statistics
    return Memory(forward=forward, inference=forward, backward=backward, gradients=(gradient,))


class RunningNormSpec(ModalSpec):
    """Normalisation of pictures that may go by statistics remembered from training."""

    eps: Epsilon = Field(1e-5, description="Added to the variance, so that nothing is divided by 0.")
    momentum: Share | None = Field(0.1, description="What a new batch counts in the running statistics.")
    affine: Switch = Field(True, description="Multiply each channel by a weight and add a bias to it.")
    track_running_stats: Switch = Field(
        True, description="Remember mean and variance of the training, for evaluation to go by."
    )
    bias: Switch = Field(True, description="With affine: false leaves the bias out.")

    spatial: ClassVar[bool] = True
    inferred: ClassVar[tuple[str, ...]] = ("num_features",)
    keyword_only: ClassVar[tuple[str, ...]] = ("bias",)
    reduced: ClassVar[tuple[int, ...]]
    """The axes of (N, C, H, W) that a mean is taken over, counted from the end."""

    def sees_whole_picture(self) -> bool:
        return not self.track_running_stats

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        return affine_parameters(fixed(inputs[0][-3], "channels"), self.bias) if self.affine else ()

    def buffers(self, inputs: tuple[Shape, ...]) -> tuple[BufferSpec, ...]:
        if not self.track_running_stats:
            return ()
        channels = fixed(inputs[0][-3], "channels")
        return (
            BufferSpec(name="running_mean", shape=(channels,), value=0.0),
            BufferSpec(name="running_var", shape=(channels,), value=1.0),
            BufferSpec(name="num_batches_tracked", shape=(), value=0, integer=True),
        )

    def several(self, inputs: tuple[Shape, ...]) -> tuple[Several, ...]:
        dims = tuple(inputs[0][axis] for axis in self.reduced)
        return (Several(dims=dims, training=self.track_running_stats),)

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        """The input; a mean and a variance for every set of numbers that have one in common."""
        (shape,) = inputs
        left = [n for axis, n in enumerate(shape, -len(shape)) if axis not in self.reduced]
        return Saved(of="input"), Saved(of="own", size=2 * elements(tuple(left)))

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        statistics = self.saves(inputs, output)[1].size // 2 * item
        size = elements(output) * item
        found = normalisation_memory(size, statistics, statistics, affine=self.affine, needs=needs)
        # statistics that are remembered are no more than the channels
        return replace(found, inference=(1 + self.affine) * size) if self.track_running_stats else found

    def forward(
        self, params: Mapping[str, Tensor], *xs: Tensor, mode: Mode = EVALUATION
    ) -> tuple[Tensor, Any]:
        (x,) = xs
        own = mode.training or not self.track_running_stats
        if own:
            mean, var = moments(x, self.reduced)
        else:
            mean, var = (params[name].view(-1, 1, 1) for name in ("running_mean", "running_var"))
        weight, bias = (
            params[name].view(-1, 1, 1) if name in params else None for name in ("weight", "bias")
        )
        y = normalised(x, mean, var, self.eps, weight, bias)
        return y, (x if own or self.affine else None, mean, var, own)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x, mean, var, own = saved
        weight = params["weight"].view(-1, 1, 1) if self.affine else None
        gx, along = gradients(
            x, mean, var, self.eps, weight, gy, self.reduced if own else None,
            input=needs.inputs[0], parameters=needs.parameters and self.affine,
        )  # fmt: skip
        gparams: dict[str, Tensor] = {}
        if along is not None:
            others = (0, -2, -1) if gy.dim() == 4 else (-2, -1)
            gparams["weight"] = along.sum(others)
            if self.bias:
                gparams["bias"] = gy.sum(others)
        return (gx,), gparams

    def moved(self, params: Mapping[str, Tensor], saved: Any, momentum: float | Tensor) -> dict[str, Tensor]:
        """The running statistics after these: (1 - momentum)·running + momentum·new, the mean of a batch's.

        The new variance is the unbiased one, Σ(x - μ)² / (n - 1). Nothing is learnt from no pictures.
        """
        x, mean, var, _ = saved
        if not self.track_running_stats or not x.numel():
            return {}
        n = x.numel() // mean.numel()
        new = {"running_mean": mean, "running_var": var * (n / (n - 1))}
        return {
            name: momentum * tensor.view(-1, len(params[name])).mean(0) + (1 - momentum) * params[name]
            for name, tensor in new.items()
        }

    def twin_fields(self) -> dict[str, Any]:
        """Without `bias` unless it is false: older versions of torch do not know it."""
        fields = super().twin_fields()
        if self.bias:
            del fields["bias"]
        return fields

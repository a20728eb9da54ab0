"""GroupNorm: each group of channels of each picture with mean 0 and variance 1, then scaled and shifted.

    forward    y = (x - μ) / √(σ² + eps)·w + b; μ and σ² are those of the group over its channels and pixels
    backward   gx = inv / n·(n·g - Σ g - x̂·Σ g·x̂) with g = gy·w and the sums over the group's n numbers
               gw = Σ gy·x̂      gb = Σ gy
    sizes      as the input's, (N, C, *)

Source: Wu and He 2018, Group Normalization, equations 1, 2 and 7; arguments and shapes of torch.nn.GroupNorm,
https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.diagnostics import plural
from n2nspec.geometry import Shape, ShapeError, elements, render_shape
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved, Several, fixed
from n2nspec.layers._fields import Count, Switch
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._norm import (
    Epsilon,
    affine_parameters,
    gradients,
    moments,
    normalisation_memory,
    normalised,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GroupNorm", "GroupNormSpec"]


class GroupNormSpec(LayerSpec):
    """Normalisation of groups of channels over the picture."""

    type: Literal["GroupNorm"] = "GroupNorm"
    num_groups: Count = Field(description="Groups of neighbouring channels, each normalised as a whole.")
    eps: Epsilon = Field(1e-5, description="Added to the variance, so that nothing is divided by 0.")
    affine: Switch = Field(True, description="Multiply each channel by a weight and add a bias to it.")
    bias: Switch = Field(True, description="With affine: false leaves the bias out.")

    inferred: ClassVar[tuple[str, ...]] = ("num_channels",)
    inferred_place: ClassVar[int] = 1
    inferred_axis: ClassVar[int] = 1
    keyword_only: ClassVar[tuple[str, ...]] = ("bias",)
    twin: ClassVar[str] = "torch.nn.GroupNorm"

    def sees_whole_picture(self) -> bool:
        return True

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if len(shape) < 2:
            raise ShapeError(
                f"GroupNorm expects a batch, (N, C, *); received {plural(len(shape), 'dimension')},"
                f" {render_shape(shape)}"
            )
        self._width(shape)
        return shape

    def _width(self, shape: Shape) -> int:
        """Channels a group."""
        channels = fixed(shape[1], "channels")
        if channels % self.num_groups:
            raise ShapeError(
                f"GroupNorm got {plural(channels, 'channel')}, which num_groups = {self.num_groups} does not"
                " divide",
                help=f"choose num_groups that divide {channels}",
                field="num_groups",
            )
        return channels // self.num_groups

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        channels = self._width(inputs[0]) * self.num_groups
        return affine_parameters(channels, self.bias) if self.affine else ()

    def several(self, inputs: tuple[Shape, ...]) -> tuple[Several, ...]:
        """Counts the batch, too, as torch does."""
        (shape,) = inputs
        return (Several(dims=(shape[0], self._width(shape), *shape[2:]), training=False),)

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        """The input; a mean and a variance for every group."""
        return Saved(of="input"), Saved(of="own", size=2 * inputs[0][0] * self.num_groups)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        batch, channels, *_ = inputs[0]
        return normalisation_memory(
            elements(output) * item, batch * self.num_groups * item, batch * channels * item,
            affine=self.affine, needs=needs,
        )  # fmt: skip

    def _grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """x as (N, groups, channels a group, *), and the axes of a group's numbers."""
        width = x.shape[1] // self.num_groups
        grouped = x.reshape(x.shape[0], self.num_groups, width, *x.shape[2:])
        return grouped, tuple(range(2, grouped.dim()))

    def _spread(self, params: Mapping[str, Tensor], name: str, rank: int) -> Tensor | None:
        """A parameter in the shape of the groups, (groups, channels a group, 1, …)."""
        return params[name].view(self.num_groups, -1, *(1,) * (rank - 2)) if name in params else None

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        grouped, axes = self._grouped(x)
        mean, var = moments(grouped, axes)
        weight, bias = (self._spread(params, name, x.dim()) for name in ("weight", "bias"))
        return normalised(grouped, mean, var, self.eps, weight, bias).flatten(1, 2), (x, mean, var)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x, mean, var = saved
        grouped, axes = self._grouped(x)
        gx, along = gradients(
            grouped, mean, var, self.eps, self._spread(params, "weight", x.dim()), self._grouped(gy)[0], axes,
            input=needs.inputs[0], parameters=needs.parameters and self.affine,
        )  # fmt: skip
        gparams: dict[str, Tensor] = {}
        if along is not None:
            others = (0, *range(2, gy.dim()))
            gparams["weight"] = along.flatten(1, 2).sum(others)
            if self.bias:
                gparams["bias"] = gy.sum(others)
        return (None if gx is None else gx.flatten(1, 2),), gparams

    def twin_fields(self) -> dict[str, Any]:
        """Without `bias` unless it is false: older versions of torch do not know it."""
        fields = super().twin_fields()
        if self.bias:
            del fields["bias"]
        return fields

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"num_groups": 2, "num_channels": 6}, inputs=((2, 6, 4, 5),)),
        Case(fields={"num_groups": 1, "num_channels": 3, "eps": 0.1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_groups": 3, "num_channels": 3, "affine": False}, inputs=((1, 3, 4, 5),)),
        Case(fields={"num_groups": 2, "num_channels": 4, "bias": False}, inputs=((3, 4),)),
        Case(fields={"num_groups": 2, "num_channels": 4}, inputs=((3, 4, 5),)),
        Case(fields={"num_groups": 2, "num_channels": 4}, inputs=((2, 4, 2, 3, 2),)),
        Case(fields={"num_groups": 4, "num_channels": 4}, inputs=((2, 4, 1, 1),)),
        Case(fields={"num_groups": 2, "num_channels": 6}, inputs=((2, 6, 4, 5),), contiguous=False),
        Case(fields={"num_groups": 2, "num_channels": 4}, inputs=((0, 4, 3, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"num_groups": 0, "num_channels": 4}, match="greater than or equal to 1"),
        BadCase(fields={"num_groups": 2, "num_channels": 0}, match="num_channels: expected an integer"),
        BadCase(fields={"num_groups": 2, "num_channels": 5}, match="num_groups = 2 does not divide"),
        BadCase(
            fields={"num_groups": 4, "num_channels": 2, "affine": False},
            match="num_groups = 4 does not divide",
        ),
        BadCase(fields={"num_groups": 2, "num_channels": 4, "eps": -1.0}, match="greater than or equal to 0"),
        BadCase(fields={"num_groups": 2, "num_channels": 4}, inputs=((2, 6, 4),), match="expects 4 for"),
        BadCase(fields={"num_groups": 2, "num_channels": 4}, inputs=((4,),), match="expects 4 for"),
        BadCase(
            fields={"num_groups": 4, "num_channels": 4}, inputs=((1, 4, 1, 1),), match="more than one value"
        ),
    )


class GroupNorm(Layer):
    """`GroupNorm(num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *, bias=True)`: as
    torch.nn.GroupNorm, with a backward of its own.

    Input (N, C, *). Parameters `weight` and `bias` (C,).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = GroupNormSpec

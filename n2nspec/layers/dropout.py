"""Dropout: in training each number is 0 with probability p, and the others make up for it.

    forward    y = x·m / (1 - p), m being 1 with probability 1 - p and else 0; in evaluation y = x
    backward   gx = gy·m / (1 - p); in evaluation gx = gy
    sizes      as the input's, of any shape

On the CPU the same state of the generator gives torch's own numbers: m is drawn by the call that torch makes.

Source: Srivastava et al. 2014, Dropout, section 10 for the division; torch.nn.Dropout,
https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html, and aten/src/ATen/native/Dropout.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.geometry import elements
from n2nspec.layers._base import EVALUATION, BadCase, Case, ModalSpec, Mode, Needs, Saved
from n2nspec.layers._fields import Switch
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dropout", "DropoutSpec"]


class DropoutSpec(ModalSpec):
    """Sets numbers to 0 at random, in training."""

    type: Literal["Dropout"] = "Dropout"
    p: Annotated[float, Strict(), Field(ge=0, le=1)] = Field(
        0.5, description="Probability of a number to become 0."
    )
    inplace: Switch = Field(
        False, description="Overwrite the input; for a layer used on its own. Engines plan memory themselves."
    )

    twin: ClassVar[str] = "torch.nn.Dropout"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="own", size=elements(inputs[0]), item_bytes=1),) if 0 < self.p < 1 else ()

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(inputs[0]) * item
        if self.p == 0:
            return Memory(forward=0, inference=0, backward=0, gradients=(0,))
        if self.p == 1:
            return Memory(forward=size, inference=0, backward=size, gradients=(size,))
        mask = elements(inputs[0])
        return Memory(forward=2 * size + mask, inference=0, backward=2 * size, gradients=(size,))

    def forward(
        self, params: Mapping[str, Tensor], *xs: Tensor, mode: Mode = EVALUATION
    ) -> tuple[Tensor, Any]:
        """Keeps the mask, or whether all is kept or none."""
        (x,) = xs
        if not mode.training or self.p == 0:
            return x, True
        if self.p == 1:  # draws nothing, and leaves a NaN a NaN
            return x * 0, False
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=mode.generator)
        mask = kept != 0
        return x * kept.div_(1 - self.p), mask

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        if isinstance(saved, bool):
            return (gy if saved else gy * 0,), {}
        return (gy * saved.to(gy.dtype).div_(1 - self.p),), {}

    def twin_fields(self) -> dict[str, Any]:
        """Without `inplace`: in a graph a value may have other readers."""
        return {"p": self.p}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"p": 0.3}, inputs=((3, 17, 19),)),
        Case(fields={"p": 0.9}, inputs=((70,),)),
        Case(fields={"p": 0.2, "inplace": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"p": 0.3}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"p": 0}, inputs=((2, 3),)),
        Case(fields={"p": 1.0}, inputs=((2, 3),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"p": 1.5}, match="less than or equal to 1"),
        BadCase(fields={"p": -0.1}, match="greater than or equal to 0"),
        BadCase(fields={"p": "half"}, match="valid number"),
        BadCase(fields={"inplace": 1}, match="boolean"),
    )


class Dropout(Layer):
    """`Dropout(p=0.5, inplace=False)`: as torch.nn.Dropout, with a backward of its own. Any shape.

    Raises:
        ValueError: `p` is no probability.
    """

    spec_type = DropoutSpec

"""The two floating-point types of a training step.

In: the dtype of the weights, and whether products may be of half of its bits. Out: what each tensor is of.
Weights, their gradients, the optimiser's numbers and the loss stay in full precision, as do the sums within a
product, so that updates smaller than a half-precision number's last bit still add up: P. Micikevicius et al.,
*Mixed Precision Training*, https://arxiv.org/abs/1710.03740, section 3. bfloat16 has float32's range, so that
gradients need no scaling: D. Kalamkar et al., *A Study of BFLOAT16 for Deep Learning Training*,
https://arxiv.org/abs/1905.12322.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from n2nspec._lazy import torch
from n2nspec.diagnostics import Diagnostic, render_path
from n2nspec.spec import Spec

if TYPE_CHECKING:
    from torch import dtype

__all__ = ["PRECISIONS", "Precision", "in_full"]

PRECISIONS = ("full", "bf16-mixed")
"""Of `train.precision`."""


class Precision(NamedTuple):
    """`full` for the weights and all that is summed, `low` for values between operations and for factors."""

    full: dtype
    low: dtype

    @classmethod
    def of(cls, kind: dtype, name: str) -> Precision:
        """That of `train.precision`; float64 has no other than the full one."""
        return cls(kind, torch.bfloat16 if name == "bf16-mixed" and kind == torch.float32 else kind)

    @property
    def mixed(self) -> bool:
        return self.full != self.low


def in_full(spec: Spec, wanted: str, engine: str, kind: dtype) -> Diagnostic:
    """W503: half precision was asked for, and an engine takes its steps in `kind`."""
    path = ("train", "precision")
    return Diagnostic(
        code="W503",
        message=f'"{wanted}" is not used: the {engine} engine computes in {str(kind).removeprefix("torch.")}',
        file=spec.source_file,
        span=spec.locate(path),
        path=render_path(path),
        help="take --engine compiled, or leave precision out",
    )

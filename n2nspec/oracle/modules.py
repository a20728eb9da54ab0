"""Formulae of losses that torch does not have, as torch modules, for autograd to differentiate.

In: the fields of the loss; then prediction and target. Out: the loss. Named in a loss's `twin`, as torch.nn's
own are; they take the same arguments in the same order, `reduction` ("mean", "sum" or "none") first.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

__all__ = ["AnnealedL0", "Charbonnier"]


class _Reduced(torch.nn.Module):
    """A loss that is the mean or sum of `terms`."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{reduction} is not a valid value for reduction")
        self.reduction = reduction

    @abstractmethod
    def terms(self, residual: Tensor) -> Tensor:
        """The loss of each number."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        terms = self.terms(prediction - target)
        return (
            terms if self.reduction == "none" else terms.mean() if self.reduction == "mean" else terms.sum()
        )


class Charbonnier(_Reduced):
    """√(r² + eps²)."""

    def __init__(self, reduction: str = "mean", eps: float = 1e-3) -> None:
        super().__init__(reduction)
        self.eps = eps

    def terms(self, residual: Tensor) -> Tensor:
        return (residual**2 + self.eps**2).sqrt()


class AnnealedL0(_Reduced):
    """(|r| + eps)^gamma, with the gamma that the training begins with."""

    def __init__(
        self, reduction: str = "mean", gamma_start: float = 2.0, gamma_end: float = 0.0, eps: float = 1e-8
    ) -> None:
        super().__init__(reduction)
        self.gamma, self.eps = gamma_start, eps

    def terms(self, residual: Tensor) -> Tensor:
        return (residual.abs() + self.eps) ** self.gamma

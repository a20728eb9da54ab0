"""What a verification found: one row a comparison, in the order of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Method", "VerifyReport", "VerifyRow"]

Method = Literal["autograd", "finite differences", "torch.optim"]
"""What ours was compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRow:
    """One tensor of ours against the same tensor by another method.

    Attributes:
        name: the node, "network", "loss" or "optimizer".
        type: the layer, loss or optimiser type; the spec's name for the network.
        what: "forward", "input gradient", or the parameter: "weight gradient", "conv1.weight gradient".
        method: what ours was compared with.
        absolute: the largest absolute difference.
        relative: `absolute` over the tensor's largest value; this is what `tolerance` bounds.
        note: why the comparison failed, when a number can't say it; may be empty.
    """

    name: str
    type: str
    what: str
    method: Method
    absolute: float
    relative: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.relative <= self.tolerance  # false for NaN

    @property
    def verdict(self) -> Literal["ok", "FAIL"]:
        return "ok" if self.ok else "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """All comparisons of one spec.

    Attributes:
        spec: the spec's name.
        input_shape: the shape of the pictures it was verified on, with the batch axis.
        seed: of the weights, pictures and cotangents; the same seed gives the same numbers.
        notes: what could not be compared, in words.
    """

    spec: str
    input_shape: tuple[int, ...]
    seed: int
    rows: tuple[VerifyRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def failures(self) -> tuple[VerifyRow, ...]:
        return tuple(row for row in self.rows if not row.ok)

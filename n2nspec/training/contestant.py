"""One network in training, and the clock beside it.

In: batches. Out: losses and the seconds that the steps alone took, so that ours and the torch.nn twin are
timed in the same way on the same batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from n2nspec.data import ValidationData
from n2nspec.training.evaluation import Measured, measure
from n2nspec.training.inference import Frame

if TYPE_CHECKING:
    from torch import Tensor, device

__all__ = ["Contestant", "Trainable"]


class Trainable(Protocol):
    """What a `Model` and an `OracleTrainer` have in common."""

    progress: float

    def forward(self, x: Tensor) -> Tensor: ...
    def step(self, x: Tensor, target: Tensor) -> float: ...
    def train(self) -> object: ...
    def eval(self) -> object: ...
    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(slots=True, kw_only=True)
class Contestant:
    """A network in training.

    Attributes:
        seconds: in training steps so far, without reading data and measuring.
        losses: of the current epoch's batches.
        psnr: at the last measurement, dB; None without held-out pictures.
    """

    network: Trainable
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    psnr: float | None = None

    def step(self, x: Tensor, target: Tensor) -> float:
        """One training step, timed; the loss before it."""
        start = perf_counter()
        loss = self.network.step(x, target)  # a float: what a device still computes is waited for
        self.seconds += perf_counter() - start
        self.losses.append(loss)
        return loss

    def measure(
        self, frame: Frame, validation: ValidationData, device: device, show: frozenset[int] = frozenset()
    ) -> Measured:
        """Denoises the held-out pictures in evaluation mode."""
        self.network.eval()
        try:
            measured = measure(self.network.forward, frame, validation, device, show)
        finally:
            self.network.train()
        self.psnr = measured.psnr
        return measured

    @property
    def is_finite(self) -> bool:
        """Whether the last loss and every weight are finite numbers."""
        return all(map(math.isfinite, self.losses[-1:])) and all(
            bool(tensor.isfinite().all()) for tensor in self.network.state_dict().values()
        )

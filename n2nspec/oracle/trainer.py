"""Training with torch alone: the twin network, torch's loss, autograd and torch.optim.

In: one of our models, for its graph, weights and recipe. Out: a trainer that takes the same batches and
reports the same losses, as far as two correct orders of summation agree.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from n2nspec.oracle.twin import counterpart, drawing, loss_twin, mixed, quiet, twin
from n2nspec.runtime import Model
from n2nspec.runtime.compiled import Precision

__all__ = ["OracleTrainer"]


class OracleTrainer:
    """Trains the twin of `model` from the weights that `model` has now; the two share nothing afterwards."""

    def __init__(self, model: Model) -> None:
        recipe = model.spec.train
        self.module = twin(model.graph, model.dtype).to(model.device)
        self.module.load_state_dict(model.state_dict())
        self._recipe, self._loss = recipe.loss, recipe.loss
        self.loss = loss_twin(self._loss)
        precision = Precision.of(model.dtype, model.precision)
        self._low = precision.low if precision.mixed else None
        self.progress = 0.0
        """How much of the training is done, 0 to 1, for a loss that changes on the way."""
        self._draws: torch.Generator | None = None
        if any(node.layer.is_modal() for node in model.graph.nodes):
            self._draws = torch.Generator(model.device)
            self._draws.set_state(model.generator_state())
        parameters = list(self.module.parameters())
        self.optimizer: torch.optim.Optimizer | None = None
        if parameters:  # torch refuses to optimise nothing; a network without parameters just stays as it is
            fields = recipe.optimizer.twin_fields()
            self.optimizer = counterpart(recipe.optimizer.twin)(parameters, **fields)

    def step(self, x: Tensor, target: Tensor) -> float:
        """One training step on a batch (N, C, H, W); returns the loss before it."""
        now = self._recipe.at(self.progress)
        if now != self._loss:
            self._loss, self.loss = now, loss_twin(now)
        draws = drawing(self._draws) if self._draws else nullcontext()
        with torch.enable_grad(), quiet(), draws, mixed(x, self._low):
            loss: Tensor = self.loss(self.module(x), target)
        if self.optimizer is not None and loss.requires_grad:  # it does not when no parameter is reached
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
        return loss.item()

    def forward(self, x: Tensor) -> Tensor:
        """The output for pictures `x`, without recording gradients."""
        with torch.no_grad(), quiet():
            y: Tensor = self.module(x)
        return y

    __call__ = forward

    def train(self, mode: bool = True) -> None:
        """Training mode of the module."""
        self.module.train(mode)

    def eval(self) -> None:
        """Evaluation mode of the module."""
        self.train(False)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the weights, by our names."""
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

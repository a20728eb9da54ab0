"""Every way to take one training step, or one forward pass, of the same network: ours and torch's.

In: a graph, weights and a batch. Out: for each engine a function that does it once. torch is taken at its
best: fused optimisers where it has them, gradients dropped instead of zeroed, batches in the memory format
that the network wants, inference mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, dtype

from n2nspec.diagnostics import DiagnosticError, fail
from n2nspec.graph import ShapedGraph
from n2nspec.oracle.twin import counterpart, loss_twin, mixed, twin
from n2nspec.runtime import ENGINES, Model, compile
from n2nspec.runtime.compiled import CompiledEngine, Precision

__all__ = ["CONTESTANTS", "OURS", "TORCH", "Contest", "Step", "contestant", "description"]

OURS = tuple(name for name in ENGINES if name != "auto")
TORCH = ("torch", "torch-channels-last", "torch-compiled")
CONTESTANTS = (*OURS, *TORCH)

Step = Callable[[], Tensor | float]
"""Does it once. Gives the loss before the step; in inference, the output."""

_ABOUT = {
    "reference": "layers as written",
    "optimized": "fused kernels on planned buffers",
    "compiled": "the step as one function, by torch's compiler",
    "torch": "torch.nn and autograd",
    "torch-channels-last": "the same, channels last",
    "torch-compiled": "torch.compile of network and loss, autograd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What everybody does: the same weights (`state`), the same batch.

    Attributes:
        x, target: (N, C, H, W); there is no target in inference.
        memory_limit: bytes that a step of the optimized engine may take.
        processes, deterministic: of our engines.
    """

    graph: ShapedGraph
    state: Mapping[str, Tensor]
    seed: int
    x: Tensor
    target: Tensor | None
    memory_limit: int | None = None
    processes: int | None = None
    deterministic: bool = False

    @property
    def low(self) -> dtype | None:
        """What products are of, where the spec asks for half precision; a training step's only."""
        precision = Precision.of(self.x.dtype, self.graph.spec.train.precision)
        return precision.low if precision.mixed and self.target is not None else None


def description(name: str, contest: Contest) -> str:
    """An engine in words."""
    about = _ABOUT.get(name, name)
    if contest.low and name in (CompiledEngine.name, *TORCH):
        about += ", products in bfloat16"
    if name not in TORCH or contest.target is None:
        return about
    optimizer = contest.graph.spec.train.optimizer
    fused = _optimizer([torch.nn.Parameter(contest.x.new_zeros(1))], contest).defaults.get("fused")
    return f"{about}, {'fused ' if fused else ''}{optimizer.type}"


def contestant(name: str, contest: Contest) -> Step:
    """The step of an engine, which has its own copy of the weights.

    Raises:
        DiagnosticError: the engine cannot run this network.
    """
    return _theirs(name, contest) if name in TORCH else _ours(name, contest)


def _ours(name: str, contest: Contest) -> Step:
    x, target = contest.x, contest.target
    model = compile(
        contest.graph.spec, engine=name, device=x.device, dtype=x.dtype, seed=contest.seed,
        memory_limit=contest.memory_limit if name == "optimized" else None, processes=contest.processes,
        deterministic=contest.deterministic,
    )  # fmt: skip
    if target is None:
        if name == "compiled":
            raise fail("E501", "it compiles training steps; its forward passes are those of optimized")
        model.eval()
        return lambda: model.forward(x)

    return OurStep(model=model, x=x, target=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class OurStep:
    """A training step of one of our engines."""

    model: Model
    x: Tensor
    target: Tensor

    def __call__(self) -> float:
        loss = self.model.step(self.x, self.target)
        # it gave way to another engine, or another process to this one
        found = [warning for warning in self.model.warnings if warning.code != "W503"]
        if found:
            raise DiagnosticError(found)
        return loss

    @property
    def processes(self) -> int:
        return self.model.processes(tuple(self.x.shape))


def _theirs(name: str, contest: Contest) -> Step:
    x, target = contest.x, contest.target
    network = twin(contest.graph, x.dtype).to(x.device)
    network.load_state_dict(contest.state)
    if name == "torch-channels-last":
        if x.dim() != 4:
            raise fail("E503", "channels last is a memory format of batches of pictures")
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        x = _channels_last(x)
        target = _channels_last(target) if target is not None and target.dim() == 4 else target
    # CUDA graphs, for the GPU what it does best for small steps
    mode = "reduce-overhead" if x.device.type == "cuda" else "default"

    if target is None:
        network.eval()

        def forward() -> Tensor:
            result: Tensor = network(x)
            return result

        run = _compiled(forward, mode) if name == "torch-compiled" else forward

        def infer() -> Tensor:
            with torch.inference_mode():
                return run()

        return infer

    criterion = loss_twin(contest.graph.spec.train.loss.at(0.0))
    parameters = list(network.parameters())
    optimizer = _optimizer(parameters, contest) if parameters else None

    def loss_of(x: Tensor, target: Tensor) -> Tensor:
        with mixed(x, contest.low):
            result: Tensor = criterion(network(x), target)
        return result

    measure = _compiled(loss_of, mode) if name == "torch-compiled" else loss_of
    batch, wanted = x, target

    def step() -> float:
        with torch.enable_grad():
            loss = measure(batch, wanted)
        if optimizer is not None and loss.requires_grad:
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return step


def _optimizer(parameters: list[torch.nn.Parameter], contest: Contest) -> torch.optim.Optimizer:
    """torch's own, fused where it is."""
    recipe = contest.graph.spec.train.optimizer
    make, fields = counterpart(recipe.twin), recipe.twin_fields()
    try:
        optimizer: torch.optim.Optimizer = make(parameters, **fields, fused=True)
    except (TypeError, RuntimeError):  # one that has no such version, or not for these fields or this device
        optimizer = make(parameters, **fields)
    return optimizer


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _compiled(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """torch.compile for this one shape; its own remarks, on deprecations within torch, are held back."""
    made = torch.compile(function, dynamic=False, mode=mode)

    def run(*args: Tensor) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return made(*args)

    return run

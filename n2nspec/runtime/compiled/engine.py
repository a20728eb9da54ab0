"""The compiled engine: training steps by `torch.compile`, everything else by the optimised engine.

In: a graph and tensors. Out: whole training steps, compiled for the shape of their batches: the first that
comes, and any other that keeps coming. A shape that comes now and then, as an epoch's last batch does, and
whatever cannot be compiled run on the optimised engine; `warnings` says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler import plan
from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import program
from n2nspec.diagnostics import Diagnostic
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.optim import OptimizerSpec
from n2nspec.runtime.compiled.precision import Precision
from n2nspec.runtime.compiled.step import Buffers, Result, TrainingStep
from n2nspec.runtime.compiled.toolchain import find_compiler, keep_results, remove_leftovers, without_spaces
from n2nspec.runtime.compiled.trace import compiled
from n2nspec.runtime.memory import memory_fault
from n2nspec.runtime.optimized import OptimizedEngine

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["CompiledEngine", "channels_last"]

PATIENCE = 20
"""How often in a row another shape has to come before it is compiled too."""


class CompiledEngine(OptimizedEngine):
    """Runs whole training steps as compiled functions."""

    name = "compiled"

    def __init__(
        self, graph: ShapedGraph, *, kind: dtype, place: device, precision: str | None = None
    ) -> None:
        super().__init__(graph, kind=kind, place=place)
        self.precision = Precision.of(kind, precision or graph.spec.train.precision)
        schedule = plan(graph, input_gradient=False)
        stepped = {step.node.owner for step in schedule.backward if step.needs.parameters}
        self._stepped = {
            node.name: {parameter.name: parameter.shape for parameter in node.parameters}
            for node in graph.nodes
            if node.name in stepped
        }
        self._functions: dict[object, Callable[..., Result]] = {}
        self._optimizer: OptimizerSpec | None = None
        self._newest: object = None
        self._in_a_row = 0
        self.warnings: tuple[Diagnostic, ...] = ()
        reason, help = _hindrance(graph)
        if reason:
            self._give_up(reason, help)

    def _give_up(self, reason: str, help: str = "") -> None:
        self.name = OptimizedEngine.name
        self.warnings = (
            Diagnostic(
                code="W501",
                message=f"the compiled engine gives way to the optimized one: {reason}",
                file=self._graph.spec.source_file,
                help=help,
            ),
        )

    @property
    def compiles(self) -> bool:
        """Whether there is a step that may be compiled: not where it gave way, or nothing is to be learnt."""
        return not self.warnings and bool(self._stepped)

    def whole_step(
        self, parameters: Tensor, state: Mapping[str, Tensor], gradient: Tensor, buffers: Buffers, x: Tensor,
        target: Tensor, loss: LossSpec, mode: Mode, optimizer: OptimizerSpec, step: int,
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]] | None:  # fmt: skip
        """The loss and the buffers that changed; flat `parameters`, `state` and `gradient` are overwritten.

        None, and nothing has happened, where the step has to be taken in the usual way.
        """
        if not self.compiles:
            return None
        if optimizer is not self._optimizer:
            self._optimizer, self._rule = optimizer, optimizer.model_copy(update={"lr": 0.0})
        key = tuple(x.shape), loss, self._rule
        self._in_a_row = self._in_a_row + 1 if key == self._newest else 1
        self._newest = key
        function = self._functions.get(key)
        if function is None and self._functions and self._in_a_row < PATIENCE:
            return None
        # in one mode, whatever the caller's: for another one torch would compile anew
        with torch.inference_mode(False), torch.no_grad():
            factors = torch.tensor(optimizer.factors(step), dtype=torch.float64, device=self._place)
            kept = {node: own for node, own in buffers.items() if own}
            arguments = parameters, state, kept, x.contiguous(), channels_last(target), factors
            if function is not None:
                result = function(*arguments)
            else:
                try:
                    function, result = self._first_call(arguments, tuple(x.shape), loss, optimizer, mode)
                except Exception as error:  # of many kinds, from torch, the C++ compiler and the layers
                    if memory_fault(error) is not None:
                        raise
                    self._give_up(f"torch.compile fails: {_first_line(error)}")
                    return None
                self._functions[key] = function
            parameters.copy_(result.parameters)
            gradient.copy_(result.gradient)
            for name, tensor in result.state.items():
                state[name].copy_(tensor)
            changed = {  # copies: on a GPU the next step writes to the same memory
                node: {name: tensor.clone() for name, tensor in own.items()}
                for node, own in result.buffers.items()
            }
        return result.loss, changed

    def _first_call(self, arguments: tuple[Any, ...], *recipe: Any) -> tuple[Callable[..., Result], Result]:
        """The compiled function and its result; once more, where a killed run had left half a library."""
        with (
            warnings.catch_warnings(),
            without_spaces(),
        ):  # torch's compiler warns of torch's own old functions
            warnings.simplefilter("ignore")
            for last in (False, True):
                try:
                    function = self._compile(arguments, *recipe)
                    return function, function(*arguments)
                except Exception:
                    if last or not remove_leftovers(older_than=0):
                        raise
        raise AssertionError

    def _compile(
        self, arguments: tuple[Any, ...], shape: tuple[int, ...], loss: LossSpec, optimizer: OptimizerSpec,
        mode: Mode,
    ) -> Callable[..., Result]:  # fmt: skip
        keep_results()
        remove_leftovers()
        step = self.training_step(shape, loss, optimizer, mode)
        return compiled(step, arguments, cuda_graphs=self._place.type == "cuda")

    def training_step(
        self, shape: tuple[int, ...], loss: LossSpec, optimizer: OptimizerSpec, mode: Mode
    ) -> TrainingStep:
        """What is compiled for batches of a shape."""
        return TrainingStep(
            optimise(program(self._graph, shape)), self._stepped, loss, optimizer, mode,
            precision=self.precision, place=self._place,
        )  # fmt: skip


def _first_line(error: BaseException) -> str:
    """What went wrong, as far as a line can say it; torch wraps its compiler's exceptions."""
    inner = getattr(error, "inner_exception", error)
    return (str(inner).strip().splitlines() or [type(inner).__name__])[0]


def channels_last(x: Tensor) -> Tensor:
    """`x` in the order of memory that the step's own values have: numbers that meet stand in one order.

    The input is read once, for its windows, which are copied from any order.
    """
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


def _hindrance(graph: ShapedGraph) -> tuple[str, str]:
    """Why the steps of a graph cannot be compiled, and what helps; empty where nothing is known of that."""
    loss = graph.spec.train.loss
    if find_compiler() is None:
        return "there is no C++ compiler", "install g++ or clang++; the variable CXX may name another one"
    if loss.probabilities:
        return f"the loss {loss.type} looks at the numbers that it is given", ""
    if loss.at(0.0) != loss.at(1.0):
        return f"the loss {loss.type} changes from step to step", ""
    for node in graph.nodes:
        if node.layer.type == "Dropout" and 0 < getattr(node.layer, "p", 0) < 1:
            return f"{node.name} draws random numbers", ""
    return "", ""

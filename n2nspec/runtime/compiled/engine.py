"""The compiled engine: training steps by torch's compiler, everything else by the optimised engine.

In: a graph and tensors. Out: whole training steps, compiled for the shape of their batches: the first that
comes, and any other that keeps coming. Where a batch is divided, among processes or into groups, what is
compiled ends with the gradients of a group. A shape that comes now and then, as an epoch's last batch does,
and whatever cannot be compiled run on the optimised engine; `warnings` says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import prod
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
from n2nspec.runtime.compiled.heap import keep_freed_memory
from n2nspec.runtime.compiled.precision import Precision
from n2nspec.runtime.compiled.step import Buffers, TrainingStep
from n2nspec.runtime.compiled.toolchain import find_compiler, keep_results, remove_leftovers, without_spaces
from n2nspec.runtime.compiled.trace import compiled
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.memory import memory_fault
from n2nspec.runtime.optimized import OptimizedEngine, Way, grouped

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["CompiledEngine"]

Shape = tuple[int, ...]
Tensors = Mapping[str, Mapping[str, "Tensor"]]

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
        self._trained = sum(prod(shape) for own in self._stepped.values() for shape in own.values())
        self._functions: dict[object, Callable[..., Any]] = {}
        self._optimizer: OptimizerSpec | None = None
        self._wanted: set[object] = set()
        """The kinds of batches that steps are compiled for."""
        self._slopes: dict[float, Tensor] = {}
        """Weights as tensors."""
        self._newest: object = None
        self._in_a_row = 0
        self._prepared: tuple[Sequence[Shape], LossSpec, list[Way]] | None = None
        """The newest batch in parts that are all compiled."""
        self._used: tuple[Shape, LossSpec, dict[int, Callable[..., Any]]] | None = None
        """The functions of the newest part; to find them by a loss takes longer than some kernels."""
        self.warnings: tuple[Diagnostic, ...] = ()
        reason, help = _hindrance(graph)
        if reason:
            self._give_up(reason, help)

    def _give_up(self, reason: str, help: str = "") -> None:
        self.name = OptimizedEngine.name
        self._functions.clear()
        self._prepared = self._used = None
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
        shape = tuple(x.shape)
        if not self.compiles or len(self.course(shape).groups) > 1:
            return None
        if optimizer is not self._optimizer:
            self._optimizer, self._rule = optimizer, optimizer.model_copy(update={"lr": 0.0})
        key = shape, loss, self._rule
        if not self._keeps_coming(key):
            return None
        # in one mode, whatever the caller's: for another one torch would compile anew
        with torch.inference_mode(False), torch.no_grad():
            kept = {node: own for node, own in buffers.items() if own}
            batch = x.contiguous(), target.contiguous()
            factors = torch.tensor(optimizer.factors(step), dtype=torch.float64, device=self._place)
            arguments = parameters, *batch, state, kept, factors
            if key in self._functions:
                result = self._functions[key](*arguments)
            else:
                made = self._first_call(lambda: self.training_step(shape, loss, optimizer, mode), arguments)
                if made is None:
                    return None
                self._functions[key], result = made
            parameters.copy_(result.parameters)
            gradient.copy_(result.gradient)
            for name, tensor in result.state.items():
                state[name].copy_(tensor)
            changed = {  # copies: on a GPU the next step writes to the same memory
                node: {name: tensor.clone() for name, tensor in own.items()}
                for node, own in result.buffers.items()
            }
        return result.loss, changed

    def prepare(self, shapes: Sequence[Shape], loss: LossSpec, mode: Mode) -> list[Way]:
        """Makes ready for a batch in parts of these shapes, and says by what kernels each is computed."""
        if self._prepared and self._prepared[0] == shapes and self._prepared[1] is loss:
            self._newest = None  # whatever else comes does not come in a row
            return self._prepared[2]
        whole = len(shapes) == 1 and len(self.course(shapes[0]).groups) == 1  # that is for `whole_step`
        if self.compiles and not whole and self._keeps_coming((tuple(shapes), loss)):
            groups = (group for shape in shapes for group in self.course(shape).shapes(shape))
            for group in dict.fromkeys(groups):
                if not self._compile_part(group, loss, mode):
                    break
        ways = [
            self._way(shape) if self._parts(shape, loss) is None else Way(compiled=True) for shape in shapes
        ]
        self._prepared = (shapes, loss, ways) if all(way.compiled for way in ways) else None
        return ways

    def follow(self, way: Way, shape: Shape, loss: LossSpec, mode: Mode) -> None:
        """Computes parts of this shape by the kernels of another engine.

        Raises:
            RuntimeError: what it has compiled cannot be compiled here.
        """
        super().follow(way, shape, loss, mode)
        self._used = None
        for group in self.course(shape).shapes(shape):
            if not way.compiled:
                self._functions.pop((group, loss), None)
            elif not self._compile_part(group, loss, mode):
                raise RuntimeError(self.warnings[0].message)

    def _compile_part(self, shape: Shape, loss: LossSpec, mode: Mode) -> bool:
        """Whether there is a compiled function for groups of this shape."""
        key = shape, loss
        if key not in self._functions and self.compiles:
            written = program(self._graph, shape)
            optimizer = self._graph.spec.train.optimizer
            with torch.inference_mode(False), torch.no_grad():
                x = torch.zeros(shape, dtype=self._kind, device=self._place)
                target = x.new_zeros(written.shapes[written.output])
                made = self._first_call(
                    lambda: self.training_step(shape, loss, optimizer, mode).part,
                    (x.new_zeros(self._trained), x, target, x.new_ones(())),
                )
            if made is not None:
                self._functions[key], _ = made
        return key in self._functions

    def _parts(self, shape: Shape, loss: LossSpec) -> dict[int, Callable[..., Any]] | None:
        """The compiled functions for the groups of a part, by their pictures; None where one is missing."""
        if self._used and self._used[0] == shape and self._used[1] is loss:
            return self._used[2]
        shapes = self.course(shape).shapes(shape)
        found = {group[0]: self._functions.get((group, loss)) for group in shapes}
        known = {size: function for size, function in found.items() if function is not None}
        if len(known) < len(found):
            return None
        self._used = shape, loss, known
        return known

    def part(
        self, parameters: FlatTensors, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec,
        mode: Mode, gradients: FlatTensors, weight: float,
    ) -> float:  # fmt: skip
        """As the optimised engine's, by what `prepare` has compiled."""
        shape = tuple(x.shape)
        functions = self._parts(shape, loss)
        if functions is None:
            return super().part(parameters, tensors, x, target, loss, mode, gradients, weight)
        total = 0.0
        trained, into = parameters.stepped, gradients.stepped
        x, target = x.contiguous(), target.contiguous()
        for pictures, wanted, share in grouped(x, target, self.course(shape).groups, loss):
            slope = self._slope(weight * share)
            value, gradient = functions[len(pictures)](trained, pictures, wanted, slope)
            into.add_(gradient)
            del gradient  # not to be there beside the next one
            total += share * float(value)
        return total

    def _slope(self, weight: float) -> Tensor:
        if weight not in self._slopes:
            self._slopes[weight] = torch.full((), weight, dtype=self._kind, device=self._place)
        return self._slopes[weight]

    def _keeps_coming(self, key: object) -> bool:
        """Whether batches of a kind are compiled for: the first one's, and those that come on and on."""
        self._in_a_row = self._in_a_row + 1 if key == self._newest else 1
        self._newest = key
        if not self._wanted or self._in_a_row >= PATIENCE:
            self._wanted.add(key)
        return key in self._wanted

    def _first_call(
        self, make: Callable[[], Callable[..., Any]], arguments: tuple[Any, ...]
    ) -> tuple[Callable[..., Any], Any] | None:
        """What is made, compiled, and its result; None after giving up.

        Tries again where a run that was killed had left half a library.
        """
        # torch's compiler warns of torch's own old functions
        with warnings.catch_warnings(), without_spaces():
            warnings.simplefilter("ignore")
            for last in (False, True):
                try:
                    keep_results()
                    keep_freed_memory()
                    remove_leftovers()
                    run = compiled(make(), arguments, cuda_graphs=self._place.type == "cuda")
                    return run, run(*arguments)
                except Exception as error:  # of many kinds, from torch, the C++ compiler and the layers
                    if memory_fault(error) is not None:
                        raise
                    if last or not remove_leftovers(older_than=0):
                        self._give_up(f"torch.compile fails: {_first_line(error)}")
                        return None
        raise AssertionError

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

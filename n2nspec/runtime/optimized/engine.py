"""Optimised programs by input shape, and the passes that a model asks for.

In: a graph and tensors by node. Out: outputs and gradients. Instances (kernels with their memory) are kept
for the shapes that were seen last, so that the second step allocates nothing; a forward pass that waits for
its backward keeps its instance to itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler.lowering import Lowerings
from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import program
from n2nspec.compiler.recompute import Recomputation
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.runtime.optimized.instance import Instance, wanted_values
from n2nspec.runtime.optimized.tuning import Tuner

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["OptimizedEngine", "begin_backward"]

KEPT = 4
"""Shapes whose instances stay: full and last batches of training, and those of held-out pictures."""

LARGE = 2**28
"""Bytes of buffers from which on an instance that only looked at a large picture is kept only while others of
the same size follow: a single one is done with, and of a row of them each would wait for new memory."""

Tensors = Mapping[str, Mapping[str, "Tensor"]]


class OptimizedEngine:
    """Runs a graph on optimised programs."""

    name = "optimized"

    def __init__(self, graph: ShapedGraph, *, kind: dtype, place: device) -> None:
        self._graph, self._kind, self._place = graph, kind, place
        self._parameters = {
            node.name: {parameter.name: parameter.shape for parameter in node.parameters}
            for node in graph.nodes
            if node.parameters
        }
        self.recompute: Callable[[tuple[int, ...]], Recomputation | None] | None = None
        """What training steps on an input of some shape do not keep; None where memory has no limit."""
        self.tuner: Tuner | None = None
        self.chosen: dict[tuple[int, ...], Lowerings] = {}
        """By the shape of the input."""
        self._free: OrderedDict[tuple[Any, ...], list[Instance]] = OrderedDict()
        self._asked: tuple[Any, ...] = ()
        self._follows = False
        """Whether what was asked for last is what was asked for before."""

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes kernels of its own: calls are bound to the tensors that they were made for."""
        return {**self.__dict__, "_free": OrderedDict()}

    @property
    def bytes(self) -> int:
        """Of the buffers that are kept."""
        return sum(instance.buffers.bytes for pool in self._free.values() for instance in pool)

    def _take(self, shape: tuple[int, ...], *, backward: bool, input_gradient: bool) -> Instance:
        key = shape, backward, input_gradient
        self._follows, self._asked = key == self._asked, key
        if not self._follows:
            for (_, trains, _), others in self._free.items():
                others[:] = [one for one in others if trains or one.buffers.bytes <= LARGE]
        pool = self._free.setdefault(key, [])
        self._free.move_to_end(key)
        while len(self._free) > (KEPT if self.recompute is None else 1):
            self._free.popitem(last=False)
        return pool.pop() if pool else self.instance(shape, backward=backward, input_gradient=input_gradient)

    def instance(
        self, shape: tuple[int, ...], *, backward: bool, input_gradient: bool, passes: bool = True
    ) -> Instance:
        """Kernels and buffers of their own for one input shape; without `passes`, the layers as written."""
        written = program(self._graph, shape)
        stepping = backward and not input_gradient and passes
        recompute = self.recompute(shape) if self.recompute and stepping else None
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            return Instance(
                optimise(written) if passes else written, self._parameters, kind=self._kind,
                place=self._place, backward=backward, input_gradient=input_gradient, recompute=recompute,
                lowerings=self.lowerings(shape) if stepping and recompute is None else None,
            )  # fmt: skip

    def lowerings(self, shape: tuple[int, ...]) -> Lowerings:
        """How convolutions of a training step are computed on an input of this shape.

        Measured where that was asked for, which takes the time of some steps.
        """
        if shape not in self.chosen:
            if self.tuner is None:
                return {}
            steps = optimise(program(self._graph, shape))
            with torch.inference_mode(False):
                self.chosen[shape] = self.tuner(steps, wanted_values(steps, self._parameters, False))
        return self.chosen[shape]

    def measure_lowerings(self) -> None:
        """From now on the fastest ones are found by measuring."""
        self.tuner = Tuner(self._parameters, kind=self._kind, place=self._place)

    def _give_back(
        self, instance: Instance, shape: tuple[int, ...], *, backward: bool, input_gradient: bool
    ) -> None:
        instance.values.forget()
        if not backward and instance.buffers.bytes > LARGE and not self._follows:
            return
        pool = self._free.setdefault((shape, backward, input_gradient), [])
        if not pool:
            pool.append(instance)

    def forward(
        self, tensors: Tensors, x: Tensor, mode: Mode, *, keep: bool
    ) -> tuple[Tensor, Instance | None, dict[str, dict[str, Tensor]]]:
        """The output, what `backward` needs (with `keep`), and the buffers of layers that changed."""
        shape = tuple(x.shape)
        instance = self._take(shape, backward=keep, input_gradient=keep)
        y = instance.forward(tensors, x, mode).clone(memory_format=torch.contiguous_format)
        changed = instance.changed
        if keep:
            return y, instance, changed
        self._give_back(instance, shape, backward=False, input_gradient=False)
        return y, None, changed

    def backward(self, instance: Instance, tensors: Tensors, gy: Tensor, gradients: Tensors) -> Tensor | None:
        """Adds to the parameters' gradients; returns the input's, None when nothing reads it."""
        instance.begin_backward()
        instance.values.add_gradient(instance.program.output, gy)
        instance.backward(tensors, gradients)
        name = instance.program.input_name
        gx = None
        if name in instance.values.written:
            gx = instance.values.gradient(name).clone(memory_format=torch.contiguous_format)
        self._give_back(instance, instance.program.input_shape, backward=True, input_gradient=True)
        return gx

    def step(
        self, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode, gradients: Tensors
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """The loss, with the parameters' gradients added to `gradients`, and the buffers that changed."""
        shape = tuple(x.shape)
        instance = self._take(shape, backward=True, input_gradient=False)
        y = instance.forward(tensors, x, mode)
        changed = instance.changed
        value = begin_backward(instance, y, target, loss)
        instance.backward(tensors, gradients)
        self._give_back(instance, shape, backward=True, input_gradient=False)
        return value, changed


def begin_backward(instance: Instance, y: Tensor, target: Tensor, loss: LossSpec) -> Tensor:
    """The loss of the output `y`; its gradient is put where the instance's backward pass begins."""
    instance.begin_backward()
    values, output = instance.values, instance.program.output
    if loss.type == "MSE" and instance.squared_error is not None:
        values.written.add(output)
        if instance.squared_error.joined:
            values.joined.add(output)
        return instance.squared_error(target, loss.reduction == "mean")
    value, saved = loss.forward(y, target)
    if instance.wanted:
        values.add_gradient(output, loss.backward(saved, torch.ones_like(value)))
    return value

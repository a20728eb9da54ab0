"""Optimised programs by input shape, and the passes that a model asks for.

In: a graph and tensors by node. Out: outputs and gradients. Instances (kernels with their memory) are kept
for the shapes that were seen last, so that the second step allocates nothing; a forward pass that waits for
its backward keeps its instance to itself. On the CPU, the pictures of a training step pass through in groups,
if none depends on another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from n2nspec._lazy import torch
from n2nspec.compiler import division
from n2nspec.compiler.lowering import Lowering, Lowerings
from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import program
from n2nspec.compiler.recompute import Recomputation
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.optimized.instance import Instance, wanted_values
from n2nspec.runtime.optimized.tuning import Tuner

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Course", "OptimizedEngine", "Way", "begin_backward", "grouped"]

KEPT = 4
"""Shapes whose instances stay: full and last batches of training, and those of held-out pictures."""

LARGE = 2**28
"""Bytes of buffers from which on an instance that only looked at a large picture is kept only while others of
the same size follow: a single one is done with, and of a row of them each would wait for new memory."""

Tensors = Mapping[str, Mapping[str, "Tensor"]]
Shape = tuple[int, ...]


class Way(NamedTuple):
    """By what kernels an engine computes parts of some shape: what another needs to give the same bits."""

    compiled: bool = False
    lowerings: tuple[tuple[Shape, str, int, bool, bool], ...] = ()
    """The shape of a group; the convolution and its source; `Lowering.forward` and `backward`."""


class Course(NamedTuple):
    """How a training step on a batch is taken."""

    groups: tuple[int, ...]
    """Pictures that pass through the network at a time."""
    recompute: Recomputation | None = None
    """What is not kept from forward to backward; None keeps everything."""

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Those of the groups of a batch, each once."""
        return tuple((size, *shape[1:]) for size in dict.fromkeys(self.groups))


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
        self.limit: Callable[[Shape], Course] | None = None
        """How training steps on a batch of some shape keep a limit of memory; None where there is none."""
        self._courses: dict[Shape, Course] = {}
        self._ways: dict[Shape, Way] = {}
        self.tuner: Tuner | None = None
        self.chosen: dict[Shape, Lowerings] = {}
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

    def course(self, shape: Shape) -> Course:
        """How a training step on a batch of this shape is taken; on a GPU, which is the faster the more it is
        given, all of it at once."""
        if shape not in self._courses:
            if self.limit is not None:
                self._courses[shape] = self.limit(shape)
            elif self._place.type in ("cpu", "meta"):
                self._courses[shape] = Course(division.groups(self._graph, shape))
            else:
                self._courses[shape] = Course((shape[0],))
        return self._courses[shape]

    def _take(
        self, shape: Shape, *, backward: bool, input_gradient: bool,
        recompute: Recomputation | None = None,
    ) -> Instance:  # fmt: skip
        key = shape, backward, input_gradient, recompute
        self._follows, self._asked = key == self._asked, key
        if not self._follows:
            for (_, trains, *_), others in self._free.items():
                others[:] = [one for one in others if trains or one.buffers.bytes <= LARGE]
        pool = self._free.setdefault(key, [])
        self._free.move_to_end(key)
        while len(self._free) > (KEPT if self.limit is None else 1):
            self._free.popitem(last=False)
        if pool:
            return pool.pop()
        return self.instance(shape, backward=backward, input_gradient=input_gradient, recompute=recompute)

    def instance(
        self, shape: Shape, *, backward: bool, input_gradient: bool, passes: bool = True,
        recompute: Recomputation | None = None,
    ) -> Instance:  # fmt: skip
        """Kernels and buffers of their own for one input shape; without `passes`, the layers as written."""
        written = program(self._graph, shape)
        stepping = backward and not input_gradient and passes
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            return Instance(
                optimise(written) if passes else written, self._parameters, kind=self._kind,
                place=self._place, backward=backward, input_gradient=input_gradient, recompute=recompute,
                lowerings=self.lowerings(shape) if stepping and recompute is None else None,
            )  # fmt: skip

    def lowerings(self, shape: Shape) -> Lowerings:
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

    def prepare(self, shapes: Sequence[Shape], loss: LossSpec, mode: Mode) -> list[Way]:
        """Makes ready for a batch in parts of these shapes, and says by what kernels each is computed.

        Called before every step, so quick when nothing is new.
        """
        del loss, mode
        return [self._way(shape) for shape in shapes]

    def _way(self, shape: Shape) -> Way:
        if shape not in self._ways:
            self._ways[shape] = Way(
                lowerings=tuple(
                    (group, name, index, way.forward, way.backward)
                    for group in self.course(shape).shapes(shape)
                    for (name, index), way in self.lowerings(group).items()
                )
            )
        return self._ways[shape]

    def follow(self, way: Way, shape: Shape, loss: LossSpec, mode: Mode) -> None:
        """Computes parts of this shape by the kernels of another engine."""
        del loss, mode
        for group in self.course(shape).shapes(shape):
            self.chosen[group] = {
                (name, index): Lowering(forward=forward, backward=backward)
                for of, name, index, forward, backward in way.lowerings
                if of == group
            }

    def measure_lowerings(self) -> None:
        """From now on the fastest ones are found by measuring."""
        self.tuner = Tuner(self._parameters, kind=self._kind, place=self._place)

    def _give_back(
        self, instance: Instance, shape: Shape, *, backward: bool, input_gradient: bool,
        recompute: Recomputation | None = None,
    ) -> None:  # fmt: skip
        instance.values.forget()
        if not backward and instance.buffers.bytes > LARGE and not self._follows:
            return
        pool = self._free.setdefault((shape, backward, input_gradient, recompute), [])
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
        self, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode, gradients: Tensors,
        weight: float = 1.0,
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:  # fmt: skip
        """The loss, with the parameters' gradients of `weight` times the loss added to `gradients`, and the
        buffers that changed."""
        sizes, recompute = self.course(tuple(x.shape))
        if len(sizes) == 1:
            return self._pass(tensors, x, target, loss, mode, gradients, weight, recompute, None)[:2]
        values = []
        last: Instance | None = None
        for part, wanted, share in grouped(x, target, sizes, loss):
            value, changed, last = self._pass(
                tensors, part, wanted, loss, mode, gradients, weight * share, recompute, last
            )
            values.append(value * share)
        return torch.stack(values).sum(), changed

    def part(
        self, parameters: FlatTensors, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec,
        mode: Mode, gradients: FlatTensors, weight: float,
    ) -> float:  # fmt: skip
        """`step` on pictures of a batch, whose loss counts `weight` in that of the whole.

        To be called in torch's inference mode: no tensor that is made stays.

        Args:
            parameters: `tensors` are views of them.
        """
        del parameters
        value, _ = self.step(tensors, x, target, loss, mode, gradients.by_node, weight)
        return float(value)

    def _pass(
        self, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode, gradients: Tensors,
        weight: float, recompute: Recomputation | None, last: Instance | None,
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]], Instance]:  # fmt: skip
        """`step`, on pictures that pass through at a time; also what they passed through.

        Args:
            last: what others of the same step passed through before.
        """
        shape = tuple(x.shape)
        instance = self._take(shape, backward=True, input_gradient=False, recompute=recompute)
        y = instance.forward(tensors, x, mode, settled=instance is last)
        changed = instance.changed
        value = begin_backward(instance, y, target, loss, weight)
        instance.backward(tensors, gradients)
        self._give_back(instance, shape, backward=True, input_gradient=False, recompute=recompute)
        return value, changed, instance


def grouped(
    x: Tensor, target: Tensor, sizes: tuple[int, ...], loss: LossSpec
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Parts of a batch, of so many pictures, and what the loss of each counts in that of the whole."""
    if len(sizes) == 1:
        yield x, target, 1.0
        return
    parts = torch.split(x, list(sizes)), torch.split(target, list(sizes))
    for size, pictures, wanted in zip(sizes, *parts, strict=True):
        yield pictures, wanted, size / len(x) if loss.reduction == "mean" else 1.0


def begin_backward(
    instance: Instance, y: Tensor, target: Tensor, loss: LossSpec, weight: float = 1.0
) -> Tensor:
    """The loss of the output `y`; `weight` times its gradient is put where the instance's backward pass
    begins."""
    instance.begin_backward()
    values, output = instance.values, instance.program.output
    if loss.type == "MSE" and instance.squared_error is not None:
        values.written.add(output)
        if instance.squared_error.joined:
            values.joined.add(output)
        return instance.squared_error(target, loss.reduction == "mean", weight)
    value, saved = loss.forward(y, target)
    if instance.wanted:
        values.add_gradient(output, loss.backward(saved, torch.full_like(value, weight)))
    return value

"""A training step of the optimised engine within a limit of memory.

In: a graph, the shape of a batch, and bytes. Out: how many pictures pass through at a time, and what to
compute again, so that the peak of a step, predicted without running it, stays within them. Smaller groups
come first: they multiply nothing twice. The search for what to compute again is `compiler.recompute`; here it
learns what takes memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler import division
from n2nspec.compiler.program import LayerOp
from n2nspec.compiler.recompute import Demand, Recomputation, Search, Timeline, TooLittleError
from n2nspec.compiler.work import step_macs
from n2nspec.diagnostics import fail, plural
from n2nspec.geometry import render_shape
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Needs
from n2nspec.runtime.memory import in_words
from n2nspec.runtime.optimized.engine import Course, OptimizedEngine
from n2nspec.runtime.optimized.instance import Instance

if TYPE_CHECKING:
    from torch import dtype

__all__ = ["Fitted", "MemoryLimit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A plan within the limit.

    Attributes:
        course: how many pictures pass through at a time, and what is not kept.
        timeline: what runs when, for the first group.
        peak, without: bytes at the worst moment of a step, by this plan and without a limit.
        regrouped: whether groups are smaller than without a limit.
    """

    course: Course
    timeline: Timeline
    peak: int
    without: int
    regrouped: bool

    @property
    def recompute(self) -> Recomputation | None:
        """What is not kept; None where everything is."""
        return self.course.recompute

    @property
    def recomputed_macs(self) -> int:
        """Multiply-accumulates of a step that are done again."""
        groups = self.course.groups
        return self.timeline.macs * sum(groups) // groups[0]

    @property
    def recomputed(self) -> tuple[str, ...]:
        """The values that are computed again, in the order in which that happens."""
        names = {index: name for name, index in self.timeline.index.items()}
        return tuple(names[call.op] for call in self.timeline.calls if call.kind == "recompute")

    @property
    def share(self) -> float:
        """Multiply-accumulates that are done again, as a part of those of a step."""
        total = step_macs(self.timeline.program, self.timeline.wanted)
        return self.timeline.macs / total if total else 0.0

    def __str__(self) -> str:
        """A line for people."""
        if self.recompute is None and not self.regrouped:
            return f"{in_words(self.peak)} at the peak, with everything kept"
        again = [f"{plural(self.course.groups[0], 'picture')} at a time"] if self.regrouped else []
        beside = f"{in_words(self.peak)} at the peak instead of {in_words(self.without)}; "
        if self.recompute is None:
            return beside + ", ".join(again)
        if self.recomputed:
            again.append(
                f"{plural(len(self.recomputed), 'value')} computed again, {self.share:.1%} more MACs"
            )
        if self.recompute.columns:
            again.append(f"the windows of {plural(len(self.recompute.columns), 'kernel')} copied again")
        again = again or ["nothing computed again, borders cleared again"]
        return beside + ", ".join(again)


class MemoryLimit:
    """Plans by the shape of a batch.

    Args:
        limit: bytes, for a step with weights, gradients, the optimiser's numbers and the batch itself.
        kind: the dtype of the network.
    """

    def __init__(self, graph: ShapedGraph, limit: int, kind: dtype) -> None:
        name = str(kind).removeprefix("torch.")
        if graph.spec.train.dtype != name:  # what the prediction goes by
            recipe = graph.spec.train.model_copy(update={"dtype": name})
            graph = replace(graph, spec=graph.spec.model_copy(update={"train": recipe}))
        self.graph, self.limit, self.kind = graph, limit, kind
        self._found: dict[tuple[int, ...], Fitted] = {}

    def __call__(self, shape: tuple[int, ...]) -> Course:
        """How a step on a batch of this shape is taken.

        Raises:
            DiagnosticError: E505, no plan takes so little, or none can be predicted.
        """
        return self.fitted(shape).course

    def fitted(self, shape: tuple[int, ...]) -> Fitted:
        """The plan for an input of this shape, and what it takes.

        Raises:
            DiagnosticError: as above.
        """
        if shape not in self._found:
            self._found[shape] = self._fit(shape)
        return self._found[shape]

    def _fit(self, shape: tuple[int, ...]) -> Fitted:
        peaks: dict[Course, int] = {}

        def exact(course: Course) -> int:
            if course not in peaks:
                peaks[course] = self._peak(shape, course)
            return peaks[course]

        usual = course = Course(division.groups(self.graph, shape))
        while exact(course) > self.limit and division.divisible(self.graph) and len(course.groups) < shape[0]:
            course = Course(division.smaller_groups(course.groups))
        engine = OptimizedEngine(self.graph, kind=self.kind, place=torch.device("meta"))
        first, *_ = course.shapes(shape)
        instance = engine.instance(first, backward=True, input_gradient=False)
        search = Search(
            program=instance.program, wanted=instance.wanted, demands=tuple(_demands(instance)),
            columns=_columns(instance), exact=lambda choice: exact(course._replace(recompute=choice)),
        )  # fmt: skip
        try:
            found = search.run(self.limit)
        except TooLittleError as error:
            raise fail(
                "E505",
                f"a training step at {render_shape(shape)} needs at least {in_words(error.least, ceil)};"
                f" the memory limit is {in_words(self.limit, floor)}",
                file=self.graph.spec.source_file,
                help="raise --memory-limit, or take smaller pictures or a smaller batch (data.patch,"
                " train.batch_size)",
            ) from None
        chosen = course._replace(recompute=found)
        return Fitted(
            course=chosen, timeline=Timeline(instance.program, instance.wanted, found), peak=exact(chosen),
            without=exact(usual), regrouped=course != usual,
        )  # fmt: skip

    def _peak(self, shape: tuple[int, ...], course: Course) -> int:
        from n2nspec.oracle.footprint import optimized_bytes  # which runs this engine on no numbers

        found = optimized_bytes(self.graph, shape, training=True, course=course)
        if found is None:
            raise fail(
                "E505",
                "the memory of a training step cannot be predicted: a layer looks at the numbers it is given",
                file=self.graph.spec.source_file,
                help="train without a memory limit",
            )
        return found


def _columns(instance: Instance) -> Mapping[str, int]:
    """Bytes of the windows that convolutions keep from forward to backward."""
    found: dict[str, int] = {}
    for request in instance.buffers.workspace:
        if request.first < len(instance.kernels) < request.last:
            found[request.owner] = found.get(request.owner, 0) + request.nbytes
    return found


def _demands(instance: Instance) -> Iterator[Demand]:
    """All that takes memory in a step that keeps everything: buffers as they are planned; of layers without a
    kernel what they say of themselves."""
    for picture in instance.layout:
        if picture.role == "value":
            yield Demand(bytes=picture.bytes, kind="value", of=picture.of)
        else:
            yield Demand(bytes=picture.bytes, kind="work", moments=(picture.first, picture.last))
    program, timeline = instance.program, instance.timeline
    item, count = instance.buffers.dtype.itemsize, len(program.ops)
    sizes = {name: prod(shape) * item for name, shape in program.shapes.items()}
    for index, op in enumerate(program.ops):
        if not isinstance(op, LayerOp):
            continue
        inputs = tuple(program.shapes[name] for name in op.inputs)
        needs = Needs(inputs=tuple(name in instance.wanted for name in op.inputs))
        memory = op.layer.memory(inputs, op.shape, item, needs)
        loose = op.name not in timeline.pictured
        if loose and memory.forward:
            yield Demand(bytes=sizes[op.name], kind="value", of=op.name)
        own = 0
        if op.name in instance.wanted:
            for saved in op.layer.saves(inputs, op.shape):
                if saved.of == "own":
                    own += saved.size * (saved.item_bytes or item)
                elif saved.of == "output" and not loose:
                    own += sizes[op.name]
                elif saved.of == "input" and op.layer.is_modal():  # in another order of memory
                    own += sizes[op.inputs[saved.index]]
            yield Demand(bytes=own, kind="saved", of=op.name)
            then = 2 * count - index
            yield Demand(bytes=memory.backward, kind="work", moments=(then, then))
            if loose:
                readers = [r.name for r in program.readers[op.name] if r.name in instance.wanted]
                born = 2 * count - max((timeline.index[name] for name in readers), default=count)
                yield Demand(bytes=sizes[op.name], kind="work", moments=(born, then))
        yield Demand(bytes=max(0, memory.forward - own), kind="work", moments=(index, index))

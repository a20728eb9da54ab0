"""How much memory the optimised and the compiled engine would take, for any size, without the memory.

In: a shaped graph and an input shape. Out: bytes at the worst moment of a training step or of a forward pass.
The pass runs on tensors that have shapes but no contents (torch's meta device). Of the optimised engine,
whatever is allocated and let go of on the way is counted; of the compiled engine's step the operations are
recorded, and `fusion` tells what of that is ever in memory. What stands besides is what `graph.memory`
counts: parameters, gradients, moments, buffers, the input and the target.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from n2nspec.geometry import concrete
from n2nspec.graph import ShapedGraph, standing_bytes, update_bytes
from n2nspec.layers._base import EVALUATION, Mode
from n2nspec.losses import HuberSpec
from n2nspec.oracle.fusion import peak
from n2nspec.oracle.recording import recorded
from n2nspec.runtime.compiled.engine import CompiledEngine
from n2nspec.runtime.optimized import Course, OptimizedEngine

__all__ = ["compiled_bytes", "optimized_bytes"]


class _Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that operators make, for as long as anybody holds them."""

    def __init__(self, standing: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in standing}  # theirs is not counted

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To skip torch's compiler, torch would load it, which takes seconds; nothing is compiled here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False))
        given.update(kwargs or {})
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given:
                return given[
                    argument.name
                ]  # it writes into a tensor that is there: nothing to count, or to do
        found = func(*args, **(kwargs or {}))
        # these begin with a tensor like their input and change its size, which takes more memory or keeps it
        least = args[0].nbytes if func._schema.name in ("aten::im2col", "aten::col2im") else 0
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._made(leaf.untyped_storage(), least)
        return found

    def _made(self, storage: torch.UntypedStorage, least: int) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        if size < least:
            size = least
        elif least:
            self.peak = max(self.peak, self.held + least + size)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size


def optimized_bytes(
    graph: ShapedGraph, shape: tuple[int, ...], *, training: bool, course: Course | None = None
) -> int | None:
    """The most bytes at once, for an input batch of this shape; None where a layer asks for its numbers.

    Args:
        course: how a training step is taken, if not as usual.
    """
    try:
        return _bytes(graph, shape, training=training, course=course)
    except RuntimeError:  # what torch says of tensors without contents
        return None


def compiled_bytes(graph: ShapedGraph, shape: tuple[int, ...]) -> int | None:
    """The most bytes at once of the compiled engine's training step; None where a layer asks for its numbers.

    Where that engine gives way to the optimised one, it is that one's.
    """
    engine = CompiledEngine(graph, kind=getattr(torch, graph.spec.train.dtype), place=torch.device("meta"))
    if not engine.compiles:
        return optimized_bytes(graph, shape, training=True)
    try:
        return _compiled(graph, shape, engine)
    except RuntimeError:
        return None


def _compiled(graph: ShapedGraph, shape: tuple[int, ...], engine: CompiledEngine) -> int:
    train = graph.spec.train
    given = _Given.make(graph, shape)
    held = standing_bytes(graph, given.x.itemsize, training=True) + given.x.nbytes + given.target.nbytes
    groups = engine.course(shape).groups
    if len(groups) > 1:
        given = _Given.make(graph, (groups[0], *shape[1:]))
    step = engine.training_step(tuple(given.x.shape), train.loss.at(0.0), train.optimizer, Mode(True))
    x, target = given.x, given.target
    size = sum(prod(parameter) for own in step.shapes.values() for parameter in own.values())
    parameters = x.new_empty(size)
    if len(groups) > 1:
        found = recorded(lambda: list(step.part(parameters, x, target, x.new_empty(()))))
        return held + max(peak(found), update_bytes(graph, x.itemsize))
    state = train.optimizer.init_state(parameters)
    factors = x.new_empty(len(train.optimizer.factors(1)), dtype=torch.float64)
    buffers = {node: own for node, own in given.buffers.items() if own}
    found = recorded(lambda: tree_leaves(tuple(step(parameters, x, target, state, buffers, factors))))
    return held + peak(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """Tensors without contents that a step is given: a batch, and each node's parameters and buffers."""

    x: Tensor
    target: Tensor
    own: dict[str, dict[str, Tensor]]
    buffers: dict[str, dict[str, Tensor]]

    @classmethod
    def make(cls, graph: ShapedGraph, shape: tuple[int, ...]) -> _Given:
        kind: torch.dtype = getattr(torch, graph.spec.train.dtype)
        place = torch.device("meta")
        sizes = {
            dim.symbol: n for dim, n in zip(graph.input_shape, shape, strict=True) if not isinstance(dim, int)
        }
        output = concrete(graph.shapes[graph.output], sizes)
        assert output is not None, "a size that the network takes"
        return cls(
            x=torch.empty(shape, dtype=kind, device=place),
            target=torch.empty(output, dtype=kind, device=place),
            own={
                node.name: {p.name: torch.empty(p.shape, dtype=kind, device=place) for p in node.parameters}
                for node in graph.nodes
            },
            buffers={
                node.name: {
                    b.name: torch.empty(b.shape, dtype=torch.int64 if b.integer else kind, device=place)
                    for b in node.buffers
                }
                for node in graph.nodes
            },
        )


def _bytes(graph: ShapedGraph, shape: tuple[int, ...], *, training: bool, course: Course | None) -> int:
    train = graph.spec.train
    given = _Given.make(graph, shape)
    x, target, own = given.x, given.target, given.own
    tensors = {node.name: {**own[node.owner], **given.buffers[node.name]} for node in graph.nodes}
    standing = [x, target, *(tensor for held in tensors.values() for tensor in held.values())]
    engine = OptimizedEngine(graph, kind=x.dtype, place=x.device)
    if course is not None:
        engine.limit = lambda _: course
    held = standing_bytes(graph, x.itemsize, training=training) + x.nbytes
    with _Ledger(standing) as ledger:
        if not training:
            engine.forward(tensors, x, EVALUATION, keep=False)
            return int(held + ledger.peak)
        # one that looks at the numbers cannot: another that makes as many tensors stands for it
        loss = HuberSpec() if train.loss.probabilities else train.loss.at(0.0)
        engine.step(tensors, x, target, loss, Mode(True), own)  # gradients take what parameters do
    update = update_bytes(graph, x.itemsize)
    return int(held + target.nbytes + max(ledger.peak, ledger.held + update))

"""ShapedGraph → Plan: what runs when, which gradients are needed, and how long every value lives.

In: a shaped graph, and whether anyone wants the gradient of the network's input. Out: forward steps in
topological order and backward steps in reverse topological order. Nothing is planned for nodes that the
output does not depend on, and no gradient that nobody needs. That is the reference executor's schedule; the
optimised one is a `Program` with buffers, which `plan_document` writes down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from n2nspec.compiler.program import ConvOp, Op, Program, Weights
from n2nspec.compiler.recompute import INPUT, Call, Timeline
from n2nspec.graph import ShapedGraph, ShapedNode
from n2nspec.layers._base import Needs

__all__ = ["BackwardStep", "ForwardStep", "Plan", "PlannedBuffer", "plan", "plan_document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStep:
    """Run a node's forward. `saves`: its backward will run; `frees`: values that nothing reads any more."""

    node: ShapedNode
    saves: bool
    frees: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackwardStep:
    """Run a node's backward and add the gradients of its inputs to what they have so far."""

    node: ShapedNode
    needs: Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training step's schedule (or, without `backward`, one of inference)."""

    graph: ShapedGraph
    forward: tuple[ForwardStep, ...]
    backward: tuple[BackwardStep, ...]
    input_gradient: bool


def plan(graph: ShapedGraph, *, input_gradient: bool) -> Plan:
    """The schedule of the reference executor."""
    live = [node for node in graph.nodes if node.name in graph.live]
    wanted = {graph.input_name} if input_gradient else set()  # values whose gradient somebody needs
    for node in live:
        if trained(node) or any(name in wanted for name in node.inputs):
            wanted.add(node.name)

    last_reader = {name: node.name for node in live for name in node.inputs}
    forward = tuple(
        ForwardStep(
            node=node,
            saves=node.name in wanted,
            frees=tuple(
                name
                for name in dict.fromkeys(node.inputs)
                if last_reader[name] == node.name and name != graph.output
            ),
        )
        for node in live
    )
    backward = tuple(
        BackwardStep(
            node=node,
            needs=Needs(inputs=tuple(name in wanted for name in node.inputs), parameters=trained(node)),
        )
        for node in reversed(live)
        if node.name in wanted
    )
    return Plan(graph=graph, forward=forward, backward=backward, input_gradient=input_gradient)


def trained(node: ShapedNode) -> bool:
    """Whether a node has parameters, its own or another's."""
    return bool(node.parameters) or node.share is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBuffer:
    """A piece of memory of an optimised plan.

    Attributes:
        role: "value", "gradient", or "workspace" of an operation.
        of: the value, or the operation.
        shape: as it lies in memory; pictures channels last, with their border of zeros.
        first, last: the moments between which it is needed, as in `recompute.Timeline`.
        spans: when exactly, where it is given away in between.
        offset: bytes from the beginning. Buffers that are never alive together may share bytes.
    """

    role: str
    of: str
    shape: tuple[int, ...]
    dtype: str
    first: int
    last: int
    spans: tuple[tuple[int, int], ...]
    offset: int
    bytes: int


def plan_document(
    graph: ShapedGraph, timeline: Timeline, *, buffers: Iterable[PlannedBuffer], nbytes: int
) -> dict[str, object]:
    """The optimised training step as plain data, for a file that other programs read.

    Args:
        timeline: what runs when.
        nbytes: of all buffers together, shared ones once.
    """
    program, wanted = timeline.program, timeline.wanted
    own = {node.name: node.parameters for node in graph.nodes}
    buffers = tuple(buffers)
    planned = {buffer.of for buffer in buffers if buffer.role == "value"}

    def parameters(op: Op) -> list[str]:
        weights: Weights | None = getattr(op, "weights", None)
        if weights is None:
            return []
        names = (parameter.name for parameter in own[weights.owner])
        return [f"{weights.owner}.{name}" for name in names if name.startswith(weights.prefix)]

    def described(call: Call) -> dict[str, object]:
        op = program.ops[call.op] if call.op != INPUT else None
        if call.kind == "recompute" or op is None:
            name, macs = (op.name, op.macs(program.shapes)) if op else (program.input_name, 0)
            return {"moment": call.moment, "kind": "recompute", "name": name, "macs": macs}
        return {
            "moment": call.moment,
            "kind": "backward",
            "name": op.name,
            "input_gradients": [name for name in dict.fromkeys(op.inputs) if name in wanted],
            "parameter_gradients": parameters(op),
        }

    return {
        "name": graph.spec.name,
        "engine": "optimized",
        "dtype": graph.spec.train.dtype,
        "input": {"name": program.input_name, "shape": list(program.input_shape)},
        "output": program.output,
        "macs": program.macs,
        "recomputed_macs": timeline.macs,
        "copied_again": sorted(timeline.choice.columns),
        "bytes": nbytes,
        "forward": [{"moment": moment, **_operation(op, program)} for moment, op in enumerate(program.ops)],
        "backward": [described(call) for call in timeline.calls],
        "buffers": [asdict(buffer) for buffer in buffers],
        # made anew by layers that run through their own functions
        "unplanned": [name for name in program.shapes if name not in planned],
    }


def _operation(op: Op, program: Program) -> dict[str, object]:
    described: dict[str, object] = {
        "name": op.name, "kind": op.kind, "inputs": list(op.inputs), "shape": list(op.shape),
        "covers": list(op.covers), "macs": op.macs(program.shapes),
    }  # fmt: skip
    if isinstance(op, ConvOp):
        described["activation"] = asdict(op.activation) if op.activation else None
        described["sources"] = [
            {
                "value": source.value,
                "channels": source.channels,
                **{
                    key: [getattr(axis_map, key) for axis_map in source.maps]
                    for key in ("scale", "stride", "dilation", "length")
                },
            }
            for source in op.sources
        ]
    return described

"""ShapedGraph → Plan: what runs when, which gradients are needed, and how long every value lives.

In: a shaped graph, and whether anyone wants the gradient of the network's input. Out: forward steps in
topological order and backward steps in reverse topological order. Nothing is planned for nodes that the
output does not depend on, and no gradient that nobody needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from n2nspec.graph import ShapedGraph, ShapedNode
from n2nspec.layers._base import Needs

__all__ = ["BackwardStep", "ForwardStep", "Plan", "plan", "plan_document"]


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
        if node.parameters or any(name in wanted for name in node.inputs):
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
            needs=Needs(
                inputs=tuple(name in wanted for name in node.inputs), parameters=bool(node.parameters)
            ),
        )
        for node in reversed(live)
        if node.name in wanted
    )
    return Plan(graph=graph, forward=forward, backward=backward, input_gradient=input_gradient)


def plan_document(schedule: Plan) -> dict[str, object]:
    """The schedule as plain data, for a file that other programs read."""
    return {
        "name": schedule.graph.spec.name,
        "engine": "reference",
        "forward": [
            {
                "node": step.node.name,
                "type": step.node.layer.type,
                "inputs": list(step.node.inputs),
                "saves": step.saves,
                "frees": list(step.frees),
            }
            for step in schedule.forward
        ],
        "backward": [
            {
                "node": step.node.name,
                "input_gradients": [
                    name for name, needed in zip(step.node.inputs, step.needs.inputs, strict=True) if needed
                ],
                "parameter_gradients": [
                    f"{step.node.name}.{parameter.name}"
                    for parameter in (step.node.parameters if step.needs.parameters else ())
                ],
            }
            for step in schedule.backward
        ],
    }

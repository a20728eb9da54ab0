"""The reference executor: the module graph as written, forward in topological order and backward in reverse.

In: a plan, parameters by node, a picture batch. Out: the output and what backward needs; then, from the
gradient of the output, the gradients of parameters and of the input. Autograd plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from n2nspec.compiler import Plan

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Tape", "backward", "forward"]

Parameters = Mapping[str, Mapping[str, "Tensor"]]
"""Tensors by node, then by the layer's own name for them."""


@dataclass(slots=True)
class Tape:
    """What one forward pass keeps: each node's saved values, until its backward has run."""

    plan: Plan
    saved: dict[str, Any]


def forward(plan: Plan, params: Parameters, x: Tensor, *, keep: bool = True) -> tuple[Tensor, Tape]:
    """The output for the input `x`; with `keep`, a tape for `backward`."""
    values = {plan.graph.input_name: x}
    tape = Tape(plan=plan, saved={})
    for step in plan.forward:
        node = step.node
        y, saved = node.layer.forward(params[node.name], *(values[name] for name in node.inputs))
        values[node.name] = y
        if keep and step.saves:
            tape.saved[node.name] = saved
        for name in step.frees:
            del values[name]
    return values[plan.graph.output], tape


def backward(
    tape: Tape, params: Parameters, gy: Tensor
) -> tuple[Tensor | None, dict[str, Mapping[str, Tensor]]]:
    """The gradient of the input (None when the plan leaves it out) and those of the parameters by node.

    Where a value was used more than once its gradients are summed, in the order of the backward steps.
    """
    plan = tape.plan
    gradients = {plan.graph.output: gy}
    gparams: dict[str, Mapping[str, Tensor]] = {}
    for step in plan.backward:
        node = step.node
        gxs, gparams[node.name] = node.layer.backward(
            params[node.name], tape.saved.pop(node.name), gradients.pop(node.name), step.needs
        )
        for name, needed, gx in zip(node.inputs, step.needs.inputs, gxs, strict=True):
            if needed:
                assert gx is not None, f"{node.name} left out a gradient that was asked for"
                # never in place: a layer may hand on the very tensor it was given
                gradients[name] = gradients[name] + gx if name in gradients else gx
    return gradients.get(plan.graph.input_name), gparams

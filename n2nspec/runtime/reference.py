"""The reference executor: the module graph as written, forward in topological order and backward in reverse.

In: a plan, parameters and buffers by node, a picture batch. Out: the output and what backward needs; then,
from the gradient of the output, the gradients of parameters and of the input. Autograd plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler import BackwardStep, ForwardStep, Plan, plan
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode, run
from n2nspec.losses import LossSpec

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["ReferenceEngine", "Tape", "backward", "forward"]

Tensors = Mapping[str, Mapping[str, "Tensor"]]
"""Parameters and buffers by node, then by the layer's own name for them."""


@dataclass(slots=True)
class Tape:
    """What one forward pass keeps: each node's saved values, until its backward has run.

    `buffers` are those that the pass changes, by node: whoever keeps them puts these in their place.
    """

    plan: Plan
    saved: dict[str, Any] = field(default_factory=dict)
    buffers: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def forward(plan: Plan, tensors: Tensors, x: Tensor, mode: Mode, *, keep: bool = True) -> tuple[Tensor, Tape]:
    """The output for the input `x`; with `keep`, a tape for `backward`."""
    values = {plan.graph.input_name: x}
    tape = Tape(plan=plan)
    for step in plan.forward:
        _forward_step(step, values, tape, tensors[step.node.name], mode, keep=keep and step.saves)
    return values[plan.graph.output], tape


def _forward_step(
    step: ForwardStep, values: dict[str, Tensor], tape: Tape, params: Mapping[str, Tensor], mode: Mode, *,
    keep: bool,
) -> None:  # fmt: skip
    """One node. A function of its own, so that nothing of it outlives it but what it puts into the two."""
    node = step.node
    inputs = tuple(values[name] for name in node.inputs)
    values[node.name], saved, changed = run(node.layer, params, inputs, mode)
    if changed:
        tape.buffers[node.name] = changed
    if keep:
        tape.saved[node.name] = saved
    for name in step.frees:
        del values[name]


def backward(tape: Tape, tensors: Tensors, gy: Tensor) -> tuple[Tensor | None, dict[str, dict[str, Tensor]]]:
    """The gradient of the input (None when the plan leaves it out) and those of the parameters, by owner.

    Where a value or a parameter was used more than once its gradients are summed, in the order of the
    backward steps.
    """
    plan = tape.plan
    gradients = {plan.graph.output: gy}
    del gy  # nobody needs it once the last node has run
    gparams: dict[str, dict[str, Tensor]] = {}
    for step in plan.backward:
        _backward_step(step, gradients, gparams, tape, tensors[step.node.name])
    return gradients.get(plan.graph.input_name), gparams


def _backward_step(
    step: BackwardStep, gradients: dict[str, Tensor], gparams: dict[str, dict[str, Tensor]], tape: Tape,
    params: Mapping[str, Tensor],
) -> None:  # fmt: skip
    node = step.node
    gxs, own = node.layer.backward(params, tape.saved.pop(node.name), gradients.pop(node.name), step.needs)
    for key, gradient in own.items():
        _add(gparams.setdefault(node.owner, {}), key, gradient)
    for name, needed, gx in zip(node.inputs, step.needs.inputs, gxs, strict=True):
        if needed:
            assert gx is not None, f"{node.name} left out a gradient that was asked for"
            _add(gradients, name, gx)


def _add(sums: dict[str, Tensor], name: str, gradient: Tensor) -> None:
    """Never in place: a layer may hand on the very tensor it was given."""
    sums[name] = sums[name] + gradient if name in sums else gradient


class ReferenceEngine:
    """The reference executor behind the interface that every engine has."""

    name = "reference"

    def __init__(self, graph: ShapedGraph, *, kind: dtype, place: device) -> None:
        del kind, place  # it works with whatever tensors come
        self._plan = plan(graph, input_gradient=True)
        self._step_plan = plan(graph, input_gradient=False)

    def forward(
        self, tensors: Tensors, x: Tensor, mode: Mode, *, keep: bool
    ) -> tuple[Tensor, Tape | None, dict[str, dict[str, Tensor]]]:
        """The output, what `backward` needs (with `keep`), and the buffers of layers that changed."""
        y, tape = forward(self._plan, tensors, x, mode, keep=keep)
        return y, tape if keep else None, tape.buffers

    def backward(self, tape: Tape, tensors: Tensors, gy: Tensor, gradients: Tensors) -> Tensor | None:
        """Adds to the parameters' gradients; returns the input's, None when nothing reads it."""
        gx, gparams = backward(tape, tensors, gy)
        _accumulate(gradients, gparams)
        return gx

    def step(
        self, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode, gradients: Tensors
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """The loss, with the parameters' gradients added to `gradients`, and the buffers that changed."""
        y, tape = forward(self._step_plan, tensors, x, mode)
        value, *gy = _loss(loss, y, target)
        del y
        _, gparams = backward(tape, tensors, gy.pop())  # which lets go of it
        _accumulate(gradients, gparams)
        return value, tape.buffers


def _loss(loss: LossSpec, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the gradient of `y`. What lies between does not live until the network's backward ends."""
    value, saved = loss.forward(y, target)
    return value, loss.backward(saved, torch.ones_like(value))


def _accumulate(gradients: Tensors, more: Tensors) -> None:
    for node, own in more.items():
        for name, gradient in own.items():
            gradients[node][name].add_(gradient)

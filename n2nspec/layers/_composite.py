"""A layer made of layers, one after the other.

In: a subclass's fields, and `parts()`, the layers they stand for. Out: everything else that a layer is;
sizes, parameters, cost and both passes are those of the parts. Parameters are called `PART.PARAMETER`, as in
a torch.nn.Sequential with named children, which is also the twin.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from n2nspec.geometry import AxisRule, Chain, Shape, elements
from n2nspec.layers._base import (
    EVALUATION,
    BufferSpec,
    LayerSpec,
    ModalSpec,
    Mode,
    Needs,
    ParameterSpec,
    Saved,
    Several,
    buffers,
    run,
)  # fmt: skip
from n2nspec.layers._memory import Memory

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CompositeSpec", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part at work: its name, its layer, and the shapes around it."""

    name: str
    layer: LayerSpec
    input: Shape
    output: Shape


class CompositeSpec(ModalSpec):
    """Spatial layers of one input each, in a row."""

    spatial: ClassVar[bool] = True

    @abstractmethod
    def parts(self) -> tuple[tuple[str, LayerSpec], ...]:
        """The layers with their names, in order."""

    def steps(self, inputs: tuple[Shape, ...]) -> tuple[Step, ...]:
        """The parts with their shapes, for inputs that `infer` accepts."""
        (shape,) = inputs
        steps = []
        for name, layer in self.parts():
            output = layer.infer((shape,))
            steps.append(Step(name=name, layer=layer, input=shape, output=output))
            shape = output
        return tuple(steps)

    def axes(self) -> tuple[AxisRule, AxisRule]:
        heights, widths = zip(*(layer.axes() for _, layer in self.parts()), strict=True)
        return Chain(heights), Chain(widths)

    def channels(self, channels: int) -> int:
        for _, layer in self.parts():
            channels = layer.channels(channels)
        return channels

    def sees_whole_picture(self) -> bool:
        return any(layer.sees_whole_picture() for _, layer in self.parts())

    def mixes_batch(self, *, training: bool) -> bool:
        return any(
            isinstance(layer, ModalSpec) and layer.mixes_batch(training=training) for _, layer in self.parts()
        )

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        return tuple(
            replace(parameter, name=f"{step.name}.{parameter.name}")
            for step in self.steps(inputs)
            for parameter in step.layer.parameters((step.input,))
        )

    def is_modal(self) -> bool:
        return any(layer.is_modal() for _, layer in self.parts())

    def buffers(self, inputs: tuple[Shape, ...]) -> tuple[BufferSpec, ...]:
        return tuple(
            replace(buffer, name=f"{step.name}.{buffer.name}")
            for step in self.steps(inputs)
            for buffer in buffers(step.layer, (step.input,))
        )

    def several(self, inputs: tuple[Shape, ...]) -> tuple[Several, ...]:
        return tuple(several for step in self.steps(inputs) for several in step.layer.several((step.input,)))

    def macs(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        return sum(step.layer.macs((_known(step.input),), _known(step.output)) for step in self.steps(inputs))

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        """What the parts save; a tensor between two parts is the composite's own, and counted once."""
        steps = self.steps(inputs)
        kept: dict[int, Saved] = {}  # by place: 0 is the input, len(steps) the output
        own: list[Saved] = []
        for index, step in enumerate(steps):
            for saved in step.layer.saves((_known(step.input),), _known(step.output)):
                if saved.of == "own":
                    own.append(saved)
                    continue
                place = index if saved.of == "input" else index + 1
                between = Saved(of="own", size=elements(_known(steps[place - 1].output)))
                kept[place] = {0: Saved(of="input"), len(steps): Saved(of="output")}.get(place, between)
        return (*kept.values(), *own)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        """That of the part that needs most, beside what the parts before it have left."""
        steps = self.steps(inputs)
        wanted, found = needs.inputs[0], []
        for step in steps:
            asked = Needs(inputs=(wanted,), parameters=needs.parameters)
            found.append(step.layer.memory((_known(step.input),), _known(step.output), item, asked))
            wanted = wanted or (needs.parameters and bool(step.layer.parameters((step.input,))))
        forward = inference = backward = kept = gparams = 0
        for step, memory in zip(steps, found, strict=True):
            forward, inference = max(forward, kept + memory.forward), max(inference, kept + memory.inference)
            kept += elements(_known(step.output)) * item if memory.forward else 0  # most layers save it
        gradient = 0
        for step, memory in zip(reversed(steps), reversed(found), strict=True):
            backward = max(backward, gparams + gradient + memory.backward)
            gradient = memory.gradients[0] or gradient
            if needs.parameters:
                gparams += sum(p.size for p in step.layer.parameters((step.input,))) * item
        return Memory(forward=forward, inference=inference, backward=backward, gradients=(gradient,))

    def forward(
        self, params: Mapping[str, Tensor], *xs: Tensor, mode: Mode = EVALUATION
    ) -> tuple[Tensor, Any]:
        (x,) = xs
        saved = []
        for name, layer in self.parts():
            x, kept, _ = run(layer, _of(params, name), (x,), mode)
            saved.append(kept)
        return x, tuple(saved)

    def updates(self, params: Mapping[str, Tensor], saved: Any) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for (name, layer), kept in zip(self.parts(), saved, strict=True)
            if isinstance(layer, ModalSpec)
            for key, value in layer.updates(_of(params, name), kept).items()
        }

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        parts = self.parts()
        wanted = [needs.inputs[0]]  # whether anyone wants the gradient of each part's input
        for name, _ in parts[:-1]:
            wanted.append(wanted[-1] or (needs.parameters and bool(_of(params, name))))
        g: Tensor | None = gy
        gparams: dict[str, Tensor] = {}
        for (name, layer), kept, want in zip(reversed(parts), reversed(saved), reversed(wanted), strict=True):
            if g is None:
                break
            (g,), own = layer.backward(
                _of(params, name), kept, g, Needs(inputs=(want,), parameters=needs.parameters)
            )
            gparams.update({f"{name}.{key}": gradient for key, gradient in own.items()})
        return (g,), gparams


def _of(params: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): t for name, t in params.items() if name.startswith(prefix)}


def _known(shape: Shape) -> tuple[int, ...]:
    """A shape without symbols."""
    numbers = tuple(dim for dim in shape if isinstance(dim, int))
    assert len(numbers) == len(shape), "cost needs concrete shapes"
    return numbers

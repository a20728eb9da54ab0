"""A layer made of layers, one after the other.

In: a subclass's fields, and `parts()`, the layers they stand for. Out: everything else that a layer is;
sizes, parameters, cost and both passes are those of the parts. Parameters are called `PART.PARAMETER`, as in
a torch.nn.Sequential with named children, which is also the twin.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from n2nspec.geometry import AxisRule, Chain, Shape, elements
from n2nspec.layers._base import LayerSpec, Needs, ParameterSpec, Saved

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


class CompositeSpec(LayerSpec):
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

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        return tuple(
            replace(parameter, name=f"{step.name}.{parameter.name}")
            for step in self.steps(inputs)
            for parameter in step.layer.parameters((step.input,))
        )

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

    def workspace(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        steps = self.steps(inputs)
        between = [elements(_known(before.output)) for before, _ in pairwise(steps)]
        return max(
            *between, *(step.layer.workspace((_known(step.input),), _known(step.output)) for step in steps)
        )

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        saved = []
        for name, layer in self.parts():
            x, kept = layer.forward(_of(params, name), x)
            saved.append(kept)
        return x, tuple(saved)

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

"""What a layer is: spec fields, size rule, parameters and the two pure functions of its mathematics.

In: the fields of one `[[encoder]]` or `[[decoder]]` table, as a `LayerSpec`. Out, from the shapes of its
inputs: the output shape, the parameters, the cost; from tensors: the output, and from the gradient of the
output the gradients of inputs and parameters. No state lives here, so one layer may be used twice.

A layer is one file that subclasses `LayerSpec`; see `conv2d.py` for a whole one. Only `forward` and
`backward` reach torch. Tensors carry a batch axis (N, C, H, W) or none (C, H, W), as in torch.nn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from n2nspec.diagnostics import plural
from n2nspec.geometry import SAME, AxisRule, Dim, Shape, ShapeError, elements, render_shape, transform
from n2nspec.layers._memory import Alive, Memory

if TYPE_CHECKING:
    import torch

__all__ = [
    "EVALUATION", "BadCase", "BufferSpec", "Case", "LayerSpec", "ModalSpec", "Mode", "Needs", "ParameterSpec",
    "Saved", "Several", "buffers", "fixed", "run",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """A parameter tensor before it exists.

    `fan_in` and `fan_out` are N_in and N_out of the initialisations: channels times kernel positions. A
    parameter with a `value` is not drawn: it starts as that number, whatever the initialisation.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int = 0
    fan_out: int = 0
    value: float | None = None

    @property
    def size(self) -> int:
        return elements(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSpec:
    """A tensor that goes with the parameters but that no gradient changes, such as a running mean.

    It starts as `value`; `integer` is for a count (int64), the others have the network's dtype.
    """

    name: str
    shape: tuple[int, ...]
    value: float
    integer: bool = False


@dataclass(frozen=True, slots=True)
class Mode:
    """How a forward pass is meant: in training or not, and where random numbers come from.

    `generator` is on the device of the tensors; None stands for torch's own.
    """

    training: bool
    generator: torch.Generator | None = None


EVALUATION = Mode(training=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Dimensions whose product has to be more than 1: a statistic of a single number says nothing.

    `training` tells whether that is asked of training only.
    """

    dims: tuple[Dim, ...]
    training: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A tensor that forward keeps for backward, as far as memory is concerned.

    `of` is "input", "output" or "own"; an input or output that several layers keep is counted once.
    """

    of: str
    index: int = 0
    size: int = 0
    """Numbers in a tensor of the layer's own."""
    item_bytes: int | None = None
    """Bytes a number; None for the network's dtype."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Which gradients backward has to produce; the others come back as None (or are left out)."""

    inputs: tuple[bool, ...]
    parameters: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case of a layer: constructor fields and the shapes of its inputs (numbers)."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[int, ...], ...]
    contiguous: bool = True
    """False: the inputs are strided views, as a transposed picture is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadCase:
    """Fields, or input shapes, that the layer has to refuse. `match` is part of the message."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[int, ...], ...] | None = None
    match: str


class LayerSpec(BaseModel):
    """The spec fields of a layer and everything that follows from them. Subclasses are frozen values."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    type: str

    arity: ClassVar[int] = 1
    """How many inputs; a layer of variable arity sets the least and overrides `infer`."""
    most_inputs: ClassVar[int | None] = 1
    """The most inputs; None for any number."""
    spatial: ClassVar[bool] = False
    """True: the inputs are pictures, (C, H, W) with or without a batch axis, and `axes` acts on H and W."""
    inferred: ClassVar[tuple[str, ...]] = ()
    """Leading constructor arguments that a spec leaves out because the graph knows them (`in_channels`)."""
    inferred_place: ClassVar[int] = 0
    """How many fields stand before the inferred arguments in the constructor."""
    inferred_axis: ClassVar[int] = -3
    """The axis of the input that the inferred argument counts; negative where any batch axes may precede."""
    keyword_only: ClassVar[tuple[str, ...]] = ()
    """Fields that the constructor takes by name only."""
    activation: ClassVar[bool] = False
    """True: an elementwise nonlinearity, which nobody means to apply twice in a row."""
    alive: ClassVar[tuple[Alive, Alive]] = (Alive(), Alive())
    """What `memory` counts in forward and in backward, unless a layer overrides it."""
    twin: ClassVar[str] = ""
    """Dotted name of the torch.nn counterpart, whose constructor takes the same fields."""
    CASES: ClassVar[tuple[Case, ...]] = ()
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = ()

    # -- sizes and cost: integers only, no torch ------------------------------------------------------

    def axes(self) -> tuple[AxisRule, AxisRule]:
        """What happens along height and width."""
        return SAME, SAME

    def input_axes(self, inputs: tuple[Shape, ...]) -> tuple[tuple[AxisRule, AxisRule] | None, ...]:
        """`axes` for each input; None for one whose numbers the output does not depend on."""
        return (self.axes(),) * len(inputs)

    def sees_whole_picture(self) -> bool:
        """True when an output pixel may depend on every input pixel, however far away."""
        return False

    def channels(self, channels: int) -> int:
        """Output channels of a spatial layer.

        Raises:
            ShapeError: the layer cannot take that many input channels.
        """
        return channels

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        """The output shape.

        Raises:
            ShapeError: an input has the wrong rank, channels or size.
        """
        (shape,) = inputs
        if not self.spatial:
            return shape
        *batch, channels, height, width = self.picture(shape)
        rules = self.axes()
        sizes = (
            transform(height, rules[0], axis="height", field="kernel_size"),
            transform(width, rules[1], axis="width", field="kernel_size"),
        )
        return (*batch, self.channels(fixed(channels, "channels")), *sizes)

    def picture(self, shape: Shape) -> Shape:
        """`shape`, if it is that of a picture or a batch of them.

        Raises:
            ShapeError: it is neither.
        """
        if len(shape) not in (3, 4):
            raise ShapeError(
                f"{self.type} expects pictures, (N, C, H, W) or (C, H, W); received"
                f" {plural(len(shape), 'dimension')}, {render_shape(shape)}"
            )
        return shape

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        """The parameters for inputs that `infer` accepts."""
        return ()

    def several(self, inputs: tuple[Shape, ...]) -> tuple[Several, ...]:
        """What has to be more than 1 for the layer to make sense."""
        return ()

    def macs(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass over concrete shapes; additions alone count nothing."""
        return 0

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        """What forward keeps for backward, without running it."""
        return ()

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        """What both passes allocate, for numbers of `item` bytes, without running them.

        As it stands: an elementwise layer's, by `alive`. An estimate for a layer that says nothing of itself.
        """
        forward, backward = self.alive
        size = elements(output)
        own = sum(saved.size * (saved.item_bytes or item) for saved in self.saves(inputs, output))
        gradients = tuple(
            elements(x) * item if needed else 0 for x, needed in zip(inputs, needs.inputs, strict=True)
        )
        extra = backward.bytes(size, item) - size * item  # besides the gradients
        if needs.parameters:
            extra += sum(parameter.size for parameter in self.parameters(inputs)) * item
        return Memory(
            forward=forward.bytes(size, item) + own,
            inference=forward.bytes(size, item) + own,
            backward=sum(gradients) + extra,
            gradients=gradients,
        )

    def is_modal(self) -> bool:
        """Whether training differs from evaluation."""
        return False

    # -- mathematics ----------------------------------------------------------------------------------

    def forward(self, params: Mapping[str, torch.Tensor], *xs: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The output, and what backward needs. Never changes its arguments."""
        raise NotImplementedError

    def backward(
        self, params: Mapping[str, torch.Tensor], saved: Any, gy: torch.Tensor, needs: Needs
    ) -> tuple[tuple[torch.Tensor | None, ...], dict[str, torch.Tensor]]:
        """Gradients of the inputs and of the parameters, given the gradient `gy` of the output."""
        raise NotImplementedError

    # -- the torch.nn twin (called by `oracle` and tests only) ------------------------------------------

    def twin_fields(self) -> dict[str, Any]:
        """Keyword arguments of the twin's constructor, besides the inferred ones."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type"}


class ModalSpec(LayerSpec):
    """A layer for which training differs from evaluation, or that keeps statistics of what it has seen.

    Its buffers come to `forward` and `backward` among `params`. They are changed by whoever keeps them: after
    a forward pass in training mode they become what `updates` gives.
    """

    def is_modal(self) -> bool:
        return True

    def buffers(self, inputs: tuple[Shape, ...]) -> tuple[BufferSpec, ...]:
        """The buffers for inputs that `infer` accepts."""
        return ()

    def mixes_batch(self, *, training: bool) -> bool:
        """True when what becomes of a picture depends on the others of its batch."""
        return False

    def forward(
        self, params: Mapping[str, torch.Tensor], *xs: torch.Tensor, mode: Mode = EVALUATION
    ) -> tuple[torch.Tensor, Any]:
        """The output, and what backward needs. Never changes its arguments."""
        raise NotImplementedError

    def updates(self, params: Mapping[str, torch.Tensor], saved: Any) -> dict[str, torch.Tensor]:
        """The buffers after a forward pass in training mode, which saved this; none that stay the same."""
        return {}


def buffers(layer: LayerSpec, inputs: tuple[Shape, ...]) -> tuple[BufferSpec, ...]:
    """The buffers of any layer."""
    return layer.buffers(inputs) if isinstance(layer, ModalSpec) else ()


def run(
    layer: LayerSpec, params: Mapping[str, torch.Tensor], xs: tuple[torch.Tensor, ...], mode: Mode
) -> tuple[torch.Tensor, Any, dict[str, torch.Tensor]]:
    """The output of any layer, what backward needs, and the buffers that change with it."""
    if not isinstance(layer, ModalSpec):
        return *layer.forward(params, *xs), {}
    y, saved = layer.forward(params, *xs, mode=mode)
    return y, saved, layer.updates(params, saved) if mode.training else {}


def fixed(dim: Dim, what: str) -> int:
    """A dimension that has to be a number.

    Raises:
        ShapeError: it is a symbol.
    """
    if not isinstance(dim, int):
        raise ShapeError(
            f"the number of {what} must be known; received {dim}",
            help=f"write a number for {dim.symbol} in [input]",
        )
    return dim

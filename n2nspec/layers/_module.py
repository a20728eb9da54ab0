"""Modules: layers with parameters and memory, usable on their own.

In: the constructor arguments of a torch.nn layer, then tensors. Out: `forward`, and `backward`, which
accumulates parameter gradients and returns input gradients. `Layer` is one shell over every
`LayerSpec`; the mathematics stay in the spec's pure functions.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from n2nspec._lazy import torch
from n2nspec.diagnostics import plural
from n2nspec.geometry import ShapeError
from n2nspec.layers._arguments import bind, signature, validated
from n2nspec.layers._base import BufferSpec, LayerSpec, Mode, Needs, ParameterSpec, buffers, run
from n2nspec.layers.initialisation import Initialisation, initialise

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Layer", "Module"]


class Module(ABC):
    """Anything with a forward and a backward written by hand.

    What `forward` saved is a stack, so a module may be used several times before the backward passes run,
    in reverse order. In evaluation mode only the newest forward is remembered: inference does not grow.
    """

    def __init__(self) -> None:
        self.training = True
        self._stack: list[Any] = []

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The output."""

    @abstractmethod
    def backward(self, *grad_outputs: Tensor) -> Any:
        """Accumulates parameter gradients; returns the gradient of the input (a tuple for several).

        Raises:
            RuntimeError: no forward pass is waiting for its backward.
        """

    def children(self) -> Iterable[tuple[str, Module]]:
        """Named sub-modules."""
        return ()

    def named_parameters(self) -> dict[str, Tensor]:
        """Parameters by torch's names; the gradient of each is its `.grad`."""
        return {
            f"{name}.{key}": tensor
            for name, child in self.children()
            for key, tensor in child.named_parameters().items()
        }

    def named_buffers(self) -> dict[str, Tensor]:
        """What the state holds besides the parameters, by torch's names: running statistics."""
        return {
            f"{name}.{key}": tensor
            for name, child in self.children()
            for key, tensor in child.named_buffers().items()
        }

    def param(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, gradient) pairs, the same tensors at every call."""
        pairs = []
        # by identity: a layer that is used in two places is one set of parameters, stepped once
        for tensor in {id(tensor): tensor for tensor in self.named_parameters().values()}.values():
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
            pairs.append((tensor, tensor.grad))
        return pairs

    def zero_grad(self) -> None:
        """Sets every parameter gradient to 0, in place."""
        for _, gradient in self.param():
            gradient.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of parameters and buffers, by torch's names."""
        return {name: tensor.clone() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        return {**self.named_parameters(), **self.named_buffers()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies values into the parameters and buffers.

        Raises:
            ValueError: names or shapes differ; nothing has been changed then.
        """
        own = self._state()
        check_state({name: tuple(tensor.shape) for name, tensor in own.items()}, state)
        for name, tensor in own.items():
            tensor.detach().copy_(state[name].detach())

    def train(self, mode: bool = True) -> Self:
        """Training mode, here and in every child."""
        self.training = mode
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode, here and in every child."""
        return self.train(False)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.forward(*args, **kwargs)

    def _remember(self, saved: Any) -> None:
        if not self.training:
            self._stack.clear()
        self._stack.append(saved)

    def _newest(self) -> Any:
        """What the newest forward saved, for a look before `_recall` takes it away."""
        if not self._stack:
            raise RuntimeError(
                f"{type(self).__name__}.backward: no forward pass is waiting for it; call forward first"
            )
        return self._stack[-1]

    def _recall(self) -> Any:
        newest = self._newest()
        del self._stack[-1]
        return newest


def check_tensors(who: str, *values: object) -> None:
    """Raises TypeError unless every value is a tensor."""
    for value in values:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{who}: expected a tensor; received {type(value).__name__}")


def check_state(shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless `state` has just these names and shapes; says every difference."""
    problems = [f"missing {name}" for name in shapes if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in shapes]
    problems += [
        f"{name}: expected shape {tuple(shape)}, received {tuple(state[name].shape)}"
        for name, shape in shapes.items()
        if name in state and tuple(state[name].shape) != tuple(shape)
    ]
    if problems:
        raise ValueError("state_dict does not fit: " + "; ".join(problems))


class Layer(Module):
    """The shell over one `LayerSpec`: `spec_type` names it, everything else follows.

    The constructor takes the inferred arguments (`in_channels`), then the spec's fields in their order, then
    `device` and `dtype` where there are parameters, and `inplace` where torch.nn has it.
    """

    spec_type: ClassVar[type[LayerSpec]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "spec_type" in cls.__dict__:
            spec_type = cls.spec_type
            tensors = spec_type.inferred or spec_type.parameters is not LayerSpec.parameters
            cls.__signature__ = signature(
                spec_type, inferred=spec_type.inferred, place=spec_type.inferred_place,
                trailing={"device": None, "dtype": None} if tensors else {},
                keyword_only=spec_type.keyword_only,
            )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        name = type(self).__name__
        arguments = bind(name, type(self).__signature__, args, kwargs)
        device, dtype = arguments.pop("device", None), arguments.pop("dtype", None)
        self._inferred = {key: arguments.pop(key) for key in self.spec_type.inferred}
        for key, value in self._inferred.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {key}: expected an integer of 1 or more; received {value!r}")
        aliases = get_args(self.spec_type.model_fields["type"].annotation)
        named = {"type": name} if name in aliases else {}
        self.spec = validated(name, self.spec_type, {**named, **arguments})
        try:
            shapes = (self._parameter_shape(),)
            self._specs = self.spec.parameters(shapes)
            self._buffers: dict[str, BufferSpec] = {spec.name: spec for spec in buffers(self.spec, shapes)}
            if self._inferred and self.spec.spatial:
                self.spec.channels(next(iter(self._inferred.values())))
        except ShapeError as error:
            raise ValueError(f"{name}: {_unnamed(error, self.spec)}") from None
        fields = {key: getattr(self.spec, key) for key in self.spec_type.model_fields if key != "type"}
        if "bias" in fields:  # the attribute is the parameter, or None
            fields["bias"] = None
        for key, value in {**self._inferred, **fields}.items():
            setattr(self, key, value)
        for parameter in self._specs:
            tensor = torch.empty(parameter.shape, device=device, dtype=dtype)
            tensor.grad = torch.zeros_like(tensor)
            setattr(self, parameter.name, tensor)
        for buffer in self._buffers.values():
            kind = torch.int64 if buffer.integer else dtype
            tensor = torch.full(
                buffer.shape, buffer.value, device=device, dtype=kind or torch.get_default_dtype()
            )
            setattr(self, buffer.name, tensor)
        self.reset_parameters()

    def _parameter_shape(self) -> tuple[int, ...]:
        shape = [1, 1, 1, 1]
        if self._inferred:
            shape[self.spec.inferred_axis] = next(iter(self._inferred.values()))
        return tuple(shape)

    def reset_parameters(self, init: Initialisation = "pytorch", generator: Generator | None = None) -> None:
        """Draws the parameters anew, from torch's global generator unless one is given."""
        for spec in self._specs:
            initialise(getattr(self, spec.name), spec, init, generator)

    def named_parameters(self) -> dict[str, Tensor]:
        return {spec.name: getattr(self, spec.name) for spec in self._specs}

    def named_buffers(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._buffers}

    def _parameter_specs(self) -> tuple[ParameterSpec, ...]:
        return self._specs

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        name = type(self).__name__
        shapes = tuple(tuple(x.shape) for x in inputs)
        try:
            if self.spec.spatial:
                self.spec.picture(shapes[0])
        except ShapeError as error:
            raise ValueError(f"{name}: {_unnamed(error, self.spec)}") from None
        for key, expected in self._inferred.items():
            axis = self.spec.inferred_axis
            if not -len(shapes[0]) <= axis < len(shapes[0]) or shapes[0][axis] != expected:
                raise ValueError(
                    f"{name}: expects {expected} for {key}, dimension {axis} of its input;"
                    f" received an input of shape {shapes[0]}"
                )
        try:
            self.spec.infer(shapes)
            for several in self.spec.several(shapes):
                if (self.training or not several.training) and all(dim == 1 for dim in several.dims):
                    when = " in training" if several.training else ""
                    raise ShapeError(f"{self.spec.type} needs more than one value a channel{when}")
        except ShapeError as error:
            raise ValueError(
                f"{name}: input of shape {shapes[error.input]}: {_unnamed(error, self.spec)}"
            ) from None

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output.

        Raises:
            ValueError: the number of inputs, or a shape, is not what the layer takes.
        """
        name = type(self).__name__
        least, most = self.spec.arity, self.spec.most_inputs
        if not least <= len(inputs) <= (most or len(inputs)):
            expected = plural(least, "input") + ("" if most == least else " or more")
            raise ValueError(f"{name}: expected {expected}; received {len(inputs)}")
        check_tensors(name, *inputs)
        self._check(inputs)
        xs = tuple(x.detach() for x in inputs)
        params = {name: tensor.detach() for name, tensor in self._state().items()}
        inplace = getattr(self.spec, "inplace", False)
        arguments = tuple(x.clone() if inplace else x for x in xs)
        y, saved, changed = run(self.spec, params, arguments, Mode(training=self.training))
        for key, value in changed.items():
            setattr(self, key, value)
        self._remember((saved, len(xs), y.shape, y.dtype, [(t, version(t)) for t in _tensors(saved)]))
        return xs[0].copy_(y) if inplace else y

    def backward(self, *grad_outputs: Tensor) -> Any:
        """Accumulates parameter gradients; returns the gradient of the input (a tuple for several).

        Raises:
            RuntimeError: no forward pass is waiting for its backward, or something that it kept was changed.
            ValueError: the gradient has not the shape of the output.
        """
        name = type(self).__name__
        _, _, shape, dtype, _ = self._newest()
        if len(grad_outputs) != 1:
            raise TypeError(f"{name}.backward: expected one gradient; received {len(grad_outputs)}")
        (gy,) = grad_outputs
        check_tensors(f"{name}.backward", gy)
        if gy.shape != shape or gy.dtype != dtype:
            raise ValueError(
                f"{name}.backward: expected a gradient of shape {tuple(shape)} and {dtype};"
                f" received {tuple(gy.shape)} and {gy.dtype}"
            )
        saved, arity, _, _, versions = self._recall()
        if any(version(tensor) != before for tensor, before in versions):
            raise RuntimeError(
                f"{name}.backward: a tensor that forward kept has been changed in place since; "
                "change a copy instead"
            )
        parameters = self.named_parameters()
        gxs, gparams = self.spec.backward(
            {name: tensor.detach() for name, tensor in self._state().items()},
            saved,
            gy.detach(),
            Needs(inputs=(True,) * arity),
        )
        for name, gradient in gparams.items():
            tensor = parameters[name]
            if tensor.grad is None:
                tensor.grad = gradient.clone()
            else:
                tensor.grad.add_(gradient)
        return gxs[0] if len(gxs) == 1 else gxs

    def __repr__(self) -> str:
        """The call that makes the layer; what the graph would infer stands first and without its name."""
        fields = self.spec.model_dump(exclude={"type"}, exclude_defaults=True)
        bare = not self.spec_type.inferred_place
        arguments = []
        for key in type(self).__signature__.parameters:
            if key in self._inferred:
                arguments.append(f"{self._inferred[key]}" if bare else f"{key}={self._inferred[key]}")
            elif key in fields:
                arguments.append(f"{key}={fields[key]!r}")
        return f"{type(self).__name__}({', '.join(arguments)})"


def _unnamed(error: ShapeError, spec: LayerSpec) -> str:
    """What is wrong, without the layer's name, which the caller puts in front."""
    return error.message.removeprefix(f"{spec.type} ")


def _tensors(saved: Any) -> Iterator[Tensor]:
    """Every tensor in what a forward kept."""
    if isinstance(saved, torch.Tensor):
        yield saved
    elif isinstance(saved, tuple):
        for part in saved:
            yield from _tensors(part)


def version(tensor: Tensor) -> int:
    """Counts changes in place, through any view."""
    return 0 if tensor.is_inference() else tensor._version

"""What an optimiser is: one update of one parameter, and a shell that remembers its state.

In: (parameter, gradient) pairs, as `Module.param()` gives them. Out: parameters changed in place by `step`.
Executors that lay their parameters out differently call `OptimizerSpec.update` themselves.

An optimiser is one file that subclasses `OptimizerSpec`; see `sgd.py` for a whole one.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, Strict

from n2nspec._lazy import torch
from n2nspec.layers._arguments import bind, signature, validated
from n2nspec.layers._module import check_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NonNegative", "Optimizer", "OptimizerSpec", "SpecOptimizer"]

NonNegative = Annotated[float, Strict(), Field(ge=0, le=1e9, allow_inf_nan=False)]
"""A number of 0 or more, and no larger than what float32 can still multiply with."""


class OptimizerSpec(BaseModel):
    """The spec fields of an optimiser and its update. Subclasses are frozen values."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    type: str
    lr: NonNegative = Field(1e-3, description="Learning rate: the size of a step.")

    twin: ClassVar[str] = ""
    """Dotted name of the torch.optim counterpart, whose constructor takes the same fields."""

    def state_names(self) -> tuple[str, ...]:
        """The tensors, shaped like the parameter and 0 at first, that an update carries along."""
        return ()

    def temporaries(self) -> int:
        """How many tensors of the parameter's size an update allocates at once, at the worst moment."""
        return 2

    def init_state(self, param: Tensor) -> dict[str, Tensor]:
        """The state before the first step."""
        return {name: torch.zeros_like(param) for name in self.state_names()}

    @abstractmethod
    def update(self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], step: int) -> None:
        """One step, in place on `param` and on the tensors in `state`. `step` counts from 1."""

    @abstractmethod
    def factors(self, step: int) -> tuple[float, ...]:
        """The numbers of an update that differ from step to step, and those that follow from `lr`."""

    @abstractmethod
    def updated(
        self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], factors: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`update` as a pure function: the new parameter and state.

        `factors` (float64) are those of the step: a compiler that has seen one step has seen them all.
        """

    def twin_fields(self) -> dict[str, Any]:
        """Keyword arguments of the twin's constructor, besides the parameters."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type"}


class Optimizer(ABC):
    """Anything that changes parameters along their gradients.

    `params` are (parameter, gradient) pairs, or tensors whose gradient is in `.grad` (zeros if there is none
    yet), with or without their names before them. A gradient that sits in the parameter's `.grad` is read
    from there at every step.

    Raises:
        TypeError: something else, such as a single tensor or groups of parameters.
        ValueError: no parameters, or one of them twice.
    """

    def __init__(self, params: Iterable[tuple[Tensor, Tensor] | tuple[str, Tensor] | Tensor]) -> None:
        self._pairs: list[tuple[Tensor, Tensor | None]] = []  # None: in .grad
        if isinstance(params, torch.Tensor) or not isinstance(params, Iterable):
            raise self._wrong(params, "; a single one stands in a list" * isinstance(params, torch.Tensor))
        for given in params:
            entry = self._entry(given)
            if isinstance(entry, tuple):
                parameter, gradient = entry
                if gradient.shape != parameter.shape:
                    raise ValueError(
                        f"{type(self).__name__}: a parameter of shape {tuple(parameter.shape)} came with a"
                        f" gradient of shape {tuple(gradient.shape)}"
                    )
                self._pairs.append((parameter, None if parameter.grad is gradient else gradient))
            else:
                if entry.grad is None:
                    entry.grad = torch.zeros_like(entry)
                self._pairs.append((entry, None))
        if not self._pairs:
            raise ValueError(f"{type(self).__name__}: expected parameters; received none")
        if len({id(parameter) for parameter, _ in self._pairs}) < len(self._pairs):
            raise ValueError(
                f"{type(self).__name__}: one parameter was given twice; it would be stepped twice"
            )

    def _entry(self, given: object) -> tuple[Tensor, Tensor] | Tensor:
        """A pair, or a tensor without its name.

        Raises:
            TypeError: something else.
        """
        parts = given if isinstance(given, tuple) else (given,)
        if len(parts) == 2 and isinstance(parts[0], str):
            parts = parts[1:]
        if len(parts) not in (1, 2) or not all(isinstance(part, torch.Tensor) for part in parts):
            help = "; groups of parameters are optimisers of their own" if isinstance(given, dict) else ""
            raise self._wrong(given, help)
        return parts if len(parts) == 2 else parts[0]

    def _wrong(self, given: object, help: str) -> TypeError:
        return TypeError(
            f"{type(self).__name__}: params: expected (parameter, gradient) pairs, as param() gives them, or"
            f" tensors; received {type(given).__name__}{help}"
        )

    @abstractmethod
    def step(self) -> None:
        """One step along the present gradients."""

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, gradient) with the present gradients.

        Raises:
            RuntimeError: a gradient has been taken away.
        """
        pairs = []
        for index, (parameter, gradient) in enumerate(self._pairs):
            gradient = parameter.grad if gradient is None else gradient
            if gradient is None:
                raise RuntimeError(f"{type(self).__name__}: parameter {index} has no gradient")
            pairs.append((parameter.detach(), gradient.detach()))
        return pairs

    def zero_grad(self) -> None:
        """Sets every gradient to 0, in place."""
        for _, gradient in self.pairs():
            gradient.zero_()

    def state_dict(self) -> dict[str, Tensor | int]:
        """Copies of everything that a later step depends on, besides parameters and `lr` and the like."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Takes up where `state_dict` was taken.

        Raises:
            ValueError: names or shapes differ; nothing has been changed then.
        """
        check_state({}, state)  # type: ignore[arg-type]


class SpecOptimizer(Optimizer):
    """The shell over one `OptimizerSpec`: its constructor takes `params`, then the spec's fields in order.

    By name only, as in torch: `maximize`, and what `switches` lists, with defaults. `foreach`, `fused` and
    `capturable` choose how torch computes a step, not what; here there is one way, whatever they say. No
    autograd runs through a step, so `differentiable` has to be false.
    """

    spec_type: ClassVar[type[OptimizerSpec]]
    switches: ClassVar[Mapping[str, bool | None]] = {
        "foreach": None, "capturable": False, "differentiable": False, "fused": None,
    }  # fmt: skip
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature(
            cls.spec_type, inferred=("params",), keyword_only=("maximize",), named=cls.switches
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        arguments = bind(name, type(self).__signature__, args, kwargs)
        super().__init__(arguments.pop("params"))
        switches = {key: arguments.pop(key, default) for key, default in self.switches.items()}
        for key, value in switches.items():
            if not (isinstance(value, bool) or (value is None and self.switches[key] is None)):
                raise ValueError(f"{name}: {key}: expected True or False; received {value!r}")
        if switches["differentiable"]:
            raise ValueError(f"{name}: differentiable: no gradient runs through a step; expected False")
        self.spec = validated(name, self._variant(switches), arguments)
        self._step = 0
        self._states = [self.spec.init_state(parameter) for parameter, _ in self.pairs()]

    def _variant(self, switches: Mapping[str, bool | None]) -> type[OptimizerSpec]:
        """The spec that is meant, where one of the switches makes it another one."""
        return self.spec_type

    def step(self) -> None:
        pairs = self.pairs()
        self._step += 1
        for (parameter, gradient), state in zip(pairs, self._states, strict=True):
            self.spec.update(parameter, gradient, state, self._step)

    def _tensors(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": t for i, state in enumerate(self._states) for name, t in state.items()}

    def state_dict(self) -> dict[str, Tensor | int]:
        """`step`, and `INDEX.NAME` for each state tensor of each parameter."""
        return {"step": self._step, **{name: tensor.clone() for name, tensor in self._tensors().items()}}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
        numbers = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
        step = numbers.pop("step", None)
        if isinstance(step, bool) or not isinstance(step, int) or step < 0 or numbers:
            raise ValueError(
                f"{type(self).__name__}: expected tensors and a whole number of steps; received"
                f" step = {step!r} and {sorted(numbers)}"
            )
        own = self._tensors()
        check_state({name: tuple(tensor.shape) for name, tensor in own.items()}, tensors)
        self._step = step
        for name, tensor in own.items():
            tensor.copy_(tensors[name].detach())

"""What a loss is: how far a prediction is from its target, number by number, and the slope of that.

In: prediction and target of one shape. Out: their loss, reduced to one number, and the gradient of the
prediction. A loss is a Module of its own: backward runs through it first, then through the network.

A loss is one file that subclasses `LossSpec`; see `mse.py` for a whole one.
"""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict

from n2nspec.layers._arguments import bind, signature, validated
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Module, check_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OLDER", "Epsilon", "Loss", "LossSpec"]

OLDER = ("size_average", "reduce")
"""What torch had before `reduction`, still the first arguments of losses that are as old."""

Epsilon = Annotated[float, Strict(), Field(ge=1e-12, le=1e9, allow_inf_nan=False)]
"""A small number that keeps something from being 0; even its square is more than that in float32."""


class LossSpec(BaseModel):
    """The spec fields of a loss and its mathematics. Subclasses are frozen values.

    Their `CASES` hold the fields, and the shape of prediction and target as the only input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    type: str
    reduction: Literal["mean", "sum"] = Field(
        "mean", description="How the numbers become one; the mean is over all dimensions."
    )

    twin: ClassVar[str] = ""
    """Dotted name of the torch.nn counterpart, whose constructor takes the same fields; where torch has none,
    of the formula for autograd in `n2nspec.oracle.modules`."""
    probabilities: ClassVar[bool] = False
    """True: prediction and target are numbers from 0 to 1, and others are refused."""
    alive: ClassVar[tuple[Alive, Alive]] = (Alive(2), Alive(2))
    """What forward and backward have allocated at the worst moment, for a prediction of one tensor."""
    CASES: ClassVar[tuple[Case, ...]] = ()
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = ()

    @abstractmethod
    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """The loss of each number, and what `slopes` needs. Never changes its arguments."""

    @abstractmethod
    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        """The derivative of each term by its prediction, times `scale`."""

    def at(self, progress: float) -> Self:
        """The loss when this fraction of the training, 0 to 1, is done: itself, unless it is annealed.

        Raises:
            ValueError: no number from 0 to 1.
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"{self.type}: progress is a number from 0 to 1; received {progress}")
        return self

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """The loss as a tensor without dimensions, and what backward needs.

        Raises:
            ValueError: the shapes differ (nothing is broadcast), or numbers that the loss does not take.
        """
        terms, saved = self.checked_terms(prediction, target)
        loss, count = self.reduce(terms)
        return loss, (saved, count)

    def reduce(self, terms: Tensor) -> tuple[Tensor, int]:
        """One number for all, and what their sum was divided by."""
        if self.reduction == "sum":
            return terms.sum(), 1
        return terms.mean(), terms.numel() or 1  # the mean of nothing is NaN, but its gradient is empty

    def backward(self, saved: Any, g: Tensor | float = 1) -> Tensor:
        """The gradient of the prediction, given that of the loss."""
        kept, count = saved
        return self.slopes(kept, g / count)

    def checked_terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """`terms`, after a look at the shapes.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"{self.type}: prediction and target must have one shape;"
                f" received {tuple(prediction.shape)} and {tuple(target.shape)}"
            )
        return self.terms(prediction, target)

    def twin_fields(self) -> dict[str, Any]:
        """Keyword arguments of the twin's constructor."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type"}


class Loss(Module):
    """The shell over one `LossSpec`: its constructor takes the spec's fields in their order.

    `reduction` may also be "none", which keeps the loss of each number. `leading` are arguments before the
    fields, None unless given: torch's older words for the reduction, where the twin has them.
    """

    spec_type: ClassVar[type[LossSpec]]
    leading: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[inspect.Signature]
    _fields: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._fields = signature(cls.spec_type, leading=cls.leading)
        if "__init__" not in cls.__dict__:
            cls.__signature__ = cls._fields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        name = type(self).__name__
        arguments = bind(name, self._fields, args, kwargs)
        older = [arguments.pop(key, None) for key in OLDER]
        if older != [None, None]:
            arguments["reduction"] = _reduction(name, *older)
        self._reduced = arguments.get("reduction", "mean") != "none"
        if not self._reduced:
            del arguments["reduction"]  # a spec needs one number to minimise, so it knows no "none"
        self.spec = validated(name, self.spec_type, arguments)
        self.reduction: str = self.spec.reduction if self._reduced else "none"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        """The loss.

        Raises:
            ValueError: not two tensors of one shape, or numbers that the loss does not take.
        """
        check_tensors(type(self).__name__, prediction, target)
        loss, saved = self._value(prediction.detach(), target.detach())
        self._remember((saved, loss.shape))
        return loss

    def _value(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        return (self.spec.forward if self._reduced else self.spec.checked_terms)(prediction, target)

    def backward(self, g: Tensor | float = 1) -> Tensor:  # type: ignore[override]
        """The gradient of the prediction, given that of the loss.

        Raises:
            RuntimeError: no forward pass is waiting for its backward.
            ValueError: a gradient that has not the shape of the loss.
        """
        name = type(self).__name__
        _, shape = self._newest()
        if not isinstance(g, (int, float)):
            check_tensors(f"{name}.backward", g)
            g = g.detach()
            if g.shape != shape:
                raise ValueError(
                    f"{name}.backward: expected a gradient of shape {tuple(shape)}; received {tuple(g.shape)}"
                )
        saved, _ = self._recall()
        return self._gradient(saved, g)

    def _gradient(self, saved: Any, g: Tensor | float) -> Tensor:
        return (self.spec.backward if self._reduced else self.spec.slopes)(saved, g)

    def __repr__(self) -> str:
        fields = self.spec.model_dump(exclude={"type", "reduction"}, exclude_defaults=True)
        arguments = [f"reduction={self.reduction!r}", *(f"{key}={value!r}" for key, value in fields.items())]
        return f"{type(self).__name__}({', '.join(arguments)})"


def _reduction(name: str, size_average: object, reduce: object) -> str:
    """What torch's older arguments mean; where one of them is given, it counts, whatever `reduction` says.

    Raises:
        ValueError: something else than True, False or None.
    """
    for key, value in zip(OLDER, (size_average, reduce), strict=True):
        if value is not None and not isinstance(value, bool):
            raise ValueError(
                f"{name}: {key}: expected True, False or None; received {value!r};"
                " the reduction is given by its name, reduction=…"
            )
    found = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"{name}: size_average and reduce are older words for reduction={found!r}",
        DeprecationWarning,
        stacklevel=3,
    )
    return found

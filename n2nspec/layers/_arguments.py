"""Constructors that follow from a pydantic model: signature, binding, and errors a caller understands.

In: a model and what was passed. Out: arguments by name, or a validated model. Layers, losses and optimisers
on their own are built this way, so their arguments are the spec's fields by construction.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from n2nspec.diagnostics import describe_value

__all__ = ["bind", "signature", "validated"]

Model = TypeVar("Model", bound=BaseModel)

GENERAL = "Input should be "
"""How pydantic begins; our own sentences say what was received."""


def signature(
    model: type[BaseModel],
    *,
    inferred: Iterable[str] = (),
    place: int = 0,
    trailing: Mapping[str, Any] | None = None,
    keyword_only: Iterable[str] = (),
    leading: Iterable[str] = (),
    named: Mapping[str, Any] | None = None,
) -> inspect.Signature:
    """The model's fields but `type`, with the `inferred` arguments at their place, then `trailing`.

    Inferred arguments have no default; trailing ones have. Fields that are `keyword_only` come last, and
    after them what is `named`: arguments with a default that are no fields, and are given by name only.
    `leading` arguments are before all others and are None unless given.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters, by_keyword = [], []
    for name, field in model.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        if name in keyword_only:
            by_keyword.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
        elif name != "type":
            parameters.append(inspect.Parameter(name, kind, default=default))
    parameters[place:place] = [inspect.Parameter(name, kind) for name in inferred]
    parameters[:0] = [inspect.Parameter(name, kind, default=None) for name in leading]
    parameters += [inspect.Parameter(name, kind, default=value) for name, value in (trailing or {}).items()]
    by_keyword += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
        for name, value in (named or {}).items()
    ]
    return inspect.Signature([*parameters, *by_keyword])


def bind(
    name: str, expected: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments that were given, by name.

    Raises:
        TypeError: they are not what `expected` takes.
    """
    try:
        arguments = expected.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}{expected}: {error}") from None
    return {key: _plain(value) for key, value in arguments.items()}


def _plain(value: Any) -> Any:
    """Integers and truth values of other libraries (numpy's, torch's) as Python's; the rest as it is."""
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(item) for item in value) if type(value) in (tuple, list) else value
    if isinstance(value, (bool, int, float)):
        return value
    if str(getattr(value, "dtype", "")) in ("bool", "torch.bool") and not value.shape:
        return bool(value)
    if not hasattr(type(value), "__index__"):
        return value
    try:
        return operator.index(value)
    except TypeError:  # a tensor that is no integer
        return value


def validated(name: str, model: type[Model], fields: Mapping[str, Any]) -> Model:
    """The model with these fields.

    Raises:
        ValueError: every fault of every field, in one sentence each.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        faults = "; ".join(_sentence(fault) for fault in error.errors(include_url=False))
        raise ValueError(f"{name}: {faults}") from None


def _sentence(fault: Mapping[str, Any]) -> str:
    """What is wrong with a field, or, without a name, with several together."""
    text = fault["msg"]
    if text.startswith(GENERAL):
        expected = text.removeprefix(GENERAL)
        number = "a number " if expected.startswith(("greater", "less")) else ""
        text = f"Expected {number}{expected}; received {describe_value(fault['input'])}"
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {text}" if place else text

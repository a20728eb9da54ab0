"""Field types of layer specs: integers, and numbers given once or for height and width.

In: what TOML, JSON or a constructor gives. Out: validated values; a pair is always (height, width), and what
is given for the sides of a picture always (left, right, top, bottom), as torch.nn has it.
Numbers are strict: neither "3", 3.0 nor true is an integer.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from n2nspec.diagnostics import closest, describe_value, quote

__all__ = [
    "Count", "Factor", "NonNegativePair", "Number", "Padding", "PositivePair", "Sides",
    "Switch",
]  # fmt: skip

LARGEST = 65_535
"""No kernel, stride or padding is larger than this: a typo, not a network."""

Count = Annotated[int, Strict(), Field(ge=1, le=1_048_576)]
"""Channels, features, groups."""

Factor = Annotated[int, Strict(), Field(ge=1, le=LARGEST)]
"""One number for height and width."""

Switch = Annotated[bool, Strict()]

Number = Annotated[float, Strict(), Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""Any number that is finite, and that float32 can still multiply with."""


def _integers(value: Any, count: int, expected: str, least: int) -> tuple[int, ...]:
    """So many integers, given as a list or as one; `item` says which of a list is at fault."""
    if isinstance(value, int) and not isinstance(value, bool):
        numbers: Any = (value,) * count
    elif isinstance(value, (list, tuple)) and len(value) == count:
        numbers = value
    else:
        raise PydanticCustomError(
            "numbers_type", "Expected an integer, or {expected}; received {received}",
            {"expected": expected, "received": describe_value(value)},
        )  # fmt: skip
    for index, number in enumerate(numbers):
        item = {"item": index} if numbers is value else {}
        if isinstance(number, bool) or not isinstance(number, int):
            raise PydanticCustomError(
                "number_type", "Expected an integer; received {received}",
                {"received": describe_value(number), **item},
            )  # fmt: skip
        if not least <= number <= LARGEST:
            raise PydanticCustomError(
                "number_range", "Expected {least} to {largest}; received {received}",
                {"least": least, "largest": LARGEST, "received": describe_value(number), **item},
            )  # fmt: skip
    return tuple(numbers)


def _as_pair(value: Any, least: int) -> tuple[int, int]:
    height, width = _integers(value, 2, "two for height and width", least)
    return height, width


def _shortest(pair: tuple[int, int] | str) -> int | list[int] | str:
    """A pair as people write it: one number when both are equal."""
    if isinstance(pair, str):
        return pair
    return pair[0] if pair[0] == pair[1] else list(pair)


def _pair_schema(least: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": least, "maximum": LARGEST}
    return {"anyOf": [number, {"type": "array", "items": number, "minItems": 2, "maxItems": 2}]}


PositivePair = Annotated[
    tuple[int, int],
    BeforeValidator(lambda value: _as_pair(value, 1)),
    PlainSerializer(_shortest),
    WithJsonSchema(_pair_schema(1)),
]
NonNegativePair = Annotated[
    tuple[int, int],
    BeforeValidator(lambda value: _as_pair(value, 0)),
    PlainSerializer(_shortest),
    WithJsonSchema(_pair_schema(0)),
]


def _as_sides(value: Any) -> tuple[int, int, int, int]:
    left, right, top, bottom = _integers(value, 4, "four for left, right, top and bottom", -LARGEST)
    return left, right, top, bottom


_SIDE = {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST}
Sides = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_as_sides),
    PlainSerializer(lambda sides: sides[0] if len(set(sides)) == 1 else list(sides)),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 4, "maxItems": 4}]}),
]


def _meant(value: str, *names: str) -> dict[str, str]:
    """The help for a name that is close to one of these."""
    near = closest(value, names)
    return {"help": f"did you mean {quote(near)}?"} if near else {}


def _as_padding(value: Any) -> tuple[int, int] | str:
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise PydanticCustomError(
                "padding_name", 'Expected "same", "valid", an integer or two; received {received}',
                {"received": describe_value(value), **_meant(value, "same", "valid")},
            )  # fmt: skip
        return value
    return _as_pair(value, 0)


Padding = Annotated[
    tuple[int, int] | str,
    BeforeValidator(_as_padding),
    PlainSerializer(_shortest),
    WithJsonSchema({"anyOf": [{"enum": ["same", "valid"]}, *_pair_schema(0)["anyOf"]]}),
]

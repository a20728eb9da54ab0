"""Field types of layer specs: integers, and numbers given once or for height and width.

In: what TOML, JSON or a constructor gives. Out: validated values; a pair is always (height, width).
Numbers are strict: neither "3", 3.0 nor true is an integer.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from n2nspec.diagnostics import closest, describe_value, quote

__all__ = ["Count", "NonNegativePair", "Padding", "PositivePair", "Switch"]

LARGEST = 65_535
"""No kernel, stride or padding is larger than this: a typo, not a network."""

Count = Annotated[int, Strict(), Field(ge=1, le=1_048_576)]
"""Channels, features, groups."""

Switch = Annotated[bool, Strict()]


def _as_pair(value: Any, least: int) -> tuple[int, int]:
    numbers = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(numbers, (list, tuple))
        or len(numbers) != 2
        or any(isinstance(n, bool) or not isinstance(n, int) for n in numbers)
    ):
        raise PydanticCustomError(
            "pair_type", "Expected an integer, or two for height and width; received {received}",
            {"received": describe_value(value)},
        )  # fmt: skip
    for number in numbers:
        if not least <= number <= LARGEST:
            raise PydanticCustomError(
                "pair_range", "Expected {least} to {largest}; received {received}",
                {"least": least, "largest": LARGEST, "received": number},
            )  # fmt: skip
    return numbers[0], numbers[1]


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

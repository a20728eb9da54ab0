"""Integers that are too long for what comes after."""

from __future__ import annotations

from typing import Any

__all__ = ["INTEGERS", "tame"]

INTEGERS = range(-(2**63), 2**63)
"""What TOML promises to hold. Much longer ones cannot even be printed."""


def tame(value: Any) -> Any:
    """The same with zeros for integers of more than 64 bits, which `problems` reports: pydantic, asked to
    describe one of thousands of digits, fails itself."""
    if isinstance(value, dict):
        return {key: tame(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tame(item) for item in value]
    return 0 if isinstance(value, int) and value not in INTEGERS else value

"""What a layer or a size rule says when it refuses its input."""

from __future__ import annotations

__all__ = ["ShapeError", "SizeLimitError"]


class ShapeError(Exception):
    """A layer refuses its input shapes. Carries what to say, not where: the graph knows where.

    Attributes:
        message: one sentence: expected, received, and the formula with its numbers.
        help: what to do next; may be empty.
        input: index of the input at fault.
        field: the layer's field to look at first; may be empty.
    """

    def __init__(self, message: str, *, help: str = "", input: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.input = input
        self.field = field


class SizeLimitError(ShapeError):
    """The exact law of a size has a period, or a beginning, beyond any picture."""

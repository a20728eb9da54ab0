"""Block → Box: how large a block is drawn, and the words around it.

In: a block. Out: rectangles and lines of text, measured from the middle of the block's body. Heights follow
the picture's size and widths the channels, both as square roots: a U-Net spans factors of 32 and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log2, sqrt
from typing import Literal

from n2nspec.graph.drawing.blocks import Block, Segment

__all__ = ["LINE", "Box", "Line", "Piece", "box", "fitted", "size_lines", "text_width"]

TALLEST, LOWEST = 120.0, 16.0
WIDEST, NARROWEST = 90.0, 7.0
STRIP, JOIN = 5.0, 14.0
LINE = 12.0
"""Pixels from one line of text to the next."""
LETTERS = 12
"""Letters of a word that are shown."""
TURN = 9
"""Letters after which a name goes on in a second line, if it has a dot there."""
THIN, BROAD = "ijlt.,:;'|!()[] /", "MWmw@%×→"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment with its place; `channels` stand above it (nothing above a strip)."""

    segment: Segment
    left: float
    width: float
    channels: str

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text below a block."""

    text: str
    style: Literal["name", "note", "role"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A block in pixels.

    Attributes:
        pieces: from left to right.
        below: names and notes; `below_middle` is their middle.
        left, right: how far pieces reach to either side, and `left_text`, `right_text` the words too.
        up, down: how far all of it reaches from the middle of the height.
    """

    pieces: tuple[Piece, ...]
    height: float
    below: tuple[Line, ...]
    below_middle: float
    left: float
    right: float
    left_text: float
    right_text: float
    up: float
    down: float

    def piece(self, segment: Segment) -> Piece:
        return next(piece for piece in self.pieces if piece.segment is segment)

    @property
    def body(self) -> Piece:
        """What the layer's own arrow leads to."""
        return next((piece for piece in self.pieces if piece.segment.form == "body"), self.pieces[0])


def box(block: Block, *, largest: float, copies_first: bool, size: bool) -> Box:
    """A block in pixels.

    Args:
        largest: pixels along a side of the largest picture in the network.
        copies_first: whether the copies of a concatenation stand left of the body.
        size: whether the picture's size is written below.
    """
    segments: Sequence[Segment] = block.segments
    if copies_first:
        segments = sorted(segments, key=lambda segment: segment.form != "copy")
    words = [
        "" if segment.form == "strip" else shortened(str(segment.channels), LETTERS) for segment in segments
    ]
    widths = [_width(segment, block) for segment in segments]
    if words.count("") < len(words) - 1:  # the numbers of neighbours must not touch
        widths = [max(width, text_width(word, 11) + 3) for width, word in zip(widths, words, strict=True)]
    lefts = [0.0, *accumulate(widths)]
    whole = [index for index, segment in enumerate(segments) if segment.form != "strip"]
    body = next((index for index in whole if segments[index].form == "body"), None)
    start, end = lefts[whole[0]], lefts[whole[-1] + 1]
    anchor = (start + end) / 2 if body is None else lefts[body] + widths[body] / 2
    pieces = tuple(
        Piece(segment=segment, left=left - anchor, width=width, channels=word)
        for segment, left, width, word in zip(segments, lefts, widths, words, strict=False)
    )
    lines = [Line(text=text, style="name") for text in _lines(block.name)]
    if block.share:
        lines += [Line(text=text, style="note") for text in ("shares", *_lines(block.share))]
    if size:
        lines += [Line(text=text, style="note") for text in size_lines(block.size)]
    lines += [Line(text=role, style="role") for role in block.roles]
    middle = (start + end) / 2 - anchor
    texts = [(piece.middle, text_width(piece.channels, 11)) for piece in pieces]
    texts += [(middle, text_width(line.text, 10)) for line in lines]
    height = _height(block, largest)
    return Box(
        pieces=pieces, height=height, below=tuple(lines), below_middle=middle,
        left=anchor, right=lefts[-1] - anchor,
        left_text=max(anchor, *(width / 2 - centre for centre, width in texts)),
        right_text=max(lefts[-1] - anchor, *(width / 2 + centre for centre, width in texts)),
        up=height / 2 + LINE + 3, down=height / 2 + LINE * len(lines) + 4,
    )  # fmt: skip


def _width(segment: Segment, block: Block) -> float:
    if segment.form == "strip":
        return JOIN if segment.join else STRIP
    if block.side is None or not isinstance(segment.channels, int):
        return 14.0
    return min(WIDEST, max(NARROWEST, 4 + 2.3 * sqrt(segment.channels)))


def _height(block: Block, largest: float) -> float:
    if block.side is not None:
        return max(LOWEST, TALLEST * sqrt(block.side / largest))
    features = block.channels if isinstance(block.channels, int) else 2**4
    return min(TALLEST, 20 + 10 * log2(1 + features))


def text_width(text: str, size: float) -> float:
    """Pixels of a text in a sans-serif font, rather too many than too few."""
    return size * sum(0.36 if letter in THIN else 0.92 if letter in BROAD else 0.64 for letter in text)


def shortened(text: str, letters: int) -> str:
    """The text with its middle left out where it is longer than so many letters."""
    if len(text) <= letters:
        return text
    return f"{text[: letters * 3 // 5]}…{text[-(letters - letters * 3 // 5 - 1) :]}"


def fitted(text: str, size: float, width: float) -> str:
    """The text with its middle left out where it is wider than so many pixels."""
    letters = len(text)
    while letters > 4 and text_width(shortened(text, letters), size) > width:
        letters -= 1
    return shortened(text, letters)


def size_lines(size: Sequence[str]) -> list[str]:
    """Height and width on one line, or on two where the formulae are long."""
    line = " × ".join(size)
    if len(line) <= 16:
        return [line] if line else []
    height, width = (shortened(text, 24) for text in size)
    return [f"{height} ×", width]


def _lines(name: str) -> list[str]:
    """A name on at most two lines, broken after dots."""
    lines = _broken(name, TURN)
    if len(lines) > 2:
        lines = _broken(name, LETTERS)
    if len(lines) > 2:
        lines = [lines[0], "…" + lines[-1]]
    return [shortened(line, LETTERS) for line in lines]


def _broken(name: str, turn: int) -> list[str]:
    """A name in lines of at most so many letters, where its dots allow it."""
    lines = [""]
    for word in name.replace(".", ".\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(word) > turn:
            lines.append("")
        lines[-1] += word
    return lines

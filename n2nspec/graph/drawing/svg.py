"""Layout → SVG: the picture, with a title above and a legend below.

In: a diagram and its layout. Out: the text of an SVG file without scripts, fonts or anything from outside;
equal networks give equal bytes. Each piece of a block carries its node's name (`data-node`) and a tooltip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from n2nspec.graph.drawing.blocks import Block, Diagram, Segment
from n2nspec.graph.drawing.boxes import LINE, fitted, text_width
from n2nspec.graph.drawing.layout import Placed, Point, layout
from n2nspec.graph.drawing.units import SIGNS, Kind

__all__ = ["to_svg"]

INK, GREY = "#1f2937", "#6b7280"
BODY, BODY_EDGE, UNUSED = "#cfe0f3", "#3f6ea5", "#9ca3af"
ARROWS: dict[Kind, tuple[str, str]] = {
    "convolution": ("#0072b2", "convolution"),
    "downsampling": ("#d55e00", "downsampling"),
    "upsampling": ("#009e73", "upsampling"),
    "skip": ("#7d7d7d", "skip or join"),
    "other": ("#a0568c", "other layer"),
}
"""Colours of Okabe and Ito, as in the figures of losses, darkened where lines would be faint."""
WARM = (
    "#f0b429", "#e4572e", "#8f5a2a", "#f9dc8f", "#f4a6a0", "#b5179e", "#c9b458", "#5f0f40", "#ffd9c7",
)  # fmt: skip
COOL = ("#56b4e9", "#7b6cc4", "#8fb339", "#b9b9c6", "#1f7a8c", "#c3ddd3")
MARGIN = 24.0
ROUND = 6.0
HEAD = 6.0
SHOWN = 4
"""Layers that the legend names for one arrow."""


def to_svg(diagram: Diagram) -> str:
    """The picture of a network."""
    return "\n".join(_Picture(diagram).lines()) + "\n"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, text: str, size: float, anchor: str = "middle", **more: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return (
        f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}" text-anchor="{anchor}"'
        f"{attributes}>{_plain(text)}</text>"
    )


def _plain(text: str) -> str:
    """Escaped, on one line, without the two characters that are no XML (section 2.2 of XML 1.0)."""
    return escape(" ".join(text.replace("\ufffe", "").replace("\uffff", "").split()))


class _Picture:
    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.layout = layout(diagram)
        self.fills = _fills(diagram)

    def lines(self) -> Iterator[str]:
        legend = list(self._legend())
        widest = max(460.0, self.layout.width)
        title = fitted(self.diagram.name, 19, widest)
        facts = fitted(self.diagram.facts, 12, widest)
        width = 2 * MARGIN + widest
        entries, rows = _flowed(legend, width - 2 * MARGIN)
        top = MARGIN + 44
        bottom = top + self.layout.height + 14
        height = bottom + 20 * rows + MARGIN - 6
        left = MARGIN + max(0.0, (width - 2 * MARGIN - self.layout.width) / 2)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" height="{_number(height)}"'
            f' viewBox="0 0 {_number(width)} {_number(height)}" role="img"'
            f' font-family="Helvetica, Arial, sans-serif" fill="{INK}">'
        )
        yield "<!-- drawn by n2nspec -->"
        yield f"<title>{_plain(self.diagram.name)}</title>"
        yield f"<desc>{_plain(self._description())}</desc>"
        yield f'<rect width="{_number(width)}" height="{_number(height)}" fill="#ffffff"/>'
        yield _text(MARGIN, MARGIN + 12, title, 17, "start", font_weight="bold")
        yield _text(MARGIN, MARGIN + 31, facts, 12, "start", fill=GREY)
        yield f'<g transform="translate({_number(left)} {_number(top)})">'
        for size in self.layout.sizes:
            for index, line in enumerate(size.lines):
                y = size.y + 4 + LINE * (index - (len(size.lines) - 1) / 2)
                yield _text(size.x, y, line, 11, "start", fill=GREY)
        yield from self._arrows()
        for block, placed in zip(self.diagram.blocks, self.layout.blocks, strict=True):
            yield '<g class="block">'
            yield from self._block(block, placed)
            yield "</g>"
        yield "</g>"
        for x, row, (sample, text) in entries:
            y = bottom + 20 * row + 8
            yield f'<g transform="translate({_number(MARGIN + x)} {_number(y)})">{sample}'
            yield _text(30, 4, text, 11, "start") + "</g>"
        yield "</svg>"

    def _description(self) -> str:
        flow = f"A network from left to right, {self.diagram.facts}."
        return f"{self.diagram.description} {flow}".strip()

    def _arrows(self) -> Iterator[str]:
        # skips first: what they cross lies over them; of a forking line the shared part is drawn again
        order = sorted(
            range(len(self.diagram.arrows)),
            key=lambda n: (self.diagram.arrows[n].live, self.diagram.arrows[n].kind != "skip"),
        )
        for number in order:
            arrow, points = self.diagram.arrows[number], self.layout.lines[number]
            colour = ARROWS[arrow.kind][0] if arrow.live else UNUSED
            source, target = self.diagram.blocks[arrow.source].name, self.diagram.blocks[arrow.target].name
            yield (
                f'<g class="arrow {arrow.kind}" data-source="{source}" data-target="{target}">'
                f"<title>{_plain(f'{source} → {target}: {arrow.text}')}</title>"
                f"{_line(points, colour, live=arrow.live)}</g>"
            )

    def _block(self, block: Block, placed: Placed) -> Iterator[str]:
        box, top = placed.box, placed.y - placed.box.height / 2
        ink = INK if block.live else GREY
        for piece in box.pieces:
            segment = piece.segment
            fill, edge = self._colours(segment, block)
            dash = "" if block.live else ' stroke-dasharray="3 2"'
            x = placed.x + piece.left
            yield (
                f'<rect class="{segment.form}" data-node={quoteattr(segment.node)} x="{_number(x)}"'
                f' y="{_number(top)}" width="{_number(piece.width)}" height="{_number(box.height)}"'
                f' fill="{fill}" stroke="{edge}"{dash}><title>{_plain(segment.text)}</title></rect>'
            )
            if piece.channels:
                yield _text(x + piece.width / 2, top - 4, piece.channels, 11, fill=ink)
            if segment.join:
                sign = SIGNS[segment.type]
                yield _text(
                    x + piece.width / 2, placed.y + 5, sign, 14, font_weight="bold", pointer_events="none"
                )
        y = placed.y + box.height / 2 + LINE
        for line in box.below:
            style = {
                "name": {"fill": ink}, "note": {"fill": GREY}, "role": {"fill": ink, "font_style": "italic"},
            }[line.style]  # fmt: skip
            yield _text(placed.x + box.below_middle, y, line.text, 10, **style)
            y += LINE

    def _colours(self, segment: Segment, block: Block) -> tuple[str, str]:
        if not block.live:
            return "#f3f4f6", UNUSED
        if segment.form == "body":
            return BODY, BODY_EDGE
        if segment.form == "copy" or segment.join:
            return "#ffffff", BODY_EDGE
        return self.fills[segment.type], BODY_EDGE

    def _legend(self) -> Iterator[tuple[str, str]]:
        """Samples and words, of what occurs only."""
        arrows = self.diagram.arrows
        segments = [segment for block in self.diagram.blocks if block.live for segment in block.segments]
        if any(block.side is None for block in self.diagram.blocks):
            yield _sample(BODY, 6, 12), "features, their number above: height by number"
        else:
            yield _sample(BODY, 6, 12), "feature map: width by channels (above it), height by size"
        if any(segment.form == "copy" for segment in segments):
            yield _sample("#ffffff", 6, 12), "copied by Concat"
        for kind, (colour, words) in ARROWS.items():
            texts = list(dict.fromkeys(a.text for a in arrows if a.kind == kind and a.live))
            if texts:
                more = "; …" if len(texts) > SHOWN else ""
                yield _line(((0, 0), (24, 0)), colour), f"{words}: {'; '.join(texts[:SHOWN])}{more}"
        for name, fill in self.fills.items():
            yield _sample(fill, 9.5, 5), name
        signs = list(dict.fromkeys(s.type for s in segments if s.join))
        for name in signs:
            yield _sample("#ffffff", 5, 14) + _text(12, 5, SIGNS[name], 14, font_weight="bold"), name
        if not all(block.live for block in self.diagram.blocks):
            yield (
                f'<rect x="6" y="-7" width="12" height="14" fill="#f3f4f6" stroke="{UNUSED}"'
                ' stroke-dasharray="3 2"/>',
                "not read by the output",
            )


def _fills(diagram: Diagram) -> dict[str, str]:
    """A colour for each type of strip: warm for activations, cool for the rest; the last of each for many."""
    found: dict[str, str] = {}
    warm, cool = list(WARM), list(COOL)
    for block in diagram.blocks:
        for segment in block.segments:
            if block.live and segment.form == "strip" and not segment.join and segment.type not in found:
                colours = warm if segment.activation else cool
                found[segment.type] = colours.pop(0) if len(colours) > 1 else colours[0]
    return found


def _sample(fill: str, x: float, width: float) -> str:
    place = f'x="{_number(x)}" y="-7" width="{_number(width)}" height="14"'
    return f'<rect {place} fill="{fill}" stroke="{BODY_EDGE}"/>'


def _flowed(
    entries: Sequence[tuple[str, str]], width: float
) -> tuple[list[tuple[float, int, tuple[str, str]]], int]:
    """The entries of the legend in rows, like words on a page; a long list of layers goes on below."""
    placed = []
    x, row = 0.0, 0
    for sample, text in entries:
        for number, line in enumerate(_broken(text, width - 46)):
            wide = 30 + text_width(line, 11) + 16
            if x and (number or x + wide > width):
                x, row = 0.0, row + 1
            placed.append((x, row, ("" if number else sample, line)))
            x += wide
    return placed, row + 1


def _broken(text: str, width: float) -> list[str]:
    """The text in lines of at most so many pixels, broken after semicolons."""
    lines: list[str] = []
    for part in text.replace("; ", ";\n").split("\n"):
        longer = f"{lines[-1]} {part}" if lines else part
        if lines and text_width(longer, 11) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(part, 11, width))
    return lines


def _line(points: Sequence[Point], colour: str, *, live: bool = True) -> str:
    """A line with round corners and an arrowhead."""
    points = [point for i, point in enumerate(points) if i == 0 or _far(point, points[i - 1])]
    (x0, y0), (x1, y1) = points[-2:]
    length = max(abs(x1 - x0), abs(y1 - y0))
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    neck = (x1 - dx * HEAD * 0.7, y1 - dy * HEAD * 0.7)
    path = [f"M{_pair(points[0])}"]
    corners = [*points[:-1], neck]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        cut = min(ROUND, _distance(before, corner) / 2, _distance(corner, after) / 2)
        path.append(
            f"L{_pair(_toward(corner, before, cut))}Q{_pair(corner)} {_pair(_toward(corner, after, cut))}"
        )
    path.append(f"L{_pair(neck)}")
    wing = HEAD * 0.55
    a = (x1 - dx * HEAD - dy * wing, y1 - dy * HEAD + dx * wing)
    b = (x1 - dx * HEAD + dy * wing, y1 - dy * HEAD - dx * wing)
    dash = "" if live else ' stroke-dasharray="3 2"'
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        f'<path d="M{_pair((x1, y1))}L{_pair(a)}L{_pair(b)}Z" fill="{colour}"/>'
    )


def _far(one: Point, other: Point) -> bool:
    return _distance(one, other) > 0.05


def _distance(one: Point, other: Point) -> float:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))


def _toward(start: Point, end: Point, length: float) -> Point:
    whole = _distance(start, end) or 1.0
    return start[0] + (end[0] - start[0]) * length / whole, start[1] + (end[1] - start[1]) * length / whole


def _pair(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"

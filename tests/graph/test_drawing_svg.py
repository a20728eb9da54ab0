"""The SVG as a reader gets it: what is in it, and that nothing lies on anything else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import Network, networks

from n2nspec import load
from n2nspec.graph import ShapedGraph, analyse, size_values
from n2nspec.graph.drawing import draw
from n2nspec.layers import LAYERS

SLOW = settings(
    deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
SVG = "{http://www.w3.org/2000/svg}"
SPECS = sorted(path for path in Path("specs").glob("*.*") if "schema" not in path.name)
Rect = tuple[float, float, float, float]
Point = tuple[float, float]


def network(*layers: dict[str, Any], shape: tuple[Any, ...] = ("N", 3, "H", "W"), **more: Any) -> ShapedGraph:
    document = {"spec_version": 1, "name": "t", "input": {"x": [*shape]}, "encoder": [*layers], **more}
    return analyse(load(document))


def conv(name: str, source: str | None = None, **fields: Any) -> dict[str, Any]:
    given = {"out_channels": 8, "kernel_size": 3, "padding": 1, **fields}
    return {"type": "Conv2d", "name": name, **({"from": source} if source else {}), **given}


def svg(graph: ShapedGraph, size: tuple[int, int] | None = None) -> ET.Element:
    return ET.fromstring(draw(graph, ".svg", size_values(graph, size, 1) if size else None))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def pieces(root: ET.Element) -> dict[str, list[ET.Element]]:
    """Rectangles of blocks by the node that they show."""
    found: dict[str, list[ET.Element]] = {}
    for element in root.iter(f"{SVG}rect"):
        if "data-node" in element.attrib:
            found.setdefault(element.attrib["data-node"], []).append(element)
    return found


def rect(element: ET.Element) -> Rect:
    x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def blocks(root: ET.Element) -> dict[str, Rect]:
    """The outline of each block by each of its layers."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "block":
            parts = group.findall(f"{SVG}rect")
            lefts, tops, rights, bottoms = zip(*map(rect, parts), strict=True)
            outline = (min(lefts), min(tops), max(rights), max(bottoms))
            found |= {part.get("data-node", ""): outline for part in parts}
    return found


def arrows(root: ET.Element) -> Iterator[tuple[ET.Element, list[Point]]]:
    """Each arrow with its corners, up to the point of its head."""
    for group in root.iter(f"{SVG}g"):
        if (group.get("class") or "").startswith("arrow"):
            line, head = group.findall(f"{SVG}path")
            points = _points(line.attrib["d"])
            yield group, [*points, _points(head.attrib["d"])[0]]


def _points(path: str) -> list[Point]:
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def meet(one: Rect, other: Rect, *, least: float) -> bool:
    """Whether two rectangles share more than a rim of so many pixels."""
    return all(min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) > least for axis in (0, 1))


def assert_clear(graph: ShapedGraph, root: ET.Element) -> None:
    """Nothing is missing, nothing overlaps, no line runs through a block, everything is on the sheet."""
    found = pieces(root)
    assert found.keys() == graph.shapes.keys()
    unused = {name for name, parts in found.items() if all("stroke-dasharray" in p.attrib for p in parts)}
    assert unused == graph.by_name.keys() - graph.live
    outlines = blocks(root)
    solid = [*dict.fromkeys(outlines.values())]
    for one, other in combinations(solid, 2):
        assert not meet(one, other, least=0)
    lines = list(arrows(root))
    for group, points in lines:
        for (x0, y0), (x1, y1) in pairwise(points):
            box = (min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1)
            assert not any(meet(box, other, least=1.5) for other in solid), group.attrib
        (x0, _), (x, y) = points[-2:]
        left, top, right, bottom = outlines[group.attrib["data-target"]]
        if x == pytest.approx(x0, abs=0.2):  # from above or below, where words may come in between
            assert left < x < right
            assert top - 20 < y <= top + 0.2 or bottom < y < bottom + 90
        else:
            assert x == pytest.approx(left, abs=0.2)
            assert top < y < bottom
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    (shift,) = (g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}g[@class='block']") is not None)
    left, top = _points(shift.attrib["transform"])[0]
    everything = [(x + left, y + top) for _, points in lines for x, y in points]
    everything += [(a + left, b + top) for x0, y0, x1, y1 in solid for a, b in ((x0, y0), (x1, y1))]
    assert all(0 < x < width and 0 < y < height for x, y in everything)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_every_spec_is_drawn_clearly(path: Path, size: tuple[int, int] | None) -> None:
    graph = analyse(load(path))
    assert_clear(graph, svg(graph, size))


@SLOW
@given(networks())
def test_random_networks_are_drawn_clearly(found: Network) -> None:
    graph = analyse(load(found.document))
    assert_clear(graph, svg(graph))
    again = analyse(load(found.document))
    for suffix in (".svg", ".mmd", ".dot"):
        assert draw(graph, suffix) == draw(again, suffix)


def test_the_check_sees_what_is_wrong() -> None:
    """Negative controls: a block on another, an arrow through some, a layer left out."""
    graph = analyse(load("specs/unet_small.toml"))
    moved, crossed, without = svg(graph), svg(graph), svg(graph)
    (piece,) = pieces(moved)["e1.conv1"]
    (other,) = pieces(moved)["e1.conv2"]
    piece.attrib["x"] = other.attrib["x"]
    (group, points), *_ = arrows(crossed)
    group[1].attrib["d"] = f"M0 {points[0][1]}L{points[0][0]} {points[0][1]}"
    (piece,) = pieces(without)["out"]
    del piece.attrib["data-node"]
    for root in (moved, crossed, without):
        with pytest.raises(AssertionError):
            assert_clear(graph, root)


def test_figure_1() -> None:
    root = svg(analyse(load("specs/n2n.toml")))
    shown = texts(root)
    assert shown[:2] == ["n2n", "10,147 parameters · H and W: any multiple of 4 from 4"]
    assert [text for text in shown if "×" in text][:3] == ["H × W", "H/2 × W/2", "H/4 × W/4"]
    for name in ("x", "conv1", "conv2", "up1", "up2", "input", "output", "16", "32"):
        assert name in shown
    legend = shown[-5:]
    assert legend == [
        "feature map: width by channels (above it), height by size",
        "downsampling: Conv2d 3×3, stride 2",
        "upsampling: Upsampling 3×3 ×2",
        "ReLU",
        "Sigmoid",
    ]
    kinds = [group.attrib["class"] for group, _ in arrows(root)]
    assert sorted(kinds) == ["arrow downsampling"] * 2 + ["arrow upsampling"] * 2


def test_a_size_gives_numbers() -> None:
    shown = texts(svg(analyse(load("specs/n2n.toml")), (64, 96)))
    assert shown[1] == "10,147 parameters · 64 × 96"
    for size in ("64 × 96", "32 × 48", "16 × 24"):
        assert size in shown
    assert "H × W" not in shown


def test_blocks_are_as_high_as_the_picture_and_as_wide_as_the_channels() -> None:
    found = pieces(svg(analyse(load("specs/n2n.toml"))))
    heights = {name: float(parts[0].attrib["height"]) for name, parts in found.items()}
    widths = {name: float(parts[0].attrib["width"]) for name, parts in found.items()}
    assert heights["x"] == heights["up2"] > heights["conv1"] == heights["up1"] > heights["conv2"]
    assert widths["conv2"] > widths["conv1"] == widths["up1"] > widths["x"] == widths["up2"]


def test_a_unet_is_drawn_as_one() -> None:
    """Down in the column of the last convolution, up above it, and each skip a straight line across."""
    root = svg(analyse(load("specs/unet_small.toml")))
    lines = {(group.attrib["data-source"], group.attrib["data-target"]): group for group, _ in arrows(root)}
    corners = {(g.attrib["data-source"], g.attrib["data-target"]): points for g, points in arrows(root)}
    for level in ("1", "2"):
        skip = corners[f"e{level}.conv2", f"d{level}.upsample"]
        assert lines[f"e{level}.conv2", f"d{level}.upsample"].attrib["class"] == "arrow skip"
        assert len({y for _, y in skip}) == 1
        down = corners[f"e{level}.conv2", f"maxpool2d{level}"]
        assert len({x for x, _ in down}) == 1
        assert down[0][1] < down[-1][1]
    up = corners["bottom.conv2", "d2.upsample"]
    assert len({x for x, _ in up}) == 1
    assert up[0][1] > up[-1][1]
    found = pieces(root)
    (copy,), (own,) = found["d2.concat"], found["d2.upsample"]
    assert (copy.attrib["class"], own.attrib["class"]) == ("copy", "body")
    assert rect(copy)[2] == pytest.approx(rect(own)[0], abs=0.2)


def test_what_is_read_twice_has_two_arrows() -> None:
    graph = network(conv("c"), {"type": "Add", "name": "twice", "from": ["c", "c"]}, conv("d"))
    root = svg(graph)
    assert_clear(graph, root)
    ends = [points[-1] for group, points in arrows(root) if group.attrib["data-target"] == "twice"]
    assert len(set(ends)) == 2
    assert "+" in texts(root)


def test_a_join_of_many_is_reached_by_all() -> None:
    names = [f"c{number}" for number in range(30)]
    graph = network(
        *(conv(name, "x") for name in names), {"type": "Add", "name": "sum", "from": [*names, *names]}
    )
    root = svg(graph)
    assert_clear(graph, root)
    assert sum(group.attrib["data-target"] == "sum" for group, _ in arrows(root)) == 60


@pytest.mark.parametrize("join", ["Concat", "Add"])
def test_branches_side_by_side_meet_in_a_block_of_their_own(join: str) -> None:
    """None of them is what the others join; a residual, whose other input comes from before, is joined."""
    names = [f"b{number}" for number in range(4)]
    graph = network(*(conv(name, "x") for name in names), {"type": join, "name": "join", "from": names})
    root = svg(graph)
    assert_clear(graph, root)
    found = pieces(root)
    assert len({rect(found[name][0])[0] for name in names}) == 1
    assert {group.attrib["data-target"] for group, _ in arrows(root)} == {*names, "join"}
    residual = svg(network(conv("a"), conv("b"), {"type": "Add", "name": "sum", "from": ["b", "a"]}))
    assert {group.attrib["data-target"] for group, _ in arrows(residual)} == {"a", "b"}


def test_every_activation_has_a_colour_of_its_own() -> None:
    names = [name for name, layer in LAYERS.items() if layer.activation]
    graph = network(*(layer for name in names for layer in (conv(name.lower()), {"type": name})))
    root = svg(graph)
    assert_clear(graph, root)
    strips = [e for e in root.iter(f"{SVG}rect") if e.attrib.get("class") == "strip"]
    assert len({strip.attrib["fill"] for strip in strips}) == len(names)


def test_a_long_legend_goes_on_below() -> None:
    up = {"type": "TransposeConv2d", "name": "up", "out_channels": 8, "kernel_size": [2, 3], "stride": 2}
    graph = network(
        conv("a", stride=2), up, {"type": "BilinearUpsampling", "name": "b", "scale_factor": 2},
        {"type": "NearestUpsampling", "name": "n", "scale_factor": 2},
    )  # fmt: skip
    root = svg(graph)
    assert_clear(graph, root)
    shown = texts(root)
    assert not [text for text in shown if "…" in text]
    place = shown.index("upsampling: TransposeConv2d 2×3, stride 2; BilinearUpsampling ×2;")
    assert shown[place + 1] == "NearestUpsampling ×2"


def test_unused_layers_are_pale_and_in_the_legend() -> None:
    graph = network(conv("a"), conv("unused", stride=2), conv("b", "a"))
    root = svg(graph)
    assert_clear(graph, root)
    assert texts(root)[-1] == "not read by the output"
    assert "downsampling: Conv2d 3×3, stride 2" not in texts(root)
    assert "not read by the output" not in texts(svg(network(conv("a"))))


def test_shared_weights_are_named() -> None:
    graph = network(conv("first", out_channels=3), conv("again", out_channels=3, share="first"))
    root = svg(graph)
    assert_clear(graph, root)
    shown = texts(root)
    assert shown[shown.index("again") + 1 :][:2] == ["shares", "first"]
    assert {group.attrib["class"] for group, _ in arrows(root)} == {"arrow convolution"}


@pytest.mark.parametrize(
    "graph",
    [
        network({"type": "ReLU"}),
        network(conv("one")),
        network(*(conv(f"{letter * 97}end") for letter in "mwi"), name="n" * 100),
        network(conv("a", padding=0), conv("b", padding=0, stride=2), shape=("N", 3, 33, 31)),
        network({"type": "Linear", "out_features": 100}, {"type": "ReLU"}, shape=("N", 784)),
        network({"type": "Linear", "out_features": 2}, shape=(5,)),
        network(conv("a"), conv("b"), shape=(3, "H", "H")),
        network(conv("a"), {"type": "CenterCrop", "size": 2}, {"type": "PixelShuffle", "upscale_factor": 2}),
    ],
    ids=["activation", "one layer", "long names", "fixed", "features", "vector", "unbatched", "crop"],
)  # fmt: skip
def test_unusual_networks(graph: ShapedGraph) -> None:
    root = svg(graph)
    assert_clear(graph, root)
    assert all(len(text) < 90 for text in texts(root))


def test_sizes_that_differ_within_a_level_are_written() -> None:
    shown = texts(svg(network(conv("a", padding=0), conv("b", padding=0))))
    assert [text for text in shown if "H" in text][1:] == ["H × W", "H-2 × W-2", "H-4 × W-4"]
    odd = texts(svg(network(conv("a", stride=2))))
    assert [text for text in odd if "//" in text] == ["(H+1)//2 ×", "(W+1)//2"]


def test_a_long_chain_goes_on_in_the_next_row() -> None:
    graph = network(*(conv(f"c{number}") for number in range(300)))
    root = svg(graph)
    assert_clear(graph, root)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert width < 2200
    assert height < 2200


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    graph = network(conv("a"), description="<script>&\"'>]]>\n\uffff é 图")
    text = draw(graph, ".svg")
    root = ET.fromstring(text)
    (words,) = root.iter(f"{SVG}desc")
    assert (words.text or "").startswith("<script>&\"'>]]> é 图 ")
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "text", "g", "path"}
    assert text.count("://") == 1  # the namespace
    assert not re.search(r"\s(href|style|on\w+)=", text)

"""Random networks for hypothesis: documents out of the registry's layers, and graphs that also join branches.

Every layer type takes part by itself, with the fields of its own test cases. Nodes read any earlier value, so
chains, fan-out, skips and nodes that nobody uses all come up.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from hypothesis import strategies as st
from pydantic import ValidationError

from n2nspec.geometry import Shape, ShapeError, Symbolic, elements
from n2nspec.graph import Graph, Node, ShapedGraph, shape
from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers._base import Needs, fixed
from n2nspec.spec import load

__all__ = ["AddSpec", "ConcatSpec", "Network", "corrupted", "graphs", "networks"]

LARGEST_PICTURE = 6_000
"""Numbers a picture; keeps an example in the milliseconds."""


class TorchAdd(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


class TorchConcat(torch.nn.Module):
    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        return torch.cat(xs, 1)


class AddSpec(LayerSpec):
    """a + b; the smallest layer of two inputs. Both gradients are one and the same tensor."""

    type: Literal["TestAdd"] = "TestAdd"
    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = 2
    twin: ClassVar[str] = f"{__name__}.TorchAdd"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        a, b = inputs
        if a != b:
            raise ShapeError(f"the inputs differ: {a} and {b}", input=1)
        return a

    def forward(self, params: Mapping[str, torch.Tensor], *xs: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return xs[0] + xs[1], None

    def backward(
        self, params: Mapping[str, torch.Tensor], saved: Any, gy: torch.Tensor, needs: Needs
    ) -> tuple[tuple[torch.Tensor | None, ...], dict[str, torch.Tensor]]:
        return (gy, gy), {}


class ConcatSpec(LayerSpec):
    """Channels side by side. The gradients are views of one tensor; those not needed are left out."""

    type: Literal["TestConcat"] = "TestConcat"
    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = None
    twin: ClassVar[str] = f"{__name__}.TorchConcat"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        first = inputs[0]
        for index, other in enumerate(inputs):
            if len(first) != 4 or (other[0], *other[2:]) != (first[0], *first[2:]):
                raise ShapeError(f"the inputs differ: {first} and {other}", input=index)
        return (first[0], sum(fixed(x[1], "channels") for x in inputs), *first[2:])

    def forward(self, params: Mapping[str, torch.Tensor], *xs: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return torch.cat(xs, 1), [x.shape[1] for x in xs]

    def backward(
        self, params: Mapping[str, torch.Tensor], saved: Any, gy: torch.Tensor, needs: Needs
    ) -> tuple[tuple[torch.Tensor | None, ...], dict[str, torch.Tensor]]:
        parts = gy.split(saved, 1)
        return tuple(g if need else None for g, need in zip(parts, needs.inputs, strict=True)), {}


def _pool() -> list[tuple[str, dict[str, Any]]]:
    """(type, spec fields) of every test case in the registry."""
    return [
        (name, {key: value for key, value in case.fields.items() if key not in layer.inferred})
        for name, layer in LAYERS.items()
        for case in layer.CASES
    ]


POOL = _pool()


@st.composite
def _convolutions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Convolutions beyond the cases of its file."""
    small = st.integers(1, 3)
    fields: dict[str, Any] = {
        "out_channels": draw(st.integers(1, 4)),
        "kernel_size": [draw(small), draw(small)],
        "stride": draw(small),
        "padding": [draw(st.integers(0, 2)), draw(st.integers(0, 2))],
        "dilation": draw(st.integers(1, 2)),
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
    }
    return "Conv2d", fields


def _activations() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.sampled_from([("ReLU", {}), ("Sigmoid", {}), ("Identity", {})])


def _layers() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.one_of(_activations(), _convolutions(), st.sampled_from(POOL))


@dataclass(frozen=True)
class Network:
    """A document, and the shape of an input that it accepts."""

    document: dict[str, Any]
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class _Growing:
    """One value of a network under construction."""

    name: str
    symbolic: Shape
    numbers: tuple[int, ...]


def _grow(layer: LayerSpec, inputs: list[_Growing], name: str) -> _Growing | None:
    """The value that a layer would add; None when it does not fit or is too large."""
    try:
        symbolic = layer.infer(tuple(value.symbolic for value in inputs))
        numbers = layer.infer(tuple(value.numbers for value in inputs))
        layer.parameters(tuple(value.symbolic for value in inputs))
    except ShapeError:
        return None
    assert all(isinstance(n, int) for n in numbers)
    if len(numbers) != 4 or elements(numbers[1:]) > LARGEST_PICTURE:
        return None
    return _Growing(name, symbolic, numbers)


def _build(kind: str, fields: Mapping[str, Any]) -> LayerSpec | None:
    try:
        return LAYERS[kind](type=kind, **fields)
    except ValidationError:
        return None


@st.composite
def _input(draw: st.DrawFn, symbolic: bool) -> tuple[_Growing, list[int | str]]:
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    height, width = draw(st.integers(3, 12)), draw(st.integers(3, 12))
    dims: list[int | str] = ["N", channels, "H", "W"] if symbolic else ["N", channels, height, width]
    shape_ = tuple(Symbolic(dim) if isinstance(dim, str) else dim for dim in dims)
    return _Growing("x", shape_, (batch, channels, height, width)), dims


def _source(draw: st.DrawFn, values: list[_Growing]) -> _Growing:
    """The newest value most of the time: deep networks, not only broad ones."""
    return values[-1] if draw(st.integers(0, 2)) else draw(st.sampled_from(values))


@st.composite
def networks(draw: st.DrawFn, largest: int = 7) -> Network:
    """A document of one-input layers: chains, fan-out, nodes that nobody uses."""
    start, dims = draw(_input(draw(st.booleans())))
    values = [start]
    entries: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, largest))):
        source = _source(draw, values)
        kind, fields = draw(_layers())
        layer = _build(kind, fields)
        grown = _grow(layer, [source], f"n{index}") if layer is not None else None
        if grown is None:
            kind, fields = draw(_activations())
            fallback = _build(kind, fields)
            assert fallback is not None
            grown = _grow(fallback, [source], f"n{index}")
            assert grown is not None
        follows = source is values[-1]
        entry = {"name": grown.name, "type": kind, **fields}
        if not follows or draw(st.booleans()):
            entry["from"] = source.name
        entries.append(entry)
        values.append(grown)

    document: dict[str, Any] = {"spec_version": 1, "name": "random", "input": {"x": dims}}
    if not draw(st.integers(0, 2)):
        document["output"] = {"y": draw(st.sampled_from(values[1:])).name}
    referenced = {entry.get("from") for entry in entries} | set(document.get("output", {}).values())
    for entry in entries:
        if entry["name"] not in referenced and draw(st.booleans()):
            del entry["name"]
    split = draw(st.integers(0, len(entries)))
    document |= {
        key: part for key, part in (("encoder", entries[:split]), ("decoder", entries[split:])) if part
    }
    optimizer = draw(st.sampled_from([{"type": "Adam", "lr": 0.01}, {"type": "SGD", "lr": 0.5}]))
    document["train"] = {"optimizer": optimizer, "init": draw(st.sampled_from(["pytorch", "xavier", "he"]))}
    return Network(document, start.numbers)


@st.composite
def graphs(draw: st.DrawFn, largest: int = 8) -> tuple[ShapedGraph, tuple[int, ...]]:
    """A shaped graph with joins (`Add(x, x)` too), and the shape of an input."""
    start, dims = draw(_input(symbolic=False))
    values = [start]
    nodes: list[Node] = []
    for index in range(draw(st.integers(2, largest))):
        name = f"n{index}"
        source = _source(draw, values)
        join = draw(st.sampled_from(["layer", "add", "concat"]))
        layer: LayerSpec | None
        if join == "layer":
            kind, fields = draw(_layers())
            layer, inputs = _build(kind, fields), [source]
        else:
            layer = AddSpec() if join == "add" else ConcatSpec()
            fitting = [value for value in values if _grow(layer, [source, value], name)]
            inputs = [source]
            if fitting:
                count = 1 if join == "add" else draw(st.integers(1, 2))
                inputs += [draw(st.sampled_from(fitting)) for _ in range(count)]
        grown = _grow(layer, inputs, name) if layer is not None and len(inputs) >= layer.arity else None
        if grown is None:
            kind, fields = draw(_activations())
            layer, inputs = _build(kind, fields), [source]
            assert layer is not None
            grown = _grow(layer, inputs, name)
        assert layer is not None
        assert grown is not None
        names = tuple(value.name for value in inputs)
        nodes.append(Node(name=name, layer=layer, inputs=names, stage="encoder", path=("encoder", 0)))
        values.append(grown)
    document = {"spec_version": 1, "name": "joined", "input": {"x": dims}, "encoder": [{"type": "Identity"}]}
    graph = Graph(
        spec=load(document), input_name="x", input_shape=start.symbolic, nodes=tuple(nodes),
        output=draw(st.sampled_from(values[1:])).name,
    )  # fmt: skip
    return shape(graph), start.numbers


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
CERTAIN = (
    "unknown key", "unknown type", "no type", "dangling", "itself", "twice", "too many inputs", "bad kernel",
    "no output", "no layers", "version", "bad input",
)  # fmt: skip


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[Any, bool]:
    """A document with something wrong in it; False when it may happen to be valid all the same."""
    document: Any = copy.deepcopy(draw(networks(largest=4)).document)
    entries = [*document.get("encoder", []), *document.get("decoder", [])]
    entry = draw(st.sampled_from(entries))
    kind = draw(st.sampled_from((*CERTAIN, "junk value", "junk document")))
    if kind == "junk document":
        return draw(
            JUNK.filter(lambda value: not isinstance(value, str)).map(lambda j: {"spec_version": 1, "x": j})
        ), True
    if kind == "junk value":
        place = draw(st.sampled_from([document, document["train"], *entries]))
        place[draw(st.sampled_from(sorted(place)))] = draw(JUNK)
        return document, False
    match kind:
        case "unknown key":
            entry["kernal_size"] = 3
        case "unknown type":
            entry["type"] = "Conv3000d"
        case "no type":
            del entry["type"]
        case "dangling":
            entry["from"] = "nobody"
        case "itself":
            entry |= {"name": "ring", "from": "ring"}
        case "twice":
            document.setdefault("encoder", []).extend(
                [{"type": "Identity", "name": "same"}, {"type": "Identity", "name": "same"}]
            )
        case "too many inputs":
            entry["from"] = ["x", "x", "x"]
        case "bad kernel":
            document.setdefault("encoder", []).append(
                {
                    "type": "Conv2d",
                    "out_channels": 1,
                    "kernel_size": draw(st.sampled_from([0, -1, "3", 1.5, []])),
                }
            )
        case "no output":
            document["output"] = {"y": "nobody"}
        case "no layers":
            document.pop("encoder", None)
            document.pop("decoder", None)
        case "version":
            document["spec_version"] = draw(st.sampled_from([0, 2, "1", True, None]))
        case "bad input":
            document["input"] = draw(st.sampled_from([{}, {"x": []}, {"x": [0, 1]}, [3], {"x": "NCHW"}]))
    return document, True

"""Random networks for hypothesis: documents out of the registry's layers, with branches that join.

Every layer type takes part by itself, with the fields of its own test cases. Nodes read any earlier value, so
chains, fan-out, skips and nodes that nobody uses all come up.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from n2nspec.geometry import Shape, ShapeError, Symbolic, elements
from n2nspec.layers import LAYERS, LayerSpec

__all__ = ["Network", "corrupted", "fusable", "networks"]

LARGEST_PICTURE = 6_000
"""Numbers a picture; keeps an example in the milliseconds."""


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


Layers = st.SearchStrategy[tuple[str, dict[str, Any]]]


def fusable() -> Layers:
    """What the passes look for: convolutions of all kinds, and what stands before and after them."""
    around: list[tuple[str, dict[str, Any]]] = [
        ("NearestUpsampling", {"scale_factor": 2}),
        ("NearestUpsampling", {"scale_factor": [1, 3]}),
        ("MaxPool2d", {"kernel_size": 2}),
        ("MaxPool2d", {"kernel_size": [1, 3]}),
        ("LeakyReLU", {"negative_slope": 0.1}),
        ("LeakyReLU", {"negative_slope": -0.5}),
        ("Tanh", {}),
        ("Dropout", {"p": 0.3}),
        ("BatchNorm2d", {}),
        ("ZeroPad2d", {"padding": 0}),
    ]
    joins: list[tuple[str, dict[str, Any]]] = [("Concat", {}), ("Add", {}), ("Sub", {})]
    transposed = [entry for entry in POOL if entry[0] == "TransposeConv2d"]
    return st.one_of(
        _convolutions(), _convolutions(), st.sampled_from(transposed), _activations(),
        st.sampled_from(around), st.sampled_from(around), st.sampled_from(joins),
    )  # fmt: skip


def _layers() -> Layers:
    joins = [(name, fields) for name, fields in POOL if LAYERS[name].most_inputs != 1]
    cases = st.sampled_from(sorted(LAYERS)).flatmap(  # a type with few cases as often as one with many
        lambda name: st.sampled_from([entry for entry in POOL if entry[0] == name])
    )
    return st.one_of(_activations(), _convolutions(), cases, cases, st.sampled_from(joins))


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
    """The value that a layer would add; None when it does not fit, is too large or has a single number."""
    try:
        symbolic = layer.infer(tuple(value.symbolic for value in inputs))
        shapes = tuple(value.numbers for value in inputs)
        numbers = layer.infer(shapes)
        layer.parameters(tuple(value.symbolic for value in inputs))
        alone = any(all(dim == 1 for dim in several.dims) for several in layer.several(shapes))
    except ShapeError:
        return None
    assert all(isinstance(n, int) for n in numbers)
    if len(numbers) != 4 or elements(numbers[1:]) > LARGEST_PICTURE or alone:
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


def _inputs(draw: st.DrawFn, layer: LayerSpec, values: list[_Growing]) -> list[_Growing]:
    """What a layer might read: values that it accepts one by one beside the first."""
    first = _source(draw, values)
    most = layer.most_inputs or max(3, layer.arity)
    wanted = draw(st.integers(layer.arity, most)) - 1
    inputs = [first]
    for _ in range(wanted):
        fitting = [
            v for v in values if _grow(layer, [*inputs, v, *[v] * (layer.arity - len(inputs) - 1)], "")
        ]
        if not fitting:
            break
        inputs.append(draw(st.sampled_from(fitting)))
    return inputs


@st.composite
def networks(draw: st.DrawFn, largest: int = 12, layers: Layers | None = None) -> Network:
    """A document: chains, fan-out, joins (`Add(x, x)` too), shared weights, nodes that nobody uses.

    `layers` are those to draw from, all if there are none.
    """
    layers = _layers() if layers is None else layers
    start, dims = draw(_input(draw(st.booleans())))
    values = [start]
    entries: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, largest))):
        kind, fields = draw(layers)
        layer = _build(kind, fields)
        inputs = _inputs(draw, layer, values) if layer is not None else [_source(draw, values)]
        enough = layer is not None and len(inputs) >= layer.arity
        grown = _grow(layer, inputs, f"n{index}") if layer is not None and enough else None
        if grown is None:
            inputs = inputs[:1]
            kind, fields = draw(_activations())
            fallback = _build(kind, fields)
            assert fallback is not None
            grown = _grow(fallback, inputs, f"n{index}")
            assert grown is not None
        entry = {"name": grown.name, "type": kind, **fields}
        if len(inputs) > 1:
            entry["from"] = [value.name for value in inputs]
        elif inputs[0] is not values[-1] or draw(st.booleans()):
            entry["from"] = inputs[0].name
        entries.append(entry)
        values.append(grown)
    _share(draw, entries, {value.name: value for value in values})

    document: dict[str, Any] = {"spec_version": 1, "name": "random", "input": {"x": dims}}
    if not draw(st.integers(0, 2)):
        document["output"] = {"y": draw(st.sampled_from(values[1:])).name}
    referenced = {entry.get("share") for entry in entries} | set(document.get("output", {}).values())
    for entry in entries:
        sources = entry.get("from", [])
        referenced |= {sources} if isinstance(sources, str) else set(sources)
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


def _share(draw: st.DrawFn, entries: list[dict[str, Any]], values: Mapping[str, _Growing]) -> None:
    """Now and then, two layers of the same type and parameters share them."""
    owners: dict[Any, str] = {}
    before = "x"
    for entry in entries:
        source = entry.get("from", before)
        before = entry["name"]
        layer = _build(entry["type"], {k: v for k, v in entry.items() if k not in ("name", "type", "from")})
        assert layer is not None
        if isinstance(source, list):
            continue
        parameters = layer.parameters((values[source].symbolic,))
        owner = owners.setdefault((layer.type, parameters), entry["name"])
        if parameters and owner != entry["name"] and draw(st.booleans()):
            entry["share"] = owner


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
            document.setdefault("encoder", []).append({"type": "ReLU", "from": ["x", "x", "x"]})
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

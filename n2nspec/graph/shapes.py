"""Graph → ShapedGraph: the shape of every value, and the picture sizes for which all of it fits.

In: a graph. Out: the same graph with exact symbolic shapes, parameters, and a set of sizes for every symbol
of the input. A layer that refuses its input is an error of its own; what follows it is not blamed.
"""

from __future__ import annotations

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Label
from n2nspec.geometry import (
    ALL_SIZES,
    Dim,
    Shape,
    ShapeError,
    SizeLimitError,
    SizeSet,
    constant,
    render_shape,
)
from n2nspec.graph.build import at, build, in_order, unknown_name
from n2nspec.graph.model import Graph, Node, ShapedGraph, ShapedNode
from n2nspec.spec import Spec

__all__ = ["analyse", "shape"]


def analyse(spec: Spec) -> ShapedGraph:
    """`shape(build(spec))`."""
    return shape(build(spec))


def shape(graph: Graph) -> ShapedGraph:
    """Shapes, parameters and sizes.

    Raises:
        DiagnosticError: a layer refuses its input, or no picture size satisfies the graph and `[require]`.
    """
    spec = graph.spec
    shapes: dict[str, Shape] = {graph.input_name: graph.input_shape}
    nodes: list[ShapedNode] = []
    problems: list[Diagnostic] = []
    for node in graph.nodes:
        if any(name not in shapes for name in node.inputs):
            continue  # it follows a layer that is already blamed
        inputs = tuple(shapes[name] for name in node.inputs)
        try:
            shapes[node.name] = node.layer.infer(inputs)
            nodes.append(
                ShapedNode(
                    name=node.name, layer=node.layer, inputs=node.inputs, stage=node.stage, path=node.path,
                    shape=shapes[node.name], parameters=node.layer.parameters(inputs),
                )
            )  # fmt: skip
        except ShapeError as error:
            problems.append(_refusal(graph, node, inputs, error))

    sizes: dict[str, SizeSet] = {}
    if not problems:
        try:
            sizes = _domains(graph.input_shape, shapes)
            problems += _require(graph, shapes, sizes)
        except SizeLimitError as error:
            problems.append(
                at(spec, ("input", graph.input_name), "E206", error.message, help="use smaller strides")
            )
    if problems:
        raise DiagnosticError(in_order(problems))
    return ShapedGraph(
        spec=spec, input_name=graph.input_name, input_shape=graph.input_shape, nodes=tuple(nodes),
        output=graph.output, warnings=graph.warnings, sizes=sizes,
    )  # fmt: skip


def _domains(input_shape: Shape, shapes: dict[str, Shape]) -> dict[str, SizeSet]:
    """For each symbol of the input, the sizes that no layer refuses."""
    sizes = {dim.symbol: ALL_SIZES for dim in input_shape if not isinstance(dim, int)}
    for dim in {dim for shape in shapes.values() for dim in shape}:
        if not isinstance(dim, int):
            sizes[dim.symbol] &= dim.function.domain
    return sizes


def _refusal(graph: Graph, node: Node, inputs: tuple[Shape, ...], error: ShapeError) -> Diagnostic:
    source = node.inputs[error.input]
    producer = graph.by_name.get(source)
    span = graph.spec.locate(producer.path if producer else ("input", source))
    text = f'"{source}" gives {render_shape(inputs[error.input])}'
    return at(
        graph.spec, node.path, "E206", f'"{node.name}": {error.message}', help=error.help,
        labels=(Label(span=span, text=text),) if span else (),
    )  # fmt: skip


def _require(graph: Graph, shapes: dict[str, Shape], sizes: dict[str, SizeSet]) -> list[Diagnostic]:
    """Narrows `sizes` by `[require] same_size`; returns what no size satisfies."""
    require = graph.spec.require
    names = require.same_size if require else ()
    problems = []
    for index, name in enumerate(names):
        place = ("require", "same_size", index)
        if name not in shapes:
            problems.append(unknown_name(graph.spec, place, name, list(shapes)))
        elif len(shapes[name]) < 3:
            problems.append(
                at(
                    graph.spec,
                    place,
                    "E207",
                    f'"{name}" is no picture: its shape is {render_shape(shapes[name])}',
                )
            )
    if problems:
        return problems
    for name in names[1:]:
        for axis, offset in (("height", -2), ("width", -1)):
            first, other = shapes[names[0]][offset], shapes[name][offset]
            problem = _same(first, other, sizes)
            if problem:
                problems.append(
                    at(
                        graph.spec,
                        ("require", "same_size", names.index(name)),
                        "E207",
                        f'no picture size gives "{names[0]}" and "{name}" the same {axis}:'
                        f" {first} against {other}",
                        help="change stride, padding or scale_factor on the way, or drop the requirement",
                    )
                )
    return problems


def _same(first: Dim, other: Dim, sizes: dict[str, SizeSet]) -> bool:
    """Narrows `sizes` to those for which two dimensions are equal; True when none is left."""
    if isinstance(first, int) and isinstance(other, int):
        return first != other
    if isinstance(first, int):
        first, other = other, first
    assert not isinstance(first, int)
    if isinstance(other, int):
        equal = first.function.equals(constant(other))
    else:
        assert other.symbol == first.symbol, "no layer turns a height into a width"
        equal = first.function.equals(other.function)
    narrowed = sizes[first.symbol] & equal
    if narrowed.is_empty:
        return True
    sizes[first.symbol] = narrowed
    return False

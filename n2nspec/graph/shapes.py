"""Graph → ShapedGraph: the shape of every value, and the picture sizes for which all of it fits.

In: a graph, or the wiring of a spec with mistakes. Out: exact symbolic shapes, parameters, and a set of sizes
for every symbol of the input. A layer that refuses its input is an error of its own; what follows it is not
blamed, and what does not depend on it is judged all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Label, quote
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
from n2nspec.graph.model import DocumentPath, Graph, ShapedGraph, ShapedNode
from n2nspec.graph.places import Names, at, in_order, label
from n2nspec.graph.wiring import INPUT, Wiring
from n2nspec.layers._base import ParameterSpec
from n2nspec.spec import Part

__all__ = ["Shapes", "infer", "shape", "shaped"]

EFFORT = 2**22
"""Numbers written down for all size functions together: seconds of work. 5,000 layers behind strides of 128
in all need less than a third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What is known of the values of a wiring, by number.

    Attributes:
        shapes: of the input and of every node that fits.
        parameters: of the same nodes.
        sizes: for each symbol of the input shape, the values that work.
        problems: layers that refuse their input, and requirements that nothing satisfies.
    """

    shapes: dict[int, Shape] = field(default_factory=dict)
    parameters: dict[int, tuple[ParameterSpec, ...]] = field(default_factory=dict)
    sizes: dict[str, SizeSet] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)


def shape(graph: Graph) -> ShapedGraph:
    """Shapes, parameters and sizes.

    Raises:
        DiagnosticError: a layer refuses its input, or no picture size satisfies the graph and `[require]`.
    """
    number = {graph.input_name: INPUT, **{node.name: index for index, node in enumerate(graph.nodes)}}
    wiring = Wiring(
        part=Part(spec=graph.spec),
        input_name=graph.input_name,
        input_shape=graph.input_shape,
        nodes=graph.nodes,
        sources=tuple(tuple(number[name] for name in node.inputs) for node in graph.nodes),
        order=tuple(range(len(graph.nodes))),
        output=number[graph.output],
    )
    found = infer(wiring)
    if found.problems:
        raise DiagnosticError(in_order(graph.spec, found.problems))
    return shaped(graph, wiring, found)


def shaped(graph: Graph, wiring: Wiring, found: Shapes) -> ShapedGraph:
    """A graph with the shapes that were found for its wiring, none of which is missing."""
    nodes = tuple(
        ShapedNode(
            name=node.name, layer=node.layer, inputs=node.inputs, stage=node.stage, path=node.path,
            shape=found.shapes[number], parameters=found.parameters[number],
        )
        for number, node in ((number, wiring.nodes[number]) for number in wiring.order)
    )  # fmt: skip
    return ShapedGraph(
        spec=graph.spec, input_name=graph.input_name, input_shape=graph.input_shape, nodes=nodes,
        output=graph.output, warnings=graph.warnings, sizes=found.sizes,
    )  # fmt: skip


def infer(wiring: Wiring) -> Shapes:
    """Shapes of everything whose inputs are known, and the sizes that `[require]` leaves."""
    found = Shapes()
    if wiring.input_shape is None:
        return found
    found.shapes[INPUT] = wiring.input_shape
    effort = 0
    for number in wiring.order:
        sources = wiring.sources[number]
        if sources is None or any(source not in found.shapes for source in sources):
            continue  # it follows what is already blamed
        inputs = tuple(found.shapes[source] for source in sources)
        layer = wiring.nodes[number].layer
        try:
            effort += sum(
                dim.function.length for shape in inputs for dim in shape if not isinstance(dim, int)
            )
            if effort > EFFORT:
                raise SizeLimitError(
                    f"sizes that repeat only every {_longest(inputs)} pixels, through as many layers as"
                    " these, are too much to work out",
                    help="use smaller strides, or numbers for the sizes in [input]",
                )
            output = layer.infer(inputs)
            found.parameters[number] = layer.parameters(inputs)
            found.shapes[number] = output
        except ShapeError as error:
            found.problems.append(_refusal(wiring, found.shapes, number, sources, error))
        if effort > EFFORT:
            return found  # one such error is enough
    try:
        found.sizes.update(_domains(found.shapes))
        found.problems.extend(_require(wiring, found))
    except SizeLimitError as error:
        place = ("input", wiring.input_name)
        found.problems.append(at(wiring.spec, place, "E206", error.message, help="use smaller strides"))
    return found


def _longest(inputs: tuple[Shape, ...]) -> int:
    return max(dim.function.period for shape in inputs for dim in shape if not isinstance(dim, int))


def _domains(shapes: dict[int, Shape]) -> dict[str, SizeSet]:
    """For each symbol of the input, the sizes that no layer refuses."""
    sizes = {dim.symbol: ALL_SIZES for dim in shapes[INPUT] if not isinstance(dim, int)}
    for dim in dict.fromkeys(dim for shape in shapes.values() for dim in shape):
        if not isinstance(dim, int):
            sizes[dim.symbol] &= dim.function.domain
    return sizes


def _refusal(
    wiring: Wiring, shapes: dict[int, Shape], number: int, sources: tuple[int, ...], error: ShapeError
) -> Diagnostic:
    node = wiring.nodes[number]
    field = (error.field,) if error.field in type(node.layer).model_fields else ()
    involved = dict.fromkeys((sources[error.input], sources[0]))  # the one at fault, and the first
    return at(
        wiring.spec, (*node.path, *field), "E206", f"{quote(node.name)}: {error.message}",
        show="" if field else "name", help=error.help,
        labels=[_gives(wiring, shapes, source) for source in involved],
    )  # fmt: skip


def _gives(wiring: Wiring, shapes: dict[int, Shape], number: int) -> Label | None:
    """Where a shape comes from: the layer that made it, not those that hand it on."""
    shape, name = shapes[number], wiring.named(number)
    while number != INPUT:
        sources = wiring.sources[number]
        if sources is None or len(sources) != 1 or shapes[sources[0]] != shape:
            break
        (number,) = sources
    maker = wiring.named(number)
    through = f", which {quote(name)} hands on" if maker != name else ""
    return label(wiring.spec, wiring.path(number), f"{quote(maker)} gives {render_shape(shape)}{through}")


def _require(wiring: Wiring, found: Shapes) -> Iterator[Diagnostic]:
    """Narrows the sizes by `[require] same_size`; yields what no size satisfies."""
    require = wiring.spec.require
    if require is None or "require" in wiring.part.doubtful:
        return
    numbers = wiring.numbers
    names = Names(tuple(numbers))
    pictures: list[tuple[DocumentPath, int]] = []
    for index, name in enumerate(require.same_size):
        place: DocumentPath = ("require", "same_size", index)
        number = numbers.get(name)
        if name not in numbers and not wiring.part.may_name(name):
            yield names.unknown(wiring.spec, place, name)
        if number is None or number not in found.shapes:
            continue
        if len(found.shapes[number]) < 3:
            text = f"{quote(name)} is no picture: its shape is {render_shape(found.shapes[number])}"
            yield at(
                wiring.spec, place, "E207", text, help="name nodes whose values have a height and a width",
                labels=[_gives(wiring, found.shapes, number)],
            )  # fmt: skip
        else:
            pictures.append((place, number))
    every = dict(found.sizes)
    for place, number in pictures[1:]:
        first = pictures[0][1]
        one, two = quote(wiring.named(first)), quote(wiring.named(number))
        dims = [found.shapes[first][-2:], found.shapes[number][-2:]]
        wrong = [
            (axis, a, b)
            for axis, a, b in zip(("height", "width"), *dims, strict=True)
            if _same(a, b, found.sizes)
        ]
        if wrong:
            alone = any(_same(a, b, dict(every)) for _, a, b in wrong)
            axes = " and ".join(axis for axis, _, _ in wrong)
            against = ", ".join(f"{a} against {b}" for _, a, b in wrong)
            yield at(
                wiring.spec, place, "E207",
                f"no picture size gives {one} and {two} the same {axes}"
                f"{'' if alone else ' and satisfies the requirements before this one'}: {against}",
                help="change stride, padding or scale_factor on the way, or drop the requirement",
                labels=[
                    label(wiring.spec, wiring.path(node), f"{name} is {' × '.join(map(str, dim))}")
                    for node, name, dim in zip((first, number), (one, two), dims, strict=True)
                ],
            )  # fmt: skip


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

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
from n2nspec.graph.model import Condition, DocumentPath, Graph, Narrowing, ShapedGraph, ShapedNode
from n2nspec.graph.places import Names, at, in_order, label
from n2nspec.graph.wiring import INPUT, Wiring
from n2nspec.layers._base import BufferSpec, ParameterSpec, buffers
from n2nspec.layers._joins import axis_name
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
        buffers: of the same nodes.
        sizes: for each symbol of the input shape, the values that work.
        narrowings: nodes whose inputs agree for some sizes only.
        conditions: what is asked of several sizes together.
        problems: layers that refuse their input, and requirements that nothing satisfies.
    """

    shapes: dict[int, Shape] = field(default_factory=dict)
    parameters: dict[int, tuple[ParameterSpec, ...]] = field(default_factory=dict)
    buffers: dict[int, tuple[BufferSpec, ...]] = field(default_factory=dict)
    sizes: dict[str, SizeSet] = field(default_factory=dict)
    narrowings: list[Narrowing] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
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
            buffers=found.buffers[number], share=node.share,
        )
        for number, node in ((number, wiring.nodes[number]) for number in wiring.order)
    )  # fmt: skip
    return ShapedGraph(
        spec=graph.spec, input_name=graph.input_name, input_shape=graph.input_shape, nodes=nodes,
        output=graph.output, warnings=graph.warnings, sizes=found.sizes,
        narrowings=tuple(found.narrowings), conditions=tuple(found.conditions),
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
            found.buffers[number] = buffers(layer, inputs)
            found.shapes[number] = output
            if len(inputs) > 1:
                found.narrowings.extend(_narrowings(wiring, number, sources, inputs, output))
        except ShapeError as error:
            found.problems.append(_refusal(wiring, found.shapes, number, sources, error))
        if effort > EFFORT:
            return found  # one such error is enough
    found.problems.extend(_shared(wiring, found))
    try:
        found.sizes.update(_domains(found.shapes))
        found.problems.extend(_disagreement(wiring, found))
        found.problems.extend(_require(wiring, found))
        found.problems.extend(_several(wiring, found))
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


def _shared(wiring: Wiring, found: Shapes) -> Iterator[Diagnostic]:
    """Takes the parameters of sharing nodes away, once they are known to be those of the owner."""
    for number, node in enumerate(wiring.nodes):
        owner = wiring.numbers.get(node.share) if node.share else None
        if owner is None or number not in found.parameters or owner not in found.parameters:
            continue
        first = wiring.nodes[owner]
        ours, theirs = found.parameters[number], found.parameters[owner]
        different = next((a for a, b in zip(ours, theirs, strict=False) if a.shape != b.shape), None)
        if node.layer.type != first.layer.type:
            reason, help = f"they are {node.layer.type} and {first.layer.type}", "give both the same type"
        elif not ours:
            reason, help = f"{node.layer.type} has none", "remove this line"
        elif [p.name for p in ours] != [p.name for p in theirs]:
            lists = [", ".join(p.name for p in parameters) for parameters in (theirs, ours)]
            reason = f"{quote(first.name)} has {lists[0]} and {quote(node.name)} has {lists[1]}"
            help = "give both the same fields"
        elif different:
            other = next(p for p in theirs if p.name == different.name)
            there, here = render_shape(other.shape), render_shape(different.shape)
            reason = f"{different.name} is {there} there and {here} here"
            help = "make input channels and fields equal, or remove this line"
        else:
            found.parameters[number] = ()
            continue
        yield at(
            wiring.spec, (*node.path, "share"), "E210",
            f"{quote(node.name)} cannot share the weights of {quote(first.name)}: {reason}", help=help,
            labels=[label(wiring.spec, (*first.path, "name"), "whose weights they are")],
        )  # fmt: skip


def _narrowings(
    wiring: Wiring, number: int, sources: tuple[int, ...], inputs: tuple[Shape, ...], output: Shape
) -> Iterator[Narrowing]:
    """What a node of several inputs asks of the picture's size because these have to fit together."""
    for axis in range(-len(output), 0):
        dims = [shape[axis] for shape in inputs if len(shape) >= -axis]
        result = output[axis]
        if isinstance(result, int) or all(dim == result for dim in dims):
            continue
        functions = [constant(dim) if isinstance(dim, int) else dim.function for dim in dims]
        before = ALL_SIZES
        for function in functions:
            before &= function.domain
        left_out = before - result.function.domain
        example = left_out.at_least(32) or left_out.smallest
        if example is None:
            continue
        names = [wiring.named(source) for source in sources]
        values = [(name, function(example) or 0) for name, function in zip(names, functions, strict=True)]
        yield Narrowing(
            node=wiring.nodes[number].name, symbol=result.symbol,
            axis=axis_name(axis + len(output), len(output)),
            sizes=result.function.domain, example=example, values=tuple(dict.fromkeys(values)),
        )  # fmt: skip


def _disagreement(wiring: Wiring, found: Shapes) -> Iterator[Diagnostic]:
    """An error when every layer accepts some sizes, and no size is accepted by all."""
    for symbol, sizes in found.sizes.items():
        if not sizes.is_empty:
            continue
        left = ALL_SIZES
        for number, shape in found.shapes.items():  # in the order of the layers: who takes away the last size
            domains = [
                dim.function.domain for dim in shape if not isinstance(dim, int) and dim.symbol == symbol
            ]
            before = left
            for domain in domains:
                left &= domain
            if left.is_empty:
                accepted = before.render(symbol)
                yield at(
                    wiring.spec, wiring.path(number)[:-1], "E206",
                    f"{quote(wiring.named(number))} accepts no {symbol} that the layers before it accept:"
                    f" {accepted} before it, {domains[0].render(symbol)} here",
                    show="name", help="make the strides on the way equal, or crop one branch with CropLike",
                )  # fmt: skip
                return  # the other axis of the same strides would be the same mistake


def _several(wiring: Wiring, found: Shapes) -> Iterator[Diagnostic]:
    """Conditions of layers that need more than one value; those that a single size decides narrow `sizes`."""
    for number in wiring.order:
        sources = wiring.sources[number]
        if number not in found.shapes or sources is None:
            continue
        node = wiring.nodes[number]
        for several in node.layer.several(tuple(found.shapes[source] for source in sources)):
            ones: dict[str, SizeSet] = {}
            for dim in several.dims:
                if isinstance(dim, int):
                    ones[""] = ones.get("", ALL_SIZES) if dim == 1 else SizeSet.finite(())
                else:
                    sizes = ones.get(dim.symbol, found.sizes[dim.symbol])
                    ones[dim.symbol] = sizes & dim.function.equals(constant(1))
            if any(sizes.is_empty for sizes in ones.values()):
                continue  # it always has several
            ones.pop("", None)
            if len(ones) == 1 and not several.training:
                ((symbol, sizes),) = ones.items()
                found.sizes[symbol] -= sizes
                if not found.sizes[symbol].is_empty:
                    continue
            if len(ones) > 1 or (several.training and ones):
                condition = Condition(node=node.name, training=several.training, ones=ones)
                if condition not in found.conditions:
                    found.conditions.append(condition)
            elif not several.training:
                yield at(
                    wiring.spec, node.path, "E206",
                    f"{quote(node.name)}: {node.layer.type} needs more than one value a channel; it gets one"
                    " for every picture size",
                    show="name", help="put it where the picture is larger, or leave it out",
                    labels=[_gives(wiring, found.shapes, sources[0])],
                )  # fmt: skip
            else:
                found.conditions.append(Condition(node=node.name, training=True, ones={}))


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

"""Spec → Graph: names, connections and order.

In: a validated spec. Out: a graph whose every input exists, without circles, in a stable topological order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import networkx as nx

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Label, did_you_mean, listing, render_path
from n2nspec.geometry import Shape, Symbolic
from n2nspec.graph.model import DocumentPath, Graph, Node, view
from n2nspec.spec import Spec

__all__ = ["build"]


def build(spec: Spec) -> Graph:
    """The graph of a spec.

    Raises:
        DiagnosticError: no layers, a name used twice, an unknown or circular `from`, a wrong number of
            inputs; all of them at once.
    """
    ((input_name, dims),) = spec.input.items()
    input_shape: Shape = tuple(Symbolic(dim) if isinstance(dim, str) else dim for dim in dims)
    problems: list[Diagnostic] = []

    nodes = _nodes(spec, input_name)
    problems += _duplicates(spec, nodes, input_name)
    problems += _unknown(spec, nodes, input_name)
    problems += _arities(spec, nodes)
    if not nodes:
        problems.append(at(spec, (), "E201", "the spec has no layers", help="add a [[encoder]] table"))
    output, place = (nodes[-1].name if nodes else ""), nodes[-1].path if nodes else ()
    if spec.output:
        ((key, output),) = spec.output.items()
        place = ("output", key)
        if output not in {node.name for node in nodes}:
            problems.append(unknown_name(spec, place, output, [node.name for node in nodes]))
    if problems:
        raise DiagnosticError(in_order(problems))

    ordered = _order(spec, nodes, input_name)
    graph = Graph(spec=spec, input_name=input_name, input_shape=input_shape, nodes=ordered, output=output)
    if input_name not in nx.ancestors(view(ordered), output):
        raise DiagnosticError([
            at(spec, place, "E206", f'the output "{output}" does not depend on the input "{input_name}"',
                help="connect it with `from`, or name another node in [output]")
        ])  # fmt: skip
    warnings = tuple(
        at(
            spec, node.path, "W201", f'nobody uses the output of "{node.name}"',
            help=f'use it in a `from`, name it in [output], or remove it; the result is "{output}"',
        )
        for node in ordered
        if node.name not in graph.live and not any(node.name in other.inputs for other in ordered)
    )  # fmt: skip
    return Graph(
        spec=spec,
        input_name=input_name,
        input_shape=input_shape,
        nodes=ordered,
        output=output,
        warnings=warnings,
    )


def _nodes(spec: Spec, input_name: str) -> tuple[Node, ...]:
    """Nodes as written, with the names and inputs that were left out filled in."""
    entries = [
        (stage, index, entry)
        for stage in ("encoder", "decoder")
        for index, entry in enumerate(getattr(spec, stage))
    ]
    taken = {entry.name for _, _, entry in entries} | {input_name}
    free: dict[str, Iterator[str]] = {}  # for each type, the names that are still to be given
    nodes: list[Node] = []
    previous = input_name
    for stage, index, entry in entries:
        kind = entry.type.lower()
        numbered = free.setdefault(kind, _numbered(kind, taken))
        name = next(numbered) if entry.name is None else entry.name
        inputs = entry.sources or (previous,)
        nodes.append(Node(name=name, layer=entry.layer, inputs=inputs, stage=stage, path=(stage, index)))
        previous = name
    return tuple(nodes)


def _numbered(kind: str, taken: set[str | None]) -> Iterator[str]:
    """relu1, relu2, … without the names that the author gave."""
    return (name for number in count(1) if (name := f"{kind}{number}") not in taken)


def _duplicates(spec: Spec, nodes: tuple[Node, ...], input_name: str) -> list[Diagnostic]:
    first: dict[str, DocumentPath] = {input_name: ("input", input_name)}
    problems = []
    for node in nodes:
        if node.name in first:
            before = spec.locate(first[node.name] if node.name == input_name else (*first[node.name], "name"))
            problems.append(
                at(
                    spec,
                    (*node.path, "name"),
                    "E202",
                    f'the name "{node.name}" is used twice',
                    help="give this layer another name",
                    labels=(Label(span=before, text="first used here"),) if before else (),
                )
            )
        first.setdefault(node.name, node.path)
    return problems


def _unknown(spec: Spec, nodes: tuple[Node, ...], input_name: str) -> list[Diagnostic]:
    known = [input_name, *(node.name for node in nodes)]
    return [
        unknown_name(spec, (*node.path, "from"), source, known)
        for node in nodes
        for source in dict.fromkeys(node.inputs)
        if source not in known
    ]


def unknown_name(spec: Spec, path: DocumentPath, name: str, known: list[str]) -> Diagnostic:
    hint = did_you_mean(name, known) or f"the names are {listing(known)}"
    return at(spec, path, "E203", f'there is no layer or input named "{name}"', help=hint)


def _arities(spec: Spec, nodes: tuple[Node, ...]) -> list[Diagnostic]:
    problems = []
    for node in nodes:
        least, most = node.layer.arity, node.layer.most_inputs
        if not least <= len(node.inputs) <= (most or len(node.inputs)):
            expected = str(least) if most == least else f"{least} or more"
            problems.append(
                at(
                    spec,
                    (*node.path, "from"),
                    "E205",
                    f'{node.layer.type} "{node.name}" takes {expected} input{"s" * (expected != "1")};'
                    f" received {len(node.inputs)}",
                    help='list the names in `from`, such as from = ["a", "b"]'
                    if least > len(node.inputs)
                    else "name one input in `from`, or use a layer of several inputs",
                )
            )
    return problems


def _order(spec: Spec, nodes: tuple[Node, ...], input_name: str) -> tuple[Node, ...]:
    """Topological; among nodes that could come next, the one written first."""
    position = {input_name: -1, **{node.name: index for index, node in enumerate(nodes)}}
    by_name = {node.name: node for node in nodes}
    graph = view(nodes)
    try:
        names = list(nx.lexicographical_topological_sort(graph, key=position.__getitem__))
    except nx.NetworkXUnfeasible:
        circles = [sorted(c, key=position.__getitem__) for c in nx.strongly_connected_components(graph)]
        raise DiagnosticError(
            in_order([
                at(
                    spec, (*by_name[circle[0]].path, "from"), "E204",
                    "the graph runs in a circle: " + " → ".join(_walk(graph, circle[0])),
                    help="a layer may only use what comes before it; change one of these `from`",
                )
                for circle in circles
                if len(circle) > 1 or graph.has_edge(circle[0], circle[0])
            ])
        ) from None  # fmt: skip
    return tuple(by_name[name] for name in names if name in by_name)


def _walk(graph: nx.MultiDiGraph[str], start: str) -> list[str]:
    edges = nx.find_cycle(graph, start)
    return [edges[0][0], *(edge[1] for edge in edges)]


def at(
    spec: Spec, path: DocumentPath, code: str, message: str, *, help: str = "", labels: tuple[Label, ...] = ()
) -> Diagnostic:
    return Diagnostic(
        code=code, message=message, file=spec.source_file, span=spec.locate(path), path=render_path(path),
        help=help, labels=labels,
    )  # fmt: skip


def in_order(problems: list[Diagnostic]) -> list[Diagnostic]:
    return sorted(problems, key=lambda d: (d.span.line, d.span.column) if d.span else (0, 0))

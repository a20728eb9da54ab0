"""Spec → Graph: names, connections and order.

In: a validated spec. Out: a graph whose every input exists, without circles, in a stable topological order.
"""

from __future__ import annotations

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph.model import Graph
from n2nspec.graph.places import in_order, once
from n2nspec.graph.warnings import unused
from n2nspec.graph.wiring import Wiring, wire
from n2nspec.spec import Part, Spec

__all__ = ["build", "connected"]


def build(spec: Spec) -> Graph:
    """The graph of a spec.

    Raises:
        DiagnosticError: no layers, a name used twice, an unknown or circular `from`, a wrong number of
            inputs; all of them at once.
    """
    wiring = wire(Part(spec=spec))
    if wiring.problems:
        raise DiagnosticError(in_order(spec, wiring.problems))
    return connected(wiring)


def connected(wiring: Wiring) -> Graph:
    """The graph of a wiring without problems."""
    assert wiring.input_shape is not None
    assert wiring.output is not None
    return Graph(
        spec=wiring.spec,
        input_name=wiring.input_name,
        input_shape=wiring.input_shape,
        nodes=tuple(wiring.nodes[number] for number in wiring.order),
        output=wiring.nodes[wiring.output].name,
        warnings=in_order(wiring.spec, once(unused(wiring))),
    )

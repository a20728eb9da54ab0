"""What `compile --check` and `diff` say of a graph: the JSON object, and the receptive field in words."""

from __future__ import annotations

from typing import Any

from n2nspec.diagnostics import plural, to_json
from n2nspec.geometry import SizeSet, render_dim
from n2nspec.graph import Cost, Reach, ShapedGraph, receptive_field

__all__ = ["describe", "sees"]


def describe(graph: ShapedGraph, costs: Cost | None) -> dict[str, Any]:
    """What a check found out. What needs a picture size is None without `costs`."""
    return {
        "ok": True,
        "diagnostics": [to_json(diagnostic) for diagnostic in graph.warnings],
        "name": graph.spec.name,
        "file": graph.spec.source_file,
        "nodes": [
            {
                "name": node.name,
                "type": node.layer.type,
                "inputs": list(node.inputs),
                "shape": [render_dim(dim, graph.sizes) for dim in node.shape],
                "concrete_shape": list(costs.nodes[node.name].shape) if costs else None,
                "params": sum(parameter.size for parameter in node.parameters),
                "macs": costs.nodes[node.name].macs if costs else None,
                "saved_bytes": costs.nodes[node.name].saved_bytes if costs else None,
            }
            for node in graph.nodes
        ],
        "totals": {
            "params": graph.parameter_count,
            "macs": costs.macs if costs else None,
            "saved_bytes": costs.saved_bytes if costs else None,
            "peak_bytes": costs.peak_bytes if costs else None,
            "inference_bytes": costs.inference_bytes if costs else None,
        },
        "size_contract": {axis: _sizes(sizes) for axis, sizes in graph.size_contract.items()} or None,
        "size_narrowings": [
            {
                "node": narrowing.node,
                "axis": narrowing.axis,
                "symbol": narrowing.symbol,
                "sizes": _sizes(narrowing.sizes),
                "example": {"size": narrowing.example, "inputs": dict(narrowing.values)},
            }
            for narrowing in graph.narrowings
        ],
        "conditions": [
            {
                "node": condition.node,
                "training": condition.training,
                "not_all_of": {symbol: _sizes(sizes) for symbol, sizes in condition.ones.items()},
            }
            for condition in graph.conditions
        ],
        "receptive_field": {axis: _reach(reach) for axis, reach in receptive_field(graph).items()} or None,
    }


def _sizes(sizes: SizeSet) -> dict[str, Any]:
    """A size works when it is an exception, or at least `minimum` with a remainder of the list."""
    return {
        "period": sizes.period,
        "remainders": list(sizes.remainders),
        "minimum": sizes.start,
        "exceptions": list(sizes.exceptions),
        "maximum": sizes.maximum,
    }


def _reach(reach: Reach | str) -> dict[str, Any] | str:
    if isinstance(reach, str):
        return reach
    return {"left": reach.left, "right": reach.right, "extents": list(reach.extents), "exact": reach.exact}


def sees(reach: Reach | str, axis: str) -> str:
    """`11 or 15 pixels (up to 9 up, 6 down)`."""
    if isinstance(reach, str):
        return "the whole picture"
    *others, widest = sorted(set(reach.extents))
    widths = " or ".join([*map(str, others), plural(widest, "pixel")])
    before, after = ("up", "down") if axis == "H" else ("left", "right")
    most = "" if reach.exact else "at most "
    return f"{most}{widths} (up to {reach.left} {before}, {reach.right} {after})"

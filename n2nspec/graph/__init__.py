"""The module graph and what follows from it without running it: shapes, sizes, receptive field, cost."""

from n2nspec.graph.build import build
from n2nspec.graph.check import analyse, check
from n2nspec.graph.cost import Cost, GivenSize, NodeCost, cost, size_values
from n2nspec.graph.memory import standing_bytes, update_bytes
from n2nspec.graph.model import Graph, Node, ShapedGraph, ShapedNode
from n2nspec.graph.receptive import Reach, receptive_field
from n2nspec.graph.shapes import shape
from n2nspec.graph.warnings import warnings_at

__all__ = [
    "Cost",
    "GivenSize",
    "Graph",
    "Node",
    "NodeCost",
    "Reach",
    "ShapedGraph",
    "ShapedNode",
    "analyse",
    "build",
    "check",
    "cost",
    "receptive_field",
    "shape",
    "size_values",
    "standing_bytes",
    "update_bytes",
    "warnings_at",
]

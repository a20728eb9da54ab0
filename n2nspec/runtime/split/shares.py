"""How many processes share a batch, and how many pictures each of them takes.

In: a shaped graph, a number of processes, the shape of a batch. Out: pictures for each process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from n2nspec._lazy import torch
from n2nspec.compiler.division import shares
from n2nspec.graph import ShapedGraph

__all__ = ["Shares", "default_processes"]

MOST = 8
"""Processes that are started without being asked for: each takes some 200 MB for its copy of torch's code."""


def default_processes() -> int:
    """As many as torch would use threads."""
    return min(torch.get_num_threads(), MOST)


@dataclass(slots=True, kw_only=True)
class Shares:
    """Pictures for each process by the shape of a batch."""

    graph: ShapedGraph
    processes: int
    _known: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As equal as can be, larger ones first."""
        if shape not in self._known:
            self._known[shape] = shares(self.graph, shape, self.processes)
        return self._known[shape]

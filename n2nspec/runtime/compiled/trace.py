"""A pure function as a graph of tensor operators, which torch's compiler, Inductor, then takes as a whole.

In: a function, and arguments for it: tensors, and mappings of them. Out: the graph, or the compiled function.
Traced on tensors without numbers, so nothing in it can depend on those.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

__all__ = ["compiled", "traced"]


def traced(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[GraphModule, Any]:
    """The graph of `function`, from a row of tensors to another; and a result, for how those are nested.

    Raises:
        RuntimeError: what it does depends on numbers in the arguments, or on random ones.
    """
    results: list[Any] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        results.append(function(*_nested(arguments, iter(tensors))))
        return list(_tensors(results[-1]))

    make_fx = importlib.import_module("torch.fx.experimental.proxy_tensor").make_fx
    graph: GraphModule = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*_tensors(arguments))
    for node in graph.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise RuntimeError("a layer draws random numbers")  # not those that other engines would draw
    return graph, results[-1]


def compiled(
    function: Callable[..., Any], arguments: tuple[Any, ...], *, cuda_graphs: bool
) -> Callable[..., Any]:
    """`function`, for arguments that differ from these in their numbers only.

    On the CPU Inductor is given the graph itself, and calls its kernels from C++: that `torch.compile` asks
    at every call whether its arguments are still like the first, and calls from Python, take a tenth of a
    small step each.
    """
    graph, result = traced(function, arguments)
    if cuda_graphs:
        run = torch.compile(graph.forward, fullgraph=True, dynamic=False, mode="reduce-overhead")
    else:
        inductor = importlib.import_module("torch._inductor")
        run = inductor.compile(graph, list(_tensors(arguments)), options={"cpp_wrapper": True})
    return lambda *arguments: _nested(result, iter(run(*_tensors(arguments))))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in tuples and mappings, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _nested(like: Any, tensors: Iterator[Tensor]) -> Any:
    """The tensors, nested as those of `like` are."""
    if isinstance(like, Mapping):
        return {name: _nested(part, tensors) for name, part in like.items()}
    if isinstance(like, tuple):
        parts = [_nested(part, tensors) for part in like]
        return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
    return next(tensors)

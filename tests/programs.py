"""Networks, programs and engines side by side: what the tests of the compiler and of its engines compare.

Everything is judged by the reference executor, whose own judge is autograd (`tests/oracle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from n2nspec.compiler.program import Program, program
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.layers._base import Mode
from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model
from n2nspec.runtime.optimized.instance import Instance
from n2nspec.spec import load

__all__ = [
    "SPECS", "TOLERANCE", "Outcome", "agree", "both", "conv", "document", "graph_of", "model_of", "of_model",
    "of_program", "pictures", "program_of", "spec_graph", "steady",
]  # fmt: skip

SPECS = {
    path.stem: (1, 3, 32, 32) if path.stem == "unet_n2n" else (2, 3, 16, 16)
    for path in sorted(Path("specs").glob("*.toml"))
}
"""Every spec of ours, with an input that it takes."""
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
FLOOR = {torch.float64: 1e-4, torch.float32: 1e-1}
"""A gradient is judged by its own largest value, or by this part of the largest beside it: what is left where
a sum cancels is rounding, of which the tolerance of its own size says nothing."""


def document(layers: list[dict[str, Any]], output: str = "", **more: Any) -> dict[str, Any]:
    """A network of two channels; `layers` stand in order, with `from` where they need it."""
    return {
        "spec_version": 1, "name": "t", "input": {"x": ["N", 2, "H", "W"]}, "encoder": layers,
        **({"output": {"y": output}} if output else {}), **more,
    }  # fmt: skip


def conv(name: str = "", source: Any = None, **fields: Any) -> dict[str, Any]:
    """A convolution, 3 × 3 and to two channels unless it says otherwise."""
    entry = {"type": "Conv2d", "out_channels": 2, "kernel_size": 3, "padding": 1, **fields}
    return entry | ({"name": name} if name else {}) | ({"from": source} if source else {})


def graph_of(layers: list[dict[str, Any]], output: str = "") -> ShapedGraph:
    return analyse(load(document(layers, output)))


def spec_graph(name: str) -> ShapedGraph:
    return analyse(load(f"specs/{name}.toml"))


def program_of(
    layers: list[dict[str, Any]], output: str = "", shape: tuple[int, ...] = (2, 2, 8, 8)
) -> Program:
    return program(graph_of(layers, output), shape)


def model_of(
    graph: ShapedGraph, engine: str, dtype: torch.dtype = torch.float64, *, training: bool = True
) -> Model:
    """A model with the weights of seed 1, whatever the engine."""
    return Model(graph, engine=engine, device=torch.device("cpu"), dtype=dtype, seed=1).train(training)


def both(graph: ShapedGraph, dtype: torch.dtype = torch.float64, **mode: bool) -> tuple[Model, Model]:
    """The optimised engine, and the judge."""
    return model_of(graph, "optimized", dtype, **mode), model_of(graph, "reference", dtype, **mode)


def pictures(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


@dataclass(frozen=True)
class Outcome:
    """What a forward and a backward pass came to."""

    y: Tensor
    gx: Tensor
    gradients: Mapping[str, Tensor]


def of_model(model: Model, x: Tensor, seed: int = 1) -> Outcome:
    """With a random cotangent."""
    model.zero_grad()
    y = model.forward(x)
    gx = model.backward(pictures(tuple(y.shape), seed, y.dtype))
    return Outcome(y, gx, model.gradients())


def of_program(graph: ShapedGraph, steps: Program, x: Tensor, seed: int = 1) -> Outcome:
    """The same of a program as it is, whatever passes it has been through."""
    model = model_of(graph, "reference", x.dtype)  # for its parameters and its random numbers
    tensors = model.tensors()
    gradients = {
        node.name: {p.name: torch.zeros_like(tensors[node.name][p.name]) for p in node.parameters}
        for node in graph.nodes
    }
    shapes = {name: {key: tuple(g.shape) for key, g in own.items()} for name, own in gradients.items() if own}
    instance = Instance(steps, shapes, kind=x.dtype, place=x.device, backward=True, input_gradient=True)
    generator = torch.Generator()
    generator.set_state(model.generator_state())
    y = instance.forward(tensors, x, Mode(True, generator)).clone()
    instance.begin_backward()
    instance.values.add_gradient(steps.output, pictures(tuple(y.shape), seed, y.dtype))
    instance.backward(tensors, gradients)
    gx = instance.values.gradient(steps.input_name).clone()
    return Outcome(y, gx, {f"{n}.{k}": g for n, own in gradients.items() for k, g in own.items()})


def steady(graph: ShapedGraph, x: Tensor) -> bool:
    """Whether the last bits of a float32 say little about the gradients: no kink is near, nothing cancels.

    Two correct engines that round differently may stand on two sides of a kink.
    """
    exact = of_model(model_of(graph, "reference"), x.double())
    largest = max(float(g.abs().max()) for g in (exact.gx, *exact.gradients.values()))
    for seed in range(3):
        near = x.double() * (1 + 1e-6 * pictures(tuple(x.shape), 100 + seed))
        moved = of_model(model_of(graph, "reference"), near)
        pairs = [(moved.y, exact.y, 0.0), (moved.gx, exact.gx, FLOOR[torch.float32] * largest)]
        pairs += [(moved.gradients[n], g, FLOOR[torch.float32] * largest) for n, g in exact.gradients.items()]
        if any(difference(*pair).relative > 1e-4 for pair in pairs):
            return False
    return True


def agree(ours: Outcome, expected: Outcome) -> None:
    """Values and gradients are the same to rounding, relative to each tensor's largest value."""
    tolerance, floor = TOLERANCE[expected.y.dtype], FLOOR[expected.y.dtype]
    assert difference(ours.y, expected.y).relative <= tolerance
    assert ours.gradients.keys() == expected.gradients.keys()
    theirs = {"input": expected.gx, **expected.gradients}
    largest = max(float(g.abs().max()) for g in theirs.values())
    for name, gradient in {"input": ours.gx, **ours.gradients}.items():
        found = difference(gradient, theirs[name], floor * largest)
        assert found.relative <= tolerance, (name, found)

"""Steps on groups of pictures: the numbers of the whole batch, in the memory of a part of it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from programs import SPECS, conv, document, graph_of, model_of, pictures, spec_graph
from strategies import Network, networks
from torch import Tensor

from n2nspec.compiler import division
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.losses import LOSSES
from n2nspec.oracle.compare import difference
from n2nspec.oracle.footprint import compiled_bytes, optimized_bytes
from n2nspec.runtime.compiled import engine as compiled_engine
from n2nspec.runtime.optimized import OptimizedEngine
from n2nspec.runtime.timing import time_step
from n2nspec.spec import load

ENGINES = ("optimized", "compiled")
DIVISIBLE = [name for name in SPECS if division.divisible(spec_graph(name))]
FAST = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def as_it_is(function: Any, arguments: tuple[Any, ...], *, cuda_graphs: bool) -> Any:
    """In the place of `torch.compile`."""
    del arguments, cuda_graphs
    return function


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "GROUP_MACS", 1)
    monkeypatch.setattr(compiled_engine, "compiled", as_it_is)


def agree(graph: ShapedGraph, engine: str, x: Tensor, steps: int = 3, tolerance: float = 1e-10) -> None:
    """Steps in groups and those of the reference, which has none."""
    ours, theirs = model_of(graph, engine, x.dtype), model_of(graph, "reference", x.dtype)
    for seed in range(steps):
        target = pictures(ours.output_shape(tuple(x.shape)), seed, x.dtype).abs().clamp(0.01, 0.99)
        assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=tolerance, abs=0)
        expected = theirs.gradients()
        for name, gradient in ours.gradients().items():
            assert difference(gradient, expected[name]).relative <= 100 * tolerance, name


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", DIVISIBLE)
def test_our_specs_agree_with_the_reference(name: str, engine: str) -> None:
    graph, shape = spec_graph(name), (3, *SPECS[name][1:])
    model = model_of(graph, engine)
    assert isinstance(model._engine, OptimizedEngine)
    assert model._engine.course(shape).groups == (1, 1, 1)
    model.step(pictures(shape), pictures(shape, 1))
    assert model.engine == engine
    agree(graph, engine, pictures(shape))


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_of_two_sizes(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "groups", lambda graph, shape: (2, 2, 1) if shape[0] == 5 else shape[:1])
    agree(spec_graph("n2n"), engine, pictures((5, 3, 16, 16)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_is_the_sum_of_its_parts(loss: str, reduction: str, engine: str) -> None:
    layers = [conv("a"), {"type": "ReLU"}, conv("b"), {"type": "Sigmoid"}]
    spec = document(layers, train={"loss": {"type": loss, "reduction": reduction}})
    agree(analyse(load(spec)), engine, pictures((3, 2, 6, 5)))


@FAST
@given(networks())
def test_random_networks_agree_with_the_reference(network: Network) -> None:
    graph = analyse(load(network.document))
    assume(division.divisible(graph))
    shape = (3, *network.input_shape[1:])
    for engine in ENGINES:
        agree(graph, engine, pictures(shape), steps=1, tolerance=1e-9)


def test_a_shape_that_comes_now_and_then_is_not_compiled() -> None:
    graph = graph_of([conv("a"), {"type": "ReLU"}, conv("b")])
    model = model_of(graph, "compiled")
    whole, rest = (4, 2, 5, 6), (2, 2, 6, 6)
    for shape in [whole, whole, rest] * compiled_engine.PATIENCE:
        model.step(pictures(shape), pictures(shape, 1))
    engine = model._engine
    assert isinstance(engine, compiled_engine.CompiledEngine)
    loss = graph.spec.train.loss
    assert list(engine._functions) == [((1, 2, 5, 6), loss)]
    for _ in range(compiled_engine.PATIENCE):
        model.step(pictures(rest), pictures(rest, 1))
    assert list(engine._functions) == [((1, 2, 5, 6), loss), ((1, 2, 6, 6), loss)]


def test_groups_take_less_memory_than_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, shape = spec_graph("unet_small"), (8, 3, 32, 32)
    inside = optimized_bytes(graph, shape, training=True), compiled_bytes(graph, shape)
    monkeypatch.setattr(division, "GROUP_MACS", 10**12)
    whole = optimized_bytes(graph, shape, training=True), compiled_bytes(graph, shape)
    for small, large in zip(inside, whole, strict=True):
        assert small is not None
        assert large is not None
        assert small < 0.4 * large


def test_the_times_of_groups_add_up() -> None:
    graph, shape = spec_graph("n2n"), (4, 3, 16, 16)
    times = time_step(model_of(graph, "optimized", torch.float32), shape, seconds=0)
    with mock.patch.object(division, "GROUP_MACS", 10**12):
        whole = time_step(model_of(graph, "optimized", torch.float32), shape, seconds=0)
    assert (times.groups, whole.groups) == ((1, 1, 1, 1), (4,))
    assert [row.name for row in times.rows] == [row.name for row in whole.rows]
    for row, other in zip(times.rows, whole.rows, strict=True):
        for ours, theirs in ((row.forward, other.forward), (row.backward, other.backward)):
            assert (ours is None) == (theirs is None)
            if ours and theirs:
                assert ours.macs == theirs.macs
                assert ours.median > 0

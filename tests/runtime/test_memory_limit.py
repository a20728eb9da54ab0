"""Training steps within a memory limit: the same bits, less memory, or a refusal before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from math import ceil, floor
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import SPECS, conv, graph_of, model_of, pictures, spec_graph
from strategies import Network, fusable, networks
from torch import Tensor

import n2nspec
from n2nspec.compiler.recompute import Recomputation
from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.oracle import footprint
from n2nspec.oracle.footprint import optimized_bytes
from n2nspec.oracle.limits import peak_bytes
from n2nspec.runtime import Model
from n2nspec.runtime.memory import in_words, parse_bytes
from n2nspec.runtime.optimized import Course, Instance, MemoryLimit, OptimizedEngine, instance
from n2nspec.runtime.optimized.buffers import Picture
from n2nspec.spec import load

MIXED = [
    conv("a", out_channels=16), {"type": "BatchNorm2d", "name": "norm"}, {"type": "ReLU", "name": "r"},
    {"type": "Dropout", "name": "drop", "p": 0.3}, {"type": "Identity", "name": "same"},
    conv("b", out_channels=16, stride=2), {"type": "LeakyReLU", "name": "c"},
    {"type": "Dropout", "name": "loose", "p": 0.5}, {"type": "GELU", "name": "g"},
    {"type": "NearestUpsampling", "scale_factor": 2, "name": "up"},
    {"type": "Concat", "from": ["up", "r"], "name": "joined"}, conv("d", out_channels=2),
    {"type": "Sigmoid", "name": "out"},
]  # fmt: skip
"""Random numbers, running statistics, views, layers without a kernel, and a long skip."""


@cache
def network(name: str) -> ShapedGraph:
    return graph_of(MIXED) if name == "mixed" else spec_graph(name)


def shape_of(name: str) -> tuple[int, ...]:
    return (2, 2, 16, 16) if name == "mixed" else SPECS[name]


def trained(
    graph: ShapedGraph, shape: tuple[int, ...], choice: Recomputation | None, dtype: torch.dtype
) -> Any:
    """Everything that three steps leave behind, and the losses."""
    model = model_of(graph, "optimized", dtype)
    assert isinstance(model._engine, OptimizedEngine)
    model._engine.limit = lambda shape: Course((shape[0],), choice)
    y = model_of(graph, "reference", dtype, training=False).forward(pictures(shape, 0, dtype))
    target = pictures(tuple(y.shape), 9, dtype)
    losses = [model.step(pictures(shape, seed, dtype), target) for seed in range(3)]
    return losses, {**model.state_dict(), **model.gradients(), **model.optimizer_state()}


def same_bits(ours: Any, theirs: Any) -> None:
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    for name, value in theirs[1].items():
        found = ours[1][name]
        same = torch.equal(found, value) if isinstance(value, Tensor) else found == value
        assert same, name


@cache
def kept(name: str, dtype: torch.dtype) -> Any:
    return trained(network(name), shape_of(name), None, dtype)


def plan_of(graph: ShapedGraph, shape: tuple[int, ...]) -> Instance:
    engine = OptimizedEngine(graph, kind=torch.float32, place=torch.device("meta"))
    return engine.instance(shape, backward=True, input_gradient=False)


def windows(graph: ShapedGraph, shape: tuple[int, ...]) -> frozenset[str]:
    """The operations that keep copied windows."""
    instance = plan_of(graph, shape)
    found = {r.owner for r in instance.buffers.workspace if r.first < len(instance.kernels) < r.last}
    return frozenset(found)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_is_computed_again_the_bits_are_the_same(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["mixed", "n2n", "unet_small", "dncnn", "red"]))
    graph, shape = network(name), shape_of(name)
    names = sorted(plan_of(graph, shape).program.shapes)
    values = data.draw(st.sets(st.sampled_from(names)))
    columns = data.draw(st.sets(st.sampled_from(sorted(windows(graph, shape)))))
    choice = Recomputation(values=frozenset(values), columns=frozenset(columns))
    same_bits(trained(graph, shape, choice, torch.float32), kept(name, torch.float32))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.booleans().flatmap(lambda some: networks(layers=fusable() if some else None)), st.data())
def test_random_networks_come_to_the_same_bits(network: Network, data: st.DataObject) -> None:
    graph, shape = analyse(load(network.document)), network.input_shape
    names = sorted(plan_of(graph, shape).program.shapes)
    columns = sorted(windows(graph, shape))
    choice = Recomputation(
        values=frozenset(data.draw(st.sets(st.sampled_from(names)))),
        columns=frozenset(data.draw(st.sets(st.sampled_from(columns)))) if columns else frozenset(),
    )
    same_bits(*(trained(graph, shape, one, torch.float64) for one in (choice, None)))


@pytest.mark.parametrize("name", [*SPECS, "mixed"])
def test_everything_computed_again_gives_the_same_bits(name: str) -> None:
    graph, shape = network(name), shape_of(name)
    names = plan_of(graph, shape).program.shapes
    choice = Recomputation(values=frozenset(names), columns=windows(graph, shape))
    same_bits(trained(graph, shape, choice, torch.float64), kept(name, torch.float64))


def test_other_random_numbers_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a mask that is drawn anew is another one."""
    monkeypatch.setattr(instance._Pass, "same_numbers", lambda self, index: nullcontext())
    choice = Recomputation(values=frozenset({"loose", "g"}))
    ours = trained(network("mixed"), shape_of("mixed"), choice, torch.float64)
    with pytest.raises(AssertionError):
        same_bits(ours, kept("mixed", torch.float64))


def test_borders_that_are_not_cleared_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: memory that is shared holds other numbers where zeros belong."""
    monkeypatch.setattr(Picture, "clear_border", lambda self: None)
    ours = trained(network("unet_small"), shape_of("unet_small"), Recomputation(), torch.float64)
    with pytest.raises(AssertionError):
        same_bits(ours, kept("unet_small", torch.float64))


def least(graph: ShapedGraph, shape: tuple[int, ...]) -> str:
    """What the refusal of an impossible limit names, as a limit."""
    with pytest.raises(DiagnosticError) as refusal:
        MemoryLimit(graph, 1, torch.float32).fitted(shape)
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.code == "E505"
    return diagnostic.message.split("at least ")[1].split(";")[0]


LARGE = {
    "n2n": (16, 3, 32, 32), "unet_small": (1, 3, 64, 64), "dncnn": (2, 3, 32, 32), "mixed": (4, 2, 32, 32)
}  # fmt: skip
every_large = pytest.mark.parametrize("name", LARGE)


@every_large
def test_limits_are_kept_down_to_the_least_that_is_told(name: str) -> None:
    graph, shape = network(name), LARGE[name]
    lowest = parse_bytes(least(graph, shape))
    free = MemoryLimit(graph, 2**40, torch.float32).fitted(shape)
    assert free.recompute is None
    assert free.peak == free.without == optimized_bytes(graph, shape, training=True)
    macs = []
    for part in (1.0, 0.6, 0.3, 0.0):
        limit = int(lowest + part * (free.without - lowest))
        fitted = MemoryLimit(graph, limit, torch.float32).fitted(shape)
        assert fitted.peak <= limit
        assert fitted.peak == optimized_bytes(graph, shape, training=True, course=fitted.course)
        macs.append(fitted.recomputed_macs)
    assert macs[0] == 0
    assert macs[-1] == max(macs)
    assert lowest < 0.95 * free.without
    with pytest.raises(DiagnosticError, match="needs at least"):
        MemoryLimit(graph, int(0.95 * lowest), torch.float32).fitted(shape)


@every_large
def test_the_allocator_gives_no_more_than_that(name: str) -> None:
    """Bytes that there are at the worst moment of a real step by the smallest plan: those predicted."""
    graph, shape = network(name), LARGE[name]
    words = least(graph, shape)

    def make() -> Callable[[], object]:
        model = n2nspec.compile(graph.spec, memory_limit=words)
        x = torch.rand(shape)
        target = torch.rand_like(n2nspec.compile(graph.spec).eval()(x))
        model.step(x, target)
        model.step(x, target)
        return lambda: model.step(x, target)

    assert peak_bytes(make, torch.device("cpu")) <= 1.02 * parse_bytes(words)


@every_large
def test_a_plan_is_the_same_every_time(name: str) -> None:
    graph, shape = network(name), LARGE[name]
    limit = 0.9 * MemoryLimit(graph, 2**40, torch.float32).fitted(shape).without
    one, other = (MemoryLimit(graph, int(limit), torch.float32).fitted(shape) for _ in range(2))
    assert one.course == other.course
    assert one.recompute is not None or one.regrouped
    assert str(one) == str(other)


def test_a_model_with_a_limit_keeps_memory_for_one_shape_only() -> None:
    graph = network("unet_small")
    free = MemoryLimit(graph, 2**40, torch.float32).fitted((4, 3, 32, 32))
    model = n2nspec.compile(graph.spec, memory_limit=int(0.9 * free.without))
    plain = n2nspec.compile(graph.spec)
    for batch in (4, 3, 4):
        x = torch.rand(batch, 3, 32, 32)
        assert model.step(x, x) == pytest.approx(plain.step(x, x), rel=1e-6)
        assert model.memory_limit is not None
        assert model.memory_limit.fitted((batch, 3, 32, 32)).peak <= 0.9 * free.without
        assert isinstance(model._engine, OptimizedEngine)
        assert len([held for pool in model._engine._free.values() for held in pool]) == 1
    plain.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model.forward(x), plain.forward(x))
    assert torch.equal(model.backward(x), plain.backward(x))


def test_a_limit_for_what_cannot_be_predicted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "optimized_bytes", lambda *args, **kwargs: None)
    with pytest.raises(DiagnosticError, match="cannot be predicted"):
        MemoryLimit(network("n2n"), 2**40, torch.float32).fitted((8, 3, 32, 32))


def test_where_nothing_helps_the_least_is_what_it_takes() -> None:
    graph, shape = graph_of([{"type": "GELU"}, conv(kernel_size=1, padding=0)]), (1, 2, 4, 4)
    free = MemoryLimit(graph, 2**40, torch.float32).fitted(shape).without
    assert parse_bytes(least(graph, shape)) <= 1.1 * free


def test_a_double_precision_model_is_planned_as_one() -> None:
    graph = network("n2n")
    model = Model(
        graph, engine="optimized", device=torch.device("cpu"), dtype=torch.float64, seed=1, memory_limit=2**40
    )
    assert model.memory_limit is not None
    single = MemoryLimit(graph, 2**40, torch.float32).fitted((8, 3, 32, 32)).peak
    assert 1.9 * single < model.memory_limit.fitted((8, 3, 32, 32)).peak < 2.1 * single


@pytest.mark.parametrize(("engine", "limit"), [("reference", 10**9), ("compiled", 10**9), ("auto", "much"),
                                               ("auto", 0), ("optimized", "-3 MiB")])  # fmt: skip
def test_limits_that_cannot_be_kept_are_refused(engine: str, limit: int | str) -> None:
    with pytest.raises(DiagnosticError, match="E505"):
        n2nspec.compile(network("n2n").spec, engine=engine, memory_limit=limit)


@pytest.mark.parametrize(
    ("text", "count"),
    [("200MiB", 200 * 2**20), ("1.5 GB", 1_500_000_000), ("4096", 4096), ("3 kib", 3072), ("7B", 7)],
)
def test_amounts_of_memory_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "0", "0.0 GB", "-1MB", "1 parsec", "1e3", "12 i", "nan", "2MB3"])
def test_what_is_no_amount_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="expected an amount of memory"):
        parse_bytes(text)


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 2**20 + 1, 123_456_789, 2**31 + 5])
def test_what_is_rounded_up_has_room(count: int) -> None:
    assert count <= parse_bytes(in_words(count, ceil)) <= 1.1 * count
    assert count >= parse_bytes(in_words(count, floor))

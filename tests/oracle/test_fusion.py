"""What a compiled function has in memory, predicted: small functions by hand, one network by measuring it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from n2nspec import compile
from n2nspec.graph import analyse, standing_bytes
from n2nspec.oracle import fusion
from n2nspec.oracle.footprint import compiled_bytes, optimized_bytes
from n2nspec.oracle.fusion import peak
from n2nspec.oracle.limits import peak_bytes
from n2nspec.oracle.recording import recorded
from n2nspec.runtime.compiled.correlate import settled
from n2nspec.runtime.compiled.step import TrainingStep
from n2nspec.runtime.compiled.toolchain import find_compiler
from n2nspec.spec import load

N = 64
ONE = N * N * 4
"""Bytes of a square matrix."""


def meta(*shape: int) -> Tensor:
    return torch.empty(shape or (N, N), device="meta")


def matrices(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> float:
    """The peak of a function of three matrices, in matrices."""
    a, b, c = meta(), meta(), meta()

    def results() -> tuple[Tensor, ...]:
        found = function(a, b, c)
        return found if isinstance(found, tuple) else (found,)

    return peak(recorded(results)) / ONE


CASES: dict[str, tuple[Callable[..., Any], float]] = {
    "a formula is never in memory": (lambda a, b, c: (a * b + 1).tanh() * c, 1),
    "an operand of a product is": (lambda a, b, c: (a + b) @ c, 2),
    "an operand goes after its last product": (lambda a, b, c: (a + b) @ c @ a @ b, 2),
    "one that is needed again stays": (lambda a, b, c: (x := a @ b) @ c @ a + x, 3),
    "a result takes the memory of what ends": (lambda a, b, c: ((a @ b) * c).exp(), 1),
    "not if numbers change places": (lambda a, b, c: (a @ b).t().contiguous() + 1, 2),
    "what frees more comes first": (lambda a, b, c: ((x := a @ b) + 1, x @ c), 2),
    "a sum is in memory": (lambda a, b, c: (a * b).sum(0) + c, 1 + 1 / N),
    "a view is not another value": (lambda a, b, c: (a @ b).view(-1).view(N, N).t(), 1),
    "a given value costs nothing": (lambda a, b, c: a.t(), 0),
    "in place is as if anew": (lambda a, b, c: (a @ b).add_(1).mul_(c), 1),
    "loops in a row go together": (
        lambda a, b, c: settled(settled((a @ b).t().contiguous()).t().contiguous()) @ c,
        3,
    ),
    "loops that read the same run as one": (
        lambda a, b, c: ((x := a @ b) + 1) @ c @ (x * 2) @ (x * 3) @ (x * 4),
        5,
    ),
    "a product lets go between": (lambda a, b, c: settled((a @ b @ c).t().contiguous()) @ c, 2),
}


NETWORK: dict[str, Any] = {
    "spec_version": 1,
    "name": "network",
    "input": {"x": ["N", 3, "H", "W"]},
    "encoder": [
        {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
        {"type": "ReLU", "name": "skip"},
        {"type": "MaxPool2d", "kernel_size": 2},
        {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
        {"type": "ReLU"},
    ],
    "decoder": [
        {"type": "NearestUpsampling", "scale_factor": 2, "name": "up"},
        {"type": "Concat", "from": ["up", "skip"]},
        {"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "padding": 1},
    ],
}
SHAPE = (4, 3, 32, 32)


@pytest.mark.parametrize("name", CASES)
def test_small_functions(name: str) -> None:
    function, expected = CASES[name]
    assert matrices(function) == expected


def test_what_is_settled_stays_instead_of_what_it_is_made_of() -> None:
    def function(keep: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        def made(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            y = keep((a @ b) * (b @ c))
            return (y.t().contiguous() @ a) @ (c @ c) + y

        return made

    assert matrices(function(settled)) < matrices(function(lambda y: y))


def test_a_formula_of_many_places_is_written_down() -> None:
    def function(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        parts = [a[i : i + 8, :8] for i in range(fusion.READS + extra)]
        return (sum(parts[1:], parts[0]).repeat(2, 2) * 2,)

    extra = 0
    small = matrices(function)
    extra = 1
    assert matrices(function) == small + 64 / N**2


def test_loops_that_are_far_apart_do_not_run_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    function, together = CASES["loops that read the same run as one"]
    monkeypatch.setattr(fusion, "FAR", 0)
    assert matrices(function) == together - 1


@pytest.mark.parametrize(("parts", "expected"), [(1, 1), (3, 1), (4, 2), (6, 3)])
def test_what_is_written_into_parts_is_in_memory_in_between(parts: int, expected: int) -> None:
    """Each number of the new value asks for one inside the part and one around it: soon for too many."""

    def function(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        found = a.new_zeros((N, N))
        for i in range(parts):
            found[i : N // 2 + i].add_(a[: N // 2])
        return found

    assert matrices(function) == expected


def test_a_kernel_does_not_wait_for_itself() -> None:
    """The last formula reads what the first one's loops make, and a product of it."""

    def function(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        x = settled(a + b)
        return settled(x + x @ c)

    assert matrices(function) == 2


def test_operations_are_recorded_once_and_in_order() -> None:
    a = meta()
    found = recorded(lambda: [settled((a.t() @ a).view(-1).add_(1))])
    assert [op.name for op in found.operations] == ["mm", "add_", "as_strided", "as_strided"]
    product, update = found.operations[0], found.operations[1]
    assert {use.value for use in product.uses} == found.given
    assert update.uses[0].value == product.makes[0][0]
    assert found.results == {update.makes[0][0]}
    assert set(found.nbytes.values()) == {ONE}


def test_who_looks_at_numbers_is_refused() -> None:
    with pytest.raises(RuntimeError):
        recorded(lambda: [meta() * float(meta(1))])


@pytest.mark.slow
@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
def test_the_compiled_engine_takes_what_was_predicted() -> None:
    spec = load(NETWORK)

    def make() -> Callable[[], float]:
        model = compile(spec, "compiled")
        x, target = torch.rand(SHAPE), torch.rand(SHAPE)

        def step() -> float:
            return model.step(x, target)

        step()
        assert not model.warnings
        gc.collect()  # what compiling leaves in circles goes later otherwise
        return step

    told = compiled_bytes(analyse(spec), SHAPE)
    assert told is not None
    assert told == pytest.approx(peak_bytes(make, torch.device("cpu")), rel=0.1)


def test_a_step_holds_what_stands_and_grows_with_the_batch() -> None:
    graph = analyse(load(NETWORK))
    small, large = compiled_bytes(graph, SHAPE), compiled_bytes(graph, (2 * SHAPE[0], *SHAPE[1:]))
    assert small is not None
    assert large is not None
    standing = standing_bytes(graph, 4, training=True)
    assert large - standing == pytest.approx(2 * (small - standing), rel=0.02)


def test_where_the_engine_gives_way_the_peak_is_the_optimised_one() -> None:
    drops = {**NETWORK, "encoder": [*NETWORK["encoder"], {"type": "Dropout", "p": 0.5}]}
    drops["decoder"] = [{**NETWORK["decoder"][0], "from": "dropout1"}, *NETWORK["decoder"][1:]]
    graph = analyse(load(drops))
    assert compiled_bytes(graph, SHAPE) == optimized_bytes(graph, SHAPE, training=True)


def test_nothing_is_told_of_a_step_that_looks_at_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*args: Any, **kwargs: Any) -> None:
        if torch.zeros(1, device="meta"):
            raise AssertionError

    monkeypatch.setattr(TrainingStep, "__call__", look)
    assert compiled_bytes(analyse(load(NETWORK)), SHAPE) is None

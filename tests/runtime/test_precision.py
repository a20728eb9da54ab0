"""Training steps in half precision: what is rounded, and what is not.

Judged by the same steps in full precision. Nothing is compiled here but in the last test: it is the function
that would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import assume, given
from programs import SPECS, conv, document, pictures
from strategies import Network
from test_compiled import ANY_LAYER, FAST, U_NET, plain, uncompiled
from test_compiled_tiles import all_are_large
from torch._ops import OpOverload

import n2nspec
from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model, compile
from n2nspec.runtime.compiled import engine as compiled_engine
from n2nspec.runtime.compiled import tiles
from n2nspec.runtime.compiled.tiles import Window
from n2nspec.runtime.compiled.trace import traced
from n2nspec.spec import load

__all__ = ["plain"]

ROUNDING = 2.0**-8
"""Of one number: bfloat16 keeps eight bits."""
MIXED = {"train.precision": "bf16-mixed"}


def model_in(precision: str, graph: ShapedGraph, **options: Any) -> Model:
    return compile(graph.spec, "compiled", seed=1, precision=precision, dtype=torch.float32, **options)


def far(graph: ShapedGraph, shape: tuple[int, ...]) -> float:
    """The largest difference of a gradient from that in full precision, relative to the largest one."""
    x = pictures(shape, dtype=torch.float32)
    low, full = model_in("bf16-mixed", graph), model_in("full", graph)
    target = torch.rand(low.output_shape(shape), generator=torch.Generator().manual_seed(5))
    assert low.step(x, target) == pytest.approx(full.step(x, target), rel=0.1)
    assert not low.warnings
    assert low.precision == "bf16-mixed"
    expected = full.gradients()
    largest = max((float(g.abs().max()) for g in expected.values()), default=0.0)
    found = low.gradients()
    assert all(tensor.dtype == torch.float32 for tensor in (*found.values(), *low.parameters().values()))
    return max((difference(found[name], expected[name], largest).relative for name in expected), default=0.0)


@pytest.mark.parametrize("name", SPECS)
def test_our_specs_are_near_full_precision(name: str, plain: Any) -> None:
    graph = analyse(load(f"specs/{name}.toml"))
    assert 1e-5 < far(graph, SPECS[name]) < 16 * ROUNDING


@pytest.mark.parametrize("large", [False, True])
def test_a_u_net_is_near_full_precision_and_in_tiles_too(large: bool, plain: Any) -> None:
    graph = analyse(load(document(U_NET)))
    if large:
        with all_are_large():
            assert 1e-5 < far(graph, (2, 2, 8, 8)) < 16 * ROUNDING
    else:
        assert 1e-5 < far(graph, (2, 2, 8, 8)) < 16 * ROUNDING


@FAST
@given(ANY_LAYER)
def test_random_networks_take_such_steps(network: Network) -> None:
    graph = analyse(load(network.document))
    with uncompiled():
        low = model_in("bf16-mixed", graph)
        assume(low.precision == "bf16-mixed")
        x = pictures(network.input_shape, dtype=torch.float32)
        target = torch.rand(low.output_shape(tuple(x.shape)))
        loss = low.step(x, target)
        full = model_in("full", graph)
        assert not low.warnings
        assert loss == pytest.approx(full.step(x, target), rel=0.2)
        assert low.gradients().keys() == full.gradients().keys()


def test_products_are_of_half_precision_and_the_loss_is_not() -> None:
    found: set[tuple[str, tuple[torch.dtype, ...]]] = set()

    def look(step: Any, arguments: tuple[Any, ...], *, cuda_graphs: bool) -> Callable[..., Any]:
        graph, result = traced(step, arguments)
        for node in graph.graph.nodes:
            if isinstance(node.target, OpOverload) and node.target.overloadpacket.__name__ in ("mm", "addmm"):
                found.add(("product", tuple(arg.meta["val"].dtype for arg in node.args)))
        found.add(("loss", (result.loss.dtype,)))
        return step

    model = model_in("bf16-mixed", analyse(load("specs/n2n.toml")))
    with mock.patch.object(compiled_engine, "compiled", look):
        model.step(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    assert found == {("product", (torch.bfloat16,) * 2), ("loss", (torch.float32,))}


def test_tiles_are_added_up_in_full_precision() -> None:
    """Sums of 1 in bfloat16 end at 256, where the next number is 258."""
    window = Window(count=(40, 40), lengths=(1, 2), stride=(1, 1), dilation=(1, 1), begin=(0, 0))
    x = torch.ones(2, 40, 41, 16, dtype=torch.bfloat16)
    y = torch.ones(3200, 3, dtype=torch.bfloat16)
    with mock.patch.multiple(tiles, TILE=4000, SHIFTED=1):
        gradient = tiles.gradient(x, y, window)
        product, again = tiles.product_and_gradient(x, torch.ones(32, 3, dtype=torch.bfloat16), y, window)
    for found in (gradient, again):
        assert found.dtype == torch.float32
        assert torch.equal(found, torch.full((32, 3), 3200.0))
    assert torch.equal(product, torch.full((3200, 3), 32.0, dtype=torch.bfloat16))


def test_small_updates_add_up(plain: Any) -> None:
    """Weights near 1 whose steps are a small part of bfloat16's last bit."""
    train = {"optimizer": {"type": "SGD", "lr": 1.0}}
    graph = analyse(load(document([conv("a", out_channels=2)], train=train)))
    models = model_in("bf16-mixed", graph), model_in("full", graph)
    x = torch.full((1, 2, 4, 4), 1e-2)
    for model in models:
        model.load_state_dict({name: torch.ones_like(t) for name, t in model.state_dict().items()})
        target = torch.zeros(1, 2, 4, 4)
        for _ in range(20):
            model.step(x, target)
    moved = [model.parameters()["a.weight"] - 1 for model in models]
    assert 0 < float(moved[1].abs().max() / 20) < ROUNDING / 4
    assert difference(moved[0], moved[1]).relative < 4 * ROUNDING


def test_a_training_comes_as_far(plain: Any) -> None:
    graph = analyse(load(document([conv("a"), {"type": "ReLU"}, conv("b")])))
    clean = pictures((4, 2, 8, 8), dtype=torch.float32)
    losses = []
    for precision in ("full", "bf16-mixed"):
        model = model_in(precision, graph)
        losses.append([model.step(clean, clean) for _ in range(100)])
    assert losses[0][-1] < losses[0][0] / 1.5
    assert losses[1][-1] == pytest.approx(losses[0][-1], rel=0.02)
    assert losses[1] != losses[0]


# -- who computes in it --------------------------------------------------------------------------------------


def mixed_spec(**more: Any) -> n2nspec.Spec:
    return load("specs/n2n.toml", overrides=MIXED | more)


@pytest.mark.parametrize(
    ("engine", "options", "used"),
    [
        ("compiled", {}, True), ("compiled", {"precision": "full"}, False),
        ("compiled", {"dtype": "float64"}, False), ("optimized", {}, False), ("reference", {}, False),
        ("auto", {}, False),
    ],
)  # fmt: skip
def test_who_computes_in_half_precision_and_who_says_that_it_does_not(
    engine: str, options: dict[str, Any], used: bool
) -> None:
    model = compile(mixed_spec(), engine, **options)
    assert model.precision == ("bf16-mixed" if used else "full")
    told = [] if used or "precision" in options else ["W503"]
    assert [warning.code for warning in model.warnings] == told
    for warning in model.warnings:
        assert model.engine in warning.message
        assert str(model.dtype).removeprefix("torch.") in warning.message


def test_where_there_is_no_compiler_full_precision_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert [warning.code for warning in compile(mixed_spec(), "compiled").warnings] == ["W501", "W503"]


def test_a_spec_without_it_says_nothing() -> None:
    for engine in ("reference", "optimized", "compiled"):
        model = compile(load("specs/n2n.toml"), engine)
        assert (model.precision, model.warnings) == ("full", ())


def test_weights_in_float64_contradict_it() -> None:
    with pytest.raises(DiagnosticError) as caught:
        mixed_spec(**{"train.dtype": "float64"})
    (found,) = caught.value.diagnostics
    assert found.code == "E115"
    assert "float64" in found.message


def test_an_unknown_precision() -> None:
    with pytest.raises(DiagnosticError, match="E501") as caught:
        compile(mixed_spec(), precision="fp8")
    assert "bf16-mixed" in caught.value.diagnostics[0].help


@pytest.mark.slow
def test_a_compiled_step_is_that_of_the_function(plain: Any) -> None:
    graph = analyse(load(document(U_NET)))
    x, target = pictures((2, 2, 8, 8), dtype=torch.float32), pictures((2, 2, 8, 8), 1, torch.float32)
    uncompiled_model, compiled_model = model_in("bf16-mixed", graph), model_in("bf16-mixed", graph)
    uncompiled_model.step(x, target)
    with mock.patch.object(compiled_engine, "compiled", n2nspec.runtime.compiled.trace.compiled):
        compiled_model.step(x, target)
    assert not compiled_model.warnings
    for name, gradient in compiled_model.gradients().items():
        assert difference(gradient, uncompiled_model.gradients()[name], 0.1).relative < 8 * ROUNDING, name

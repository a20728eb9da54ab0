"""Random networks: every engine against autograd over the spec; corrupted specs are diagnosed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Network, corrupted, networks

from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import Symbolic
from n2nspec.graph import Graph, Node, ShapedGraph, analyse, shape
from n2nspec.layers import LAYERS
from n2nspec.oracle import OracleTrainer, twin
from n2nspec.oracle.compare import difference
from n2nspec.oracle.twin import drawing, quiet
from n2nspec.runtime import Model
from n2nspec.spec import load

TOLERANCE = 1e-8
FAST = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
SEEDS = st.integers(0, 2**16)
each_engine = pytest.mark.parametrize("engine", ["reference", "optimized"])


def model_of(graph: ShapedGraph, engine: str, seed: int = 0) -> Model:
    return Model(graph, engine=engine, device=torch.device("cpu"), dtype=torch.float64, seed=seed)


def agree(graph: ShapedGraph, input_shape: tuple[int, ...], engine: str, seed: int) -> None:
    """Forward, input gradient and every parameter gradient, with a random cotangent, at 1e-8."""
    model = model_of(graph, engine, seed)
    draws = torch.Generator()
    draws.set_state(model.generator_state())
    before = model.state_dict()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(input_shape, dtype=torch.float64, generator=generator)
    y = model.forward(x)
    gy = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    gx = model.backward(gy)

    module = twin(graph, torch.float64)
    module.load_state_dict(before)
    x_theirs = x.clone().requires_grad_()
    with quiet(), drawing(draws):
        y_theirs = module(x_theirs)
    params = dict(module.named_parameters())
    theirs = torch.autograd.grad(
        y_theirs, [x_theirs, *params.values()], gy, allow_unused=True, materialize_grads=True
    )
    gradients = model.gradients()
    assert gradients.keys() == params.keys()

    assert difference(y, y_theirs.detach()).relative <= TOLERANCE
    # rounding noise is measured by the largest gradient: where a sum cancels, its own size says nothing
    floor = 1e-7 * max(float(g.abs().max()) for g in theirs)
    for ours, expected in zip([gx, *(gradients[name] for name in params)], theirs, strict=True):
        assert difference(ours, expected, floor).relative <= TOLERANCE
    state = model.state_dict()
    for name, buffer in module.named_buffers():
        assert difference(state[name].double(), buffer.double()).relative <= TOLERANCE


@each_engine
@FAST
@given(networks(), SEEDS)
def test_documents_agree_with_autograd(engine: str, network: Network, seed: int) -> None:
    agree(analyse(load(network.document)), network.input_shape, engine, seed)


@each_engine
@settings(FAST, max_examples=25)
@given(networks(largest=5), SEEDS)
def test_steps_agree_with_torch(engine: str, network: Network, seed: int) -> None:
    """Three whole steps: forward, loss, backward without the input's gradient, optimiser."""
    model = model_of(analyse(load(network.document)), engine, seed)
    oracle = OracleTrainer(model)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        x = torch.randn(network.input_shape, dtype=torch.float64, generator=generator)
        target = torch.rand(oracle.forward(x).shape, dtype=torch.float64, generator=generator)
        assert model.step(x, target) == pytest.approx(oracle.step(x, target), rel=TOLERANCE, abs=0)


def test_the_strategy_uses_every_layer_type() -> None:
    """Each registered type occurs, so a new layer is drawn without anyone listing it."""
    seen: set[type] = set()

    @settings(FAST, max_examples=600, database=None)
    @given(networks())
    def draw(network: Network) -> None:
        document = network.document
        seen.update(LAYERS[e["type"]] for e in [*document.get("encoder", []), *document.get("decoder", [])])

    draw()
    assert seen >= set(LAYERS.values()) - {LAYERS["Linear"]}  # which takes no pictures


def joined(nodes: list[tuple[str, Any, tuple[str, ...]]], output: str) -> ShapedGraph:
    document = {
        "spec_version": 1,
        "name": "joined",
        "input": {"x": ["N", 2, 6, 5]},
        "encoder": [{"type": "ReLU"}],
    }
    return shape(
        Graph(
            spec=load(document), input_name="x", input_shape=(Symbolic("N"), 2, 6, 5), output=output,
            nodes=tuple(
                Node(name=name, layer=layer, inputs=inputs, stage="encoder", path=("encoder", 0))
                for name, layer, inputs in nodes
            ),
        )
    )  # fmt: skip


def conv() -> Any:
    return LAYERS["Conv2d"](out_channels=2, kernel_size=3, padding=1)


RELU, ADD, CONCAT = (LAYERS[kind]() for kind in ("ReLU", "Add", "Concat"))
JOINS = {
    "add a value to itself": ([("a", conv(), ("x",)), ("s", ADD, ("a", "a"))], "s"),
    "add the input to itself": ([("s", ADD, ("x", "x"))], "s"),
    "concat thrice": ([("a", conv(), ("x",)), ("c", CONCAT, ("a", "x", "a"))], "c"),
    "diamond": (
        [("a", conv(), ("x",)), ("l", conv(), ("a",)), ("r", RELU, ("a",)), ("s", ADD, ("r", "l"))],
        "s",
    ),
    "skips that share one gradient tensor": (
        [
            ("a", conv(), ("x",)), ("s", ADD, ("a", "x")), ("t", ADD, ("s", "a")),
            ("u", ADD, ("t", "s")), ("v", ADD, ("u", "a")),
        ],
        "v",
    ),
    "output that others read": ([("a", conv(), ("x",)), ("b", conv(), ("a",)), ("d", RELU, ("a",))], "a"),
    "dead branch": (
        [("a", conv(), ("x",)), ("dead", conv(), ("a",)), ("deader", RELU, ("dead",)), ("b", RELU, ("a",))],
        "b",
    ),
    "order of arguments": (
        [("a", conv(), ("x",)), ("b", RELU, ("x",)), ("c", CONCAT, ("b", "a")), ("d", conv(), ("c",))],
        "d",
    ),
}  # fmt: skip


@each_engine
@pytest.mark.parametrize("case", JOINS)
def test_named_joins(case: str, engine: str) -> None:
    agree(joined(*JOINS[case]), (3, 2, 6, 5), engine, seed=1)


@each_engine
@pytest.mark.parametrize("case", JOINS)
def test_gradients_accumulate_over_backward_passes(case: str, engine: str) -> None:
    """Two forwards, two backwards in reverse order, as a module used twice."""
    graph = joined(*JOINS[case])
    model = model_of(graph, engine)
    xs = [
        torch.randn(2, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(i))
        for i in (1, 2)
    ]
    once: list[dict[str, torch.Tensor]] = []
    inputs = []
    for x in xs:
        model.zero_grad()
        inputs.append(model.backward(model.forward(x).cos()))
        once.append({name: gradient.clone() for name, gradient in model.gradients().items()})
    model.zero_grad()
    ys = [model.forward(x) for x in xs]
    both = [model.backward(y.cos()) for y in reversed(ys)]
    assert torch.equal(both[1], inputs[0])
    assert torch.equal(both[0], inputs[1])
    for name, gradient in model.gradients().items():
        torch.testing.assert_close(gradient, once[0][name] + once[1][name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("what", ["input gradient", "parameter gradient", "forward"])
def test_a_perturbed_gradient_is_noticed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the comparison of this file sees an error of one part in a million."""
    layer = LAYERS["Conv2d"]
    forward, backward = layer.forward, layer.backward

    def wrong_forward(self: Any, params: Any, *xs: Any) -> Any:
        y, saved = forward(self, params, *xs)
        return y * (1 + 1e-6), saved

    def wrong_backward(self: Any, params: Any, saved: Any, gy: Any, needs: Any) -> Any:
        (gx,), gparams = backward(self, params, saved, gy, needs)
        if what == "input gradient":
            return (gx * (1 + 1e-6),), gparams
        return (gx,), {name: g * (1 + 1e-6) for name, g in gparams.items()}

    if what == "forward":
        monkeypatch.setattr(layer, "forward", wrong_forward)
    else:
        monkeypatch.setattr(layer, "backward", wrong_backward)
    with pytest.raises(AssertionError):
        agree(joined(*JOINS["diamond"]), (3, 2, 6, 5), "reference", seed=1)


@settings(FAST, max_examples=300)
@given(corrupted())
def test_corrupted_specs_give_diagnostics(drawn: tuple[Any, bool]) -> None:
    document, certain = drawn
    try:
        analyse(load(document))
    except DiagnosticError as error:
        found = error.diagnostics
    else:
        assert not certain, "a spec with a mistake was accepted"
        return
    assert found
    assert all(diagnostic.message and diagnostic.severity == "error" for diagnostic in found)

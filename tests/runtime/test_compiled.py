"""The compiled engine: its steps as a plain function beside the reference, models in use, when it gives way.

Compiling takes most of a minute, so almost every test runs the very function that would be compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import FLOOR, SPECS, TOLERANCE, conv, document, graph_of, model_of, pictures, spec_graph, steady
from rules import FORBIDDEN_NAMES
from small_world import pairs, spec
from strategies import Network, fusable, networks
from torch import Tensor
from torch._ops import OpOverload

from n2nspec.graph import ShapedGraph, analyse
from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model
from n2nspec.runtime.compiled import engine as compiled_engine
from n2nspec.runtime.compiled.engine import PATIENCE
from n2nspec.runtime.compiled.trace import traced
from n2nspec.spec import Spec, load
from n2nspec.training import StartInfo, Summary, train
from n2nspec.training.reporter import Silent

__all__ = ["pairs", "spec"]

DTYPES = (torch.float64, torch.float32)
FAST = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ANY_LAYER = st.booleans().flatmap(lambda some: networks(layers=fusable() if some else None))


class Plain:
    """In the place of `torch.compile`: hands on the function itself, and counts."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, step: Any, arguments: tuple[Any, ...], *, cuda_graphs: bool) -> Callable[..., Any]:
        assert not cuda_graphs
        self.shapes.append(tuple(arguments[1].shape))
        return step


def uncompiled() -> Any:
    return mock.patch.object(compiled_engine, "compiled", Plain())


@pytest.fixture
def plain() -> Iterator[Plain]:
    with uncompiled() as found:
        yield found


def agree_on_steps(ours: Model, theirs: Model, x: Tensor, steps: int = 1) -> None:
    """Losses, gradients and running statistics."""
    generator = torch.Generator().manual_seed(5)
    tolerance = TOLERANCE[x.dtype]
    for _ in range(steps):
        target = torch.rand(ours.output_shape(tuple(x.shape)), dtype=torch.float64, generator=generator).to(
            x.dtype
        )
        assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=tolerance, abs=0)
        expected = theirs.gradients()
        largest = max((float(g.abs().max()) for g in expected.values()), default=0.0)
        for name, gradient in ours.gradients().items():
            assert difference(gradient, expected[name], FLOOR[x.dtype] * largest).relative <= tolerance, name
        statistics, parameters = ours.state_dict(), ours.parameters()
        for name, tensor in theirs.state_dict().items():
            if name not in parameters:
                assert difference(statistics[name].double(), tensor.double()).relative <= tolerance, name


def both(graph: ShapedGraph, dtype: torch.dtype = torch.float64) -> tuple[Model, Model]:
    """The engine under test, and the judge."""
    return model_of(graph, "compiled", dtype), model_of(graph, "reference", dtype)


# -- the function -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_our_specs_agree_with_the_reference(name: str, dtype: torch.dtype, plain: Plain) -> None:
    graph = spec_graph(name)
    several = (pictures(SPECS[name], seed, dtype) for seed in range(20))
    x = next(x for x in several if dtype == torch.float64 or steady(graph, x))
    ours, theirs = both(graph, dtype)
    agree_on_steps(ours, theirs, x, steps=2 if dtype == torch.float64 else 1)
    assert plain.shapes == [SPECS[name]]
    assert not ours.warnings
    assert ours.engine == "compiled"


@FAST
@given(ANY_LAYER)
def test_random_networks_agree_with_the_reference(network: Network) -> None:
    graph = analyse(load(network.document))
    with uncompiled():
        ours, theirs = both(graph)
        assume(not ours.warnings)
        agree_on_steps(ours, theirs, pictures(network.input_shape))
        assert not ours.warnings


@pytest.mark.parametrize(
    "last",
    [
        [{"type": "NearestUpsampling", "scale_factor": 3}, conv("b", kernel_size=5, padding=2)],
        [conv("b", type="TransposeConv2d", kernel_size=6, stride=3, padding=2)],
        [
            {"type": "NearestUpsampling", "scale_factor": 3},
            conv("b", kernel_size=5, padding=1, out_channels=9),
        ],
        [conv("b", stride=3, kernel_size=2), {"type": "ReLU"}, conv("c", kernel_size=1, padding=0)],
    ],
    ids=["upsampling", "transposed", "many channels", "stride"],
)  # fmt: skip
def test_phases_whose_windows_begin_unevenly(last: list[dict[str, Any]], plain: Plain) -> None:
    ours, theirs = both(graph_of([conv("a"), {"type": "Tanh"}, *last]))
    agree_on_steps(ours, theirs, pictures((2, 2, 6, 9)), steps=2)
    assert not ours.warnings


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_a_batch_in_any_order_of_memory(channels: int, plain: Plain) -> None:
    """Few channels and many take different ways to the order in which a step reads them."""
    graph = analyse(
        load(document([conv("a", out_channels=channels)], input={"x": ["N", channels, "H", "W"]}))
    )
    ours, theirs = both(graph)
    x = pictures((2, channels, 5, 7))
    target = pictures((2, channels, 5, 7), seed=1)
    expected = theirs.step(x, target)
    for order in (lambda t: t.contiguous(memory_format=torch.channels_last), lambda t: t.mT.contiguous().mT):
        ours = model_of(graph, "compiled")
        assert ours.step(order(x), order(target)) == pytest.approx(expected, rel=1e-10, abs=0)
        assert not ours.warnings


@pytest.mark.parametrize("tile", [1, 2**24], ids=["tiles", "windows"])
@pytest.mark.parametrize("fields", [{}, {"stride": 2}, {"dilation": 2}], ids=str)
def test_pictures_that_begin_within_their_memory(
    fields: dict[str, int], tile: int, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One channel without margins is read where it lies."""
    monkeypatch.setattr("n2nspec.runtime.compiled.tiles.LARGE", tile)
    layers = [conv("a", padding=0, **fields), conv("b")]
    ours, theirs = both(analyse(load(document(layers, input={"x": ["N", 1, "H", "W"]}))))
    x = pictures((5, 1, 9, 8))[2:]
    target = pictures((5, *ours.output_shape((3, 1, 9, 8))[1:]), 1)[2:]
    for _ in range(2):
        assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=1e-10, abs=0)
    assert not ours.warnings


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "SGD", "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"type": "Adam", "weight_decay": 0.1, "amsgrad": True},
        {"type": "AdamW", "maximize": True},
    ],
    ids=str,
)
def test_optimisers_and_their_states(fields: dict[str, Any], plain: Plain) -> None:
    graph = analyse(load(document([conv("a"), {"type": "Tanh"}, conv("b")], train={"optimizer": fields})))
    ours, theirs = both(graph)
    agree_on_steps(ours, theirs, pictures((2, 2, 5, 7)), steps=5)
    expected = theirs.optimizer_state()
    state = ours.optimizer_state()
    assert state.keys() == expected.keys()
    for name in state.keys() - {"steps"}:
        assert difference(state[name].double(), expected[name].double()).relative <= 1e-10, name
    assert state["steps"] == expected["steps"] == 5
    assert len(plain.shapes) == 1


def test_a_nan_gets_through_pooling_and_so_does_its_gradient(plain: Plain) -> None:
    layers = [conv("a", kernel_size=1, padding=0), {"type": "ReLU"}, {"type": "MaxPool2d", "kernel_size": 2}]
    ours = model_of(graph_of(layers), "compiled")
    x = pictures((1, 2, 4, 4))
    x[0, 0, 1, 2] = torch.nan
    loss = ours.step(x, torch.zeros(1, 2, 2, 2, dtype=torch.float64))
    assert loss != loss
    assert all(gradient.isnan().any() for gradient in ours.gradients().values())
    assert plain.shapes


@pytest.mark.parametrize("name", ["unet_small", "dncnn"])
def test_the_function_has_none_of_torchs_own_layers(name: str) -> None:
    """What is compiled is a list of operators, and theirs are not among them."""
    seen: set[str] = set()

    def list_operators(step: Any, arguments: tuple[Any, ...], *, cuda_graphs: bool) -> Callable[..., Any]:
        graph, _ = traced(step, arguments)
        operators = [node.target for node in graph.graph.nodes if isinstance(node.target, OpOverload)]
        seen.update(operator.overloadpacket.__name__ for operator in operators)
        return step

    model = model_of(spec_graph(name), "compiled")
    with mock.patch.object(compiled_engine, "compiled", list_operators):
        model.step(pictures(SPECS[name]), pictures(SPECS[name], 1))
    assert not model.warnings
    assert "mm" in seen
    assert not [operator for operator in seen if FORBIDDEN_NAMES.fullmatch(f"torch.{operator}")]


# -- models in use ------------------------------------------------------------------------------------------


def test_what_was_handed_out_is_never_overwritten(plain: Plain) -> None:
    model = model_of(spec_graph("dncnn"), "compiled")
    x, target = pictures((2, 3, 8, 8)), pictures((2, 3, 8, 8), 1)
    model.step(x, target)
    handed = {
        **{f"gradient {name}": tensor for name, tensor in model.gradients().items()},
        **{f"parameter {name}": tensor for name, tensor in model.parameters().items()},
        **{f"{node}: {name}": t for node, own in model.tensors().items() for name, t in own.items()},
    }
    before = {name: tensor.clone() for name, tensor in handed.items()}
    model.step(x, target)
    model.backward(model.forward(x))
    model.step(x, target)
    assert len(plain.shapes) == 1
    for name, tensor in handed.items():
        assert torch.equal(tensor, before[name]), name


def test_passes_by_hand_between_steps(plain: Plain) -> None:
    ours, theirs = both(spec_graph("n2n"))
    x, target = pictures((2, 3, 8, 8)), pictures((2, 3, 8, 8), 1)
    for _ in range(2):
        outcome = [
            (model.forward(x), model.backward(target), model.step(x, target)) for model in (ours, theirs)
        ]
        for found, expected in zip(*outcome, strict=True):
            assert difference(torch.as_tensor(found), torch.as_tensor(expected)).relative <= 1e-9
        for name, gradient in ours.gradients().items():
            assert difference(gradient, theirs.gradients()[name]).relative <= 1e-9, name
    assert len(plain.shapes) == 1


@pytest.mark.parametrize(("first", "then"), [("compiled", "reference"), ("reference", "compiled")])
def test_a_checkpoint_of_one_engine_continues_in_the_other(first: str, then: str, plain: Plain) -> None:
    graph, x, target = spec_graph("dncnn"), pictures((2, 3, 8, 8)), pictures((2, 3, 8, 8), 1)
    model = model_of(graph, first)
    model.step(x, target)
    other = Model(graph, engine=then, device=model.device, dtype=model.dtype, seed=99)
    other.load_state_dict(model.state_dict())
    other.load_optimizer_state(model.optimizer_state())
    for _ in range(3):
        assert model.step(x, target) == pytest.approx(other.step(x, target), rel=1e-10, abs=0)
    expected = model.state_dict()
    for key, tensor in other.state_dict().items():
        assert difference(tensor.double(), expected[key].double()).relative <= 1e-8
    assert plain.shapes


def test_only_shapes_that_stay_are_compiled(plain: Plain) -> None:
    """A last batch runs uncompiled; a shape that comes again and again is compiled in the end."""
    ours, theirs = both(graph_of([conv("a"), {"type": "ReLU"}, conv("b")]))
    whole, rest = (2, 2, 5, 6), (1, 2, 5, 6)
    for shape in [whole, whole, rest] * 2 * PATIENCE:
        assert ours.step(pictures(shape), pictures(shape, 1)) == pytest.approx(
            theirs.step(pictures(shape), pictures(shape, 1)), rel=1e-9, abs=0
        )
    assert plain.shapes == [whole]
    for _ in range(PATIENCE):
        ours.step(pictures(rest), pictures(rest, 1))
    ours.step(pictures(whole), pictures(whole, 1))
    assert plain.shapes == [whole, rest]


def test_another_learning_rate_compiles_nothing(plain: Plain) -> None:
    ours, theirs = both(graph_of([conv("a")]))
    x = pictures((2, 2, 5, 6))
    for rate in (0.1, 0.01):
        for model in (ours, theirs):
            recipe = model.spec.train
            optimizer = recipe.optimizer.model_copy(update={"lr": rate})
            changed = recipe.model_copy(update={"optimizer": optimizer})
            model.spec = model.spec.model_copy(update={"train": changed})
        agree_on_steps(ours, theirs, x, steps=2)
    assert len(plain.shapes) == 1


def test_inference_mode_makes_no_difference(plain: Plain) -> None:
    model = model_of(spec_graph("dncnn"), "compiled")
    x, target = pictures((2, 3, 8, 8)), pictures((2, 3, 8, 8), 1)
    with torch.inference_mode():
        model.step(x, target)
    model.step(x, target)
    model.load_state_dict(model.state_dict())
    assert len(plain.shapes) == 1
    assert not any(tensor.is_inference() for tensor in model.state_dict().values())


# -- where nothing is compiled ------------------------------------------------------------------------------


def gives_way(model: Model, reason: str) -> None:
    """One warning, and the steps of the optimised engine."""
    assert model.engine == "optimized"
    (warning,) = model.warnings
    assert (warning.code, warning.severity) == ("W501", "warning")
    assert reason in warning.message
    other = model_of(model.graph, "optimized")
    x = pictures((2, 2, 5, 6)).sigmoid()
    for _ in range(2):
        assert model.step(x, x) == other.step(x, x)
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("variable", ["PATH", "CXX"])
def test_without_a_compiler(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    gives_way(model_of(graph_of([conv("a")]), "compiled"), "there is no C++ compiler")


@pytest.mark.parametrize(
    ("last", "loss", "reason"),
    [
        ({"type": "Dropout", "name": "drop"}, "MSE", "drop draws random numbers"),
        ({"type": "Sigmoid"}, "BCE", "the loss BCE looks at"),
        ({"type": "Sigmoid"}, "AnnealedL0", "the loss AnnealedL0 changes"),
    ],
)
def test_steps_that_are_not_alike(last: dict[str, Any], loss: str, reason: str) -> None:
    graph = analyse(load(document([conv("a"), last], train={"loss": {"type": loss}})))
    gives_way(model_of(graph, "compiled"), reason)


@pytest.mark.parametrize("when", ["compiling", "running"])
def test_whatever_fails_at_the_first_step(when: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("header not found\nand more")

    model = model_of(graph_of([conv("a")]), "compiled")
    x = pictures((2, 2, 5, 6))
    before = model.state_dict()
    with mock.patch.object(
        compiled_engine, "compiled", fail if when == "compiling" else lambda *_, **__: fail
    ):
        model.step(x, x)
    model.load_state_dict(before)
    model.load_optimizer_state(model_of(model.graph, "optimized").optimizer_state())
    gives_way(model, "torch.compile fails: header not found")


def test_too_little_memory_is_no_reason_to_go_on() -> None:
    model = model_of(graph_of([conv("a")]), "compiled")
    x = pictures((2, 2, 5, 6))
    with (
        mock.patch.object(compiled_engine, "compiled", mock.Mock(side_effect=MemoryError)),
        pytest.raises(MemoryError),
    ):
        model.step(x, x)
    assert not model.warnings


def test_random_numbers_and_decisions_are_noticed() -> None:
    """Of layers that nobody knows beforehand."""
    x = torch.rand(3)
    with pytest.raises(RuntimeError, match="random"):
        traced(lambda x: x + torch.rand_like(x), (x,))
    with pytest.raises(RuntimeError):
        traced(lambda x: x if x.sum() > 0 else -x, (x,))


class Listener(Silent):
    """Remembers the warnings before and after a training."""

    def on_start(self, info: StartInfo) -> None:
        self.before = [warning.code for warning in info.warnings]

    def on_end(self, summary: Summary) -> None:
        self.after = [warning.code for warning in summary.warnings]


@pytest.mark.parametrize("late", [False, True])
def test_a_training_tells_that_nothing_was_compiled(
    late: bool, spec: Callable[..., Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if late:
        monkeypatch.setattr(compiled_engine, "compiled", mock.Mock(side_effect=RuntimeError("too new")))
    else:
        monkeypatch.setenv("CXX", str(tmp_path))
    told = Listener()
    train(spec(), tmp_path / "run", engine="compiled", reporter=told)
    assert ("W501" in told.before, "W501" in told.after) == (not late, late)


# -- the real thing -----------------------------------------------------------------------------------------

U_NET = [
    conv("a", out_channels=4), {"type": "LeakyReLU", "negative_slope": 0.1, "name": "r"},
    {"type": "MaxPool2d", "kernel_size": 2}, conv("b", out_channels=4), {"type": "ReLU"},
    {"type": "NearestUpsampling", "scale_factor": 2, "name": "u"},
    {"type": "Concat", "from": ["u", "r"]}, conv("c"), {"type": "Add", "from": ["c", "x"]},
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", ["figure 1", "U-Net", "bilinear"])
def test_compiled_steps_agree_with_the_reference(case: str) -> None:
    if case == "figure 1":
        graph, dtype, shape = spec_graph("n2n"), torch.float64, (2, 3, 8, 8)
    elif case == "U-Net":
        graph, dtype, shape = graph_of(U_NET), torch.float32, (2, 2, 8, 8)
    else:
        grown = {"type": "BilinearUpsampling", "scale_factor": [2, 3]}
        graph, dtype, shape = graph_of([conv("a"), grown, conv("b")]), torch.float64, (2, 2, 6, 5)
    ours, theirs = both(graph, dtype)
    x = next(x for seed in range(20) if steady(graph, x := pictures(shape, seed, dtype)))
    agree_on_steps(ours, theirs, x, steps=3 if dtype == torch.float64 else 1)
    assert not ours.warnings

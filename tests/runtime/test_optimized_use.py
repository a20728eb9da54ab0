"""Models on the optimised engine in everyday use: sessions, checkpoints, what was handed out, odd numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from programs import agree, both, conv, graph_of, model_of, of_model, pictures, spec_graph
from torch import Tensor

from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model
from n2nspec.runtime.optimized.convolution import ConvKernel


@pytest.mark.parametrize("name", ["n2n", "unet_small"])
def test_two_hundred_steps_agree(name: str) -> None:
    ours, theirs = both(spec_graph(name))
    for step in range(200):
        x, target = pictures((4, 3, 16, 16), 2 * step), pictures((4, 3, 16, 16), 2 * step + 1).sigmoid()
        assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=1e-8, abs=0)
    expected = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert difference(tensor, expected[name]).relative <= 1e-8


Session = Callable[[Model], list[Tensor]]


def epochs(model: Model) -> list[Tensor]:
    """Batches of which the last is smaller, and held-out pictures of another size, twice."""
    given: list[Tensor] = []
    for epoch in range(2):
        model.train()
        given += [
            torch.tensor(model.step(pictures((n, 3, 16, 16), epoch + n), pictures((n, 3, 16, 16), 9)))
            for n in (4, 4, 3)
        ]
        given += model.parameters().values()
        model.eval()
        given += [model.forward(pictures(shape, epoch)) for shape in ((1, 3, 20, 12), (4, 3, 16, 16))]
    return [*given, *model.state_dict().values()]


def waiting(model: Model) -> list[Tensor]:
    """Forward passes at three sizes that wait for their backward passes, with a step in between."""
    shapes = [(2, 3, 16, 16), (2, 3, 16, 16), (1, 3, 16, 16), (2, 3, 8, 24), (2, 3, 16, 16)]
    given = [model.forward(pictures(shape, i)) for i, shape in enumerate(shapes)]
    for i, shape in reversed(list(enumerate(shapes))):
        given.append(model.backward(pictures(shape, 10 + i)))
        if i == 2:
            given.append(model.forward(pictures(shape, 50)))
            given.append(model.backward(pictures(shape, 51)))
    given += model.gradients().values()
    return given


def stepping_while_waiting(model: Model) -> list[Tensor]:
    shape = (2, 3, 16, 16)
    given = [model.forward(pictures(shape))]
    given += model.gradients().values()
    given.append(torch.tensor(model.step(pictures(shape, 1), pictures(shape, 2))))
    given += model.gradients().values()
    given.append(model.backward(pictures(shape, 3)))
    return [*given, *model.gradients().values(), *model.parameters().values()]


def evaluation_in_between(model: Model) -> list[Tensor]:
    """Backward passes in evaluation mode, which run their forward pass again, and training afterwards."""
    shape = (2, 3, 16, 16)
    given = []
    for _ in range(2):
        given += [model.eval().forward(pictures(shape)), model.backward(pictures(shape, 1))]
        given += [model.train().forward(pictures(shape)), model.backward(pictures(shape, 1))]
        given += [model.forward(pictures(shape, 3)), model.eval().forward(pictures(shape, 2))]
        given.append(torch.tensor(model.step(pictures(shape), pictures(shape, 1))))
        given += [model.forward(pictures(shape)[0]), model.backward(pictures(shape, 1)[0])]
        model.zero_grad()
    return [*given, *model.gradients().values(), *model.state_dict().values()]


@pytest.mark.parametrize("session", [epochs, waiting, stepping_while_waiting, evaluation_in_between])
@pytest.mark.parametrize("name", ["n2n", "dncnn"])
def test_sessions(name: str, session: Session) -> None:
    """Everything that a model gives out is what the reference gives, and stays so."""
    ours, theirs = both(spec_graph(name))
    for found, expected in zip(session(ours), session(theirs), strict=True):
        assert difference(found, expected).relative <= 1e-8  # several steps have been taken


@pytest.mark.parametrize("engine", ["optimized", "reference"])
@pytest.mark.parametrize("name", ["n2n", "dncnn"])
def test_what_was_handed_out_is_never_overwritten(name: str, engine: str) -> None:
    model = model_of(spec_graph(name), engine)
    x, target = pictures((2, 3, 16, 16)), pictures((2, 3, 16, 16), 1)
    handed = {
        "y": model.forward(x),
        "gx": model.backward(target),
        "later y": model.forward(x),
        **{f"gradient {name}": tensor for name, tensor in model.gradients().items()},
        **{f"parameter {name}": tensor for name, tensor in model.parameters().items()},
        **{f"state {name}": tensor for name, tensor in model.state_dict().items()},
        **{f"{node}: {name}": t for node, own in model.tensors().items() for name, t in own.items()},
    }
    before = {name: tensor.clone() for name, tensor in handed.items()}
    for shape in ((2, 3, 16, 16), (1, 3, 8, 8), (2, 3, 16, 16)):
        other, more = pictures(shape, 5), pictures(shape, 6)
        model.step(other, more)
        model.forward(other)
        model.backward(more)
        model.eval().forward(other)
        model.train()
    model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()})
    model.zero_grad()
    for name, tensor in handed.items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(("first", "then"), [("optimized", "reference"), ("reference", "optimized")])
@pytest.mark.parametrize("name", ["n2n", "dncnn"])
def test_a_checkpoint_of_one_engine_continues_in_the_other(name: str, first: str, then: str) -> None:
    graph, x, target = spec_graph(name), pictures((2, 3, 16, 16)), pictures((2, 3, 16, 16), 1)
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


@pytest.mark.parametrize("name", ["n2n", "unet_small"])
def test_a_nan_comes_out_as_a_nan(name: str) -> None:
    """Where the reference has one, in the output and in every gradient that it reaches."""
    ours, theirs = both(spec_graph(name))
    x = pictures((2, 3, 16, 16))
    x[0, 1, 5, 9] = torch.nan
    found, expected = of_model(ours, x), of_model(theirs, x)
    assert expected.y[0].isnan().any()
    assert not expected.y[1].isnan().any()
    assert torch.equal(found.y.isnan(), expected.y.isnan())
    for key, gradient in found.gradients.items():
        assert torch.equal(gradient.isnan(), expected.gradients[key].isnan()), key
    assert ours.step(x, x) != ours.step(x, x), "the loss of a NaN is one"


def test_a_nan_gets_through_pooling_and_so_does_its_gradient() -> None:
    """Nothing equals a NaN, so no place of its window is the largest; one gets the gradient all the same."""
    ours, theirs = both(
        graph_of([conv("a", kernel_size=1, padding=0), {"type": "MaxPool2d", "kernel_size": 2}])
    )
    x = pictures((1, 2, 4, 4))
    x[0, 0, 1, 2] = torch.nan
    y = ours.forward(x)
    assert y[0, :, 0, 1].isnan().all()
    assert y.isnan().sum() == 2
    theirs.forward(x)
    ones = torch.ones_like(y)
    assert ours.backward(ones).isfinite().all()
    theirs.backward(ones)
    assert torch.equal(ours.gradients()["a.bias"], theirs.gradients()["a.bias"])


def test_what_is_made_in_inference_mode_serves_outside() -> None:
    model = model_of(graph_of([conv("a"), {"type": "ReLU"}]), "optimized")
    x = pictures((2, 2, 8, 8))
    with torch.inference_mode():
        expected = model.eval().forward(x), model.train().forward(x)
        gx = model.backward(x)
        model.parameters(), model.gradients()
        model.step(x, x)
    assert torch.equal(model.eval().forward(x), model.forward(x))
    assert not torch.equal(model.forward(x), expected[0]), "the step took effect"
    model.train().forward(x)
    assert model.backward(x).shape == gx.shape
    model.step(x, x)


def test_gradients_of_pictures_lie_in_memory_as_the_pictures_do() -> None:
    model = model_of(spec_graph("n2n"), "optimized")
    y = model.forward(pictures((2, 3, 16, 16)))
    gx = model.backward(y)
    assert y.is_contiguous()
    assert gx.is_contiguous()


def test_dropout_draws_the_same_numbers_in_every_engine() -> None:
    """Random numbers fill a tensor in the order of its memory, and pictures lie channels last in buffers."""
    graph = graph_of([conv("a"), {"type": "Dropout"}, conv("b"), {"type": "ReLU"}, {"type": "Dropout"}])
    ours, theirs = both(graph)
    x = pictures((2, 2, 6, 6))
    agree(of_model(ours, x), of_model(theirs, x))
    ours.eval(), theirs.eval()
    agree(of_model(ours, x), of_model(theirs, x))


def test_a_step_like_the_last_repeats_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing decides on them any more, until weights or gradients lie elsewhere; the numbers stay right."""
    asked: list[str] = []

    def watched(name: str) -> None:
        original = getattr(ConvKernel, name)

        def run(kernel: ConvKernel, *given: object, **more: object) -> object:
            asked.append(name)
            return original(kernel, *given, **more)

        monkeypatch.setattr(ConvKernel, name, run)

    watched("forward")
    watched("backward")
    ours, theirs = both(spec_graph("n2n"))
    seed = iter(range(100))

    def step(batch: int = 3) -> list[str]:
        asked.clear()
        x, target = (pictures((batch, 3, 16, 16), next(seed)) for _ in range(2))
        assert ours.step(x, target.sigmoid()) == pytest.approx(theirs.step(x, target.sigmoid()), rel=1e-10)
        expected = theirs.gradients()
        for name, gradient in ours.gradients().items():
            assert difference(gradient, expected[name]).relative <= 1e-9
        return sorted(set(asked))

    assert step() == ["backward", "forward"]
    assert step() == ["backward"]  # gradients were handed out, so the next ones lie elsewhere
    ours.parameters()
    theirs.parameters()
    assert step() == ["backward", "forward"]
    assert step(2) == ["backward", "forward"]
    assert step() == ["backward"]
    asked.clear()
    x, target = pictures((3, 3, 16, 16)), pictures((3, 3, 16, 16), 1).sigmoid()
    for _ in range(3):
        assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=1e-10)
    assert asked == 4 * ["backward"]  # the first of them moved away from the gradients handed out before


@pytest.mark.parametrize("outputs", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_few_outputs_are_given_their_bias_side_by_side(outputs: int, size: tuple[int, int]) -> None:
    layers = [
        conv("a", out_channels=outputs, kernel_size=1, padding=0),
        {"type": "LeakyReLU", "negative_slope": 0.3},
        conv("b", out_channels=outputs),
        {"type": "Sigmoid"},
    ]
    ours, theirs = both(graph_of(layers))
    x = pictures((3, 2, *size))
    agree(of_model(ours, x), of_model(theirs, x))


@pytest.mark.parametrize("last", [[], [{"type": "Sigmoid"}]], ids=["plain", "sigmoid"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_one_bad_batch_leaves_nothing_behind(value: float, last: list[dict[str, str]]) -> None:
    """Three channels are kept as four, and a NaN in the fourth would stay."""
    layers = [conv("a", out_channels=3), {"type": "Sigmoid"}, conv("b", out_channels=3), *last]
    ours, theirs = both(graph_of(layers))
    x, target = pictures((2, 2, 6, 5)), pictures((2, 3, 6, 5), 1).sigmoid()
    bad = x.clone()
    bad[0, 0, 0, 0] = value
    state = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    for model in (ours, theirs):
        model.step(bad, target)
        of_model(model, bad)
        model.load_state_dict(state)
        model.zero_grad()
    agree(of_model(ours, x), of_model(theirs, x))
    ours, theirs = both(graph_of(layers))
    ours.step(bad, target)
    ours.load_state_dict(theirs.state_dict())
    assert ours.step(x, target) == pytest.approx(theirs.step(x, target), rel=1e-10)


@pytest.mark.parametrize("engine", ["reference", "optimized"])
def test_a_model_that_is_made_in_inference_mode(engine: str) -> None:
    graph = graph_of([conv("a"), {"type": "BatchNorm2d"}, conv("b")])
    with torch.inference_mode():
        ours = model_of(graph, engine)
    theirs = model_of(graph, engine)
    x, target = pictures((3, 2, 6, 5)), pictures((3, 2, 6, 5), 1)
    assert ours.step(x, target) == theirs.step(x, target)
    ours.load_state_dict(theirs.state_dict())
    assert ours.step(x, target) == theirs.step(x, target)

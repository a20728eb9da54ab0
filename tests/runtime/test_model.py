"""The Python API of a compiled model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import n2nspec
from n2nspec.compiler import plan
from n2nspec.diagnostics import DiagnosticError
from n2nspec.runtime import Model


@pytest.fixture(params=["reference", "optimized"])
def model(request: pytest.FixtureRequest) -> Model:
    return n2nspec.compile(n2nspec.load("specs/n2n.toml"), engine=request.param, dtype="float64", seed=3)


def pictures(count: int = 2, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(
        count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def test_forward_backward_and_gradients_agree_with_the_twin(model: Model) -> None:
    x, gy = pictures(), pictures(seed=1)
    module = model.to_torch()
    twin_x = x.clone().requires_grad_()
    expected = module(twin_x)
    expected.backward(gy)
    y = model.forward(x)
    gx = model.backward(gy)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gx, twin_x.grad, rtol=0, atol=1e-12)
    gradients = model.gradients()
    assert list(gradients) == list(dict(module.named_parameters()))
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-10)


def test_backward_accumulates_and_zero_grad_clears(model: Model) -> None:
    x, gy = pictures(), pictures(seed=1)
    model.forward(x)
    model.backward(gy)
    once = {name: gradient.clone() for name, gradient in model.gradients().items()}
    model.forward(x)
    model.backward(gy)
    for name, gradient in model.gradients().items():
        torch.testing.assert_close(gradient, 2 * once[name])
    model.zero_grad()
    assert all(not gradient.any() for gradient in model.gradients().values())


def test_two_forwards_then_two_backwards_run_in_reverse(model: Model) -> None:
    first, second, gy = pictures(seed=1), pictures(seed=2), pictures(seed=3)
    model.forward(first)
    expected = model.backward(gy)
    model.forward(first)
    model.forward(second)
    model.backward(gy)
    torch.testing.assert_close(model.backward(gy), expected, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="call forward first"):
        model.backward(gy)


def test_results_are_never_overwritten_by_later_calls(model: Model) -> None:
    x, gy = pictures(), pictures(seed=1)
    y, gx = model.forward(x), model.backward(gy)
    kept = y.clone(), gx.clone()
    model.step(x, gy)
    model.forward(pictures(seed=5))
    model.backward(pictures(seed=6))
    assert torch.equal(y, kept[0])
    assert torch.equal(gx, kept[1])


@pytest.mark.parametrize("which", ["input", "output"])
def test_a_change_in_place_between_forward_and_backward_is_caught(model: Model, which: str) -> None:
    x = pictures()
    y = model.forward(x)
    (x if which == "input" else y).add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        model.backward(pictures(seed=1))


def test_one_picture_needs_no_batch_axis(model: Model) -> None:
    x = pictures(1)
    y = model.forward(x[0])
    assert y.shape == (3, 16, 16)
    assert torch.equal(y, model.forward(x)[0])
    assert model.backward(pictures(1)).shape == (1, 3, 16, 16)
    assert model.backward(pictures(1)[0]).shape == (3, 16, 16)


def test_a_step_lowers_the_loss_and_returns_it_from_before(model: Model) -> None:
    x, target = pictures(8), pictures(8, seed=1)
    expected = float(((model.forward(x) - target) ** 2).mean())
    losses = [model.step(x, target) for _ in range(20)]
    assert losses[0] == pytest.approx(expected, abs=1e-12)
    assert losses[-1] < losses[0]


def test_inference_does_not_grow(model: Model) -> None:
    model.eval()
    for _ in range(5):
        model.forward(pictures())
    assert len(model._stack) == 1
    model.backward(pictures())


def test_state_and_optimizer_state_continue_a_training_exactly(model: Model) -> None:
    x, target = pictures(4), pictures(4, seed=1)
    model.step(x, target)
    other = n2nspec.compile(model.spec, engine=model.engine, dtype="float64", seed=99)
    other.load_state_dict(model.state_dict())
    other.load_optimizer_state(copy.deepcopy(model.optimizer_state()))
    for _ in range(3):
        assert model.step(x, target) == other.step(x, target)


def test_a_seed_gives_the_same_weights_in_every_dtype() -> None:
    spec = n2nspec.load("specs/n2n.toml")
    double = n2nspec.compile(spec, dtype=torch.float64, seed=1).state_dict()
    single = n2nspec.compile(spec, dtype="float32", seed=1).state_dict()
    other = n2nspec.compile(spec, dtype="float32", seed=2).state_dict()
    for name, tensor in double.items():
        assert torch.equal(tensor.float(), single[name])
        assert not torch.equal(other[name], single[name])


def test_load_state_dict_names_every_difference_and_changes_nothing(model: Model) -> None:
    state = model.state_dict()
    before = model.state_dict()
    state["conv1.weight"] = torch.zeros(1)
    state["more"] = state.pop("conv2.bias")
    with pytest.raises(
        ValueError, match=r"missing conv2\.bias.*unexpected more.*conv1\.weight: expected shape"
    ):
        model.load_state_dict(state)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (torch.rand(2, 1, 16, 16, dtype=torch.float64), "expected shape"),
        (torch.rand(2, 3, 15, 16, dtype=torch.float64), "any multiple of 4 from 4"),
        (torch.rand(2, 3, 16, 16), "torch.float32"),
        (torch.rand(16, 16, dtype=torch.float64), "expected shape"),
        ([1, 2], "torch tensor"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model: Model, bad: Any, match: str) -> None:
    with pytest.raises(DiagnosticError) as error:
        model.forward(bad)
    assert match in str(error.value) + error.value.diagnostics[0].help


def test_a_gradient_of_another_shape_is_refused(model: Model) -> None:
    model.forward(pictures())
    with pytest.raises(ValueError, match="expected a gradient of shape"):
        model.backward(pictures(1))


def test_a_refused_gradient_leaves_the_forward_pass_waiting(model: Model) -> None:
    x, gy = pictures(), pictures(seed=1)
    model.forward(x)
    expected = model.backward(gy)
    model.forward(x)
    with pytest.raises(ValueError, match="expected a gradient of shape"):
        model.backward(pictures(1))
    assert torch.equal(model.backward(gy), expected)


def test_what_was_handed_out_stays_as_it_was(model: Model) -> None:
    x, gy = pictures(), pictures(seed=1)
    model.forward(x)
    model.backward(gy)
    gradients, parameters = model.gradients(), model.parameters()
    handed = parameters | {f"g {name}": gradient for name, gradient in gradients.items()}
    before = {name: tensor.clone() for name, tensor in handed.items()}
    model.forward(x)
    model.backward(gy)
    for name, gradient in model.gradients().items():
        torch.testing.assert_close(gradient, 2 * gradients[name])
    model.step(x, gy)
    model.zero_grad()
    for name, tensor in parameters.items():
        assert torch.equal(tensor, before[name])
        assert torch.equal(gradients[name], before[f"g {name}"])
        assert not torch.equal(tensor, model.parameters()[name])


def test_a_change_of_a_parameter_in_place_takes_effect(model: Model) -> None:
    x = pictures()
    before = model.forward(x)
    model.parameters()["conv1.bias"].add_(1)
    assert not torch.equal(model.forward(x), before)


def test_inference_mode_is_fine(model: Model) -> None:
    x = pictures()
    expected = model.forward(x)
    with torch.inference_mode():
        assert torch.equal(model.forward(x.clone()), expected)


def test_a_symbol_that_stands_twice_has_one_value() -> None:
    document = {
        "spec_version": 1, "name": "t", "input": {"x": ["N", 3, "S", "S"]}, "encoder": [{"type": "ReLU"}],
    }  # fmt: skip
    square = n2nspec.compile(n2nspec.load(document), dtype="torch.float64")
    square.forward(pictures())
    with pytest.raises(DiagnosticError, match="expected shape"):
        square.forward(pictures()[..., :8])


def test_a_target_of_another_shape_is_refused(model: Model) -> None:
    with pytest.raises(DiagnosticError, match="the target's shape is"):
        model.step(pictures(2), pictures(3))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"engine": "warp"}, 'no engine "warp"'),
        ({"dtype": "float8"}, "float8"),
        ({"dtype": torch.int32}, "int32"),
        ({"device": "nowhere"}, '"nowhere" is not available'),
    ],
)
def test_unknown_engines_dtypes_and_devices_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(DiagnosticError, match=match):
        n2nspec.compile(n2nspec.load("specs/n2n.toml"), **arguments)


@pytest.mark.parametrize("given", ["specs/n2n.toml", Path("specs/n2n.toml")])
def test_a_path_instead_of_a_spec_is_told_what_to_do(given: Any) -> None:
    with pytest.raises(TypeError, match=r"pass n2nspec\.load\('specs/n2n\.toml'\)"):
        n2nspec.compile(given)


def test_only_what_is_needed_is_kept() -> None:
    """A ReLU before the first parameter needs no backward in a step, so nothing of it is saved."""
    document = {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["N", 3, "H", "W"]},
        "encoder": [
            {"type": "ReLU", "name": "early"},
            {"type": "Conv2d", "name": "c", "out_channels": 3, "kernel_size": 3, "padding": 1},
            {"type": "Sigmoid", "name": "dead", "from": "early"},
        ],
        "output": {"y": "c"},
    }
    model = n2nspec.compile(n2nspec.load(document), dtype="float64")
    schedule = plan(model.graph, input_gradient=False)
    steps = {step.node.name: step for step in schedule.forward}
    assert set(steps) == {"early", "c"}
    assert not steps["early"].saves
    assert steps["c"].frees == ("early",)
    assert [step.node.name for step in schedule.backward] == ["c"]
    assert schedule.backward[0].needs.inputs == (False,)
    model.step(pictures(), pictures(seed=1))

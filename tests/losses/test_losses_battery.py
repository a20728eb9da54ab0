"""Every loss against its torch.nn twin, from the registry and each file's own cases."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

import n2nspec.losses
from n2nspec.layers._base import BadCase, Case
from n2nspec.losses import BCE, L1, LOSSES, MSE, Loss, LossSpec

TOLERANCE = 1e-8
SPECS = list(dict.fromkeys(LOSSES.values()))
ALL_CASES = [(spec_type, case) for spec_type in SPECS for case in spec_type.CASES]
every_case = pytest.mark.parametrize(
    ("spec_type", "case"), ALL_CASES, ids=lambda v: v.__name__ if isinstance(v, type) else str(v.inputs)
)


def loss_class(spec_type: type[LossSpec]) -> type[Loss]:
    found: type[Loss] = getattr(n2nspec.losses, spec_type.__name__.removesuffix("Spec"))
    return found


def twin_class(spec_type: type[LossSpec]) -> type[torch.nn.Module]:
    path, _, name = spec_type.twin.rpartition(".")
    found: type[torch.nn.Module] = getattr(importlib.import_module(path), name)
    return found


def draw(case: Case, seed: int) -> Tensor:
    (shape,) = case.inputs
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape if case.contiguous else shape[::-1], dtype=torch.float64, generator=generator)
    return x if case.contiguous else x.permute(*reversed(range(x.dim())))


def draw_pair(spec_type: type[LossSpec], case: Case) -> tuple[Tensor, Tensor]:
    """Prediction and target; from 0 to 1, where the loss asks for it."""
    prediction, target = draw(case, 0), draw(case, 1)
    if spec_type.probabilities:
        return prediction.sigmoid(), target.sigmoid()
    return prediction, target


def close(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.shape == b.shape and bool(((a - b).abs() < TOLERANCE).all())


def torch_gradient(
    twin: torch.nn.Module, prediction: Tensor, target: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = prediction.clone().requires_grad_()
    loss = twin(leaf, target)
    loss.backward(g.expand(loss.shape))
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("spec_type", SPECS)
def test_every_loss_brings_cases_and_a_twin(spec_type: type[LossSpec]) -> None:
    assert spec_type.CASES
    assert spec_type.BAD_CASES
    assert any(not case.contiguous for case in spec_type.CASES), "a strided input"
    assert any(case.inputs == ((),) for case in spec_type.CASES), "a single number"
    assert spec_type.twin.startswith(("torch.nn.", "n2nspec.oracle.modules."))
    for name, field in spec_type.model_fields.items():
        assert name == "type" or field.description, f"{name} has no description"
    ours = inspect.signature(loss_class(spec_type)).parameters
    theirs = inspect.signature(twin_class(spec_type)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@every_case
@pytest.mark.parametrize("g", [1.0, -2.5])
def test_loss_and_gradient_equal_torch(spec_type: type[LossSpec], case: Case, g: float) -> None:
    prediction, target = draw_pair(spec_type, case)
    before = prediction.clone(), target.clone()
    twin = twin_class(spec_type)(**spec_type(**case.fields).twin_fields())
    expected, gradient = torch_gradient(twin, prediction, target, torch.tensor(g, dtype=torch.float64))

    spec = spec_type(**case.fields)
    value, saved = spec.forward(prediction, target)
    assert value.dim() == 0
    assert close(value, expected)
    assert close(spec.backward(saved, torch.tensor(g, dtype=torch.float64)), gradient)

    module = loss_class(spec_type)(**case.fields)
    assert close(module(prediction, target), expected)
    assert close(module.backward(g), gradient)
    if prediction.numel():
        assert not close(gradient_off_by_a_little(spec, saved, g), gradient)  # the comparison is sharp
    assert torch.equal(prediction, before[0])
    assert torch.equal(target, before[1])


def gradient_off_by_a_little(spec: LossSpec, saved: Any, g: float) -> Tensor:
    return spec.backward(saved, g) + 2 * TOLERANCE


@every_case
def test_without_reduction(spec_type: type[LossSpec], case: Case) -> None:
    fields = {**case.fields, "reduction": "none"}
    (prediction, target), g = draw_pair(spec_type, case), draw(case, 2)
    expected, gradient = torch_gradient(twin_class(spec_type)(**fields), prediction, target, g)
    module = loss_class(spec_type)(**fields)
    assert module.reduction == "none"
    assert close(module(prediction, target), expected)
    assert close(module.backward(g), gradient)


@every_case
def test_gradients_equal_finite_differences(spec_type: type[LossSpec], case: Case) -> None:
    spec = spec_type(**case.fields)
    (prediction, target), direction = draw_pair(spec_type, case), draw(case, 2)
    _, saved = spec.forward(prediction, target)
    predicted = (spec.backward(saved) * direction).sum().item()
    step = 1e-6
    ahead, _ = spec.forward(prediction + step * direction, target)
    behind, _ = spec.forward(prediction - step * direction, target)
    assert abs((ahead - behind).item() / (2 * step) - predicted) < 1e-6 * max(1.0, abs(predicted))


BAD = [(spec_type, case) for spec_type in SPECS for case in spec_type.BAD_CASES]


@pytest.mark.parametrize(("spec_type", "case"), BAD)
def test_bad_cases_are_refused(spec_type: type[LossSpec], case: BadCase) -> None:
    if case.inputs is None:
        with pytest.raises(ValueError, match=case.match):
            loss_class(spec_type)(**case.fields)
    else:
        module = loss_class(spec_type)(**case.fields)
        with pytest.raises(ValueError, match=case.match):
            module(*(torch.zeros(shape) for shape in case.inputs))


def test_a_loss_is_a_module_with_a_stack() -> None:
    loss = MSE()
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0])
    assert loss(a, b).item() == 2.5
    loss(b, b)
    assert loss.backward().tolist() == [0, 0]
    assert loss.backward().tolist() == [1, 2]
    with pytest.raises(RuntimeError, match=r"MSE\.backward: no forward pass"):
        loss.backward()
    assert loss.param() == []
    assert repr(MSE(reduction="sum")) == "MSE(reduction='sum')"


def test_refusals() -> None:
    loss = MSE()
    x = torch.zeros(2, 3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'target'"):
        loss(x)
    with pytest.raises(TypeError, match="expected a tensor; received list"):
        loss(x, [1])
    assert torch.equal(loss(prediction=x, target=x), torch.tensor(0.0))
    loss.backward(g=1)
    loss.forward(target=x, prediction=x)
    with pytest.raises(ValueError, match=r"expected a gradient of shape \(\); received \(2, 3\)"):
        loss.backward(x)
    loss.backward()  # it still waits
    with pytest.raises(TypeError, match="MSE"):
        MSE(average=True)


@pytest.mark.parametrize("loss_type", [MSE, L1, BCE], ids=lambda loss_type: loss_type.__name__)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("reduce", [None, True, False])
@pytest.mark.parametrize("size_average", [None, True, False])
def test_the_older_words_for_the_reduction(
    loss_type: type[Loss], size_average: bool | None, reduce: bool | None, reduction: str
) -> None:
    """By position, as torch has them; where they are given they count."""
    place = (None,) if loss_type is BCE else ()
    given = (*place, size_average, reduce, reduction)
    twin_type = twin_class(loss_type.spec_type)
    if size_average is None and reduce is None:
        assert loss_type(*given).reduction == twin_type(*given).reduction == reduction
        return
    with pytest.warns(UserWarning, match="deprecated"):
        expected = twin_type(*given).reduction
    with pytest.warns(DeprecationWarning, match=f"older words for reduction='{expected}'"):
        assert loss_type(*given).reduction == expected


def test_a_reduction_in_the_place_of_an_older_word_is_refused() -> None:
    """torch takes any text there for True, which is the mean."""
    with pytest.raises(ValueError, match=r"^MSE: size_average: expected True, False or None; received 'sum'"):
        MSE("sum")
    with pytest.raises(ValueError, match=r"^L1: reduce: expected True, False or None; received 1"):
        L1(None, 1)


def test_autograd_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("autograd was used")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    prediction = torch.randn(3).requires_grad_()
    loss = MSE()
    assert loss(prediction, torch.zeros(3)).grad_fn is None
    assert loss.backward(torch.tensor(1.0)).grad_fn is None
    assert prediction.grad is None
    assert loss(torch.zeros(3), torch.zeros(3)).dtype == torch.float32

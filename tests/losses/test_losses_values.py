"""What the battery's random numbers do not meet: kinks, ends of ranges, annealing, weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from n2nspec import compile, load
from n2nspec.diagnostics import DiagnosticError
from n2nspec.losses import BCE, L1, LOSSES, MSE, AnnealedL0, Charbonnier, Huber, Loss
from n2nspec.oracle import modules


def run(loss: Loss, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient under a cotangent that tells the numbers apart."""
    value = loss(prediction, target)
    return value, loss.backward(cotangent(value))


def torch_run(twin: torch.nn.Module, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = prediction.clone().requires_grad_()
    value = twin(leaf, target)
    value.backward(cotangent(value))
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def cotangent(value: Tensor) -> Tensor:
    numbers = torch.arange(1, value.numel() + 1, dtype=value.dtype) - 2.5
    return numbers.reshape(value.shape)


def same(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        tolerance = 1e-8 if a.dtype == torch.float64 else 1e-6
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


PAIRS = [
    (L1, {}, torch.nn.L1Loss),
    (Huber, {"delta": 0.5}, torch.nn.HuberLoss),
    (Huber, {}, torch.nn.HuberLoss),
    (MSE, {}, torch.nn.MSELoss),
    (Charbonnier, {}, modules.Charbonnier),
    (AnnealedL0, {"gamma_start": 1.0}, modules.AnnealedL0),
    (AnnealedL0, {}, modules.AnnealedL0),
]
every_pair = pytest.mark.parametrize(("ours", "fields", "theirs"), PAIRS)


@every_pair
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_kinks_are_torchs(
    ours: type[Loss], fields: dict[str, float], theirs: type[torch.nn.Module], reduction: str
) -> None:
    residuals = torch.tensor([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1e-12, -1e-5, 100.0], dtype=torch.float64)
    target = torch.zeros_like(residuals)
    fields = {**fields, "reduction": reduction}  # type: ignore[dict-item]
    same(run(ours(**fields), residuals, target), torch_run(theirs(**fields), residuals, target))


@pytest.mark.parametrize(("ours", "theirs"), [(L1, torch.nn.L1Loss), (Huber, torch.nn.HuberLoss)])
def test_infinities_and_nan_are_torchs(ours: type[Loss], theirs: type[torch.nn.Module]) -> None:
    residuals = torch.tensor([math.inf, -math.inf, math.nan, 1e300], dtype=torch.float64)
    target = torch.zeros_like(residuals)
    same(
        run(ours(reduction="none"), residuals, target),
        torch_run(theirs(reduction="none"), residuals, target),
    )


def test_no_square_overflows() -> None:
    big = torch.tensor([1e30, -1e30])
    for loss in (Huber(reduction="none"), Charbonnier(reduction="none"), L1(reduction="none")):
        assert loss(big, torch.zeros(2)).tolist() == pytest.approx([1e30, 1e30])
        assert loss.backward(torch.ones(2)).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("ours", [MSE, L1, Huber, Charbonnier, AnnealedL0, BCE])
def test_the_mean_of_nothing_is_nan_and_its_gradient_empty(ours: type[Loss]) -> None:
    loss = ours()
    assert loss(torch.zeros(0, 3), torch.zeros(0, 3)).isnan()
    assert loss.backward().shape == (0, 3)


@pytest.mark.parametrize("ours", [MSE, L1, Huber, Charbonnier, AnnealedL0, BCE])
def test_float32_stays_float32(ours: type[Loss]) -> None:
    loss = ours()
    assert loss(torch.rand(3), torch.rand(3)).dtype == torch.float32
    assert loss.backward().dtype == torch.float32


# -- binary cross-entropy -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_of_0_and_1_cost_as_much_as_in_torch(dtype: torch.dtype, reduction: str) -> None:
    values = torch.tensor([0.0, 1.0, 1e-30, 1e-300, 0.5, 1 - 1e-7], dtype=dtype)
    prediction, target = (grid.reshape(-1) for grid in torch.meshgrid(values, values, indexing="ij"))
    ours = run(BCE(reduction=reduction), prediction, target)
    theirs = torch_run(torch.nn.BCELoss(reduction=reduction), prediction, target)
    same(ours, theirs)
    assert ours[0].isfinite().all()
    assert ours[1].isfinite().all()


@pytest.mark.parametrize("wrong", [-1e-9, 1 + 1e-9, 7.0, math.inf, -math.inf])
def test_numbers_that_are_no_probabilities_are_refused(wrong: float) -> None:
    """By torch too."""
    good, bad = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([0.5, wrong], dtype=torch.float64)
    loss = BCE()
    with pytest.raises(DiagnosticError, match="the prediction must be from 0 to 1; received") as caught:
        loss(bad, good)
    assert caught.value.diagnostics[0].code == "E209"
    assert "Sigmoid" in caught.value.diagnostics[0].help
    with pytest.raises(DiagnosticError, match=f"the target must be from 0 to 1; received {wrong:.4g}"):
        loss(good, bad)
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        torch.nn.BCELoss()(bad, good)
    with pytest.raises(RuntimeError, match="no forward pass"):
        loss.backward()


def test_a_network_whose_output_is_no_probability_is_told_so() -> None:
    """Not a traceback: the spec is at fault."""
    document = {
        "spec_version": 1, "name": "open", "input": {"x": ["N", 1, "H", "W"]},
        "encoder": [{"type": "LeakyReLU"}], "train": {"loss": {"type": "BCE"}},
    }  # fmt: skip
    model = compile(load(document))
    x = torch.full((1, 1, 2, 2), 0.5)
    assert model.step(x, x) == pytest.approx(math.log(2))
    with pytest.raises(DiagnosticError, match=r"E209: BCE: the prediction must be .* received -0\.01"):
        model.step(-x * 2, x)


def test_a_nan_goes_through() -> None:
    """Training that diverges is told so, not that the network lacks a Sigmoid."""
    loss = BCE(reduction="none")
    value = loss(torch.tensor([math.nan, 0.5, 0.5]), torch.tensor([0.5, math.nan, 0.5]))
    assert value.isnan().tolist() == [True, True, False]
    assert loss.backward(torch.ones(3)).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 3), (2, 1), (1,), ()])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_are_torchs(shape: tuple[int, ...], reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand((2, 2, 3), dtype=torch.float64, generator=generator)
    weight = torch.rand(shape, dtype=torch.float64, generator=generator)
    same(
        run(BCE(weight, reduction=reduction), prediction, target),
        torch_run(torch.nn.BCELoss(weight, reduction=reduction), prediction, target),
    )


@pytest.mark.parametrize("shape", [(2,), (4, 2, 3), (2, 2)])
def test_weights_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    """By torch too."""
    x = torch.full((2, 3), 0.5)
    with pytest.raises(ValueError, match=r"a weight that is broadcast to \(2, 3\); received"):
        BCE(torch.ones(shape))(x, x)
    with pytest.raises(RuntimeError):
        torch.nn.BCELoss(torch.ones(shape))(x, x)
    with pytest.raises(TypeError, match="BCE: weight: expected a tensor; received float"):
        BCE(2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction"):
        BCE(reduction="average")


# -- annealing ----------------------------------------------------------------------------------------


def test_gamma_goes_linearly_from_its_start_to_its_end() -> None:
    spec = LOSSES["AnnealedL0"](reduction="sum", gamma_end=0.5, eps=0.01)
    gammas = [spec.at(progress).gamma_start for progress in (0, 0.25, 0.5, 1)]
    assert gammas == [2.0, 1.625, 1.25, 0.5]
    at = spec.at(0.5)
    assert (at.gamma_end, at.eps, at.reduction, at.type) == (1.25, 0.01, "sum", "AnnealedL0")
    assert at.at(1.0) == at, "the loss of a moment stays what it is"
    assert spec.gamma_start == 2.0
    assert LOSSES["AnnealedL0"]().at(1).gamma_start == 0


@pytest.mark.parametrize("progress", [0, 0.1, 0.5, 0.9, 0.999, 1])
def test_an_annealed_loss_is_that_of_its_gamma(progress: float) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn((2, 50), dtype=torch.float64, generator=generator)
    prediction[0] = target[0]
    spec = LOSSES["AnnealedL0"](eps=1e-3).at(progress)
    value, saved = spec.forward(prediction, target)
    twin = modules.AnnealedL0(**spec.twin_fields())
    assert twin.gamma == pytest.approx(2 * (1 - progress))
    expected, gradient = torch_run(twin, prediction, target)
    same((value, spec.backward(saved, cotangent(value))), (expected, gradient))


def test_at_gamma_0_nothing_pulls() -> None:
    spec = LOSSES["AnnealedL0"]().at(1)
    value, saved = spec.forward(torch.tensor([0.3, 0.0]), torch.tensor([0.0, 0.0]))
    assert value == 1
    assert spec.backward(saved).tolist() == [0.0, 0.0]


def test_towards_gamma_0_the_gradient_points_as_that_of_the_logarithm() -> None:
    residuals = torch.tensor([0.5, -0.01, 1.0, 0.0], dtype=torch.float64)
    spec = LOSSES["AnnealedL0"](reduction="sum").at(1 - 1e-9)
    _, saved = spec.forward(residuals, torch.zeros_like(residuals))
    gradient = spec.backward(saved)
    expected = residuals.sgn() / (residuals.abs() + 1e-8)
    torch.testing.assert_close(gradient / gradient[2], expected / expected[2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_other_losses_do_not_change(name: str) -> None:
    spec = LOSSES[name]()
    assert (spec.at(0.5) is spec) == (name != "AnnealedL0")
    for progress in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="a number from 0 to 1; received"):
            spec.at(progress)


@pytest.mark.parametrize(
    ("progress", "best"), [(0.0, 0.56), (0.5, 0.7), (0.95, 0.2)], ids=["mean", "median", "mode"]
)
def test_the_best_answer_moves_from_mean_over_median_to_mode(progress: float, best: float) -> None:
    """Four of nine targets are right, the others arbitrary; the answers are tried one by one."""
    target = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.7, 0.79, 0.85, 0.9, 1.0], dtype=torch.float64)
    assert target.mean() == pytest.approx(0.56)
    assert target.median() == 0.7
    spec = LOSSES["AnnealedL0"]().at(progress)
    answers = torch.arange(101, dtype=torch.float64) / 100
    losses = [spec.forward(answer.expand(9), target)[0].item() for answer in answers]
    assert answers[losses.index(min(losses))] == pytest.approx(best)

"""`verify` passes what is right, and fails what is wrong by as little as its tolerances say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch

from n2nspec.cli import main
from n2nspec.diagnostics import DiagnosticError
from n2nspec.layers import LAYERS
from n2nspec.losses import LOSSES
from n2nspec.optim import OPTIMIZERS
from n2nspec.oracle import VerifyReport, VerifyRow, verify
from n2nspec.oracle.compare import difference, slope_difference
from n2nspec.spec import Spec, load, to_toml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> VerifyReport:
    return verify(load(ROOT / "specs" / "n2n.toml"))


def small(**train: Any) -> Spec:
    """A network of two convolutions that verifies in a moment."""
    conv = {"type": "Conv2d", "out_channels": 2, "kernel_size": 3, "padding": 1}
    return load({
        "spec_version": 1, "name": "small", "input": {"x": ["N", 2, "H", "W"]},
        "encoder": [conv, {"type": "ReLU"}, {**conv, "stride": 2}, {"type": "Sigmoid"}], "train": train,
    })  # fmt: skip


def failed(spec: Spec) -> set[tuple[str, str, str]]:
    return {(row.name, row.what, row.method) for row in verify(spec).failures}


def test_figure_1_is_right(report: VerifyReport) -> None:
    assert report.ok, [row for row in report.rows if not row.ok]
    assert report.spec == "n2n"
    assert report.input_shape == (2, 3, 32, 32)
    assert not report.failures


@pytest.mark.parametrize("file", sorted((ROOT / "specs").glob("*.toml")), ids=lambda file: file.stem)
def test_every_spec_that_we_ship_is_right(file: Path) -> None:
    assert not verify(load(file), seed=5).failures


def test_torchs_remarks_are_not_the_users_concern() -> None:
    """torch warns about even kernels with "same" padding; warnings are errors here."""
    conv = {"type": "Conv2d", "out_channels": 1, "kernel_size": 2, "padding": "same"}
    assert verify(load({"spec_version": 1, "name": "e", "input": {"x": [1, 1, 5, 5]}, "encoder": [conv]})).ok


def test_there_is_a_row_for_everything(report: VerifyReport) -> None:
    parameters = [
        f"{node}.{kind}" for node in ("conv1", "conv2", "up1.conv", "up2.conv") for kind in ("weight", "bias")
    ]
    by_name: dict[str, set[tuple[str, str]]] = {}
    for row in report.rows:
        by_name.setdefault(row.name, set()).add((row.what, row.method))
    both = ("autograd", "finite differences")
    assert list(by_name) == [
        "conv1", "relu1", "conv2", "relu2", "up1", "relu3", "up2", "sigmoid", "loss", "network", "optimizer",
    ]  # fmt: skip
    for node in ("conv1", "relu1", "conv2", "relu2", "up1", "relu3", "up2", "sigmoid"):
        assert {("forward", "autograd"), *(("input gradient", method) for method in both)} <= by_name[node]
    assert {("weight gradient", method) for method in both} <= by_name["conv1"]
    assert {("conv.bias gradient", method) for method in both} <= by_name["up2"]
    assert by_name["network"] == {
        ("forward", "autograd"),
        ("loss", "autograd"),
        *(("input gradient", method) for method in both),
        *((f"{name} gradient", method) for name in parameters for method in both),
    }
    assert by_name["loss"] == {("forward", "autograd"), *(("input gradient", method) for method in both)}
    assert by_name["optimizer"] == {(f"{name} after 100 steps", "torch.optim") for name in parameters}


def test_the_errors_are_those_of_rounding(report: VerifyReport) -> None:
    """Not merely within the tolerance: far from it, so the tolerance is not what makes it pass."""
    assert max(row.relative for row in report.rows if row.method != "finite differences") < 1e-11
    assert max(row.relative for row in report.rows if row.method == "finite differences") < 3e-7
    assert {row.tolerance for row in report.rows if row.method != "finite differences"} == {1e-8}
    assert {row.tolerance for row in report.rows if row.method == "finite differences"} == {1e-6}


def test_the_seed_decides_everything() -> None:
    assert verify(small()) == verify(small())
    assert verify(small(), seed=1) != verify(small())


def test_torchs_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    verify(small())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_report_is_frozen(report: VerifyReport) -> None:
    with pytest.raises(FrozenInstanceError):
        report.rows[0].relative = 0.0  # type: ignore[misc]


def test_the_size_contract_is_kept() -> None:
    spec = load({
        "spec_version": 1, "name": "even", "input": {"x": ["N", 1, "H", "W"]},
        "encoder": [
            {"type": "Conv2d", "out_channels": 1, "kernel_size": 7, "stride": 7},
            {"type": "NearestUpsampling", "name": "y", "scale_factor": 7},
        ],
        "require": {"same_size": ["x", "y"]},
    })  # fmt: skip
    assert verify(spec).input_shape == (2, 1, 35, 35)


def test_fixed_sizes_are_kept() -> None:
    spec = load(
        {"spec_version": 1, "name": "f", "input": {"x": [3, 1, 5, 9]}, "encoder": [{"type": "Sigmoid"}]}
    )
    report = verify(spec)
    assert report.ok
    assert report.input_shape == (3, 1, 5, 9)
    assert "optimizer" not in {row.name for row in report.rows}, "nothing to optimise"


def test_a_spec_that_does_not_fit_is_the_users_fault() -> None:
    with pytest.raises(DiagnosticError):
        verify(load({
            "spec_version": 1, "name": "f", "input": {"x": ["N", 1, 4, 4]},
            "encoder": [{"type": "Conv2d", "out_channels": 1, "kernel_size": 5}],
        }))  # fmt: skip


def single(layer: dict[str, Any], x: list[Any]) -> Spec:
    conv = {"type": "Conv2d", "out_channels": 3, "kernel_size": 1}
    return load({"spec_version": 1, "name": "s", "input": {"x": x}, "encoder": [layer], "decoder": [conv]})


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        ({"type": "BatchNorm2d", "name": "norm"}, [1, 3, 1, 1]),
        ({"type": "InstanceNorm2d", "name": "norm", "track_running_stats": True}, ["N", 3, 1, 1]),
    ],
)
def test_a_network_that_cannot_be_trained_is_one_error(layer: dict[str, Any], x: list[Any]) -> None:
    with pytest.raises(DiagnosticError, match="nothing to verify: norm needs more than one value") as caught:
        verify(single(layer, x))
    assert [(d.code, d.path) for d in caught.value.diagnostics] == [("E208", "encoder[0]")]


def test_a_size_that_leaves_a_single_value_is_made_larger() -> None:
    """32 × 32 pixels are one after the pooling."""
    spec = load({
        "spec_version": 1, "name": "s", "input": {"x": ["N", 2, "H", "W"]},
        "encoder": [{"type": "AvgPool2d", "kernel_size": 32}, {"type": "InstanceNorm2d"}],
    })  # fmt: skip
    report = verify(spec)
    assert report.ok
    assert report.input_shape == (2, 2, 64, 32)


@pytest.mark.parametrize("seed", range(5))
def test_an_output_that_is_rounding_is_judged_beside_its_input(seed: int) -> None:
    """Ours is exactly 0, torch's 1e-14."""
    report = verify(single({"type": "GroupNorm", "num_groups": 3}, ["N", 3, 1, 1]), seed=seed)
    assert report.ok, report.failures


def test_a_small_output_of_another_layer_is_judged_on_its_own_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: off by 1e-5 of an output that is a billionth of the input."""
    patch(monkeypatch, LAYERS["AvgPool2d"], "forward", lambda out: (out[0] * (1 + 1e-5), out[1]))
    pool = {"type": "AvgPool2d", "name": "pool", "kernel_size": 1, "divisor_override": 10**9}
    spec = load({"spec_version": 1, "name": "s", "input": {"x": ["N", 1, 3, 3]}, "encoder": [pool]})
    assert {("pool", "forward", "autograd"), ("network", "forward", "autograd")} <= failed(spec)


def test_a_window_without_a_pixel_is_refused() -> None:
    """torch's backward would write beyond the picture."""
    pool = {"type": "MaxPool2d", "kernel_size": 2, "padding": 1, "dilation": 3, "ceil_mode": True}
    with pytest.raises(DiagnosticError, match="height 1 is too small, at least 3 is needed"):
        verify(single(pool, ["N", 1, 1, 1]))
    assert verify(single(pool, ["N", 1, 3, 3])).ok


def test_the_optimiser_is_checked_on_some_of_many_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    adam = OPTIMIZERS["Adam"]
    update = adam.update

    def counted(self: Any, param: torch.Tensor, *args: Any) -> None:
        sizes.append(param.numel())
        update(self, param, *args)

    monkeypatch.setattr(adam, "update", counted)
    wide = {"type": "Conv2d", "out_channels": 64, "kernel_size": 9}
    spec = load({"spec_version": 1, "name": "w", "input": {"x": [1, 3, 9, 9]}, "encoder": [wide]})
    assert [row.what for row in verify(spec).rows if row.name == "optimizer"] == [
        "conv2d1.weight after 100 steps", "conv2d1.bias after 100 steps",
    ]  # fmt: skip
    assert set(sizes) == {5000, 64}


def test_a_watcher_is_told_the_parts() -> None:
    told: list[str] = []
    verify(small(), say=told.append)
    assert told == ["conv2d1", "relu1", "conv2d2", "sigmoid1", "loss", "network", "optimizer"]


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(to_toml(small()), encoding="utf-8")
    assert main(["verify", "small.toml"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["verify", "small.toml"]) == 0
    assert "small.toml" in capsys.readouterr().err


Wrong = Callable[..., Any]


def patch(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, change: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda self, *args: change(original(self, *args)))


@pytest.mark.parametrize("factor", [1 + 1e-5, -1, 0, float("nan")])
def test_a_wrong_relu_fails(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the rows of the ReLU and of what lies below it, by both methods, and no other."""
    patch(monkeypatch, LAYERS["ReLU"], "backward", lambda out: ((out[0][0] * factor,), out[1]))
    report = verify(small())
    assert not report.ok
    wrong = {(row.name, row.what, row.method) for row in report.failures}
    for method in ("autograd", "finite differences"):
        assert ("relu1", "input gradient", method) in wrong
        assert ("network", "input gradient", method) in wrong
        assert ("network", "conv2d1.weight gradient", method) in wrong
        assert ("network", "conv2d2.weight gradient", method) not in wrong
    assert all(name in ("relu1", "network") for name, _, _ in wrong)
    assert ("relu1", "forward", "autograd") not in wrong
    assert {row.verdict for row in report.failures} == {"FAIL"}


def test_a_gradient_whose_sum_is_right_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: pixels in the wrong place, which a cotangent of ones could never tell."""
    patch(monkeypatch, LAYERS["Sigmoid"], "backward", lambda out: ((out[0][0].flip(-1),), out[1]))
    assert ("sigmoid1", "input gradient", "finite differences") in failed(small())


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_wrong_parameter_gradient_fails(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(out: Any) -> Any:
        return out[0], {**out[1], key: out[1][key] * (1 + 1e-5)}

    patch(monkeypatch, LAYERS["Conv2d"], "backward", change)
    wrong = failed(small())
    assert {what for _, what, _ in wrong} == {
        f"{key} gradient", f"conv2d1.{key} gradient", f"conv2d2.{key} gradient",
    }  # fmt: skip


def test_a_missing_parameter_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, LAYERS["Conv2d"], "backward", lambda out: (out[0], {"weight": out[1]["weight"]}))
    rows = [row for row in verify(small()).failures if row.name == "conv2d1"]
    assert [row.note for row in rows] == ["backward gave no gradient"]


def test_a_wrong_forward_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, LAYERS["Sigmoid"], "forward", lambda out: (out[0] + 1e-7, out[1]))
    wrong = failed(small())
    assert ("sigmoid1", "forward", "autograd") in wrong
    assert ("network", "forward", "autograd") in wrong


def test_a_wrong_loss_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, LOSSES["MSE"], "backward", lambda out: out * 2)
    wrong = failed(small())
    assert ("loss", "input gradient", "autograd") in wrong
    assert ("loss", "input gradient", "finite differences") in wrong


@pytest.mark.parametrize(
    "loss",
    [
        *({"type": name} for name in LOSSES),
        {"type": "Huber", "delta": 0.1, "reduction": "sum"},
        {"type": "Charbonnier", "eps": 0.2},
        {"type": "AnnealedL0", "gamma_start": 1.0, "gamma_end": 0.5},
        {"type": "AnnealedL0", "gamma_start": 0.0},
    ],
    ids=lambda loss: ",".join(str(value) for value in loss.values()),
)
def test_each_loss_is_right(loss: dict[str, Any]) -> None:
    report = verify(small(loss=loss))
    assert not report.failures
    assert ("loss", loss["type"], "autograd") in {(row.name, row.type, row.method) for row in report.rows}


@pytest.mark.parametrize(
    "optimizer",
    [
        *({"type": name} for name in OPTIMIZERS),
        {"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"type": "SGD", "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "maximize": True},
        {"type": "Adam", "weight_decay": 0.01, "amsgrad": True},
        {"type": "AdamW", "weight_decay": 0.1, "amsgrad": True, "maximize": True},
    ],
    ids=lambda optimizer: ",".join(str(value) for value in optimizer.values()),
)
def test_each_optimiser_is_right(optimizer: dict[str, Any]) -> None:
    report = verify(small(optimizer=optimizer))
    assert not report.failures
    assert sum(row.type == optimizer["type"] for row in report.rows if row.name == "optimizer") == 4


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_slope_of_each_loss_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: by both methods, whatever torch's counterpart is."""
    patch(monkeypatch, LOSSES[name], "slopes", lambda out: out * (1 + 1e-5))
    wrong = failed(small(loss={"type": name}))
    for method in ("autograd", "finite differences"):
        assert ("loss", "input gradient", method) in wrong


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_wrong_optimiser_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a learning rate that is off by one part in a million."""
    cls = OPTIMIZERS[kind]
    original = cls.update

    def update(self: Any, param: Any, grad: Any, state: Any, step: int) -> None:
        original(self.model_copy(update={"lr": self.lr * (1 + 1e-6)}), param, grad, state, step)

    spec = small(optimizer={"type": kind, "lr": 0.1})
    assert verify(spec).ok
    monkeypatch.setattr(cls, "update", update)
    wrong = verify(spec).failures
    assert {row.name for row in wrong} == {"optimizer"}
    assert len(wrong) == 4


def test_the_command_line_says_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(to_toml(small()), "utf-8")
    assert main(["verify", str(file)]) == 0
    assert "FAIL" not in capsys.readouterr().out
    patch(monkeypatch, LAYERS["ReLU"], "backward", lambda out: ((out[0][0] * 1.001,), out[1]))
    assert main(["verify", str(file)]) == 1
    out = capsys.readouterr().out
    assert any(
        "relu1" in line and "input gradient" not in line and "FAIL" not in line for line in out.splitlines()
    )
    assert any("input gradient" in line and line.rstrip().endswith("FAIL") for line in out.splitlines())


def rows(**changes: Any) -> Iterator[VerifyRow]:
    fields: dict[str, Any] = {
        "name": "a", "type": "ReLU", "what": "forward", "method": "autograd",
        "absolute": 0.0, "relative": 0.0, "tolerance": 1e-8,
    }  # fmt: skip
    yield VerifyRow(**(fields | changes))


def test_an_empty_report_is_not_ok() -> None:
    assert not VerifyReport(spec="s", input_shape=(1,), seed=0, rows=()).ok
    assert VerifyReport(spec="s", input_shape=(1,), seed=0, rows=tuple(rows())).ok
    assert not VerifyReport(spec="s", input_shape=(1,), seed=0, rows=tuple(rows(relative=float("nan")))).ok


def test_difference_is_relative_to_the_expected() -> None:
    expected = torch.tensor([1.0, -4.0], dtype=torch.float64)
    error = difference(torch.tensor([1.0, -4.4], dtype=torch.float64), expected)
    assert error.absolute == pytest.approx(0.4)
    assert error.relative == pytest.approx(0.1)
    assert difference(expected, expected).relative == 0
    assert difference(torch.zeros(2), torch.zeros(2)).relative == 0
    assert difference(expected, torch.zeros_like(expected)).relative == 4, "no scale: the difference itself"
    assert difference(expected, expected, floor=100.0).relative == 0
    assert difference(expected[:1], expected).relative == float("inf")
    assert difference(expected.float(), expected).relative == float("inf")
    assert not difference(expected * float("nan"), expected).relative <= 1e-8


def slope(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, gradient: torch.Tensor
) -> float:
    generator = torch.Generator().manual_seed(0)
    return slope_difference(lambda x: float(function(x)), at, gradient, generator, 1e-6).relative


def test_slopes_judge_gradients() -> None:
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert slope(lambda v: v.exp().sum(), x, x.exp()) < 1e-8
    assert slope(lambda v: v.exp().sum(), x, x.exp() * (1 + 1e-5)) > 1e-6
    assert slope(lambda v: (v * 0).sum(), x, x * 0) == 0
    assert slope(lambda v: (v * 0).sum(), x, x * 0 + 1e-3) > 1e-6


def test_slopes_step_around_kinks() -> None:
    """A kink within the first steps but not on the point itself."""
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[3] = 4e-6
    assert slope(lambda v: v.abs().sum(), x, x.sign()) < 1e-8


def test_slopes_that_drown_in_rounding_are_judged_by_it() -> None:
    """As behind many sigmoids: the value is 1e9 times its slope."""
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def flat(v: torch.Tensor) -> torch.Tensor:
        return 1 + 1e-9 * v.sin().sum()

    assert slope(flat, x, 1e-9 * x.cos()) <= 1e-6
    assert slope(flat, x, 1e-5 * x.cos()) > 1e-6, "a claim that is large enough to see"
    assert slope(lambda v: 1 + 1e-5 * v.sin().sum(), x, 1e-9 * x.cos()) > 1e-6, "a slope that is"


def test_a_chain_of_sigmoids_is_right() -> None:
    conv = {"type": "Conv2d", "out_channels": 2, "kernel_size": 1}
    layers = [conv, {"type": "Sigmoid"}] * 8
    spec = load({"spec_version": 1, "name": "deep", "input": {"x": ["N", 1, "H", "W"]}, "encoder": layers})
    assert not verify(spec).failures


def test_slopes_that_never_settle_fail() -> None:
    """A vertical tangent: every step sees another slope, so there is nothing to agree with."""
    x = torch.zeros(1, dtype=torch.float64)

    def root(v: torch.Tensor) -> torch.Tensor:
        return (v.sign() * v.abs().sqrt()).sum()

    assert slope(root, x, torch.ones(1, dtype=torch.float64)) == float("inf")

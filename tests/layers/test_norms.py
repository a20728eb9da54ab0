"""Normalisation layers beyond the battery: long runs, modes, single values, accuracy, extreme numbers."""

from __future__ import annotations

import inspect
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from n2nspec.geometry import ShapeError
from n2nspec.layers import BatchNorm2d, CompositeSpec, GroupNorm, InstanceNorm2d, LayerSpec, Module
from n2nspec.layers._base import Mode, Needs, run
from n2nspec.layers._norm import moments
from n2nspec.layers.batch_norm2d import BatchNorm2dSpec
from n2nspec.layers.conv2d import Conv2dSpec
from n2nspec.layers.group_norm import GroupNormSpec
from n2nspec.layers.instance_norm2d import InstanceNorm2dSpec
from n2nspec.layers.relu import ReLUSpec
from n2nspec.spec import load, to_toml

Making = tuple[type[Module], type[torch.nn.Module], tuple[Any, ...], dict[str, Any]]

RUNNING: list[Making] = [
    (BatchNorm2d, torch.nn.BatchNorm2d, (3,), {}),
    (BatchNorm2d, torch.nn.BatchNorm2d, (3,), {"momentum": None}),
    (BatchNorm2d, torch.nn.BatchNorm2d, (3,), {"momentum": 0.7, "affine": False}),
    (InstanceNorm2d, torch.nn.InstanceNorm2d, (3,), {"track_running_stats": True, "affine": True}),
    (InstanceNorm2d, torch.nn.InstanceNorm2d, (3,), {"track_running_stats": True, "momentum": None}),
]
EVERY: list[Making] = [
    *RUNNING,
    (BatchNorm2d, torch.nn.BatchNorm2d, (3,), {"track_running_stats": False}),
    (InstanceNorm2d, torch.nn.InstanceNorm2d, (3,), {}),
    (GroupNorm, torch.nn.GroupNorm, (1, 3), {}),
    (GroupNorm, torch.nn.GroupNorm, (3, 3), {}),
]
running = pytest.mark.parametrize("making", RUNNING, ids=lambda m: f"{m[0].__name__}{m[3]}")
every = pytest.mark.parametrize("making", EVERY, ids=lambda m: f"{m[0].__name__}{m[2]}{m[3]}")


def pair(making: Making, dtype: torch.dtype = torch.float64) -> tuple[Any, torch.nn.Module]:
    ours, theirs, arguments, fields = making
    return ours(*arguments, **fields, dtype=dtype), theirs(*arguments, **fields, dtype=dtype)


def both(ours: Module, theirs: torch.nn.Module, x: Tensor, gy: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Output, gradient of the input, gradients of the parameters: ours beside torch's."""
    leaf = x.clone().requires_grad_()
    expected = theirs(leaf)
    expected.backward(gy)
    y = ours.forward(x)
    assert leaf.grad is not None
    pairs = [(y, expected.detach()), (ours.backward(gy), leaf.grad)]
    parameters = ours.named_parameters()
    for name, p in theirs.named_parameters():
        assert p.grad is not None
        gradient = parameters[name].grad
        assert gradient is not None
        pairs.append((gradient, p.grad))
    return pairs


# -- running statistics -----------------------------------------------------------------------------------


@running
def test_twenty_batches_then_evaluation(making: Making) -> None:
    ours, theirs = pair(making)
    generator = torch.Generator().manual_seed(0)
    for batch in range(20):
        x = torch.randn((1 + batch % 3, 3, 4, 5), dtype=torch.float64, generator=generator) * (1 + batch) + 3
        theirs(x)
        ours(x)
        for name, buffer in theirs.named_buffers():
            torch.testing.assert_close(getattr(ours, name), buffer, rtol=1e-13, atol=0)
    assert ours.num_batches_tracked == (20 if isinstance(ours, BatchNorm2d) else 0)
    before = ours.state_dict()
    x, gy = (torch.randn((2, 3, 4, 5), dtype=torch.float64, generator=generator) for _ in range(2))
    for mine, expected in both(ours.eval(), theirs.eval(), x, gy):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())


def test_no_momentum_is_the_plain_mean_of_all_batches() -> None:
    layer = BatchNorm2d(2, momentum=None, dtype=torch.float64)
    xs = torch.randn((7, 3, 2, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for x in xs:
        layer(x)
    torch.testing.assert_close(layer.running_mean, xs.mean((0, 1, 3, 4)), rtol=1e-13, atol=1e-15)
    variances = torch.stack([x.var((0, 2, 3)) for x in xs])
    torch.testing.assert_close(layer.running_var, variances.mean(0), rtol=1e-13, atol=0)


def test_statistics_are_replaced_and_those_of_an_earlier_state_stay() -> None:
    layer = BatchNorm2d(2)
    before, state = layer.running_mean, layer.state_dict()
    layer(torch.randn(2, 2, 3, 3) + 5)
    assert not before.any()
    assert layer.running_mean.any()
    assert layer.num_batches_tracked.dtype == torch.int64
    layer.load_state_dict(state)
    assert not layer.running_mean.any()
    assert layer.num_batches_tracked == 0


def test_parameters_start_as_one_and_zero_and_draw_nothing() -> None:
    state = torch.get_rng_state()
    for layer in (BatchNorm2d(3), InstanceNorm2d(3, affine=True), GroupNorm(1, 3)):
        assert layer.weight.tolist() == [1, 1, 1]
        assert layer.bias.tolist() == [0, 0, 0]
        layer.reset_parameters("he")
        assert layer.weight.tolist() == [1, 1, 1]
    assert torch.equal(torch.get_rng_state(), state)
    layer = BatchNorm2d(3)
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.running_var.tolist() == [1, 1, 1]
    assert list(InstanceNorm2d(3).state_dict()) == []


def test_bias_is_taken_by_name_only() -> None:
    assert list(BatchNorm2d(3, bias=False).state_dict())[:2] == ["weight", "running_mean"]
    assert BatchNorm2d(3, bias=False).bias is None
    assert GroupNorm(2, 6).num_channels == 6
    for layer in (BatchNorm2d, InstanceNorm2d, GroupNorm):
        last = list(inspect.signature(layer).parameters.values())[-1]
        assert (last.name, last.kind) == ("bias", inspect.Parameter.KEYWORD_ONLY)
    with pytest.raises(TypeError, match="too many positional arguments"):
        BatchNorm2d(3, 1e-5, 0.1, True, True, None, None, False)
    # older versions of torch know no such argument
    assert "bias" not in BatchNorm2dSpec().twin_fields()
    assert BatchNorm2dSpec(bias=False).twin_fields()["bias"] is False
    assert "bias" not in GroupNormSpec(num_groups=1).twin_fields()


def test_a_cumulative_momentum_survives_toml(tmp_path: Path) -> None:
    """TOML has no null; left out, the momentum would be 0.1 again."""
    assert BatchNorm2dSpec(momentum="cumulative").momentum is None  # type: ignore[arg-type]
    layer = BatchNorm2d(3, momentum="cumulative")
    assert layer.momentum is None
    assert repr(layer) == "BatchNorm2d(3, momentum='cumulative')"
    spec = load({"spec_version": 1, "name": "n", "input": {"x": ["N", 3, "H", "W"]},
                 "encoder": [{"type": "BatchNorm2d", "momentum": "cumulative"}]})  # fmt: skip
    path = tmp_path / "again.toml"
    path.write_text(to_toml(spec), encoding="utf-8")
    assert 'momentum = "cumulative"' in path.read_text(encoding="utf-8")
    assert load(path) == spec


# -- what is refused ----------------------------------------------------------------------------------------

SINGLE: dict[str, Making] = {
    "batch": (BatchNorm2d, torch.nn.BatchNorm2d, (4,), {}),
    "batch, not tracked": (BatchNorm2d, torch.nn.BatchNorm2d, (4,), {"track_running_stats": False}),
    "instance": (InstanceNorm2d, torch.nn.InstanceNorm2d, (4,), {}),
    "instance, tracked": (InstanceNorm2d, torch.nn.InstanceNorm2d, (4,), {"track_running_stats": True}),
    "groups of 1": (GroupNorm, torch.nn.GroupNorm, (4, 4), {}),
    "groups of 2": (GroupNorm, torch.nn.GroupNorm, (2, 4), {}),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("training", [True, False])
def test_a_statistic_of_a_single_value_is_refused_where_torch_refuses(name: str, training: bool) -> None:
    refused = 0
    for n, height, width in product((1, 2), repeat=3):
        ours, theirs = pair(SINGLE[name])
        x = torch.randn((n, 4, height, width), dtype=torch.float64)
        try:
            expected = theirs.train(training)(x)
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match="needs more than one value a channel"):
                ours.train(training).forward(x)
        else:
            torch.testing.assert_close(ours.train(training).forward(x), expected.detach(), rtol=0, atol=1e-9)
    tracked = {"batch", "instance, tracked"}
    never = name == "groups of 2" or (name in tracked and not training)
    assert refused == (0 if never else 2 if name.startswith("instance") else 1)


@pytest.mark.parametrize("affine", [True, False])
def test_groups_that_do_not_divide_the_channels(affine: bool) -> None:
    with pytest.raises(ShapeError, match="got 5 channels, which num_groups = 2 does not divide") as caught:
        GroupNormSpec(num_groups=2, affine=affine).infer(((2, 5, 4, 4),))
    assert caught.value.field == "num_groups"
    assert caught.value.help == "choose num_groups that divide 5"


# -- accuracy and extreme numbers -------------------------------------------------------------------------


@every
def test_pictures_with_a_huge_mean(making: Making) -> None:
    """E[x²] - E[x]² would lose six digits of the variance."""
    ours, theirs = pair(making)
    generator = torch.Generator().manual_seed(1)
    x = 1e-2 * torch.randn((4, 3, 16, 16), dtype=torch.float64, generator=generator) + 10
    gy = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    for mine, expected in both(ours, theirs, x, gy):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-8)


@every
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_float32_is_as_accurate_as_torchs(making: Making, mean: float) -> None:
    """Against torch in float64, for the same float32 pictures."""
    ours, theirs = pair(making, torch.float32)
    exact = pair(making)[1]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn((4, 3, 32, 32), generator=generator) + mean
    gy = torch.randn(x.shape, generator=generator)
    leaf = x.double().requires_grad_()
    y = exact(leaf)
    y.backward(gy.double())
    truths = [y.detach(), leaf.grad, *(p.grad for p in exact.parameters())]
    for (mine, expected), truth in zip(both(ours, theirs, x, gy), truths, strict=True):
        assert truth is not None
        scale = truth.abs().max()
        error, torchs = ((t.double() - truth).abs().max() / scale for t in (mine, expected))
        assert error <= 2 * torchs + 1e-6


def test_the_variance_of_a_constant_is_nothing() -> None:
    mean, var = moments(torch.full((2, 3, 8, 8), 0.1), (0, -2, -1))
    assert var.max() < 1e-16
    torch.testing.assert_close(mean.flatten(), torch.full((3,), 0.1))
    y = GroupNorm(1, 3)(torch.full((2, 3, 8, 8), 7.0))
    assert not y.any()


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_spreads_as_far_as_in_torch(making: Making, bad: float) -> None:
    ours, theirs = pair(making)
    x = torch.randn((2, 3, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[0, 1, 2, 3] = bad
    pairs = both(ours, theirs, x, torch.ones_like(x))
    assert pairs[0][0].isnan().any()
    assert ours.named_buffers().keys() == dict(theirs.named_buffers()).keys()
    pairs += [(getattr(ours, name), buffer) for name, buffer in theirs.named_buffers()]
    for mine, expected in pairs:
        assert torch.equal(mine.isfinite(), expected.isfinite())


# -- in a row ----------------------------------------------------------------------------------------------


class BlockSpec(CompositeSpec):
    """Convolution, normalisation, activation."""

    type: Literal["Block"] = "Block"
    inferred: ClassVar[tuple[str, ...]] = ("in_channels",)

    def parts(self) -> tuple[tuple[str, LayerSpec], ...]:
        return (
            ("conv", Conv2dSpec(out_channels=4, kernel_size=3, bias=False)),
            ("norm", BatchNorm2dSpec()),
            ("act", ReLUSpec()),
        )


@pytest.mark.parametrize("training", [True, False])
def test_a_composite_takes_mode_and_buffers_to_its_parts(training: bool) -> None:
    spec = BlockSpec()
    assert spec.mixes_batch(training=True)
    assert not spec.mixes_batch(training=False)
    assert not spec.sees_whole_picture()
    parts = {
        "conv": torch.nn.Conv2d(3, 4, 3, bias=False),
        "norm": torch.nn.BatchNorm2d(4),
        "act": torch.nn.ReLU(),
    }
    twin = torch.nn.Sequential()
    for name, part in parts.items():
        twin.add_module(name, part.double())
    params = {name: tensor.clone() for name, tensor in twin.train(training).state_dict().items()}
    x = torch.randn((2, 3, 6, 6), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    expected = twin(leaf)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    y, saved, changed = run(spec, params, (x,), Mode(training))
    (gx,), gparams = spec.backward(params, saved, gy, Needs(inputs=(True,)))
    torch.testing.assert_close(y, expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(gx, leaf.grad, rtol=0, atol=1e-10)
    for name, p in twin.named_parameters():
        torch.testing.assert_close(gparams[name], p.grad, rtol=0, atol=1e-10)
    assert bool(changed) == training
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close({**params, **changed}[name], buffer, rtol=0, atol=1e-10)


def test_what_sees_the_whole_picture() -> None:
    assert GroupNormSpec(num_groups=1).sees_whole_picture()
    assert InstanceNorm2dSpec().sees_whole_picture()
    assert not InstanceNorm2dSpec(track_running_stats=True).sees_whole_picture()
    assert not BatchNorm2dSpec().sees_whole_picture()
    assert BatchNorm2dSpec(track_running_stats=False).sees_whole_picture()

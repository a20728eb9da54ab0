"""What a layer on its own promises beyond its mathematics: arguments, names, modes, state, refusals."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict

import numpy as np
import pytest
import torch

from n2nspec.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Identity,
    Linear,
    Module,
    NearestUpsampling,
    ReLU,
    Sequential,
    Sigmoid,
    TransposeConv2d,
    Upsampling,
)


def figure_1() -> Sequential:
    return Sequential(
        Conv2d(3, 16, 3, stride=2, padding=1), ReLU(), Conv2d(16, 32, 3, stride=2, padding=1), ReLU(),
        Upsampling(32, 16, 3, padding=1), ReLU(), Upsampling(16, 3, 3, padding=1), Sigmoid(),
    )  # fmt: skip


def torch_figure_1() -> torch.nn.Sequential:
    def up(inputs: int, outputs: int) -> torch.nn.Sequential:
        parts = {
            "upsample": torch.nn.Upsample(scale_factor=2),
            "conv": torch.nn.Conv2d(inputs, outputs, 3, padding=1),
        }
        return torch.nn.Sequential(OrderedDict(parts))

    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.ReLU(),
        up(32, 16), torch.nn.ReLU(), up(16, 3), torch.nn.Sigmoid(),
    )  # fmt: skip


def test_the_network_of_the_report_equals_torch() -> None:
    ours, theirs = figure_1(), torch_figure_1().double()
    for p in ours.named_parameters().values():
        p.data = p.data.double()
        p.grad = None
    theirs.load_state_dict(ours.state_dict())
    assert sum(p.numel() for p, _ in ours.param()) == 10_147
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((4, 3, 32, 32), dtype=torch.float64, generator=generator)
    gy = torch.randn((4, 3, 32, 32), dtype=torch.float64, generator=generator)
    leaf = x.clone().requires_grad_()
    y = theirs(leaf)
    y.backward(gy)
    torch.testing.assert_close(ours(x), y.detach(), rtol=0, atol=1e-8)
    torch.testing.assert_close(ours.backward(gy), leaf.grad, rtol=0, atol=1e-8)
    for name, p in theirs.named_parameters():
        torch.testing.assert_close(ours.named_parameters()[name].grad, p.grad, rtol=0, atol=1e-8)


# -- arguments ------------------------------------------------------------------------------------------


def test_arguments_by_position_and_name() -> None:
    layer = Conv2d(3, 16, 3, 2, 1, 1, 1, False, "reflect")
    assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) == (3, 16, (3, 3), (2, 2))
    assert layer.padding_mode == "reflect"
    assert layer.bias is None
    assert Conv2d(3, 16, (3, 5)).stride == (1, 1)  # defaults are attributes too
    assert repr(Conv2d(3, 16, 3, stride=2)) == "Conv2d(3, out_channels=16, kernel_size=3, stride=2)"
    assert issubclass(ConvTranspose2d, TransposeConv2d)
    assert repr(ConvTranspose2d(1, 2, 3)) == "ConvTranspose2d(1, out_channels=2, kernel_size=3)"
    assert list(inspect.signature(Upsampling).parameters)[:6] == [
        "in_channels", "out_channels", "kernel_size", "scale_factor", "padding", "dilation",
    ]  # fmt: skip


def test_truth_values_of_other_libraries() -> None:
    for value in (np.True_, torch.tensor(True), torch.tensor([True])[0]):
        assert Conv2d(1, 1, 1, bias=value).bias is not None
    assert Conv2d(1, 1, 1, bias=np.False_).bias is None
    with pytest.raises(ValueError, match="bias: Expected a valid boolean; received 1"):
        Conv2d(1, 1, 1, bias=np.int64(1))


def test_identity_takes_any_argument() -> None:
    x = torch.randn(2, 3)
    layer = Identity(54, unused=True)
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.backward(x), x)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(TypeError, match=r"Conv2d\(in_channels, out_channels.*unexpected"):
        Conv2d(3, 4, 3, colour="red")
    with pytest.raises(TypeError, match="missing"):
        Conv2d(3, 4)
    with pytest.raises(ValueError, match=r"out_channels: .*; stride: "):  # every fault at once
        Conv2d(3, 0, 3, stride=0)
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: output_padding must be smaller than stride"):
        ConvTranspose2d(1, 1, 3, output_padding=2)
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: got 3 input channels"):
        ConvTranspose2d(3, 2, 3, groups=2)
    with pytest.raises(ValueError, match=r'^BatchNorm2d: eps: Expected a valid number; received "x"$'):
        BatchNorm2d(3, "x")
    with pytest.raises(ValueError, match=r"^BatchNorm2d: eps: Expected a number greater than 0; .* -1$"):
        BatchNorm2d(3, eps=-1)
    with pytest.raises(ValueError, match="expected 1 input; received"):
        ReLU()(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match=r"^Conv2d: expects pictures, .*; received 1 dimension, 3$"):
        Conv2d(3, 4, 3)(torch.zeros(3))  # the layer's name once


def test_dtype_and_device_reach_the_parameters() -> None:
    for module in (
        Conv2d(1, 2, 3, device="cpu", dtype=torch.float64),
        Upsampling(1, 2, 3, device="cpu", dtype=torch.float64),
    ):
        assert {p.dtype for p, _ in module.param()} == {torch.float64}
        assert {g.dtype for _, g in module.param()} == {torch.float64}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert Linear(2, 3).weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


# -- parameters and state ---------------------------------------------------------------------------------


def test_parameters_are_plain_tensors_with_zero_gradients() -> None:
    layer = Conv2d(3, 4, 3)
    assert type(layer.weight) is torch.Tensor
    assert not layer.weight.requires_grad
    assert not layer.weight.grad.any()
    assert [p.shape for p, _ in layer.param()] == [(4, 3, 3, 3), (4,)]
    assert all(p.grad is g for p, g in layer.param())


def test_upsampling_is_a_sequential_with_names() -> None:
    up = Upsampling(4, 3, 3, 2, 1)
    assert isinstance(up, Sequential)
    assert [name for name, _ in up.children()] == ["upsample", "conv"]
    assert up.conv.weight.shape == (3, 4, 3, 3)
    assert list(up.state_dict()) == ["conv.weight", "conv.bias"]


def test_state_is_copied_both_ways_and_checked_first() -> None:
    layer = Conv2d(1, 2, 3)
    state = layer.state_dict()
    state["weight"].zero_()
    assert layer.weight.any()
    before = layer.state_dict()
    for bad, match in (
        ({"weight": before["weight"] + 1}, "missing bias"),
        (
            {"weight": before["weight"] + 1, "bias": torch.zeros(3)},
            r"bias: expected shape \(2,\), received \(3,\)",
        ),
        ({**before, "weight": before["weight"] + 1, "extra": torch.zeros(1)}, "unexpected extra"),
    ):
        with pytest.raises(ValueError, match=match):
            layer.load_state_dict(bad)
        assert torch.equal(layer.weight, before["weight"])
    weight = layer.weight
    layer.load_state_dict(state)
    assert layer.weight is weight
    assert not weight.any()


def test_modules_can_be_copied() -> None:
    net = figure_1()
    twin = copy.deepcopy(net)
    twin[0].weight.zero_()
    assert net[0].weight.any()


# -- sequential ----------------------------------------------------------------------------------------


def test_sequential_takes_layers_a_list_or_names() -> None:
    a, b = Conv2d(1, 2, 3), ReLU()
    for net in (Sequential(a, b), Sequential([a, b])):
        assert [name for name, _ in net.children()] == ["0", "1"]
        assert list(net) == [a, b]
        assert net[0] is a
        assert net[-1] is b
        assert len(net) == 2
    named = Sequential(OrderedDict(conv=a, act=b))
    assert named.conv is a
    assert list(named.state_dict()) == ["conv.weight", "conv.bias"]
    x = torch.randn(2, 3)
    assert torch.equal(Sequential()(x), x)
    with pytest.raises(TypeError, match="expected modules of n2nspec; received Linear"):
        Sequential(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="without dots"):
        Sequential(OrderedDict({"a.b": a}))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = named.missing
    assert repr(named).splitlines()[1] == "  (conv): Conv2d(1, out_channels=2, kernel_size=3)"


def test_one_layer_in_two_places() -> None:
    """Weights are shared: gradients add up, and an optimiser sees the parameter once."""
    shared = Linear(3, 3, dtype=torch.float64)
    net = Sequential(shared, Sigmoid(), shared)
    twin_layer = torch.nn.Linear(3, 3).double()
    twin = torch.nn.Sequential(twin_layer, torch.nn.Sigmoid(), twin_layer)
    twin.load_state_dict(net.state_dict())
    assert len(net.param()) == 2
    x = torch.randn((4, 3), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    gy = torch.randn((4, 3), dtype=torch.float64)
    twin(leaf).backward(gy)
    net(x)
    torch.testing.assert_close(net.backward(gy), leaf.grad, rtol=0, atol=1e-8)
    torch.testing.assert_close(shared.weight.grad, twin_layer.weight.grad, rtol=0, atol=1e-8)


# -- modes and memory ------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_child() -> None:
    net = figure_1()
    assert net.training
    assert net[4].conv.training
    assert net.eval() is net
    assert not net[4].conv.training
    assert net.train()[4].conv.training


def test_inference_remembers_only_the_newest_forward() -> None:
    layer = ReLU().eval()
    for _ in range(3):
        layer(torch.randn(5))
    layer.backward(torch.ones(5))
    with pytest.raises(RuntimeError, match=r"ReLU\.backward: no forward pass"):
        layer.backward(torch.ones(5))


def test_inplace_overwrites_its_input_and_keeps_gradients() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0])
    layer = ReLU(inplace=True)
    y = layer(x)
    assert y.data_ptr() == x.data_ptr()
    assert x.tolist() == [0, 0, 2]
    x.fill_(7)  # what forward kept is its own
    assert layer.backward(torch.ones(3)).tolist() == [0, 0, 1]


def test_a_change_in_place_of_what_forward_kept_is_noticed() -> None:
    layer = Sigmoid()
    y = layer(torch.randn(3))
    y.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        layer.backward(torch.ones(3))
    conv = Conv2d(1, 1, 3)
    x = torch.randn(1, 1, 5, 5)
    y = conv(x)
    y.zero_()  # the output is not kept: fine
    conv.backward(torch.ones_like(y))


def test_layers_work_in_inference_mode() -> None:
    with torch.inference_mode():
        net = figure_1()
        y = net(torch.rand(1, 3, 8, 8))
        assert net.backward(torch.ones_like(y)).shape == (1, 3, 8, 8)


# -- numbers at the edges ----------------------------------------------------------------------------------


def test_relu_at_zero_infinity_and_nan_is_torchs() -> None:
    x = torch.tensor([-0.0, 0.0, float("inf"), -float("inf"), float("nan"), -1.0])
    gy = torch.tensor([1.0, 1.0, 2.0, float("inf"), 3.0, float("inf")])
    leaf = x.clone().requires_grad_()
    expected = torch.relu(leaf)
    expected.backward(gy)
    layer = ReLU()
    torch.testing.assert_close(layer(x), expected.detach(), equal_nan=True, rtol=0, atol=0)
    torch.testing.assert_close(layer.backward(gy), leaf.grad, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_sigmoid_is_clipped(dtype: torch.dtype) -> None:
    x = torch.tensor([-1e4, -200.0, -100.0, -5.0, 0.0, 5.0, 100.0, 200.0, 1e4], dtype=dtype)
    leaf = x.clone().requires_grad_()
    torch.sigmoid(leaf).sum().backward()
    layer = Sigmoid()
    y = layer(x)
    assert y[0] == y[1] == y[2]
    assert y[-1] == y[-2] == y[-3]
    torch.testing.assert_close(y, torch.sigmoid(x))
    torch.testing.assert_close(layer.backward(torch.ones_like(x)), leaf.grad)
    assert y.isfinite().all()


def test_three_dimensions_are_one_picture() -> None:
    """Not a batch of signals, as torch.nn.Upsample reads them."""
    x = torch.arange(6.0).reshape(1, 2, 3)
    y = NearestUpsampling((1, 2))(x)
    assert y.tolist() == [[[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]]


def test_module_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Module()  # type: ignore[abstract]

"""What really runs: no autograd, no convolution, pooling, interpolation or normalisation operator of torch.

A dispatch mode sees every operator below Python, whatever it was called by; patched entry points see the
ways in. The architecture test reads the source for the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # a dispatch mode imports it on first use, when the barrier below may already be up
from torch.utils._python_dispatch import TorchDispatchMode

from n2nspec import layers
from n2nspec.layers import LAYERS
from n2nspec.layers._base import Mode, Needs, buffers, run
from n2nspec.runtime import Model, compile
from n2nspec.spec import load

FIGURE_1 = Path(__file__).parents[2] / "specs" / "n2n.toml"
FORBIDDEN = re.compile(
    r"conv(olution|\d|_)|pool|upsample|interpolate|(batch|layer|group|instance|rms)_norm|grid_sampler|cudnn|mkldnn"
    r"|miopen|_backward|_foreach|_fused|mse_loss|linear$|prelu|dropout"
)
ENTRY_POINTS = [
    (torch.Tensor, "backward"), (torch.Tensor, "requires_grad_"), (torch.Tensor, "register_hook"),
    (torch.autograd, "grad"), (torch.autograd, "backward"), (torch.autograd.Function, "apply"),
    (torch.nn.Module, "__call__"), (torch.optim.Optimizer, "step"), (torch.optim.Adam, "step"),
    (torch.optim.SGD, "step"),
    *((torch, name) for name in ("conv2d", "convolution", "conv_transpose2d", "batch_norm", "max_pool2d")),
    *((torch.nn.functional, name) for name in (
        "conv2d", "conv_transpose2d", "interpolate", "upsample", "avg_pool2d", "max_pool2d", "linear",
        "batch_norm", "group_norm", "instance_norm", "layer_norm", "mse_loss", "relu", "sigmoid",
    )),
]  # fmt: skip


class Recorder(TorchDispatchMode):
    """The names of all operators that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func).removeprefix("aten.").split(".")[0])
        return func(*args, **(kwargs or {}))

    @property
    def forbidden(self) -> set[str]:
        return {name for name in self.names if FORBIDDEN.search(name)}


@pytest.fixture
def no_entry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every way into autograd, torch.nn and torch.optim raises."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the product called torch's own gradients or layers")

    for owner, name in ENTRY_POINTS:
        monkeypatch.setattr(owner, name, refuse)
    yield
    monkeypatch.undo()


def figure_1(optimizer: str = "Adam") -> Model:
    return compile(load(FIGURE_1, {"train.optimizer.type": optimizer}), engine="reference")


@pytest.mark.usefixtures("no_entry")
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_a_training_step_runs_on_our_own_layers(optimizer: str) -> None:
    model = figure_1(optimizer)
    x, target = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    with Recorder() as recorder:
        loss = model.step(x, target)
        assert model.step(x, target) != loss, "the step moved the weights"
        gx = model.backward(model.forward(x))
        assert gx.abs().max() > 0
    assert not recorder.forbidden
    assert {"im2col", "bmm"} & recorder.names, "the recorder saw the layers at work"


def test_nothing_is_recorded_for_a_tensor_that_asks_for_gradients() -> None:
    model = figure_1()
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    weight = model.parameters()["conv1.weight"]
    seen: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        y = model.forward(x)
        gx = model.backward(torch.rand_like(y, requires_grad=True))
        model.step(x, torch.rand(1, 3, 16, 16, requires_grad=True))
    assert not seen, "autograd kept a tensor"
    for tensor in (y, gx, weight, *model.gradients().values()):
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
    assert x.grad is None


def cases() -> list[Any]:
    return [
        pytest.param(spec_type, case, id=f"{name}-{index}")
        for name, spec_type in LAYERS.items()
        for index, case in enumerate(spec_type.CASES)
    ]


@pytest.mark.usefixtures("no_entry")
@pytest.mark.parametrize(("spec_type", "case"), cases())
def test_no_layer_runs_a_forbidden_operator(spec_type: Any, case: Any) -> None:
    fields = {name: value for name, value in case.fields.items() if name not in spec_type.inferred}
    layer = spec_type(**fields)
    xs = [torch.rand(shape) for shape in case.inputs]
    params = {p.name: torch.rand(p.shape) for p in layer.parameters(case.inputs)}
    params |= {b.name: torch.full(b.shape, b.value) for b in buffers(layer, case.inputs)}
    for training in (True, False):
        with Recorder() as recorder:
            y, saved, _ = run(layer, params, tuple(xs), Mode(training))
            layer.backward(params, saved, torch.rand_like(y), Needs(inputs=(True,) * len(xs)))
        assert not recorder.forbidden


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: torch.conv2d(x, w),
        lambda x, w: torch.nn.functional.conv2d(x, w),
        lambda x, w: torch.ops.aten.convolution.default(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        lambda x, w: torch.nn.functional.interpolate(x, scale_factor=2),
        lambda x, w: torch.nn.functional.max_pool2d(x, 2),
        lambda x, w: torch.nn.functional.group_norm(x, 1),
        lambda x, w: torch.optim.Adam([w], foreach=True).step(),
        lambda x, w: torch._foreach_add([x], [x]),
        lambda x, w: torch.nn.functional.mse_loss(x, x),
    ],
)
def test_the_recorder_sees_forbidden_operators(call: Any) -> None:
    """Negative controls."""
    x, w = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)
    w.grad = torch.rand_like(w)
    with Recorder() as recorder:
        call(x, w)
    assert recorder.forbidden


@pytest.mark.usefixtures("no_entry")
def test_the_barrier_stands() -> None:
    """Negative control: what the fixture closes is closed."""
    for owner, name in ENTRY_POINTS:
        with pytest.raises(AssertionError, match="torch's own"):
            getattr(owner, name)()


def test_standalone_layers_record_nothing() -> None:
    layer = layers.Conv2d(1, 2, 3)
    y = layer.forward(torch.rand(1, 1, 5, 5, requires_grad=True))
    assert y.grad_fn is None
    assert layer.backward(torch.rand_like(y)).grad_fn is None
    assert not layer.weight.requires_grad

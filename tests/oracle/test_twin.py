"""The twin has our names, our layouts and torch's own layers; the trainer is torch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from n2nspec.graph import analyse
from n2nspec.oracle import OracleTrainer, twin
from n2nspec.runtime import compile
from n2nspec.spec import load

FIGURE_1 = Path(__file__).parents[2] / "specs" / "n2n.toml"


def document(*encoder: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"spec_version": 1, "name": "t", "input": {"x": ["N", 2, 6, 6]}, "encoder": list(encoder), **more}


def test_figure_1_has_our_names_and_torchs_layers() -> None:
    module = twin(analyse(load(FIGURE_1)), torch.float64)
    assert {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()} == {
        "conv1.weight": (16, 3, 3, 3), "conv1.bias": (16,),
        "conv2.weight": (32, 16, 3, 3), "conv2.bias": (32,),
        "up1.conv.weight": (16, 32, 3, 3), "up1.conv.bias": (16,),
        "up2.conv.weight": (3, 16, 3, 3), "up2.conv.bias": (3,),
    }  # fmt: skip
    assert sum(p.numel() for p in module.parameters()) == 10_147
    kinds = [type(child) for child in module.children()]
    assert kinds == [
        torch.nn.Conv2d, torch.nn.ReLU, torch.nn.Conv2d, torch.nn.ReLU,
        torch.nn.Sequential, torch.nn.ReLU, torch.nn.Sequential, torch.nn.Sigmoid,
    ]  # fmt: skip
    assert all(tensor.dtype == torch.float64 for tensor in module.state_dict().values())
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    assert module(x).shape == x.shape
    assert module(x).requires_grad, "differentiated by autograd"


def test_a_state_dict_goes_both_ways() -> None:
    spec = load(FIGURE_1)
    one, other = compile(spec, engine="reference", seed=1), compile(spec, engine="reference", seed=2)
    module = one.to_torch()
    other.load_state_dict(module.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(module(x).detach(), one.forward(x), rtol=1e-5, atol=1e-6)


def test_torchs_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    twin(analyse(load(FIGURE_1)), torch.float32)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["forward", "training", "train", "modules", "_steps", "step-1"])
def test_any_name_that_a_spec_allows(name: str) -> None:
    """A layer may be called like an attribute of torch's modules."""
    conv = {"type": "Conv2d", "out_channels": 2, "kernel_size": 1}
    model = compile(
        load(document({**conv, "name": name}, {"type": "ReLU"})), engine="reference", dtype="float64"
    )
    oracle = OracleTrainer(model)
    assert oracle.state_dict().keys() == {f"{name}.weight", f"{name}.bias"}
    oracle.eval()
    oracle.train()
    x = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    assert model.step(x, x) == pytest.approx(oracle.step(x, x), rel=1e-12)


def test_names_with_dots_are_nested() -> None:
    """As the layers of a block will be called."""
    graph = analyse(load(document({"type": "Conv2d", "out_channels": 2, "kernel_size": 1, "name": "c"})))
    node = graph.nodes[0]
    dotted = type(node)(
        name="e1.conv1", layer=node.layer, inputs=node.inputs, stage=node.stage, path=node.path,
        shape=node.shape, parameters=node.parameters, buffers=node.buffers,
    )  # fmt: skip
    nested = type(graph)(
        spec=graph.spec, input_name=graph.input_name, input_shape=graph.input_shape, nodes=(dotted,),
        output="e1.conv1", sizes=graph.sizes,
    )  # fmt: skip
    module = twin(nested, torch.float64)
    assert module.state_dict().keys() == {"e1.conv1.weight", "e1.conv1.bias"}
    module.load_state_dict(twin(nested, torch.float64).state_dict())
    assert module(torch.rand(1, 2, 6, 6, dtype=torch.float64)).shape == (1, 2, 6, 6)


def test_the_trainer_starts_from_the_weights_and_leaves_them_alone() -> None:
    model = compile(load(FIGURE_1), engine="reference", dtype="float64")
    before = model.state_dict()
    oracle = OracleTrainer(model)
    for name, tensor in oracle.state_dict().items():
        assert torch.equal(tensor, before[name])
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    first = oracle.step(x, x)
    assert first == pytest.approx(float(torch.nn.functional.mse_loss(model.forward(x), x)), rel=1e-12)
    assert oracle.step(x, x) < first
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert not torch.equal(oracle.state_dict()[name], before[name])
    assert not oracle.forward(x).requires_grad


def test_the_optimiser_and_loss_are_the_specs() -> None:
    train = {"optimizer": {"type": "SGD", "lr": 0.25}, "loss": {"type": "MSE", "reduction": "sum"}}
    spec = load(document({"type": "Conv2d", "out_channels": 1, "kernel_size": 1}, train=train))
    oracle = OracleTrainer(compile(spec, engine="reference"))
    assert type(oracle.optimizer) is torch.optim.SGD
    assert oracle.optimizer.param_groups[0]["lr"] == 0.25
    assert isinstance(oracle.loss, torch.nn.MSELoss)
    assert oracle.loss.reduction == "sum"


def test_a_network_without_parameters_has_a_loss_all_the_same() -> None:
    model = compile(load(document({"type": "Sigmoid"})), engine="reference")
    x = torch.rand(1, 2, 6, 6)
    assert OracleTrainer(model).step(x, x) == pytest.approx(model.step(x, x), rel=1e-6)


def test_works_where_gradients_are_switched_off() -> None:
    model = compile(load(FIGURE_1), engine="reference", dtype="float64")
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        losses = [OracleTrainer(model).step(x, x), OracleTrainer(model).step(x, x)]
    assert losses[0] == losses[1]

"""Two nodes with one set of weights, in every engine that starts at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import n2nspec
from n2nspec.oracle import OracleTrainer


def conv(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "Conv2d", "name": name, "out_channels": 3, "kernel_size": 3, "padding": 1, **fields}


DOCUMENT = {
    "spec_version": 1,
    "name": "shared",
    "input": {"x": ["N", 3, "H", "W"]},
    "encoder": [
        conv("a"),
        {"type": "ReLU"},
        conv("b", share="a"),
        {"type": "BatchNorm2d", "name": "first"},
        conv("c", share="a", stride=2),
        {"type": "BatchNorm2d", "name": "second", "share": "first"},
        {"type": "Upsampling", "name": "up", "out_channels": 3, "kernel_size": 3, "padding": 1},
    ],
}


@pytest.mark.parametrize("engine", ["reference", "optimized"])
def test_shared_weights_train_as_in_torch(engine: str) -> None:
    model = n2nspec.compile(n2nspec.load(DOCUMENT), engine=engine, dtype="float64")
    assert list(model.parameters()) == [
        "a.weight", "a.bias", "first.weight", "first.bias", "up.conv.weight", "up.conv.bias",
    ]  # fmt: skip
    oracle = OracleTrainer(model)
    assert len(list(oracle.module.parameters())) == 6
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        x, target = (torch.rand(2, 3, 8, 10, dtype=torch.float64, generator=generator) for _ in range(2))
        assert model.step(x, target) == pytest.approx(oracle.step(x, target), rel=1e-10)
    theirs = oracle.state_dict()
    ours = model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-8, atol=1e-10)
    # running statistics are each place's own
    assert not torch.equal(ours["first.running_mean"], ours["second.running_mean"])
    module = model.to_torch().eval()
    torch.testing.assert_close(model.eval().forward(x), module(x).detach(), rtol=1e-9, atol=1e-12)

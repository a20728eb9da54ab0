"""Figure 1 trains like torch: 200 steps on the same batches, loss by loss, to 1e-8 in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from n2nspec.oracle import OracleTrainer
from n2nspec.oracle.compare import difference
from n2nspec.runtime import Model, compile
from n2nspec.spec import load

SPECS = Path(__file__).parents[2] / "specs"
STEPS = 200


def pictures(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of noisy pairs: smooth pictures, twice with noise of their own."""
    coarse = torch.rand(8, 3, 4, 4, dtype=torch.float64, generator=generator)
    clean = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    noise = 0.1 * torch.randn(2, *clean.shape, dtype=torch.float64, generator=generator)
    return (clean + noise[0]).clamp(0, 1), (clean + noise[1]).clamp(0, 1)


def curves(model: Model) -> tuple[list[float], list[float], OracleTrainer]:
    oracle = OracleTrainer(model)
    generator = torch.Generator().manual_seed(7)
    ours, theirs = [], []
    for _ in range(STEPS):
        x, target = pictures(generator)
        ours.append(model.step(x, target))
        theirs.append(oracle.step(x, target))
    return ours, theirs, oracle


@pytest.mark.parametrize("file", ["n2n.toml", "n2n_sgd.toml"])  # Adam with 0.01, SGD with 1
def test_the_loss_curves_agree(file: str) -> None:
    model = compile(load(SPECS / file), engine="reference", dtype="float64", seed=3)
    ours, theirs, oracle = curves(model)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-8
    assert sum(ours[-20:]) < 0.9 * sum(ours[:20]), "the network has to learn, or the curves say little"
    for name, weight in oracle.state_dict().items():
        assert difference(model.state_dict()[name], weight).relative <= 1e-8, name


def test_another_recipe_gives_another_curve() -> None:
    """Negative control: the comparison sees a learning rate that is off by one part in ten thousand."""
    model = compile(load(SPECS / "n2n.toml"), engine="reference", dtype="float64", seed=3)
    oracle = OracleTrainer(model)
    assert oracle.optimizer is not None
    oracle.optimizer.param_groups[0]["lr"] *= 1.0001
    generator = torch.Generator().manual_seed(7)
    worst = 0.0
    for _ in range(10):
        x, target = pictures(generator)
        worst = max(worst, abs(model.step(x, target) - oracle.step(x, target)))
    assert worst > 1e-8

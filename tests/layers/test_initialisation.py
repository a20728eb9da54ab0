"""Initial parameters: the three bounds of the report, and torch's own distribution."""

from __future__ import annotations

import math

import pytest
import torch

from n2nspec.layers import LAYERS, Conv2d, Linear, Sequential, TransposeConv2d, Upsampling
from n2nspec.layers.initialisation import bound


def test_the_reports_formulae() -> None:
    assert bound("xavier", 27, 144) == math.sqrt(6 / (27 + 144))
    assert bound("he", 27, 144) == math.sqrt(6 / 27)
    assert bound("pytorch", 27, 144) == 1 / math.sqrt(27)
    with pytest.raises(ValueError, match='expected "xavier", "he" or "pytorch"; received \'lecun\''):
        bound("lecun", 1, 1)  # type: ignore[arg-type]


LAYERS_WITH_TWINS = [
    (Conv2d, torch.nn.Conv2d, (6, 48, 5), {}),
    (Conv2d, torch.nn.Conv2d, (12, 48, (3, 5)), {"groups": 3}),
    (TransposeConv2d, torch.nn.ConvTranspose2d, (6, 48, 5), {}),
    (TransposeConv2d, torch.nn.ConvTranspose2d, (48, 12, (3, 5)), {"groups": 3}),
    (Linear, torch.nn.Linear, (50, 300), {}),
]


@pytest.mark.parametrize(("ours", "theirs", "args", "fields"), LAYERS_WITH_TWINS)
def test_the_bound_is_what_torch_draws_within(ours: type, theirs: type, args: tuple, fields: dict) -> None:
    """torch's draws fill U(-a, a): its largest of thousands is within a percent of our a, and never above."""
    torch.manual_seed(0)
    twins = [theirs(*args, **fields) for _ in range(20)]
    layer = ours(*args, **fields)
    for parameter in layer._specs:
        a = bound("pytorch", parameter.fan_in, parameter.fan_out)
        drawn = torch.cat([getattr(twin, parameter.name).detach().flatten() for twin in twins])
        assert 0.99 * a < drawn.abs().max() <= a * (1 + 1e-6), parameter.name


@pytest.mark.parametrize(("ours", "theirs", "args", "fields"), LAYERS_WITH_TWINS)
def test_the_fans_are_torchs(ours: type, theirs: type, args: tuple, fields: dict) -> None:
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(theirs(*args, **fields).weight)
    for parameter in ours(*args, **fields)._specs:
        assert (parameter.fan_in, parameter.fan_out) == (fan_in, fan_out), parameter.name


@pytest.mark.parametrize("scheme", ["xavier", "he", "pytorch"])
def test_draws_are_uniform(scheme: str) -> None:
    layer = Conv2d(40, 80, 5)
    layer.reset_parameters(scheme, torch.Generator().manual_seed(1))
    for parameter in layer._specs:
        a = bound(scheme, parameter.fan_in, parameter.fan_out)  # type: ignore[arg-type]
        values = getattr(layer, parameter.name)
        assert values.abs().max() <= a
    weight = layer.weight.double().flatten() / bound(scheme, 1000, 2000)  # type: ignore[arg-type]
    n = weight.numel()  # 80,000: four standard errors of each moment of U(-1, 1)
    assert abs(weight.mean()) < 4 * math.sqrt(1 / 3 / n)
    assert abs(weight.square().mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / n)
    deciles = torch.histc(weight, 10, -1, 1) / n
    assert (deciles - 0.1).abs().max() < 4 * math.sqrt(0.09 / n)


def test_generators_and_seeds() -> None:
    def draw(seed: int) -> torch.Tensor:
        layer = Linear(3, 4)
        layer.reset_parameters(generator=torch.Generator().manual_seed(seed))
        return layer.weight

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    torch.manual_seed(5)
    first = Linear(3, 4).weight
    torch.manual_seed(5)
    assert torch.equal(Linear(3, 4).weight, first)  # torch's own generator unless one is given
    state = torch.get_rng_state()
    draw(1)  # the constructor draws from the global one, so it does move …
    assert not torch.equal(torch.get_rng_state(), state)
    layer = Linear(3, 4)
    state = torch.get_rng_state()
    layer.reset_parameters(generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)  # … but a generator that is given leaves it alone


def test_one_seed_gives_the_same_numbers_in_every_dtype() -> None:
    double, single = Conv2d(2, 3, 3, dtype=torch.float64), Conv2d(2, 3, 3, dtype=torch.float32)
    for layer in (double, single):
        layer.reset_parameters("he", torch.Generator().manual_seed(3))
    assert torch.equal(double.weight.float(), single.weight)


def test_composites_have_their_parts_fans() -> None:
    spec = LAYERS["Upsampling"](out_channels=5, kernel_size=3)
    assert [(p.name, p.fan_in, p.fan_out) for p in spec.parameters(((1, 4, 8, 8),))] == [
        ("conv.weight", 36, 45),
        ("conv.bias", 36, 45),
    ]
    net = Sequential(Upsampling(4, 5, 3))
    assert net[0].conv.weight.abs().max() <= 1 / 6

"""Noise models: independent, repeatable, and with the statistics that they state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from n2nspec.noise import NOISES, NoiseSpec

MODELS: list[NoiseSpec] = [
    NOISES["gaussian"](sigma=0.2),
    NOISES["poisson"](peak=30),
    NOISES["bernoulli"](p=0.4),
    NOISES["impulse"](p=0.3),
    NOISES["pixelate"](block=3),
]
models = pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.type)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(h: int = 12, w: int = 15, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand((3, h, w), dtype=dtype, generator=generator(9))


def test_every_model_is_tested() -> None:
    assert {noise.type for noise in MODELS} == set(NOISES)
    for spec_type in NOISES.values():
        assert all(f.description for name, f in spec_type.model_fields.items() if name != "type")


@models
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs(noise: NoiseSpec, dtype: torch.dtype) -> None:
    clean = picture(dtype=dtype)
    before, global_state = clean.clone(), torch.get_rng_state()
    a, b, reference = noise.pair(clean, generator())
    assert {t.shape for t in (a, b, reference)} == {(3, 12 // noise.shrink, 15 // noise.shrink)}
    assert {t.dtype for t in (a, b, reference)} == {dtype}
    assert not torch.equal(a, b)
    assert not torch.equal(a, reference)
    assert torch.equal(clean, before)
    assert torch.equal(torch.get_rng_state(), global_state)
    again = noise.pair(clean, generator())
    assert all(torch.equal(x, y) for x, y in zip((a, b, reference), again, strict=True))
    assert not torch.equal(noise.pair(clean, generator(1))[0], a)


@models
def test_the_mean_of_many_draws(noise: NoiseSpec) -> None:
    """The clean picture, within five standard errors a number; for impulse noise the greyer one."""
    clean, rng, draws = picture(6, 6), generator(), 4000
    a = torch.stack([noise.pair(clean, rng)[0] for _ in range(draws)])
    reference = noise.pair(clean, rng)[2]
    expected = reference if noise.keeps_mean else 0.7 * reference + 0.3 / 2
    error = (a.mean(0) - expected).abs() / (a.std(0) / math.sqrt(draws))
    assert error.max() < 5
    assert noise.keeps_mean == (noise.type != "impulse")


@models
def test_the_two_draws_are_independent(noise: NoiseSpec) -> None:
    """No correlation between the errors of a and b, over many pixels."""
    # one grey, so that the errors can't correlate through the picture; pixelation needs some texture
    clean = torch.full((3, 90, 90), 0.5, dtype=torch.float64) if noise.shrink == 1 else picture(270, 270)
    a, b, reference = noise.pair(clean, generator())
    errors = torch.stack([(x - reference)[0].flatten() for x in (a, b)])
    correlation = torch.corrcoef(errors)[0, 1].abs()
    assert correlation < 5 / math.sqrt(errors.shape[1])


def test_gaussian_strength() -> None:
    clean = torch.full((1, 300, 300), 0.5, dtype=torch.float64)
    a, b, _ = NOISES["gaussian"](sigma=0.2).pair(clean, generator())
    assert abs((a - clean).std() - 0.2) < 0.002
    assert (a < 0).any()  # nothing is clipped
    assert abs((a - b).std() - 0.2 * math.sqrt(2)) < 0.003
    assert torch.equal(NOISES["gaussian"](sigma=0).pair(clean, generator())[0], clean)


def test_poisson_counts_photons() -> None:
    clean = torch.full((1, 300, 300), 0.25, dtype=torch.float64)
    a, _, _ = NOISES["poisson"](peak=20).pair(clean, generator())
    counts = a * 20
    assert torch.allclose(counts, counts.round())
    assert abs(a.var() - 0.25 / 20) < 0.0005
    assert not NOISES["poisson"](peak=20).pair(torch.zeros(1, 4, 4), generator())[0].any()
    with pytest.raises(ValueError, match="no negative values"):
        NOISES["poisson"](peak=20).pair(torch.full((1, 2, 2), -0.1), generator())


def test_bernoulli_loses_whole_pixels_and_scales_the_rest() -> None:
    clean = 0.1 + 0.9 * picture(200, 200)
    a, _, _ = NOISES["bernoulli"](p=0.4).pair(clean, generator())
    lost = a == 0
    assert torch.equal(lost[0], lost[1])
    assert torch.equal(lost[0], lost[2])
    assert abs(lost[0].double().mean() - 0.4) < 0.015
    assert torch.allclose(a[~lost], clean[~lost] / 0.6)


def test_impulse_replaces_whole_pixels_by_colours() -> None:
    clean = picture(200, 200) + 2  # out of the colours' range, so that replaced pixels show
    a, _, _ = NOISES["impulse"](p=0.3).pair(clean, generator())
    hit = a != clean
    assert torch.equal(hit[0], hit[1])
    assert abs(hit[0].double().mean() - 0.3) < 0.015
    colours = a[:, hit[0]]
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert abs(colours.mean() - 0.5) < 0.01
    assert torch.corrcoef(colours)[0, 1].abs() < 0.05


@pytest.mark.parametrize("block", [2, 3, 4])
def test_pixelate_takes_one_pixel_of_each_block_for_all_channels(block: int) -> None:
    h, w = 5, 4
    clean = torch.arange(3.0 * (h * block + 1) * (w * block + 1)).reshape(3, h * block + 1, w * block + 1)
    a, _, reference = NOISES["pixelate"](block=block).pair(clean, generator())
    assert a.shape == reference.shape == (3, h, w)
    seen = set()
    for i in range(h):
        for j in range(w):
            tile = clean[:, i * block : (i + 1) * block, j * block : (j + 1) * block]
            positions = [(tile[c] == a[c, i, j]).nonzero().tolist() for c in range(3)]
            assert positions[0] == positions[1] == positions[2]
            assert len(positions[0]) == 1
            seen.add(tuple(positions[0][0]))
            assert torch.allclose(reference[:, i, j], tile.mean((1, 2)))
    assert len(seen) > 1


def test_pixelate_draws_every_position_equally_often() -> None:
    clean = torch.arange(4.0).reshape(1, 2, 2).repeat(1, 100, 100)
    a, _, _ = NOISES["pixelate"](block=2).pair(clean, generator())
    shares = torch.bincount(a.long().flatten()) / a.numel()
    assert (shares - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / a.numel())


def test_pixelate_needs_a_whole_block() -> None:
    with pytest.raises(ValueError, match="expected at least 4 × 4 pixels; received 3 × 9"):
        NOISES["pixelate"](block=4).pair(torch.zeros(3, 3, 9), generator())


@models
def test_only_pictures_of_floats(noise: NoiseSpec) -> None:
    with pytest.raises(ValueError, match=rf"{noise.type} noise: expected a picture \(C, H, W\) of floats"):
        noise.pair(torch.zeros(1, 3, 8, 8), generator())
    with pytest.raises(ValueError, match=r"received shape .*uint8"):
        noise.pair(torch.zeros((3, 8, 8), dtype=torch.uint8), generator())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gaussian", {"sigma": -0.1}), ("gaussian", {"sigma": math.inf}), ("gaussian", {"sigma": "0.1"}),
        ("gaussian", {}), ("poisson", {"peak": 0}), ("poisson", {"peak": math.nan}),
        ("bernoulli", {"p": 1.0}), ("bernoulli", {"p": -0.1}), ("impulse", {"p": 1}),
        ("pixelate", {"block": 1}), ("pixelate", {"block": 2.0}), ("pixelate", {"block": True}),
        ("pixelate", {"block": 2, "phase": 1}),
    ],
)  # fmt: skip
def test_bounds(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NOISES[name](**fields)

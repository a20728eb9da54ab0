"""The specs that we ship: each trains like its torch.nn twin, and says of itself what its source says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import n2nspec
from n2nspec.graph import analyse, receptive_field
from n2nspec.oracle import OracleTrainer
from n2nspec.runtime import ENGINES

SPECS = sorted(path.name for path in Path("specs").glob("*.toml"))


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ("auto", "compiled")])
@pytest.mark.parametrize("name", SPECS)
def test_a_few_steps_agree_with_torch(name: str, engine: str) -> None:
    model = n2nspec.compile(n2nspec.load(f"specs/{name}"), engine=engine, dtype="float64", seed=1)
    oracle = OracleTrainer(model)
    generator = torch.Generator().manual_seed(1)
    contract = model.graph.size_contract
    size = contract["H"].at_least(16), contract["W"].at_least(24)
    assert None not in size
    for count in (3, 3, 2):  # the last batch of an epoch may be smaller
        x, target = (
            torch.rand((count, 3, *size), dtype=torch.float64, generator=generator) for _ in range(2)
        )
        assert model.step(x, target) == pytest.approx(oracle.step(x, target), rel=1e-9)
    theirs = oracle.state_dict()
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, theirs[key], rtol=1e-6, atol=1e-8)


def test_the_unet_is_that_of_the_paper() -> None:
    """Table 2 of the Noise2Noise paper's appendix: 18 convolutions, five poolings and five concatenations."""
    graph = analyse(n2nspec.load("specs/unet_n2n.toml"))
    kinds = [node.layer.type for node in graph.nodes]
    assert [kinds.count(kind) for kind in ("Conv2d", "MaxPool2d", "NearestUpsampling", "Concat")] == [
        18, 5, 5, 5,
    ]  # fmt: skip
    shapes = graph.shapes
    channels = {
        "enc1.pool": 48, "enc6.leakyrelu1": 48, "dec5.concat": 96, "dec4.concat": 144, "dec3.concat": 144,
        "dec2.concat": 144, "dec1.concat": 99, "dec1.a.conv": 64, "dec1.b.conv": 32, "out": 3,
    }  # fmt: skip
    assert {name: shapes[name][1] for name in channels} == channels
    assert graph.parameter_count == 991_203
    assert graph.size_contract["H"].render("H") == "any multiple of 32 from 32"


def test_dncnn_of_the_papers_depth_sees_35_pixels() -> None:
    """17 convolutions of 3 × 3 see 35 × 35 pixels: Zhang et al. 2017, section III.A."""
    spec = n2nspec.load("specs/dncnn.toml", overrides={"vars.depth": 15, "vars.width": 64})
    graph = analyse(spec)
    field = receptive_field(graph)["H"]
    assert not isinstance(field, str)
    assert field.extents == (35,)
    assert sum(node.layer.type == "Conv2d" for node in graph.nodes) == 17

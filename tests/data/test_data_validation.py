"""Held-out pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from n2nspec.data import PHOTOGRAPHS, open_training, open_validation
from n2nspec.data.photographs import photographs
from n2nspec.diagnostics import DiagnosticError
from n2nspec.spec import Spec

MakeSpec = Callable[..., Spec]
GAUSSIAN = {"type": "gaussian", "sigma": 0.1}


def test_training_and_validation_never_share_a_photograph() -> None:
    sides = {side: photographs(side) for side in ("train", "val")}
    names = {side: set(source.names) for side, source in sides.items()}
    assert names["train"] == {"astronaut", "coffee", "rocket"}
    assert names["val"] == {"chelsea"}
    assert names["train"] | names["val"] == {photo.name for photo in PHOTOGRAPHS}
    for name, picture in zip(sides["train"].names, sides["train"].first, strict=True):
        assert np.array_equal(picture, getattr(skimage.data, name)().transpose(2, 0, 1))
        assert not np.array_equal(picture, sides["val"].first[0])


def test_every_photograph_may_be_copied_freely() -> None:
    for photo in PHOTOGRAPHS:
        assert photo.licence in ("CC0", "public domain")
        assert photo.author


def test_the_photograph_is_noisy_in_the_same_way_every_time(make_spec: MakeSpec) -> None:
    fields = {"train": "builtin:photos", "val": "builtin:photos", "patch": 32, "noise": GAUSSIAN}
    datas = [
        open_validation(make_spec(train_section={"seed": seed}, **fields), torch.float64) for seed in (0, 1)
    ]
    assert datas[0] is not None
    assert datas[1] is not None
    assert datas[0].description == "1 photograph: chelsea (Stéfan van der Walt, CC0)"
    assert len(datas[0]) == 1
    (one,), (again,), (other_seed,) = datas[0], datas[0], datas[1]
    assert one.name == "chelsea"
    assert one.noisy.shape == one.reference.shape == (3, 300, 451)
    assert torch.equal(one.noisy, again.noisy)
    assert torch.equal(one.noisy, other_seed.noisy)
    assert torch.equal(one.reference, torch.from_numpy(skimage.data.chelsea() / 255).permute(2, 0, 1))
    assert abs(float((one.noisy - one.reference).std()) - 0.1) < 0.002


def test_pixelation_compares_with_the_mean_of_each_block(make_spec: MakeSpec) -> None:
    spec = make_spec(train="builtin:photos", val="builtin:photos", noise={"type": "pixelate", "block": 2})
    ((picture),) = open_validation(spec, torch.float64) or ()
    blocks = torch.from_numpy(skimage.data.chelsea()[:, :450] / 255).reshape(150, 2, 225, 2, 3)
    assert torch.allclose(picture.reference, blocks.mean((1, 3)).permute(2, 0, 1), rtol=0, atol=1e-15)
    assert picture.noisy.shape == (3, 150, 225)


def test_pairs_are_noisy_and_reference(make_spec: MakeSpec, pair_folder: Path) -> None:
    spec = make_spec(train=str(pair_folder), val=str(pair_folder), noise=GAUSSIAN)
    data = open_validation(spec, torch.float32)
    assert data is not None
    assert data.warnings == ()
    assert [picture.name for picture in data] == ["p 0", "p 1", "p 2"]
    for picture in data:
        for half, tensor in (("a", picture.noisy), ("b", picture.reference)):
            path = next(path for path in (pair_folder / half).iterdir() if path.stem == picture.name)
            with Image.open(path) as image:
                assert torch.equal(tensor, torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)


def test_a_file_of_pairs(make_spec: MakeSpec, tmp_path: Path) -> None:
    noisy = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    torch.save((noisy, 255 - noisy), tmp_path / "val.pkl")
    data = open_validation(make_spec(train="builtin:photos", val=str(tmp_path / "val.pkl")), torch.float64)
    assert data is not None
    assert len(data) == 5
    for index, picture in enumerate(data):
        assert picture.name == f"val[{index}]"
        assert torch.equal(picture.noisy, noisy[index].double() / 255)
        assert torch.equal(picture.reference, (255 - noisy[index]).double() / 255)


def test_nothing_to_validate_on(make_spec: MakeSpec) -> None:
    assert open_validation(make_spec(), torch.float32) is None
    assert open_validation(make_spec(train="builtin:photos", noise=GAUSSIAN), torch.float32) is None


def test_a_path_from_outside_the_spec(
    make_spec: MakeSpec, pair_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair_folder.parent)
    data = open_validation(make_spec(), torch.float32, pair_folder.name)
    assert data is not None
    assert len(data) == 3
    spec = make_spec(train=str(pair_folder), val="builtin:photos")
    assert open_training(spec, torch.float32).pairs_per_epoch == 3
    with pytest.raises(DiagnosticError) as caught:
        open_validation(spec, torch.float32, "nowhere")
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.path, problem.span) == ("E301", "", None)
    assert problem.help == f"looked for {pair_folder.parent / 'nowhere'}"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"val": "builtin:photos"}, "E306"),
        ({"val": "nowhere.pkl"}, "E301"),
        ({"val": "builtin:photos", "channels": 1, "noise": GAUSSIAN}, "E304"),
        ({"val": "builtin:photos", "noise": {"type": "pixelate", "block": 400}}, "E304"),
    ],
)
def test_what_does_not_fit(make_spec: MakeSpec, fields: dict[str, object], code: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        open_validation(make_spec(train="builtin:photos", **fields), torch.float32)
    assert [(problem.code, problem.path) for problem in caught.value.diagnostics] == [(code, "data.val")]

"""Mini-batches: the same for the same seed and epoch, independent noise, and every misfit explained."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from n2nspec.data import TrainingData, open_training
from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.noise import NOISES
from n2nspec.spec import Spec, load

MakeSpec = Callable[..., Spec]
MakePicture = Callable[..., np.ndarray]
GAUSSIAN = {"type": "gaussian", "sigma": 0.1}
PIXELATE = {"type": "pixelate", "block": 2}
NOISY = [
    GAUSSIAN,
    PIXELATE,
    {"type": "poisson", "peak": 30.0},
    {"type": "bernoulli", "p": 0.3},
    {"type": "impulse", "p": 0.2},
]


def opened(spec: Spec, dtype: torch.dtype = torch.float32) -> TrainingData:
    return open_training(spec, dtype)


def error_of(spec: Spec) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        open_training(spec, torch.float32)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def save_pairs(path: Path, count: int = 7, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(4)
    first = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)
    second = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)
    torch.save((first, second), path)
    return first, second


def save_clean(folder: Path, *sizes: tuple[int, int]) -> None:
    """RGB pictures without black, where some noises do nothing."""
    folder.mkdir(exist_ok=True)
    for index, size in enumerate(sizes):
        picture = np.random.default_rng(index).integers(30, 226, (*size, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{index}.png")


def test_the_photographs(make_spec: MakeSpec) -> None:
    data = opened(make_spec(train="builtin:photos", val="builtin:photos", patch=32, noise=PIXELATE))
    assert data.description == (
        "3 photographs: astronaut (NASA, public domain), coffee (Rachel Michetti, CC0),"
        " rocket (SpaceX, public domain)"
    )
    assert data.warnings == ()
    assert (data.channels, data.size, data.crop) == (3, (32, 32), (64, 64))
    assert (data.pairs_per_epoch, data.batches_per_epoch) == (3200, 100)
    for first, second in islice(data.epoch(0), 5):
        assert first.shape == second.shape == (32, 3, 32, 32)
        assert first.dtype == second.dtype == torch.float32
        assert first.min() >= 0
        assert first.max() <= 1
        assert not torch.equal(first, second)


@pytest.mark.parametrize("noise", NOISY, ids=lambda noise: noise["type"])
def test_an_epoch_is_a_function_of_the_seed_and_its_number(
    make_spec: MakeSpec, tmp_path: Path, noise: dict[str, Any]
) -> None:
    save_clean(tmp_path / "clean", (40, 50), (30, 64))
    fields = {"train": str(tmp_path / "clean"), "patch": [8, 6], "patches_per_epoch": 70, "noise": noise}
    one, again, other = (
        opened(make_spec(train_section={"seed": seed}, **fields), torch.float64) for seed in (3, 3, 4)
    )
    for a, b in zip(one.epoch(5), again.epoch(5), strict=True):  # nothing before epoch 5 was drawn
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    list(again.epoch(0))
    for a, b in zip(one.epoch(5), again.epoch(5), strict=True):  # nor does it matter what was drawn
        assert torch.equal(a[0], b[0])
    for a, b, c in zip(one.epoch(5), one.epoch(6), other.epoch(5), strict=True):
        assert not torch.equal(a[0], b[0])
        assert not torch.equal(a[0], c[0])
    assert [first.shape[0] for first, _ in one.epoch(1)] == [32, 32, 6]
    assert {first.shape[1:] for first, _ in one.epoch(1)} == {(3, 8, 6)}


@pytest.mark.parametrize("noise", NOISY, ids=lambda noise: noise["type"])
def test_the_two_noises_are_independent_and_right_on_average(
    make_spec: MakeSpec, tmp_path: Path, noise: dict[str, Any]
) -> None:
    """Over 4000 draws of one picture: means within five standard errors, no correlation beyond chance."""
    save_clean(tmp_path / "clean", (8, 8))
    count = 4000
    spec = make_spec(
        train=str(tmp_path / "clean"), noise=noise, patches_per_epoch=count, train_section={"batch_size": 50}
    )
    data = opened(spec, torch.float64)
    batches = list(data.epoch(0))
    first, second = (torch.cat([batch[side] for batch in batches]) for side in (0, 1))
    assert len(first) == count
    model = NOISES[noise["type"]](**{key: value for key, value in noise.items() if key != "type"})
    clean = torch.from_numpy(data.source.first[0] / 255)
    expected = model.reference(clean)
    if not model.keeps_mean:
        expected = (1 - noise["p"]) * expected + noise["p"] / 2
    mean, spread = first.mean(0), first.std(0)
    assert spread.min() > 0
    assert ((mean - expected).abs() <= 5 * spread / count**0.5).all()
    a, b = first - first.mean(0), second - second.mean(0)
    correlation = (a * b).mean(0) / (a.std(0) * b.std(0))
    assert correlation.abs().max() <= 5 / count**0.5
    # the noise of one picture says nothing about that of the next in its batch
    neighbours = (a[:-1] * a[1:]).mean(0) / a.var(0)
    assert neighbours.abs().max() <= 5 / count**0.5


def test_pairs_of_patch_size_come_once_an_epoch(make_spec: MakeSpec, tmp_path: Path) -> None:
    first, second = save_pairs(tmp_path / "pairs.pkl")
    spec = make_spec(train=str(tmp_path / "pairs.pkl"), patch=8, train_section={"batch_size": 3})
    data = opened(spec)
    assert (data.crop, data.size, data.pairs_per_epoch) == (None, (8, 8), 7)
    orders = []
    for epoch in range(3):
        batches = list(data.epoch(epoch))
        assert [len(a) for a, _ in batches] == [3, 3, 1]
        a, b = (torch.cat([batch[side] for batch in batches]) for side in (0, 1))
        order = [int((first / 255 == picture).flatten(1).all(1).nonzero()) for picture in a]
        assert sorted(order) == list(range(7))
        assert torch.equal(b, second[order] / 255)
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]
    assert all(order != list(range(7)) for order in orders)


def test_whole_pictures_without_patch(make_spec: MakeSpec, pair_folder: Path) -> None:
    data = opened(make_spec(train=str(pair_folder)))
    assert (data.crop, data.size, data.pairs_per_epoch) == (None, (12, 10), 3)
    ((a, _),) = data.epoch(0)
    assert a.shape == (3, 3, 12, 10)


@pytest.mark.parametrize(("asked", "times"), [(3, None), (14, 2)])
def test_the_number_of_pairs_can_be_set(
    make_spec: MakeSpec, tmp_path: Path, asked: int, times: int | None
) -> None:
    save_pairs(tmp_path / "pairs.pkl")
    data = opened(make_spec(train=str(tmp_path / "pairs.pkl"), patches_per_epoch=asked))
    pictures = torch.cat([a for a, _ in data.epoch(0)])
    assert len(pictures) == asked
    assert len(pictures.unique(dim=0)) == min(asked, 7)
    if times:
        assert pictures.unique(dim=0, return_counts=True)[1].tolist() == [times] * 7


def test_crops_of_a_pair_are_taken_at_one_place(make_spec: MakeSpec, tmp_path: Path) -> None:
    for half in ("a", "b"):
        (tmp_path / half).mkdir()
    for index, size in enumerate([(20, 30), (25, 16)]):
        picture = np.random.default_rng(index).integers(0, 200, (*size, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "a" / f"{index}.png")
        Image.fromarray(picture + 55).save(tmp_path / "b" / f"{index}.png")
    data = opened(make_spec(train=str(tmp_path), patch=16), torch.float64)
    assert data.pairs_per_epoch == 3200
    for a, b in data.epoch(2):
        assert torch.allclose(b - a, torch.tensor(55 / 255, dtype=torch.float64), rtol=0, atol=1e-15)


def test_crops_reach_every_corner_and_go_by_area(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "clean", (10, 12), (30, 40))
    data = opened(make_spec(train=str(tmp_path / "clean"), patch=8, noise=GAUSSIAN))
    picks = data._picks(torch.Generator().manual_seed(0))
    share = (picks[:, 0] == 1).mean()
    expected = 1200 / 1320
    assert abs(share - expected) < 5 * (expected * (1 - expected) / len(picks)) ** 0.5
    small = picks[picks[:, 0] == 0]
    assert {tuple(place) for place in small[:, 1:].tolist()} == {(t, x) for t in range(3) for x in range(5)}
    large = picks[picks[:, 0] == 1]
    assert (large[:, 1:].min(0).tolist(), large[:, 1:].max(0).tolist()) == ([0, 0], [22, 32])


def test_an_epoch_covers_large_pictures(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "clean", (201, 130), (130, 200))
    data = opened(make_spec(train=str(tmp_path / "clean"), patch=[2, 4], noise=GAUSSIAN))
    assert data.pairs_per_epoch == 100 * 32 + 65 * 50


def test_pixelated_whole_pictures_lose_the_odd_row(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "clean", (9, 7), (9, 7), (9, 7))
    data = opened(make_spec(train=str(tmp_path / "clean"), noise=PIXELATE))
    assert (data.crop, data.size, data.pairs_per_epoch) == (None, (4, 3), 3)
    ((a, b),) = data.epoch(0)
    assert a.shape == b.shape == (3, 3, 4, 3)
    blocks = torch.from_numpy(np.stack(list(data.source.first))[:, :, :8, :6].reshape(3, 3, 4, 2, 3, 2) / 255)
    blocks = blocks.float().transpose(3, 4).reshape(3, 3, 4, 3, 4)
    for picture in a:  # every pixel is one of its block
        assert any(bool((block == picture[..., None]).any(-1).all()) for block in blocks)


def test_sixteen_bits_and_grey(make_spec: MakeSpec, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (6, 6), dtype=np.uint16)
    for half in ("a", "b"):
        (tmp_path / half).mkdir()
        Image.fromarray(grey).save(tmp_path / half / "x.png")
    ((a, _),) = opened(make_spec(channels=1, train=str(tmp_path)), torch.float64).epoch(0)
    assert torch.equal(a[0, 0], torch.from_numpy(grey / 65535))


def test_batches_do_not_share_memory(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_pairs(tmp_path / "pairs.pkl")
    data = opened(make_spec(train=str(tmp_path / "pairs.pkl")))
    ((a, _),) = data.epoch(0)
    before = a.clone()
    a.zero_()
    ((again, _),) = data.epoch(0)
    assert torch.equal(again, before)


# -- where the data are ---------------------------------------------------------------------------------


def write_spec(path: Path, train: str) -> Spec:
    path.write_text(
        f'spec_version = 1\nname = "n"\n[input]\nx = ["N", 3, "H", "W"]\n[[encoder]]\ntype = "ReLU"\n'
        f'[data]\ntrain = "{train}"\nnoise = {{ type = "gaussian", sigma = 0.1 }}\n'
    )
    return load(path)


def test_paths_are_seen_from_the_spec_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    spec = write_spec(tmp_path / "specs" / "n.toml", "my data")
    problem = error_of(spec)
    assert problem.code == "E301"
    assert problem.help == f"looked for {tmp_path / 'specs' / 'my data'} and {tmp_path / 'here' / 'my data'}"
    assert problem.file == spec.source_file
    assert problem.span is not None
    assert (problem.span.line, problem.path) == (8, "data.train")
    save_clean(tmp_path / "here" / "my data", (8, 8))
    assert opened(spec).size == (8, 8)
    save_clean(tmp_path / "specs" / "my data", (9, 9))
    assert opened(spec).size == (9, 9)
    assert opened(make_spec(train="my data", noise=GAUSSIAN)).size == (8, 8)  # a dict has no folder


def test_what_cannot_be_found_or_told(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello")
    cases = [
        (make_spec(), "E305", "does not say"),
        (make_spec(train=str(tmp_path / "nowhere.pkl")), "E301", "nowhere.pkl was not found"),
        (make_spec(train="x" * 400), "E301", "not a usable path"),
        (make_spec(train=str(tmp_path / "words.txt")), "E302", "cannot tell"),
        (make_spec(train="builtin:foto"), "E302", "not built in"),
        (make_spec(train="/dev/null"), "E302", "cannot tell"),
    ]
    for spec, code, words in cases:
        problem = error_of(spec)
        assert problem.code == code
        assert words in problem.message
        assert problem.help


# -- what does not fit ----------------------------------------------------------------------------------


def test_clean_pictures_need_noise(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "clean", (8, 8))
    assert error_of(make_spec(train=str(tmp_path / "clean"))).code == "E306"
    assert error_of(make_spec(train="builtin:photos", patch=32)).code == "E306"


def test_pairs_ignore_noise_with_a_warning(make_spec: MakeSpec, tmp_path: Path) -> None:
    first, _ = save_pairs(tmp_path / "pairs.pkl", count=1)
    data = opened(make_spec(train=str(tmp_path / "pairs.pkl"), val="builtin:photos", noise=PIXELATE))
    assert [(warning.code, warning.path) for warning in data.warnings] == [("W301", "data.noise")]
    ((a, _),) = data.epoch(0)
    assert torch.equal(a, first / 255)


def test_nothing_held_out_is_a_warning(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_pairs(tmp_path / "pairs.pkl")
    assert [warning.code for warning in opened(make_spec(train=str(tmp_path / "pairs.pkl"))).warnings] == [
        "W302"
    ]


def test_noise_that_shifts_the_mean_is_a_warning(make_spec: MakeSpec) -> None:
    fields = {"train": "builtin:photos", "val": "builtin:photos", "patch": 8}
    data = opened(make_spec(**fields, noise={"type": "impulse", "p": 0.2}))
    assert [warning.code for warning in data.warnings] == ["W305"]


def test_channels(make_spec: MakeSpec, tmp_path: Path) -> None:
    problem = error_of(make_spec(channels=1, train="builtin:photos", patch=8, noise=GAUSSIAN))
    assert problem.code == "E304"
    assert problem.message == (
        "the input x takes 1 channel (grey), builtin:photos has pictures of 3 channels (RGB)"
    )
    assert '["N", 3, "H", "W"]' in problem.help
    save_clean(tmp_path / "mixed", (8, 8), (8, 8))
    Image.new("L", (4, 5)).save(tmp_path / "mixed" / "grey one.png")
    problem = error_of(make_spec(train=str(tmp_path / "mixed"), patch=2, noise=GAUSSIAN))
    assert problem.message.endswith("pictures of 1 channel (grey): grey one.png (5 × 4)")


def test_an_input_that_is_no_picture() -> None:
    spec = load(
        {
            "spec_version": 1,
            "name": "n",
            "input": {"x": ["N", 8]},
            "encoder": [{"type": "ReLU"}],
            "data": {"train": "builtin:photos", "noise": GAUSSIAN},
        }
    )
    assert (error_of(spec).code, error_of(spec).path) == ("E304", "input.x")


def test_sizes(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "c", (8, 9), (30, 20))
    folder = str(tmp_path / "c")
    problem = error_of(make_spec(train=folder, noise=PIXELATE))
    assert (problem.code, problem.path) == ("E304", "data.train")
    assert "several sizes" in problem.message
    assert "0.png (8 × 9), 1.png (30 × 20)" in problem.message
    assert "at most [4, 4]" in problem.help
    problem = error_of(make_spec(train=folder, patch=9, noise=GAUSSIAN))
    assert (problem.code, problem.path) == ("E304", "data.patch")
    assert problem.message == "patches of 9 × 9 need pictures of 9 × 9 or more; smaller: 0.png (8 × 9)"
    problem = error_of(make_spec(train=folder, patch=5, noise=PIXELATE))
    assert "need pictures of 10 × 10, of which the noise makes one pixel of 2 × 2, or more" in problem.message
    assert opened(make_spec(train=folder, patch=4, noise=PIXELATE)).crop == (8, 8)


def test_a_picture_smaller_than_a_block(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_clean(tmp_path / "c", (1, 9))
    problem = error_of(make_spec(train=str(tmp_path / "c"), noise=PIXELATE))
    assert (problem.code, problem.path) == ("E304", "data.patch")


def test_an_input_of_fixed_size(make_spec: MakeSpec, tmp_path: Path) -> None:
    save_pairs(tmp_path / "pairs.pkl", size=8)
    path = str(tmp_path / "pairs.pkl")
    assert opened(make_spec(size=(8, 8), train=path)).size == (8, 8)
    assert opened(make_spec(size=(4, "W"), train=path, patch=[4, 6])).size == (4, 6)
    problem = error_of(make_spec(size=(4, 4), train=path))
    assert problem.code == "E304"
    assert "takes pictures of 4 × 4, the training pictures are 8 × 8" in problem.message

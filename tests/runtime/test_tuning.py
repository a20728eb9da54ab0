"""Choices that are made by measuring: every way gives the same numbers, and the fastest is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import n2nspec
from n2nspec.compiler.lowering import Lowering
from n2nspec.runtime.optimized import tuning
from n2nspec.runtime.optimized.engine import OptimizedEngine
from n2nspec.runtime.store import Store

SPECS = Path(__file__).parents[2] / "specs"
SHAPE = (2, 3, 32, 32)
WAYS = [Lowering(forward=f, backward=b) for f in (False, True) for b in (False, True)]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "LEAST_MACS", 1)


def engine_of(name: str, deterministic: bool = False) -> tuple[n2nspec.Model, OptimizedEngine]:
    spec = n2nspec.load(SPECS / f"{name}.toml")
    model = n2nspec.compile(
        spec, engine="optimized", dtype="float64", processes=1, deterministic=deterministic, seed=2
    )
    assert isinstance(model._engine, OptimizedEngine)
    return model, model._engine


def steps(model: n2nspec.Model) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    target = torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    losses = [torch.tensor(model.step(x, target)) for _ in range(3)]
    return [*losses, *model.gradients().values(), *model.state_dict().values()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["n2n", "unet_small", "unet_n2n", "red"])
def test_every_way_gives_the_same_numbers(name: str, way: Lowering, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = steps(engine_of(name, deterministic=True)[0])
    monkeypatch.setattr(tuning.Tuner, "_measured", lambda tuner, case: way)
    model, engine = engine_of(name)
    found = steps(model)
    assert engine.chosen
    assert {found for ways in engine.chosen.values() for found in ways.values()} == {way}
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-10 * other.abs().max()


def test_the_faster_way_is_taken_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def seconds(run: tuning._Run) -> tuple[float, float]:
        return (1.0 if run.forward else 2.0), (2.0 if run.backward else 1.0)

    monkeypatch.setattr(tuning._Run, "__call__", seconds)
    _, engine = engine_of("unet_small")
    found = engine.lowerings(SHAPE)
    assert engine.tuner is not None
    assert engine.tuner.measured > 5
    assert found["e1.leakyrelu2", 0] == Lowering(forward=True, backward=False)

    monkeypatch.setattr(tuning._Run, "__call__", lambda run: pytest.fail("measured again"))
    _, again = engine_of("unet_small")
    assert again.lowerings(SHAPE) == found
    assert again.tuner is not None
    assert again.tuner.measured == 0
    assert [file.name for file in (tmp_path / "n2nspec").iterdir()] == ["lowerings.json"]


def test_what_is_hardly_faster_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning._Run, "__call__", lambda run: (0.97 if run.forward else 1.0, 1.0))
    _, engine = engine_of("n2n")
    assert engine.lowerings(SHAPE)["relu3", 0].forward  # the usual one
    monkeypatch.setattr(tuning._Run, "__call__", lambda run: (1.0 if run.forward else 0.97, 1.0))
    _, engine = engine_of("n2n")
    assert engine.lowerings((3, *SHAPE[1:]))["relu3", 0].forward


def test_really_measuring_gives_an_answer_for_every_large_convolution() -> None:
    model, engine = engine_of("unet_small")
    steps(model)
    convolutions = {name for name, _ in engine.chosen[SHAPE]}
    assert len(convolutions) == 11
    assert engine.tuner is not None
    assert engine.tuner.measured > 0


def test_small_work_and_determinism_measure_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, engine = engine_of("n2n", deterministic=True)
    steps(model)
    assert engine.tuner is None
    assert not model.measures
    monkeypatch.setattr(tuning, "LEAST_MACS", 10**9)
    model, engine = engine_of("n2n")
    steps(model)
    assert engine.chosen == {SHAPE: {}}
    assert not (tmp_path / "n2nspec").exists()


def test_a_store_that_cannot_be_used_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "n2nspec" / "some.json"
    store = Store("some.json")
    store.put({"a": 1}, [True])
    assert Store("some.json").get({"a": 1}) == [True]
    assert Store("some.json").get({"a": 2}) is None
    Store("some.json").put({"a": 2}, "b")
    assert len(json.loads(file.read_text())) == 2
    for broken in ("{", "[]", ""):
        file.write_text(broken)
        assert Store("some.json").get({"a": 1}) is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    store = Store("some.json")
    store.put({"a": 1}, 5)
    assert store.get({"a": 1}) == 5
    assert Store("some.json").get({"a": 1}) is None


@pytest.mark.parametrize("kept", [True, [1, 2], [True], {"forward": True}, None])
def test_nonsense_in_the_store_is_measured_again(kept: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "get", lambda store, question: kept)
    _, engine = engine_of("n2n")
    assert engine.lowerings(SHAPE)
    assert engine.tuner is not None
    assert engine.tuner.measured > 0

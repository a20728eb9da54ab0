"""What "auto" takes: the optimized engine, until steps are many and long, and then the faster one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import n2nspec
from n2nspec.runtime import EngineChoice, Model, choice, choose_engine

SPECS = Path(__file__).parents[2] / "specs"
SHAPE = (2, 3, 16, 16)
MANY = 10**9


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def model(settings: Mapping[str, object] | None = None, **options: object) -> Model:
    spec = n2nspec.load(SPECS / "n2n.toml", overrides=settings or {})
    return n2nspec.compile(spec, "optimized", **options)  # type: ignore[arg-type]


def stubbed(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[str]:
    """Engines by their names alone: the compiled one is not made, which takes a minute."""
    asked: list[str] = []
    real = choice.compile

    def compile_optimized(spec: n2nspec.Spec, engine: str, **options: object) -> Model:
        asked.append(engine)
        precision = options.pop("precision", None)
        made = real(spec, "optimized", precision="full", **options)  # type: ignore[arg-type]
        made.__dict__["pretends"] = str(precision) if precision in seconds else engine
        return made

    monkeypatch.setattr(choice, "compile", compile_optimized)
    monkeypatch.setattr(choice, "_seconds", lambda model, x, target: seconds[model.__dict__["pretends"]])
    return asked


@pytest.mark.parametrize(
    ("optimized", "compiled", "faster"), [(0.5, 0.25, "compiled"), (0.25, 0.5, "optimized")]
)
def test_many_long_steps_are_measured_once(
    monkeypatch: pytest.MonkeyPatch, optimized: float, compiled: float, faster: str
) -> None:
    asked = stubbed(monkeypatch, optimized=optimized, compiled=compiled)
    trained = model()
    before = trained.state_dict()
    random = trained.generator_state()
    expected = EngineChoice(
        engine=faster,
        reason=f"measured a step: optimized {1e3 * optimized:g} ms and compiled {1e3 * compiled:g} ms",
    )
    assert choose_engine(trained, SHAPE, MANY) == expected
    assert asked == ["optimized", "compiled"]
    assert choose_engine(model(), SHAPE, 1) == expected  # it is known now
    assert asked == ["optimized", "compiled"]
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.equal(trained.generator_state(), random)


@pytest.mark.parametrize(
    ("low", "engine", "precision"), [(0.1, "compiled", "bf16-mixed"), (0.3, "compiled", "full")]
)
def test_half_precision_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, low: float, engine: str, precision: str
) -> None:
    seconds = {"full": 0.2, "bf16-mixed": low}
    asked = stubbed(monkeypatch, optimized=0.5, compiled=0.0, **seconds)
    found = choose_engine(model({"train.precision": "bf16-mixed"}), SHAPE, MANY)
    assert found == EngineChoice(
        engine=engine, precision=precision,
        reason="measured a step: optimized 500 ms and compiled 200 ms and"
        f" compiled bf16-mixed {1e3 * low:g} ms",
    )  # fmt: skip
    assert asked == ["optimized", "compiled", "compiled"]
    asked.clear()
    choose_engine(model(), SHAPE, MANY)
    assert asked == ["optimized", "compiled"]  # another question


@pytest.mark.parametrize(
    "change",
    [
        {"train.loss": {"type": "L1"}},
        {"train.optimizer": {"type": "SGD", "lr": 1}},
        {"encoder.conv1.bias": False},
    ],
)
def test_what_was_measured_holds_for_the_same_network_alone(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    asked = stubbed(monkeypatch, optimized=1.0, compiled=0.5)
    choose_engine(model(), SHAPE, MANY)
    choose_engine(model({"train.epochs": 3, "name": "other"}), SHAPE, MANY)
    assert len(asked) == 2
    choose_engine(model(change), SHAPE, MANY)
    choose_engine(model(), (3, *SHAPE[1:]), MANY)
    assert len(asked) == 6


def test_few_steps_are_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stubbed(monkeypatch, optimized=0.0001, compiled=0.00005)
    found = choose_engine(model(), SHAPE, 100)
    assert found == EngineChoice(engine="optimized", reason="too few steps to compile them first")
    assert asked == []
    assert choose_engine(model(), SHAPE, 1_000_000) == found  # many enough to look at the optimized one
    assert asked == ["optimized"]


def test_where_nothing_may_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stubbed(monkeypatch, optimized=1.0, compiled=0.5)
    assert choose_engine(model(deterministic=True), SHAPE, MANY).engine == "optimized"
    assert "memory limit" in choose_engine(model(memory_limit="1GiB"), SHAPE, MANY).reason
    assert asked == []


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    found = choose_engine(model(), SHAPE, MANY)
    assert found == EngineChoice(
        engine="optimized", reason="the compiled one cannot: there is no C++ compiler"
    )


@pytest.mark.parametrize("kept", [3, {}, {"optimized": 1.0}, {"optimized": "1", "compiled": 2.0}])
def test_nonsense_that_was_kept_is_measured_again(monkeypatch: pytest.MonkeyPatch, kept: object) -> None:
    asked = stubbed(monkeypatch, optimized=1.0, compiled=0.5)
    monkeypatch.setattr(choice.Store, "get", lambda store, question: kept)
    assert choose_engine(model(), SHAPE, MANY).engine == "compiled"
    assert asked == ["optimized", "compiled"]

"""The benchmark compares like with like, and says what it could not measure. Nothing here judges a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from small_world import DOCUMENT

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.oracle.bench import NOT_REACHED, BenchRow, bench
from n2nspec.oracle.contestants import CONTESTANTS, OURS, TORCH, Contest, contestant
from n2nspec.oracle.limits import peak_bytes
from n2nspec.runtime import compile
from n2nspec.spec import load

MODULE = importlib.import_module("n2nspec.oracle.bench")  # the package names the function so, too
SHAPE = (2, 3, 8, 8)
QUICK = ("optimized", "torch")
PATIENT = ("reference", "optimized", "torch", "torch-channels-last")
"""Those that compile nothing."""


def small(**train: Any) -> ShapedGraph:
    return analyse(load({**DOCUMENT, "train": {**DOCUMENT["train"], **train}}))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.compile as far as its tracing; the C++ compiler behind it takes half a minute."""
    real = torch.compile

    def compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        del options
        compiled: Callable[..., Any] = real(function, dynamic=False, backend="aot_eager")
        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    yield
    torch.compiler.reset()


def contest(graph: ShapedGraph, *, inference: bool = False) -> Contest:
    model = compile(graph.spec, engine="reference")
    x, target = (torch.rand(SHAPE, dtype=model.dtype) for _ in range(2))
    return Contest(
        graph=graph, state=model.state_dict(), seed=graph.spec.train.seed, x=x,
        target=None if inference else target,
    )  # fmt: skip


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "AdamW"])
def test_every_engine_takes_the_same_steps(optimizer: str) -> None:
    """Three losses: forward, gradients and the optimiser's update all agree."""
    given = contest(small(dtype="float64", optimizer={"type": optimizer, "lr": 0.05}))
    found = {}
    for name in CONTESTANTS:
        step = contestant(name, given)
        found[name] = [float(step()) for _ in range(3)]
    expected = found.pop("torch")
    assert len(set(expected)) == 3, "the steps change nothing"
    for name, losses in found.items():
        assert losses == pytest.approx(expected, rel=1e-10), name


@pytest.mark.usefixtures("traced")
def test_every_engine_infers_the_same() -> None:
    given = contest(small(dtype="float64"), inference=True)
    outputs = {name: contestant(name, given)() for name in CONTESTANTS if name != "compiled"}
    expected = outputs.pop("torch")
    assert isinstance(expected, torch.Tensor)
    assert expected.shape == SHAPE
    for name, output in outputs.items():
        torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("inference", [False, True])
def test_the_report_has_everything(inference: bool) -> None:
    told: list[str] = []
    report = bench(small(), SHAPE, engines=PATIENT, seconds=0, inference=inference, say=told.append)
    assert [row.name for row in report.rows] == list(PATIENT)
    for row in report.rows:
        assert row.reason == ""
        assert row.quartiles
        assert 0 < row.quartiles[0] <= row.quartiles[1] <= row.quartiles[2]
        assert row.first is not None
        assert row.peak_bytes is not None
        assert row.peak_bytes > 0
        assert row.value == pytest.approx(report.rows[0].value, rel=1e-5)
        assert any(line.startswith(row.name) for line in told)
    assert report.baseline == next(row.median for row in report.rows if row.name == "torch")
    assert sorted(report.ranking, key=lambda row: row.median or 0) == list(report.ranking)
    assert (report.inference, report.input_shape, report.dtype) == (inference, SHAPE, "float32")
    assert report.rounds >= 3
    assert {"torch", "python", "cpu", "cores"} <= report.environment.keys()
    limit = report.limit
    assert limit
    assert limit.arithmetic == 2 * limit.macs / limit.flops_per_second
    assert limit.traffic == limit.bytes / limit.bytes_per_second


def test_training_is_more_work_than_inference() -> None:
    limits = [bench(small(), SHAPE, engines=QUICK, seconds=0, inference=flag).limit for flag in (True, False)]
    inference, training = limits
    assert inference
    assert training
    # no gradient of the input; behind an upsampling gradients take 9 products where forward takes 16
    assert inference.macs * 25 / 16 < training.macs < 3 * inference.macs


def test_torch_takes_part_in_any_case() -> None:
    report = bench(small(), SHAPE, engines=("optimized",), seconds=0)
    assert [row.name for row in report.rows] == ["optimized", "torch"]


def test_an_engine_that_cannot_run_has_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand forty lines more")

    monkeypatch.setattr(torch, "compile", no_compiler)
    report = bench(small(), SHAPE, engines=("torch-compiled",), seconds=0)
    torch_row, compiled = report.rows
    assert compiled.reason == "RuntimeError: No working C++ compiler found"
    assert (compiled.quartiles, compiled.first, compiled.value, compiled.peak_bytes) == (None,) * 4
    assert torch_row.seconds
    assert report.ranking == (torch_row,)


def test_an_engine_that_gives_way_is_not_measured_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    ours, theirs = bench(small(), SHAPE, engines=("compiled",), seconds=0).rows
    assert ours.reason.endswith("gives way to the optimized one: there is no C++ compiler")
    assert not ours.seconds
    assert theirs.seconds
    ours, theirs = bench(small(), SHAPE, engines=("compiled",), seconds=0, inference=True).rows
    assert ours.reason == "it compiles training steps; its forward passes are those of optimized"
    assert theirs.seconds


def test_what_does_not_fit_into_memory_is_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(name: str, given: Contest) -> Callable[[], Any]:
        if name == "optimized":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return contestant(name, given)

    monkeypatch.setattr(MODULE, "contestant", greedy)
    ours, theirs = bench(small(), SHAPE, engines=QUICK, seconds=0).rows
    assert "does not fit into memory" in ours.reason
    assert theirs.seconds


def test_a_mistake_of_ours_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, given: Contest) -> Callable[[], Any]:
        if name == "optimized":
            raise AssertionError("a bug")
        return contestant(name, given)

    monkeypatch.setattr(MODULE, "contestant", broken)
    with pytest.raises(AssertionError, match="a bug"):
        bench(small(), SHAPE, engines=QUICK, seconds=0)


@pytest.mark.parametrize(
    ("moment", "measured"),
    [("optimized: first step", False), ("torch: first", False), ("torch: memory", True)],
)
def test_an_interrupted_benchmark_keeps_what_it_has(moment: str, measured: bool) -> None:
    def interrupt(text: str) -> None:
        if text.startswith(moment):
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    report = bench(small(), SHAPE, engines=QUICK, seconds=0, threads=threads + 1, say=interrupt)
    assert report.interrupted
    assert torch.get_num_threads() == threads
    for row in report.rows:
        assert bool(row.seconds) == measured
        assert row.reason == ("" if measured else NOT_REACHED)
    assert report.rows[1].peak_bytes is None


def test_threads_are_for_the_measurement_only() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    report = bench(
        small(), SHAPE, engines=QUICK, seconds=0, threads=before + 1,
        say=lambda _: seen.append(torch.get_num_threads()),
    )  # fmt: skip
    assert set(seen) == {report.threads} == {before + 1}
    assert torch.get_num_threads() == before


def test_an_unknown_engine_and_sizes_that_leave_too_little_are_refused() -> None:
    with pytest.raises(DiagnosticError) as error:
        bench(small(), SHAPE, engines=("fast",))
    assert error.value.diagnostics[0].code == "E501"
    assert "torch-channels-last" in error.value.diagnostics[0].help
    normed = {**DOCUMENT, "encoder": [*DOCUMENT["encoder"], {"type": "BatchNorm2d"}]}
    with pytest.raises(DiagnosticError) as error:
        bench(analyse(load(normed)), (1, 3, 2, 2), engines=QUICK, seconds=0)
    assert error.value.diagnostics[0].code == "E208"


def test_the_contest_is_of_those_that_there_are() -> None:
    assert set(OURS) >= {"reference", "optimized"}
    assert "auto" not in CONTESTANTS
    assert (*OURS, *TORCH) == CONTESTANTS


def test_memory_is_what_lives_and_what_a_step_allocates(capfd: pytest.CaptureFixture[str]) -> None:
    def make() -> Callable[[], None]:
        torch.empty(10**6)  # before the steps, and gone
        kept = torch.empty(1000)

        def step() -> None:
            a = torch.empty(10_000)
            del a
            b, c = torch.empty(6_000), torch.empty(5_000)
            del b, c
            kept.zero_()

        return step

    assert peak_bytes(make, torch.device("cpu")) == 4 * (1000 + 11_000)
    assert peak_bytes(lambda: partial(int, 1), torch.device("cpu")) == 0
    assert capfd.readouterr().err == "", "the profiler talks"


def test_quartiles_of_few_steps() -> None:
    row = BenchRow(name="torch", about="")
    assert row.quartiles is None
    assert row.median is None
    row.seconds.append(3.0)
    assert row.quartiles == (3.0, 3.0, 3.0)
    row.seconds[:] = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert row.quartiles == (2.0, 3.0, 4.0)

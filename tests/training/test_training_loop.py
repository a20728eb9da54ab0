"""Training end to end on twelve small pairs: what it writes, that it learns, and how it stops."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from n2nspec.diagnostics import DiagnosticError
from n2nspec.runtime import Model, compile
from n2nspec.spec import Spec, load
from n2nspec.training import EpochRecord, Run, StartInfo, Summary, open_run, train
from n2nspec.training.contestant import Contestant
from n2nspec.training.evaluation import Measured
from n2nspec.training.history import read_rows
from n2nspec.training.metrics import mean
from n2nspec.training.reporter import Silent

Make = Callable[..., Spec]
FILES = ["examples.png", "loss.svg", "metrics.csv", "model.safetensors", "spec.toml"]


class Recording(Silent):
    """Keeps everything it is told; raises `error` at the given (epoch, batch)."""

    def __init__(self, at: tuple[int, int] | None = None, error: BaseException | None = None) -> None:
        self.starts: list[StartInfo] = []
        self.batches: list[tuple[Any, ...]] = []
        self.epochs: list[EpochRecord] = []
        self.ends: list[Summary] = []
        self.at, self.error = at, error

    def on_start(self, info: StartInfo) -> None:
        self.starts.append(info)

    def on_batch(self, *told: Any) -> None:
        self.batches.append(told)
        if self.error is not None and told[:2] == self.at:
            raise self.error

    def on_epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)

    def on_end(self, summary: Summary) -> None:
        self.ends.append(summary)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_folder(tmp_path: Path, spec: Make) -> None:
    reporter = Recording()
    run = train(spec(), tmp_path / "run", reporter=reporter)
    assert isinstance(run, Run)
    assert names(run.path) == FILES
    assert (run.epochs, run.steps) == (2, 6)
    assert load(run.path / "spec.toml") == run.spec == spec()
    assert tomllib.loads((run.path / "spec.toml").read_text())["name"] == "small"

    rows = read_rows(run.path)
    assert [(row.step, row.epoch) for row in rows] == [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert [row.psnr is not None for row in rows] == [True, False, False, True, False, False, True]
    assert rows[0].loss is None
    assert all(row.loss is not None and math.isfinite(row.loss) for row in rows[1:])
    seconds = [row.seconds or 0.0 for row in rows]
    assert seconds == sorted(seconds)
    assert rows[-1].psnr == run.psnr == open_run(run.path).psnr
    with Image.open(run.path / "examples.png") as image:
        assert image.format == "PNG"
    assert (run.path / "loss.svg").read_text().startswith("<?xml")

    (start,), (summary,) = reporter.starts, reporter.ends
    assert (start.path, start.batches, start.epochs, start.size, start.pairs) == (run.path, 3, 2, (8, 8), 12)
    assert start.psnr == rows[0].psnr
    assert start.parameters == compile(spec()).graph.parameter_count
    assert [told[:3] for told in reporter.batches] == [(e, b, 3) for e in (1, 2) for b in (1, 2, 3)]
    assert [told[3] for told in reporter.batches] == [row.loss for row in rows[1:]]
    assert all(told[4] > 0 and told[5] >= 0 for told in reporter.batches)
    assert [record.epoch for record in reporter.epochs] == [1, 2]
    assert reporter.epochs[1].loss == pytest.approx(mean(row.loss or 0.0 for row in rows[4:]), abs=1e-15)
    assert summary.psnr == run.psnr
    assert summary.noisy_psnr == run.noisy_psnr == start.noisy_psnr
    assert summary.seconds == pytest.approx(sum(record.seconds for record in reporter.epochs))
    assert summary.seconds < summary.total_seconds
    assert list(summary.files) == FILES


def test_the_loss_goes_down_and_the_pictures_improve(tmp_path: Path, spec: Make) -> None:
    run = train(spec(train__optimizer__lr=0.05), tmp_path / "run", epochs=40)
    rows = read_rows(run.path)
    losses = [row.loss or 0.0 for row in rows[1:]]
    assert mean(losses[-9:]) < 0.5 * mean(losses[:9])
    assert run.psnr is not None
    assert run.psnr > (rows[0].psnr or 0.0) + 3


def test_the_same_seed_gives_the_same_file(tmp_path: Path, spec: Make) -> None:
    first, second = (train(spec(), tmp_path / name) for name in "ab")
    assert first.weights.read_bytes() == second.weights.read_bytes()
    other = train(spec(train__seed=4), tmp_path / "c")
    assert not same(first.model().state_dict(), other.model().state_dict())


def test_the_three_steps_of_the_report(tmp_path: Path, spec: Make) -> None:
    """Training is `Model.step` over the batches of `epoch` 1, 2, … and nothing besides."""
    from n2nspec.data import open_training

    run = train(spec(), tmp_path / "run")
    model = compile(spec())
    data = open_training(spec(), torch.float32)
    for epoch in (1, 2):
        for x, target in data.epoch(epoch):
            model.step(x, target)
    assert same(model.state_dict(), run.model().state_dict())


def test_no_epochs_keep_the_initial_network(tmp_path: Path, spec: Make) -> None:
    run = train(spec(), tmp_path / "run", epochs=0)
    assert names(run.path) == FILES
    assert (run.epochs, run.steps, run.spec.train.epochs) == (0, 0, 0)
    assert run.psnr is not None
    assert same(run.model().state_dict(), compile(spec()).state_dict())


def test_without_held_out_pictures(tmp_path: Path, spec: Make, pairs: dict[str, Any]) -> None:
    del pairs["val"]
    reporter = Recording()
    run = train(spec(), tmp_path / "run", epochs=1, reporter=reporter)
    assert run.psnr is None
    assert run.noisy_psnr is None
    assert names(run.path) == FILES
    assert [warning.code for warning in reporter.starts[0].warnings] == ["W302"]
    assert all(row.psnr is None for row in read_rows(run.path))


def test_the_oracle_runs_beside(tmp_path: Path, spec: Make) -> None:
    reporter = Recording()
    run = train(spec(train__dtype="float64"), tmp_path / "run", oracle=True, reporter=reporter)
    rows = read_rows(run.path)[1:]
    for row in rows:
        assert row.oracle_loss == pytest.approx(row.loss, abs=1e-12)
    (summary,) = reporter.ends
    assert summary.oracle_psnr == pytest.approx(run.psnr, abs=1e-9)
    assert summary.oracle_seconds is not None
    assert summary.oracle_seconds > 0
    assert rows[-1].oracle_psnr == summary.oracle_psnr
    assert ">run, torch.nn<" in (run.path / "loss.svg").read_text()
    # and ours is what it would have been alone
    alone = train(spec(train__dtype="float64"), tmp_path / "alone")
    assert same(alone.model().state_dict(), run.model().state_dict())


def test_runs_without_out_are_numbered(tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [train(spec(), epochs=0).path for _ in range(2)] == [Path("runs/small"), Path("runs/small-2")]


def test_an_occupied_folder_is_refused_first(tmp_path: Path, spec: Make) -> None:
    mine = tmp_path / "run"
    mine.mkdir()
    (mine / "model.safetensors").write_text("mine")
    with pytest.raises(DiagnosticError) as caught:
        train({"not": "even a spec"}, mine)
    assert [d.code for d in caught.value.diagnostics] == ["E403"]
    assert names(mine) == ["model.safetensors"]
    assert (mine / "model.safetensors").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the watcher fell over")])
@pytest.mark.parametrize(("at", "finished"), [((1, 2), 0), ((2, 2), 1)])
def test_an_interrupted_run_keeps_its_last_epoch(
    tmp_path: Path, spec: Make, error: BaseException, at: tuple[int, int], finished: int
) -> None:
    with pytest.raises(type(error)):
        train(spec(), tmp_path / "run", reporter=Recording(at, error))
    assert set(names(tmp_path / "run")) <= set(FILES)  # no temporary files
    if isinstance(error, KeyboardInterrupt):
        assert names(tmp_path / "run") == FILES
    run = open_run(tmp_path / "run")
    assert (run.epochs, run.steps) == (finished, 3 * finished)
    rows = read_rows(run.path)
    assert len(rows) == 1 + 3 * finished
    assert rows[-1].psnr == run.psnr
    expected = train(spec(), tmp_path / "short", epochs=finished)
    assert same(run.model().state_dict(), expected.model().state_dict())


def test_a_loss_that_is_no_number(tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = Model.step, []

    def diverging(self: Model, x: torch.Tensor, target: torch.Tensor) -> float:
        calls.append(step(self, x, target))
        return math.nan if len(calls) == 5 else calls[-1]

    monkeypatch.setattr(Model, "step", diverging)
    with pytest.raises(DiagnosticError, match="epoch 2, step 5: the loss is nan") as caught:
        train(spec(), tmp_path / "run")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E407"
    assert "train.optimizer.lr=0.001" in diagnostic.help
    assert "keeps the weights of epoch 1" in diagnostic.message
    assert open_run(tmp_path / "run").epochs == 1
    assert names(tmp_path / "run") == FILES


def test_a_last_step_that_breaks_the_weights(
    tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the only step is fine; what it does to the weights is not."""
    step = Model.step

    def overflowing(self: Model, x: torch.Tensor, target: torch.Tensor) -> float:
        loss = step(self, x, target)
        self.parameters()["conv1.bias"][1] = math.inf
        return loss

    monkeypatch.setattr(Model, "step", overflowing)
    with pytest.raises(DiagnosticError, match="no longer a finite number") as caught:
        train(spec(train__batch_size=12), tmp_path / "run", epochs=1)
    assert caught.value.diagnostics[0].code == "E407"
    model = open_run(tmp_path / "run").model()
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_a_result_that_is_no_number(tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and weights of the last epoch are finite, but too large for sums over the held-out pictures."""
    told = Recording()
    measure = Contestant.measure

    def overflowing(self: Contestant, *rest: Any, **more: Any) -> Measured:
        measured = measure(self, *rest, **more)
        if len(told.epochs) == 1:
            self.psnr = math.nan
        return measured

    monkeypatch.setattr(Contestant, "measure", overflowing)
    with pytest.raises(DiagnosticError, match="epoch 2, step 6: the result has values") as caught:
        train(spec(), tmp_path / "run", reporter=told)
    assert caught.value.diagnostics[0].code == "E407"
    run = open_run(tmp_path / "run")
    assert run.epochs == 1
    assert math.isfinite(run.psnr or math.nan)
    assert names(tmp_path / "run") == FILES


def test_a_run_that_did_harm_says_so(tmp_path: Path, spec: Make, pairs: dict[str, Any]) -> None:
    """A Sigmoid that is pushed to its end learns no more, and its loss stays a number."""
    much = spec(train__optimizer={"type": "SGD", "lr": 1e5})
    harmless, harmful = Recording(), Recording()
    train(spec(), tmp_path / "good", reporter=harmless)
    run = train(much, tmp_path / "bad", reporter=harmful)
    assert harmless.ends[0].warnings == ()
    (warning,) = harmful.ends[0].warnings
    assert warning.code == "W306"
    before = harmful.starts[0].psnr
    assert warning.message.endswith(f"PSNR {before:.2f} dB before it, {run.psnr:.2f} dB after")
    assert warning.help == "use a smaller learning rate: --set train.optimizer.lr=10000"
    del pairs["val"]
    train(spec(train__optimizer={"type": "SGD", "lr": 1e5}), tmp_path / "worse", reporter=harmful)
    (warning,) = harmful.ends[1].warnings
    assert (
        f"loss {harmful.batches[6][3]:.3g} before it, {harmful.epochs[-1].loss:.3g} after" in warning.message
    )


def test_one_warning_for_one_folder(tmp_path: Path, spec: Make) -> None:
    """Training and validation on the same transparent pictures."""
    for half in ("a", "b"):
        (tmp_path / "glass" / half).mkdir(parents=True)
        Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(tmp_path / "glass" / half / "1.png")
    told, glass = Recording(), str(tmp_path / "glass")
    train(spec(data__train=glass, data__val=glass), tmp_path / "run", epochs=0, reporter=told)
    assert [warning.code for warning in told.starts[0].warnings] == ["W303"]
    assert told.starts[0].warnings[0].message.endswith("a/1.png, b/1.png")


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"data__patch": 7}, "E208"),
        ({"input__x": [4, 3, "H", "W"]}, "E208"),
        ({"decoder__up1__out_channels": 2}, "E208"),
        ({"data__train": "absent.npz"}, "E301"),
        ({"data__val": "absent.npz"}, "E301"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(
    tmp_path: Path, spec: Make, overrides: dict[str, Any], code: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        train(spec(**overrides), tmp_path / "run")
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert not (tmp_path / "run").exists()


SINGLE = [{"type": "AvgPool2d", "kernel_size": 8}, {"type": "InstanceNorm2d"}]
BACK = [
    {"type": "NearestUpsampling", "scale_factor": 8},
    {"type": "Conv2d", "out_channels": 3, "kernel_size": 1},
]


def test_a_patch_that_leaves_a_single_value_is_found_before_anything_is_written(
    tmp_path: Path, pairs: dict[str, Any]
) -> None:
    file = tmp_path / "single.json"
    document = {
        "spec_version": 1, "name": "single", "input": {"x": ["N", 3, "H", "W"]}, "encoder": SINGLE,
        "decoder": BACK, "train": {"epochs": 1, "batch_size": 5}, "data": {**pairs, "patch": 8},
    }  # fmt: skip
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    with pytest.raises(DiagnosticError, match="instancenorm2d1 needs more than one value") as caught:
        train(file, tmp_path / "run")
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.path) == ("E208", "data.patch")
    assert problem.span is not None
    assert "patch" in file.read_text(encoding="utf-8").splitlines()[problem.span.line - 1]
    assert problem.help == "data.patch = [16, 8] works"
    assert not (tmp_path / "run").exists()


def test_a_last_batch_of_a_single_value(tmp_path: Path, pairs: dict[str, Any]) -> None:
    """Twelve pairs in batches of 11: the last one has one picture, of which one value a channel is left."""
    document = {
        "spec_version": 1, "name": "single", "input": {"x": ["N", 3, "H", "W"]},
        "encoder": [SINGLE[0], {"type": "BatchNorm2d"}], "decoder": BACK,
        "train": {"epochs": 1, "batch_size": 11}, "data": pairs,
    }  # fmt: skip
    with pytest.raises(DiagnosticError, match="on 1 picture of 8 × 8 pixels in a batch") as caught:
        train(document, tmp_path / "run")
    help = "data.patch = [16, 8] works; a train.batch_size that divides the 12 pairs of an epoch works"
    assert caught.value.diagnostics[0].help == help
    assert not (tmp_path / "run").exists()
    document["train"] = {"epochs": 1, "batch_size": 6}
    assert train(document, tmp_path / "run").epochs == 1


def test_negative_epochs(tmp_path: Path, spec: Make) -> None:
    with pytest.raises(DiagnosticError, match="epochs: expected 0 or more; received -1"):
        train(spec(), tmp_path / "run", epochs=-1)


def test_data_beside_the_spec_are_found_again(
    tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolved spec names the data absolutely, so a run can be measured from any folder."""
    from n2nspec.spec import to_toml

    (tmp_path / "spec.toml").write_text(to_toml(spec(data__train="train.npz", data__val="val.npz")))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = train(tmp_path / "spec.toml", epochs=0)
    assert run.spec.data is not None
    assert run.spec.data.val == str(tmp_path / "val.npz")
    assert read_rows(run.path)[0].psnr == run.psnr


def test_metrics_open_in_a_spreadsheet(tmp_path: Path, spec: Make) -> None:
    run = train(spec(), tmp_path / "run", epochs=1)
    with (run.path / "metrics.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0][:5] == ["step", "epoch", "loss", "seconds", "psnr"]
    assert {len(line) for line in table} == {len(table[0])}

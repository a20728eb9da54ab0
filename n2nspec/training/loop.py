"""Training: from a spec to a run folder.

In: a spec. Out: a `Run`. The report's three steps a batch (forward and loss; zero and backward; a step of
the optimiser) are `Model.step`; around them stand the epochs, the held-out pictures, and what is kept.

After every epoch the weights and the metrics up to them are replaced together. Whatever ends a run early, a
key press, a loss that is no number, a full disk, the folder holds the last finished epoch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from n2nspec.data import TrainingData, ValidationData, open_training, open_validation
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail
from n2nspec.oracle import OracleTrainer
from n2nspec.runtime import EngineChoice, Model, choose_engine, compile
from n2nspec.spec import Spec, load, to_toml
from n2nspec.training.contestant import Contestant
from n2nspec.training.evaluation import spread
from n2nspec.training.examples import ROWS, Example, draw_examples, example
from n2nspec.training.faults import check_batches, diverged, worse
from n2nspec.training.files import claim_folder, refuse_existing, write_files
from n2nspec.training.history import METRICS_FILE, Row, read_rows, write_rows
from n2nspec.training.inference import Frame
from n2nspec.training.metrics import mean
from n2nspec.training.pace import Pace
from n2nspec.training.plots import draw_losses
from n2nspec.training.reporter import EpochRecord, Reporter, Silent, StartInfo, Summary
from n2nspec.training.run import SPEC_FILE, WEIGHTS_FILE, Run, encode_weights, open_run

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EXAMPLES_FILE", "LOSS_FILE", "train"]

LOSS_FILE = "loss.svg"
EXAMPLES_FILE = "examples.png"


def train(
    spec: Spec | str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    *,
    epochs: int | None = None,
    engine: str = "auto",
    device: str = "cpu",
    oracle: bool = False,
    memory_limit: int | str | None = None,
    processes: int | None = None,
    deterministic: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Trains a spec's network and writes a run folder.

    Args:
        spec: from `n2nspec.load`, or what `load` takes; its plugins are run.
        out: the run folder, new or empty; without it `runs/NAME`, then `runs/NAME-2`, …
        epochs: instead of the spec's; 0 keeps the initial network.
        engine, device, memory_limit, processes, deterministic: as in `n2nspec.compile`.
        oracle: train the torch.nn twin beside it: same initial weights, same batches, each timed alone.
        reporter: watches; nothing is printed.

    Returns:
        the run, with the PSNR on the held-out pictures where the spec names some.

    Raises:
        DiagnosticError: the spec, its data, the device or the folder is at fault, before anything is
            written, or E505, the memory limit is too low; E407, training diverged; E405, the disk refuses.
            KeyboardInterrupt and whatever the reporter raises pass through. In each case the folder keeps the
            last finished epoch.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        refuse_existing(folder)
    spec = _with_epochs(spec if isinstance(spec, Spec) else load(_source(spec), allow_plugins=True), epochs)
    spec = _with_absolute_paths(spec)
    model = compile(
        spec, engine=engine, device=device, memory_limit=memory_limit, processes=processes,
        deterministic=deterministic,
    )  # fmt: skip
    frame = Frame(model.graph)
    data = open_training(spec, model.dtype)
    check_batches(model, frame, data)
    choice = None
    if engine == "auto":
        shape = (min(data.batch_size, data.pairs_per_epoch), data.channels, *data.size)
        steps = spec.train.epochs * data.batches_per_epoch
        choice = choose_engine(model, shape, steps, processes=processes)
        if choice.engine != model.engine or choice.precision:
            model = compile(
                spec, engine=choice.engine, device=device, processes=processes, precision=choice.precision
            )
    validation = open_validation(spec, model.dtype)
    twin = OracleTrainer(model) if oracle else None
    session = _Session(
        model, frame, data, validation, twin=twin, reporter=reporter or Silent(), choice=choice
    )
    session.start(folder)
    session.run()
    return open_run(session.path, allow_plugins=True)


def _source(spec: str | os.PathLike[str] | Mapping[str, Any]) -> Path | Mapping[str, Any]:
    return spec if isinstance(spec, Mapping) else Path(spec)


def _with_epochs(spec: Spec, epochs: int | None) -> Spec:
    if epochs is None:
        return spec
    if epochs < 0:
        raise fail("E113", f"epochs: expected 0 or more; received {epochs}", path="train.epochs")
    return spec.model_copy(update={"train": spec.train.model_copy(update={"epochs": epochs})})


def _with_absolute_paths(spec: Spec) -> Spec:
    """The data where they are, so that the run can be measured again from any folder."""
    if spec.data is None:
        return spec
    places = {
        key: _absolute(words, spec.source_file)
        for key, words in (("train", spec.data.train), ("val", spec.data.val))
        if words is not None and not words.startswith("builtin:")
    }
    return spec.model_copy(update={"data": spec.data.model_copy(update=places)})


def _absolute(words: str, source_file: str) -> str:
    """What `words` name: seen from the spec's folder if there is something, else from the current one."""
    try:
        path = Path(words).expanduser()
        beside = Path(source_file).parent / path
        return str((beside if source_file and beside.exists() else path).absolute())
    except (OSError, ValueError, RuntimeError):
        return words  # whoever opens it says what is wrong with it


@dataclass(slots=True)
class _Totals:
    """Where a run stands: finished epochs only."""

    epochs: int = 0
    steps: int = 0
    loss: float | None = None
    oracle_loss: float | None = None


class _Session:
    """One training run, from its first file to its last."""

    def __init__(
        self,
        model: Model,
        frame: Frame,
        data: TrainingData,
        validation: ValidationData | None,
        *,
        twin: OracleTrainer | None,
        reporter: Reporter,
        choice: EngineChoice | None,
    ) -> None:
        self.model = model
        self.frame = frame
        self.data = data
        self.validation = validation
        self.reporter = reporter
        self.reason = choice.reason if choice else ""
        self.ours = Contestant(network=model)
        self.twin = Contestant(network=twin) if twin else None
        self.epochs = model.spec.train.epochs
        self.batches = data.batches_per_epoch
        self.noisy_psnr: float | None = None
        self.untrained_psnr: float | None = None
        self.untrained_loss: float | None = None
        self.examples: tuple[Example, ...] = ()
        self.totals = _Totals()
        self.metrics = bytearray()
        x, target = next(iter(data.epoch(1)))
        self.pairs: tuple[Tensor, Tensor] = (x[:ROWS].clone(), target[:ROWS].clone())
        self.batch_shape = tuple(x.shape)
        limit = model.memory_limit
        self.memory = str(limit.fitted(tuple(x.shape))) if limit else ""

    def start(self, out: Path | None) -> None:
        """Measures the untrained network, then makes the folder; from here on it is always readable."""
        self._measure()
        self.path = claim_folder(out, self.model.spec.name)
        # the plugins beside the spec, under the same names: the run can be used without the original folder
        plugins = {plugin.name: plugin.content for plugin in self.model.spec.plugin_files}
        write_files(self.path, {SPEC_FILE: to_toml(self.model.spec).encode(), **plugins})
        self._save([self._row(step=0, epoch=0, measured=True)])
        self.untrained_psnr = self.ours.psnr
        self._warnings_told = self._warnings()
        self.reporter.on_start(
            StartInfo(
                path=self.path,
                spec=self.model.spec,
                engine=self.model.engine,
                reason=self.reason,
                device=str(self.model.device),
                dtype=str(self.model.dtype).removeprefix("torch."),
                precision=self.model.precision,
                parameters=self.model.graph.parameter_count,
                training=self.data.description,
                validation=self.validation.description if self.validation else None,
                pairs=self.data.pairs_per_epoch,
                size=self.data.size,
                batches=self.batches,
                epochs=self.epochs,
                oracle=self.twin is not None,
                noisy_psnr=self.noisy_psnr,
                psnr=self.ours.psnr,
                warnings=self._warnings_told,
                memory=self.memory,
            )
        )

    def _warnings(self) -> tuple[Diagnostic, ...]:
        """What is doubtful before the first step; once, where training and validation are one folder."""
        found = [*self.model.graph.warnings, *self.model.warnings, *self.data.warnings]
        found += self.validation.warnings if self.validation else ()
        return tuple(dict.fromkeys(found))

    def run(self) -> None:
        """All epochs, then the figures."""
        begin = perf_counter()
        pace = Pace(self.batches * self.epochs, self.epochs)
        try:
            for epoch in range(1, self.epochs + 1):
                self._epoch(epoch, pace)
        except (KeyboardInterrupt, DiagnosticError):
            with suppress(DiagnosticError):
                self._draw()  # what was reached is worth seeing
            raise
        self._draw()
        self.reporter.on_end(
            Summary(
                path=self.path,
                epochs=self.totals.epochs,
                steps=self.totals.steps,
                loss=self.totals.loss,
                psnr=self.ours.psnr,
                noisy_psnr=self.noisy_psnr,
                seconds=self.ours.seconds,
                total_seconds=perf_counter() - begin,
                oracle_loss=self.totals.oracle_loss,
                oracle_psnr=self.twin.psnr if self.twin else None,
                oracle_seconds=self.twin.seconds if self.twin else None,
                files=tuple(sorted(file.name for file in self.path.iterdir())),
                warnings=self._later_warnings(),
            )
        )

    def _later_warnings(self) -> tuple[Diagnostic, ...]:
        """What came up on the way."""
        told = self._warnings_told
        return *(warning for warning in self.model.warnings if warning not in told), *self._harm()

    def _harm(self) -> tuple[Diagnostic, ...]:
        """A warning when the network was better before; a saturated one has a loss that is finite."""
        spec, psnr, loss = self.model.spec, self.ours.psnr, self.totals.loss
        if psnr is not None and self.untrained_psnr is not None:
            if psnr < self.untrained_psnr:
                return (worse(spec, "PSNR", f"{self.untrained_psnr:.2f} dB", f"{psnr:.2f} dB"),)
        elif loss is not None and self.untrained_loss is not None and loss > self.untrained_loss:
            return (worse(spec, "loss", f"{self.untrained_loss:.3g}", f"{loss:.3g}"),)
        return ()

    def _epoch(self, epoch: int, pace: Pace) -> None:
        rows: list[Row] = []
        contestants = [self.ours, *([self.twin] if self.twin else [])]
        before = [contestant.seconds for contestant in contestants]
        for contestant in contestants:
            contestant.losses.clear()
        # the twin may have every thread
        at_work = nullcontext() if self.twin else self.model.at_work(self.batch_shape)
        done, total = self.totals.steps - 1, self.batches * self.epochs
        with at_work:
            for batch, (x, target) in enumerate(self.data.epoch(epoch), start=1):
                x, target = x.to(self.model.device), target.to(self.model.device)
                for contestant in contestants:
                    contestant.network.progress = (done + batch) / total
                    contestant.step(x, target)
                loss = self.ours.losses[-1]
                if self.untrained_loss is None:
                    self.untrained_loss = loss
                if not math.isfinite(loss):
                    raise self._diverged(epoch, batch, f"the loss is {loss}")
                rows.append(self._row(step=self.totals.steps + batch, epoch=epoch, measured=False))
                pace.batch(len(x))
                self.reporter.on_batch(
                    epoch, batch, self.batches, loss, pace.pictures_per_second, pace.seconds_left
                )
        if not self.ours.is_finite:  # the last step's damage shows in no loss yet
            raise self._diverged(epoch, len(rows), "a weight is no longer a finite number")
        drawn = self.examples
        self._measure()
        if math.isnan(self.ours.psnr or 0.0):  # weights that are finite, but whose sums are not
            self.examples = drawn
            raise self._diverged(epoch, len(rows), "the result has values that are not finite numbers")
        rows[-1] = self._row(step=self.totals.steps + len(rows), epoch=epoch, measured=True)
        self.totals = _Totals(
            epochs=epoch,
            steps=self.totals.steps + len(rows),
            loss=mean(self.ours.losses),
            oracle_loss=mean(self.twin.losses) if self.twin else None,
        )
        self._save(rows)
        pace.measurement()
        seconds = [contestant.seconds - start for contestant, start in zip(contestants, before, strict=True)]
        self.reporter.on_epoch(
            EpochRecord(
                epoch=epoch,
                epochs=self.epochs,
                loss=mean(self.ours.losses),
                psnr=self.ours.psnr,
                noisy_psnr=self.noisy_psnr,
                seconds=seconds[0],
                oracle_loss=self.totals.oracle_loss,
                oracle_psnr=self.twin.psnr if self.twin else None,
                oracle_seconds=seconds[1] if self.twin else None,
            )
        )

    def _row(self, *, step: int, epoch: int, measured: bool) -> Row:
        ours, twin = self.ours, self.twin
        return Row(
            step=step,
            epoch=epoch,
            loss=ours.losses[-1] if ours.losses else None,
            seconds=ours.seconds,
            psnr=ours.psnr if measured else None,
            oracle_loss=twin.losses[-1] if twin and twin.losses else None,
            oracle_seconds=twin.seconds if twin else None,
            oracle_psnr=twin.psnr if twin and measured else None,
        )

    def _measure(self) -> None:
        """PSNR on the held-out pictures, and the examples; without any, a few training pairs to look at."""
        if self.validation is not None:
            show = spread(len(self.validation), ROWS)
            measured = self.ours.measure(self.frame, self.validation, self.model.device, show)
            self.noisy_psnr = measured.noisy_psnr
            self.examples = measured.examples
            if self.twin:
                self.twin.measure(self.frame, self.validation, self.model.device)
            return
        noisy, target = self.pairs
        self.model.eval()
        denoised = self.frame.apply(self.model.forward, noisy.to(self.model.device)).to(noisy.device)
        self.model.train()
        self.examples = tuple(
            example(f"training pair {index}", *row)
            for index, row in enumerate(zip(noisy, denoised, target, strict=True), start=1)
        )

    def _save(self, rows: list[Row]) -> None:
        """Replaces the weights, and the metrics up to them."""
        self.metrics += write_rows(rows, header=not self.metrics)
        weights = encode_weights(
            self.model.state_dict(),
            self.model.spec,
            epochs=self.totals.epochs,
            steps=self.totals.steps,
            psnr=self.ours.psnr,
            noisy_psnr=self.noisy_psnr,
        )
        write_files(self.path, {WEIGHTS_FILE: weights, METRICS_FILE: bytes(self.metrics)})

    def _draw(self) -> None:
        history = [(self.path.name, read_rows(self.path))]
        third = "clean" if self.validation is not None else "second noisy"
        write_files(
            self.path,
            {
                LOSS_FILE: draw_losses(history, format="svg"),
                EXAMPLES_FILE: draw_examples(self.examples, reference=third),
            },
        )

    def _diverged(self, epoch: int, batch: int, what: str) -> DiagnosticError:
        step = self.totals.steps + batch
        return diverged(self.model.spec, self.path, epoch=epoch, step=step, what=what)

"""`n2nspec train`: a spec in, a run folder out, with a live line of progress."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from n2nspec.cli._heap import keep_freed_memory
from n2nspec.cli._options import DETERMINISTIC, DEVICE, MEMORY_LIMIT, PATH, PROCESSES, SET, WORDS, overrides
from n2nspec.cli._output import interrupted, print_diagnostics, stderr, stdout
from n2nspec.diagnostics import plural
from n2nspec.graph import check
from n2nspec.runtime import ENGINES
from n2nspec.training import EpochRecord, StartInfo, Summary, train

__all__ = ["command"]


@click.command("train", help="Train the network of SPEC on its data and leave a run folder.")
@click.argument("spec", type=WORDS)
@click.option("--out", type=PATH, default=None, help="Run folder; runs/NAME by default.")
@click.option("--epochs", type=click.IntRange(0), default=None, help="Epochs, instead of the spec's.")
@SET
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="Executor.")
@DEVICE
@MEMORY_LIMIT
@PROCESSES
@DETERMINISTIC
@click.option("--oracle", is_flag=True, help="Train the torch.nn twin beside it and compare.")
def command(
    spec: str,
    out: Path | None,
    epochs: int | None,
    settings: tuple[str, ...],
    engine: str,
    device: str,
    memory_limit: int | None,
    processes: int | None,
    deterministic: bool,
    oracle: bool,
) -> int:
    watch = _Watch()
    keep_freed_memory()
    try:
        loaded = check(spec, overrides=overrides(settings), allow_plugins=True).spec
        with watch:
            if loaded.plugin_files:
                names = ", ".join(plugin.name for plugin in loaded.plugin_files)
                watch.say(f"running the plugins beside the spec: {names}")
            train(
                loaded, out, epochs=epochs, engine=engine, device=device, oracle=oracle,
                memory_limit=memory_limit, processes=processes, deterministic=deterministic, reporter=watch,
            )  # fmt: skip
    except KeyboardInterrupt:
        elsewhere = "with another --out, " if out and watch.path else ""
        return interrupted(watch.left, f"{elsewhere}the same command begins with the first epoch again")
    return 0


class _Watch:
    """A live line on a terminal; elsewhere one line an epoch. The final table is the result."""

    def __init__(self) -> None:
        self._console = stderr()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]}  {task.fields[left]} left"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = 0
        self._finished = 0
        self.path: Path | None = None

    def __enter__(self) -> _Watch:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_start(self, info: StartInfo) -> None:
        print_diagnostics(info.warnings)
        self._epochs, self.path = info.epochs, info.path
        say = self.say
        say(
            f"{info.spec.name}: {plural(info.parameters, 'parameter')}, engine {info.engine}"
            f"{f' ({info.reason})' if info.reason else ''}, {info.dtype}"
            f"{'' if info.precision == 'full' else f', {info.precision},'} on {info.device}"
        )
        height, width = info.size
        say(f"training on {info.training}: {plural(info.pairs, 'pair')} of {height} × {width} an epoch")
        if info.memory:
            say(f"memory of a step: {info.memory}")
        say(
            f"measured on {info.validation}"
            if info.validation
            else "no held-out pictures: [data] has no `val`"
        )
        if info.noisy_psnr is not None:
            say(f"PSNR: noisy {info.noisy_psnr:.2f} dB, untrained network {_db(info.psnr)} dB")
        say(f"run folder: {info.path}")
        if info.engine == "compiled":
            say("the first step is compiled, which may take a minute; later runs find it ready")
        self._task = self._progress.add_task(
            "training", total=max(info.batches, 1), epoch=f"1/{info.epochs}", loss="–", rate="–", left="–"
        )

    def on_batch(
        self,
        epoch: int,
        batch: int,
        batches: int,
        loss: float,
        pictures_per_second: float,
        seconds_left: float,
    ) -> None:
        assert self._task is not None
        self._progress.update(
            self._task, completed=batch, total=batches, epoch=f"{epoch}/{self._epochs}", loss=_loss(loss),
            rate=f"{plural(round(pictures_per_second), 'picture')}/s", left=_duration(seconds_left),
        )  # fmt: skip

    def on_epoch(self, record: EpochRecord) -> None:
        self._finished = record.epoch
        text = f"epoch {record.epoch}/{record.epochs}: loss {_loss(record.loss)}"
        if record.psnr is not None:
            text += f", PSNR {record.psnr:.2f} dB"
        if record.oracle_loss is not None:
            text += f"; torch.nn: loss {_loss(record.oracle_loss)}"
            if record.oracle_psnr is not None:
                text += f", PSNR {record.oracle_psnr:.2f} dB"
        self.say(text + f" ({record.seconds:.1f} s)")

    def on_end(self, summary: Summary) -> None:
        self._progress.stop()
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for column in ("", "loss", "PSNR (dB)", "training (s)"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        if summary.noisy_psnr is not None:
            table.add_row("noisy input", "", _db(summary.noisy_psnr), "")
        table.add_row("n2nspec", _loss(summary.loss), _db(summary.psnr), f"{summary.seconds:.1f}")
        if summary.oracle_seconds is not None:
            table.add_row(
                "torch.nn, autograd", _loss(summary.oracle_loss), _db(summary.oracle_psnr),
                f"{summary.oracle_seconds:.1f}",
            )  # fmt: skip
        console = stdout()
        console.print(table)
        console.print(
            f"{plural(summary.epochs, 'epoch')}, {plural(summary.steps, 'step')} in"
            f" {_duration(summary.total_seconds)}; in {summary.path}: {', '.join(summary.files)}",
            soft_wrap=True,
            markup=False,
        )
        print_diagnostics(summary.warnings)

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

    @property
    def left(self) -> str:
        """What an interrupted run leaves, in words."""
        if self.path is None:
            return " before the first step"
        kept = f"epoch {self._finished} of {self._epochs}" if self._finished else "the untrained network"
        return f": {self.path} keeps {kept}, for eval, denoise and plot"


def _db(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _loss(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.5f}" if abs(value) < 1e6 else f"{value:.3e}"


def _duration(seconds: float) -> str:
    """90 → 1:30."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

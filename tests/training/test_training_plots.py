"""Figures: what they show, and that equal runs give equal bytes."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from n2nspec.diagnostics import DiagnosticError
from n2nspec.training import plot_losses
from n2nspec.training.evaluation import spread
from n2nspec.training.examples import draw_examples, example
from n2nspec.training.history import Row, write_rows
from n2nspec.training.pace import Pace
from n2nspec.training.plots import curve, draw_losses


def history(losses: list[float], *, per_epoch: int = 4, oracle: bool = False) -> list[Row]:
    rows = [Row(step=0, epoch=0, psnr=20.0)]
    for index, loss in enumerate(losses):
        rows.append(
            Row(
                step=index + 1,
                epoch=1 + index // per_epoch,
                loss=loss,
                oracle_loss=loss / 2 if oracle else None,
            )
        )
    return rows


def folder(path: Path, rows: list[Row]) -> Path:
    path.mkdir(parents=True)
    (path / "metrics.csv").write_bytes(write_rows(rows, header=True))
    return path


def test_a_point_averages_the_steps_that_end_there() -> None:
    epochs, losses = curve(history([1, 3, 5, 7, 9, 11, 13, 15]), window=2)
    assert losses == [2, 4, 6, 8, 10, 12, 14]
    assert epochs == [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    assert curve(history([1, 3], oracle=True), window=1, oracle=True)[1] == [0.5, 1.5]


def test_two_runs_in_one_figure(tmp_path: Path) -> None:
    adam = folder(tmp_path / "adam", history([0.1 / (i + 1) for i in range(40)]))
    sgd = folder(tmp_path / "sgd", history([0.2 / (i + 1) for i in range(40)]))
    figure = plot_losses([adam, sgd], tmp_path / "fig3.svg")
    text = figure.read_text()
    assert all(word in text for word in (">adam<", ">sgd<", ">epoch<", ">loss, mean of 10 batches<"))
    again = plot_losses([adam, sgd], tmp_path / "again.svg")
    assert again.read_bytes() == figure.read_bytes()
    with Image.open(plot_losses([adam], tmp_path / "fig3.png")) as image:
        assert image.size == (960, 600)


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [folder(tmp_path / seed / "n2n", history([1, 2])) for seed in ("one", "two")]
    text = plot_losses(runs, tmp_path / "figure.svg").read_text()
    assert ">one/n2n<" in text
    assert ">two/n2n<" in text


def test_the_twin_is_a_line_of_its_own() -> None:
    text = draw_losses([("run", history([1, 2, 3], oracle=True))], format="svg").decode()
    assert ">run, torch.nn<" in text


def test_a_run_without_steps_still_has_a_figure() -> None:
    assert b"<svg" in draw_losses([("run", history([]))], format="svg")


def test_what_cannot_be_plotted(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", history([1, 2]))
    empty = folder(tmp_path / "untrained", history([]))
    mine = tmp_path / "mine.svg"
    mine.write_text("mine")
    for runs, path, code in (
        ([run], tmp_path / "figure.bmp", "E105"),
        ([run], tmp_path / "figure", "E105"),
        ([run], mine, "E403"),
        ([run], tmp_path / "absent" / "figure.svg", "E405"),
        ([tmp_path / "absent"], tmp_path / "figure.svg", "E401"),
        ([empty], tmp_path / "figure.svg", "E401"),
        ([], tmp_path / "figure.svg", "E401"),
    ):
        with pytest.raises(DiagnosticError) as caught:
            plot_losses(runs, path)
        assert [d.code for d in caught.value.diagnostics] == [code]
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.svg", "run", "untrained"]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (300, 40), (40, 500)])
def test_examples_of_every_shape(channels: int, size: tuple[int, int]) -> None:
    picture = torch.rand(channels, *size)
    rows = [example("bild.png", picture, picture + 0.5, picture)] * 2
    with Image.open(io.BytesIO(draw_examples(rows))) as image:
        assert image.mode == "RGB"
        assert max(image.size) < 1000


def test_examples_show_the_pixels(tmp_path: Path) -> None:
    red = torch.zeros(3, 128, 128)
    red[0] = 1.0
    row = example("red", red, red * 0.5, red * 2)
    assert row.noisy_psnr == pytest.approx(-10 * math.log10(1 / 3))
    with Image.open(io.BytesIO(draw_examples([row]))) as image:
        left = [image.getpixel((16 + index * 140 + 64, 100)) for index in range(3)]
    assert left == [(255, 0, 0), (128, 0, 0), (255, 0, 0)]


def test_examples_keep_the_middle_of_large_pictures() -> None:
    large = torch.zeros(1, 300, 400)
    large[0, 150, 200] = 1
    row = example("large", large, large, large)
    assert row.noisy.shape == (1, 256, 256)
    assert row.noisy[0, 128, 128] == 1
    assert row.psnr == math.inf


def test_examples_are_spread() -> None:
    assert spread(0, 4) == frozenset()
    assert spread(3, 4) == {0, 1, 2}
    assert spread(1000, 4) == {0, 333, 666, 999}


def test_the_pace() -> None:
    now = [0.0]
    pace = Pace(batches=4, measurements=2, clock=lambda: now[0])
    assert (pace.pictures_per_second, pace.seconds_left) == (0, 0)
    now[0] += 2
    pace.batch(32)
    now[0] += 4
    pace.batch(16)
    assert pace.pictures_per_second == 8
    assert pace.seconds_left == 2 * 3
    now[0] += 10
    pace.measurement()
    assert pace.seconds_left == 2 * 3 + 10

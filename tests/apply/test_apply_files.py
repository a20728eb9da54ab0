"""Denoising of files: format, depth and transparency are kept, and nothing that exists is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2nspec.apply import denoise, denoise_files
from n2nspec.diagnostics import DiagnosticError

RANDOM = np.random.default_rng(2)


def picture(path: Path, size: tuple[int, int] = (5, 7), mode: str = "RGB") -> np.ndarray:
    shape = size if mode == "L" else (*size, len(mode))
    array = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def codes(caught: pytest.ExceptionInfo[DiagnosticError]) -> list[str]:
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_one_file_to_one_file(tmp_path: Path, trained: Any) -> None:
    array = picture(tmp_path / "in.png")
    (done,) = denoise_files(trained, [tmp_path / "in.png"], tmp_path / "new" / "out.png")
    assert (done.source, done.output, done.size) == (
        tmp_path / "in.png",
        tmp_path / "new" / "out.png",
        (5, 7),
    )
    with Image.open(done.output) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), denoise(trained, array))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (37, 53)])
def test_every_size(tmp_path: Path, trained: Any, size: tuple[int, int]) -> None:
    picture(tmp_path / "in.png", size)
    (done,) = denoise_files(trained, [tmp_path / "in.png"], tmp_path / "out.png")
    with Image.open(done.output) as image:
        assert image.size == size[::-1]


def test_folders_and_files_to_a_folder(tmp_path: Path, trained: Any) -> None:
    for name in ("in/b.png", "in/a.JPG", "in/sub/deep.png", "c.jpeg"):
        picture(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    seen: list[Any] = []
    done = denoise_files(
        str(trained.path), [tmp_path / "in", tmp_path / "c.jpeg"], tmp_path / "out", on_picture=seen.append
    )
    assert [file.output for file in done] == [
        tmp_path / "out" / name for name in ("a.JPG", "b.png", "c.jpeg")
    ]
    assert seen == list(done)
    formats = {}
    for file in done:
        with Image.open(file.output) as image:
            formats[file.output.name] = image.format
    assert formats == {"a.JPG": "JPEG", "b.png": "PNG", "c.jpeg": "JPEG"}


def test_transparency_is_kept(tmp_path: Path, trained: Any) -> None:
    array = picture(tmp_path / "in.png", mode="RGBA")
    denoise_files(trained, [tmp_path / "in.png"], tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        result = np.asarray(image)
    assert np.array_equal(result[..., 3], array[..., 3])
    assert np.array_equal(result[..., :3], denoise(trained, np.ascontiguousarray(array[..., :3])))


def test_nothing_is_written_over(tmp_path: Path, trained: Any) -> None:
    array = picture(tmp_path / "in.png")
    before = (tmp_path / "in.png").read_bytes()
    for out in (tmp_path / "in.png", tmp_path):
        with pytest.raises(DiagnosticError) as caught:
            denoise_files(trained, [tmp_path / "in.png"], out)
        assert codes(caught) == ["E403"]
    assert (tmp_path / "in.png").read_bytes() == before
    assert array.size

    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DiagnosticError) as caught:
        denoise_files(trained, [tmp_path / "in.png"], tmp_path / "notes")
    assert codes(caught) == ["E403"]
    assert (tmp_path / "notes").read_text() == "mine"


def test_two_pictures_of_one_name(tmp_path: Path, trained: Any) -> None:
    for folder in "ab":
        picture(tmp_path / folder / "x.png")
    with pytest.raises(DiagnosticError, match="would both be written") as caught:
        denoise_files(trained, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert codes(caught) == ["E403"]
    with Image.open(tmp_path / "a" / "x.png") as image:
        expected = denoise(trained, np.asarray(image))
    with Image.open(tmp_path / "out" / "x.png") as image:
        assert np.array_equal(np.asarray(image), expected)


def test_bad_pictures_do_not_stop_the_good_ones(tmp_path: Path, trained: Any) -> None:
    picture(tmp_path / "good.png")
    picture(tmp_path / "grey.png", mode="L")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    names = ["text.png", "empty", "grey.png", "absent.png", "good.png"]
    with pytest.raises(DiagnosticError) as caught:
        denoise_files(trained, [tmp_path / name for name in names], tmp_path / "out")
    assert sorted(codes(caught)) == ["E301", "E304", "E402", "E402"]
    for diagnostic in caught.value.diagnostics:
        assert Path(diagnostic.file).name in names
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_only_bad_pictures_make_no_folder(tmp_path: Path, trained: Any) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DiagnosticError):
        denoise_files(trained, [tmp_path / "text.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outputs_that_make_no_sense(tmp_path: Path, trained: Any) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    for inputs, out in (
        (["a.png", "b.png"], "out.png"),
        (["."], "out.png"),
        (["a.png"], "out.tif"),
        (["a.png"], "a.png/out"),
    ):
        with pytest.raises(DiagnosticError) as caught:
            denoise_files(trained, [tmp_path / name for name in inputs], tmp_path / out)
        assert codes(caught) == ["E405"]
    with pytest.raises(DiagnosticError) as caught:
        denoise_files(trained, [], tmp_path / "out")
    assert codes(caught) == ["E402"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".png") == ["a.png", "b.png"]

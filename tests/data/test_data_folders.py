"""Folders of pictures: pairs by name, everything wrong with them said at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2nspec.data.folders import read_folder
from n2nspec.diagnostics import Diagnostic, DiagnosticError

MakePicture = Callable[..., np.ndarray]


def errors_of(folder: Path) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        read_folder(folder)
    return caught.value.diagnostics


def codes_and_words(folder: Path) -> list[tuple[str, str]]:
    return [(diagnostic.code, diagnostic.message) for diagnostic in errors_of(folder)]


def test_pairs_are_matched_by_name(pair_folder: Path, random_picture: MakePicture) -> None:
    for hidden in ("a/.DS_Store", "b/._p 0.png", ".hidden"):
        (pair_folder / hidden).write_text("not a picture")
    source = read_folder(pair_folder)
    assert source.title == "3 pairs from my pairs"
    assert source.names == ["p 0", "p 1", "p 2"]
    assert source.warnings == ()
    assert source.second is not None
    for index in range(3):
        assert np.array_equal(source.first[index], random_picture(seed=index).transpose(2, 0, 1))
        assert np.array_equal(source.second[index], random_picture(seed=index + 10).transpose(2, 0, 1))


def test_a_jpeg_may_belong_to_a_png(pair_folder: Path, random_picture: MakePicture) -> None:
    (pair_folder / "b" / "p 0.png").unlink()
    Image.fromarray(random_picture(seed=10)).save(pair_folder / "b" / "p 0.jpg")
    assert len(read_folder(pair_folder).first) == 3


def test_clean_pictures_of_several_sizes(tmp_path: Path, random_picture: MakePicture) -> None:
    for index, size in enumerate([(8, 9), (7, 5)]):
        Image.fromarray(random_picture(*size)).save(tmp_path / f"{index}.png")
    source = read_folder(tmp_path)
    assert source.second is None
    assert source.sizes().tolist() == [[3, 8, 9], [3, 7, 5]]
    assert source.title == f"2 clean pictures from {tmp_path.name}"


def test_eight_bits_among_sixteen_are_widened(tmp_path: Path, random_picture: MakePicture) -> None:
    grey = random_picture(channels=1)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    source = read_folder(tmp_path)
    assert source.first[0].dtype == source.first[1].dtype == np.uint16
    assert np.array_equal(source.first[0], source.first[1])


def test_counterparts_missing_on_both_sides(pair_folder: Path) -> None:
    (pair_folder / "a" / "p 0.png").unlink()
    (pair_folder / "b" / "p 2.png").unlink()
    assert codes_and_words(pair_folder) == [
        ("E304", "p 2.png has no counterpart in b/"),
        ("E304", "p 0.png has no counterpart in a/"),
    ]


def test_a_long_list_of_names_is_cut(pair_folder: Path, random_picture: MakePicture) -> None:
    for index in range(9):
        Image.fromarray(random_picture()).save(pair_folder / "a" / f"more{index}.png")
    ((_, message),) = codes_and_words(pair_folder)
    assert message == (
        "more0.png, more1.png, more2.png, more3.png, more4.png and 4 more have no counterpart in b/"
    )


def test_two_files_of_one_name(pair_folder: Path, random_picture: MakePicture) -> None:
    Image.fromarray(random_picture()).save(pair_folder / "a" / "p 0.jpg")
    ((code, message),) = codes_and_words(pair_folder)
    assert code == "E304"
    assert message == "p 0.jpg and p 0.png have the same name without suffix"


def test_pairs_that_differ_and_broken_files_are_all_reported(
    pair_folder: Path, random_picture: MakePicture
) -> None:
    Image.fromarray(random_picture(6, 10)).save(pair_folder / "b" / "p 0.png")
    Image.fromarray(random_picture(channels=1)).save(pair_folder / "a" / "p 1.png")
    (pair_folder / "a" / "p 2.png").write_bytes(b"no picture")
    assert codes_and_words(pair_folder) == [
        ("E402", "p 2.png is not a PNG or JPEG picture"),
        ("E304", "the two pictures of pair p 0 differ: 12 × 10 RGB of 8 bits and 6 × 10 RGB of 8 bits"),
        ("E304", "the two pictures of pair p 1 differ: 12 × 10 grey of 8 bits and 12 × 10 RGB of 8 bits"),
    ]


def test_reading_stops_after_twenty_errors(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index:02}.png").write_bytes(b"no picture")
    assert len(errors_of(tmp_path)) == 20


def test_folders_without_what_is_needed(tmp_path: Path, pair_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert codes_and_words(tmp_path / "empty") == [("E302", "no PNG or JPEG pictures in empty/; it is empty")]
    (tmp_path / "empty" / "stack.tif").touch()
    assert codes_and_words(tmp_path / "empty")[0][1].endswith("it holds stack.tif")
    for path in (pair_folder / "b").iterdir():
        path.unlink()
    assert codes_and_words(pair_folder) == [("E302", "no PNG or JPEG pictures in b/; it is empty")]
    (pair_folder / "b").rmdir()
    assert codes_and_words(pair_folder) == [("E302", "my pairs has a folder a/ but no b/")]


def test_other_files_are_left_out_with_a_warning(pair_folder: Path) -> None:
    (pair_folder / "a" / "notes.txt").touch()
    (pair_folder / "a" / "folder.png").mkdir()
    (warning,) = read_folder(pair_folder).warnings
    assert warning.code == "W304"
    assert warning.message == "left out of a/, not PNG or JPEG files: folder.png, notes.txt"


def test_transparency_is_ignored_with_a_warning_when_there_is_any(
    tmp_path: Path, random_picture: MakePicture
) -> None:
    colours = random_picture()
    opaque = np.full(colours.shape[:2], 255, np.uint8)
    glass = opaque.copy()
    glass[3, 4] = 0
    Image.fromarray(np.dstack([colours, opaque])).save(tmp_path / "opaque.png")
    assert read_folder(tmp_path).warnings == ()
    Image.fromarray(np.dstack([colours, glass])).save(tmp_path / "glass.png")
    source = read_folder(tmp_path)
    assert [(warning.code, "glass.png" in warning.message) for warning in source.warnings] == [("W303", True)]
    assert np.array_equal(source.first[0], colours.transpose(2, 0, 1))

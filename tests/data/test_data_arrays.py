"""NumPy's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n2nspec.data.arrays import read_arrays
from n2nspec.diagnostics import DiagnosticError

RNG = np.random.default_rng(3)
A = RNG.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
B = 255 - A


def error_of(path: Path) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        read_arrays(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.file == str(path)
    return diagnostic.code, diagnostic.message


def test_pairs_by_name_and_by_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", b=B, a=A, more=B)
    np.savez_compressed(tmp_path / "plain.npz", A, B)
    np.save(tmp_path / "one.npy", np.stack([A, B]))
    for name in ("named.npz", "plain.npz", "one.npy"):
        source = read_arrays(tmp_path / name)
        assert source.title == f"4 pairs of 6 × 5 from {name}"
        assert source.second is not None
        assert np.array_equal(source.first, A.transpose(0, 3, 1, 2))
        assert np.array_equal(source.second, B.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "array", [A, A.transpose(0, 3, 1, 2), A[..., 0], A[..., :1]], ids=["NHWC", "NCHW", "NHW", "NHW1"]
)
def test_clean_pictures_in_any_order_of_axes(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    source = read_arrays(tmp_path / "x.npy")
    assert source.second is None
    channels = 3 if array.size == A.size else 1
    assert np.array_equal(source.first, A[..., :channels].transpose(0, 3, 1, 2))
    assert source.title == "4 clean pictures of 6 × 5 from x.npy"


@pytest.mark.parametrize(
    ("arrays", "code", "words"),
    [
        ({"a": A}, "E302", "expected two arrays in x.npz, received a"),
        ({"x": A, "y": B, "z": B}, "E302", "x, y, z"),
        ({"a": A, "b": B[:2]}, "E304", "differ in shape"),
        ({"a": A[..., :2], "b": B[..., :2]}, "E302", "grey or RGB"),
        ({"a": A[:, :3], "b": B[:, :3]}, "E302", "first or last"),
        ({"a": A.astype(np.int32), "b": B}, "E302", "int32"),
        ({"a": A * 1.0, "b": B * 1.0}, "E302", "values from"),
        ({"a": A[:0], "b": B[:0]}, "E304", "no pictures"),
        ({"a": np.array([{}]), "b": B}, "E303", "pickled objects"),
    ],
)
def test_what_is_not_two_sets_of_pictures(
    tmp_path: Path, arrays: dict[str, np.ndarray], code: str, words: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    received, message = error_of(tmp_path / "x.npz")
    assert received == code
    assert words in message


def test_broken_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", a=A, b=B)
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], b"\x93NUMPY\x01\x00"):
        (tmp_path / "x.npz").write_bytes(content)
        assert error_of(tmp_path / "x.npz")[0] in ("E302", "E303"), content[:20]
    damaged = bytearray(whole)
    damaged[200] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(damaged)
    assert error_of(tmp_path / "x.npz")[0] == "E302"

"""The mini-project's files: pairs in, and nothing that a pickle asks for is ever run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from n2nspec.data.tensors import read_tensors
from n2nspec.diagnostics import DiagnosticError

FIRST = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
SECOND = 255 - FIRST


class Mine:
    """Stands for a class of the user's own."""


class Evil:
    """Unpickled the ordinary way, this makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


class Evaluates(Evil):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.trace)!r}, 'w').close()",)


def error_of(path: Path) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        read_tensors(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.file == str(path)
    return diagnostic.code, diagnostic.message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_pairs(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "my pairs.pkl"
    torch.save((FIRST, SECOND), path, _use_new_zipfile_serialization=zipped)
    source = read_tensors(path)
    assert source.title == "4 pairs of 6 × 5 from my pairs.pkl"
    assert source.names[3] == "my pairs[3]"
    assert source.second is not None
    assert source.first[0].dtype == np.uint8
    assert np.array_equal(source.first, FIRST.numpy())
    assert np.array_equal(source.second, SECOND.numpy())
    assert source.sizes().tolist() == [[3, 6, 5]] * 4


@pytest.mark.parametrize("kind", [Evil, Evaluates])
@pytest.mark.parametrize("how", ["zip", "old format", "beside tensors", "pickle 0", "pickle 2", "pickle 4"])
def test_code_is_refused_and_not_run(tmp_path: Path, kind: type[Evil], how: str) -> None:
    trace = tmp_path / "it ran"
    path = tmp_path / "evil.pkl"
    evil = kind(trace)
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps(evil, protocol=int(how[-1])))
    elif how == "beside tensors":
        torch.save((FIRST, evil), path)
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how == "zip")
    code, message = error_of(path)
    assert code == "E303"
    assert ("system" if kind is Evil else "eval") in message
    assert not trace.exists()


def test_the_control_would_have_run(tmp_path: Path) -> None:
    """Negative control: the pickles above are dangerous."""
    for number, kind in enumerate((Evil, Evaluates)):
        trace = tmp_path / f"it ran {number}"
        pickle.loads(pickle.dumps(kind(trace)))
        assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [Mine(), torch.nn.ReLU(), (FIRST.numpy(), SECOND.numpy())],
    ids=["a class of one's own", "a module", "arrays"],
)
def test_what_would_need_code_is_refused_too(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pt")
    assert error_of(tmp_path / "x.pt")[0] == "E303"


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (FIRST, "E302", "a tensor of uint8 (4, 3, 6, 5)"),
        ((FIRST,), "E302", "1 element"),
        ((FIRST, SECOND, SECOND), "E302", "3 elements"),
        ({"a": FIRST, "b": SECOND}, "E302", "a dict"),
        ((FIRST, 3), "E302", "the second tensor of x.pkl is a int"),
        ((FIRST[0], SECOND[0]), "E302", "a tensor of uint8 (3, 6, 5)"),
        ((FIRST.long(), SECOND.long()), "E302", "int64"),
        ((FIRST.float(), SECOND.float()), "E302", "values from"),
        ((FIRST / torch.nan, SECOND / 255), "E302", "values from nan"),
        ((FIRST.float().to_sparse(), SECOND), "E302", "first tensor"),
        ((FIRST, SECOND[:3]), "E304", "differ in shape"),
        ((FIRST[:0], SECOND[:0]), "E304", "no pictures"),
    ],
)
def test_what_is_not_two_sets_of_pictures(tmp_path: Path, content: object, code: str, words: str) -> None:
    torch.save(content, tmp_path / "x.pkl")
    received, message = error_of(tmp_path / "x.pkl")
    assert received == code
    assert words in message


def test_floating_point_on_the_unit_interval_is_taken(tmp_path: Path) -> None:
    torch.save((FIRST / 255, SECOND / 255), tmp_path / "x.pkl")
    assert read_tensors(tmp_path / "x.pkl").first[0].dtype == np.float32


def test_broken_files(tmp_path: Path) -> None:
    torch.save((FIRST, SECOND), tmp_path / "whole.pkl")
    whole = (tmp_path / "whole.pkl").read_bytes()
    torch.save((FIRST, SECOND), tmp_path / "old.pkl", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old.pkl").read_bytes()
    cases = [
        b"",
        b"hello world\n",
        whole[: len(whole) // 2],
        whole[4:],
        old[: len(old) // 2],
        b"\x80\x02.",
        b"PK\3\4",
    ]
    for content in cases:
        (tmp_path / "x.pkl").write_bytes(content)
        code, message = error_of(tmp_path / "x.pkl")
        assert code == "E302", content[:20]
        assert "x.pkl" in message


def test_a_name_in_a_pickle_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02c\x1b[31mbad\nname\n.")
    code, message = error_of(tmp_path / "x.pkl")
    assert code == "E303"
    assert "\x1b" not in message

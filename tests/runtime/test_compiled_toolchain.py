"""What torch's compiler needs around it: a folder that stays, whole libraries, paths without spaces."""

from __future__ import annotations

import importlib
import os
import struct
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from programs import conv, graph_of, model_of, pictures
from test_compiled import Plain, plain

from n2nspec.runtime.compiled import engine as compiled_engine
from n2nspec.runtime.compiled.toolchain import FOLDER, keep_results, remove_leftovers, without_spaces

__all__ = ["plain"]


def test_results_are_kept_where_they_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDER, "chosen")
    keep_results()
    assert os.environ[FOLDER] == "chosen"
    monkeypatch.delenv(FOLDER)
    keep_results()
    assert os.environ[FOLDER] == str(tmp_path / "cache" / "n2nspec" / "compiled")
    assert Path(os.environ[FOLDER]).is_dir()
    monkeypatch.delenv(FOLDER)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_results()
    assert FOLDER not in os.environ, "torch's own choice"


@pytest.mark.parametrize("cache", ["cache", "a cache"])
def test_torchs_libraries_are_named_without_spaces(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("torch.utils.cpp_extension")
    (tmp_path / "an environment" / "lib").mkdir(parents=True)
    folder = str(tmp_path / "an environment" / "lib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "TORCH_LIB_PATH", folder)
    for _ in range(2):  # the second time the other name is there
        with without_spaces():
            assert " " not in module.TORCH_LIB_PATH
            assert Path(module.TORCH_LIB_PATH).samefile(folder)
        assert folder == module.TORCH_LIB_PATH
    monkeypatch.setattr(module, "TORCH_LIB_PATH", "/plain/lib")
    with without_spaces():
        assert module.TORCH_LIB_PATH == "/plain/lib"


def library(size: int) -> bytes:
    """An ELF file of 200 bytes whose section table is its end, cut to `size`."""
    head = struct.pack("<5s35xQ10x2H2x", b"\x7fELF\x02", 72, 64, 2)
    return head.ljust(200, b"x")[:size]


def test_what_a_killed_compilation_left_is_removed(
    plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is compiled, unless somebody may be writing it just now; always after a failure."""
    (tmp_path / "ab").mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    sizes = {"ab/empty.so": 0, "ab/short.so": 20, "half.so": 150, "whole.so": 200}

    def write(age: float) -> None:
        for name, size in sizes.items():
            (tmp_path / name).write_bytes(library(size))
            os.utime(tmp_path / name, (time.time() - age,) * 2)
        (tmp_path / "kernel.cpp").touch()

    def left() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} - {"kernel.cpp"}

    write(age=120)
    assert remove_leftovers()
    assert left() == {"whole.so"}
    assert not remove_leftovers()
    write(age=1)
    assert not remove_leftovers()
    assert left() == sizes.keys()

    faults: list[Exception] = []

    def fail_sometimes(*arguments: Any, **keywords: Any) -> Any:
        if faults:
            raise faults.pop()
        return plain(*arguments, **keywords)

    x = pictures((2, 2, 5, 6))
    for count, engine in ((1, "compiled"), (2, "optimized")):
        write(age=1)
        faults = [RuntimeError("ImportError: half.so: file too short")] * count
        model = model_of(graph_of([conv("a")]), "compiled")
        with mock.patch.object(compiled_engine, "compiled", fail_sometimes):  # goes before `plain` does
            model.step(x, x)
        assert model.engine == engine
        assert not faults
        assert left() == {"whole.so"}

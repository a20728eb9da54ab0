"""Small ways to provoke the codes that no spec alone provokes: of data, runs, pictures and devices.

In: an empty folder, which is the working folder too. Out: the diagnostics, with what depends on the machine
or on another library's version masked as `…`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from n2nspec.data import open_training, read_picture, write_picture
from n2nspec.data.scaling import from_unit
from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.layers import LayerSpec
from n2nspec.oracle.twin import layer_twin
from n2nspec.runtime import compile as compile_spec
from n2nspec.runtime import memory_fault
from n2nspec.spec import Spec, load
from n2nspec.training import Summary, open_run, train
from n2nspec.training.reporter import Silent

__all__ = ["PROVOKED"]

SPEC = """\
spec_version = 1
name = "example"

[input]
x = ["N", 3, "H", "W"]

[[encoder]]
type = "Conv2d"
out_channels = 3
kernel_size = 3
padding = 1
"""


def spec(more: str = "") -> Spec:
    """A spec read from a file of the working folder."""
    Path("spec.toml").write_text(SPEC + more, encoding="utf-8")
    return load("spec.toml")


def colours(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def pairs(*shape: int) -> None:
    np.savez("pairs.npz", a=colours(*shape), b=colours(*shape))


def pictures(folder: str, *shape: int) -> None:
    Path(folder).mkdir(parents=True)
    Image.fromarray(colours(*shape)).save(f"{folder}/cat.png")


def training(data: str) -> tuple[Diagnostic, ...]:
    return open_training(spec(f"\n[data]\n{data}\n"), torch.float32).warnings


def unknown_source(folder: Path) -> object:
    return training('train = "builtin:photo"')


def missing_data(folder: Path) -> object:
    return training('train = "gone.npz"')


class Unsafe:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 + 1",)


def unsafe_pickle(folder: Path) -> object:
    with open("train.pkl", "wb") as stream:
        pickle.dump((Unsafe(), Unsafe()), stream)
    return training('train = "train.pkl"')


def grey_pictures(folder: Path) -> object:
    pairs(4, 8, 8, 1)
    return training('train = "pairs.npz"')


def no_data(folder: Path) -> object:
    return open_training(spec(), torch.float32)


def no_noise(folder: Path) -> object:
    pictures("clean", 8, 8, 3)
    return training('train = "clean"')


def noise_on_pairs(folder: Path) -> object:
    pairs(4, 8, 8, 3)
    return training('train = "pairs.npz"\nval = "pairs.npz"\nnoise = { type = "gaussian", sigma = 0.1 }')


def no_validation(folder: Path) -> object:
    pairs(4, 8, 8, 3)
    return training('train = "pairs.npz"')


def transparent(folder: Path) -> object:
    for half in ("a", "b"):
        pictures(f"pairs/{half}", 8, 8, 4)
    return training('train = "pairs"\nval = "pairs"')


def left_out(folder: Path) -> object:
    for half in ("a", "b"):
        pictures(f"pairs/{half}", 8, 8, 3)
    Path("pairs/a/notes.txt").write_text("on Monday", encoding="utf-8")
    return training('train = "pairs"\nval = "pairs"')


def shifting_noise(folder: Path) -> object:
    pictures("clean", 8, 8, 3)
    return training('train = "clean"\nval = "clean"\nnoise = { type = "impulse", p = 0.2 }')


def no_run(folder: Path) -> object:
    return open_run("runs/n2n")


def no_picture(folder: Path) -> object:
    Path("cat.png").write_text("a cat", encoding="utf-8")
    return read_picture(Path("cat.png"))


def folder_in_use(folder: Path) -> object:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("on Monday", encoding="utf-8")
    pairs(4, 8, 8, 3)
    return train(spec('\n[data]\ntrain = "pairs.npz"\n'), Path("run"))


def weights_alone(folder: Path) -> object:
    save_file({"conv.weight": torch.zeros(3)}, "model.safetensors")
    return open_run("model.safetensors")


def no_folder(folder: Path) -> object:
    return write_picture(Path("gone/cat.png"), colours(8, 8, 3))


def not_a_number(folder: Path) -> object:
    return from_unit(np.full((2, 2), np.nan), np.uint8)


def diverging(folder: Path) -> object:
    pairs(4, 8, 8, 3)
    optimizer = '\n[train]\noptimizer = { type = "SGD", lr = 1e9 }\n'
    return train(spec(optimizer + '\n[data]\ntrain = "pairs.npz"\n'), Path("run"), epochs=9)


class Listener(Silent):
    """Remembers what it is told at the end."""

    warnings: tuple[Diagnostic, ...] = ()

    def on_end(self, summary: Summary) -> None:
        self.warnings = summary.warnings


def doing_harm(folder: Path) -> object:
    pairs(4, 8, 8, 3)
    much = '\n[train]\ndtype = "float64"\noptimizer = { type = "SGD", lr = 100.0 }\n'
    train(
        spec(much + '\n[data]\ntrain = "pairs.npz"\n'), Path("run"), epochs=2, reporter=(told := Listener())
    )
    return told.warnings


def other_target(folder: Path) -> object:
    model = compile_spec(spec())
    return model.step(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4))


def unknown_engine(folder: Path) -> object:
    return compile_spec(spec(), engine="turbo")


def no_device(folder: Path) -> object:
    try:
        return compile_spec(spec(), device="abacus")
    except DiagnosticError as error:
        (found,) = error.diagnostics
        masked = found.message.partition(": ")[0] + ": …"  # the reason is torch's
        raise DiagnosticError([replace(found, message=masked)]) from error


class Plain(LayerSpec):
    type: str = "Plain"


def no_twin(folder: Path) -> object:
    return layer_twin(Plain(), ((1, 3, 8, 8),))


def no_memory(folder: Path) -> object:
    del folder
    refused = RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 2592000000 bytes."
    )
    fault = memory_fault(refused, "big.png, 3000 × 3000 pixels,", "big.png")
    assert fault is not None
    assert memory_fault(RuntimeError("something else")) is None
    raise DiagnosticError([fault])


def low_limit(folder: Path) -> object:
    del folder
    model = compile_spec(spec(), memory_limit="100 KiB")
    assert model.memory_limit is not None
    return model.memory_limit.fitted((32, 3, 32, 32))


def no_compiler(folder: Path) -> object:
    with mock.patch.dict(os.environ, CXX="/no/such/compiler"):
        return compile_spec(spec(), engine="compiled").warnings


def no_helper(folder: Path) -> object:
    del folder
    model = compile_spec(spec(), engine="optimized", processes=2)
    x = torch.rand(2, 3, 512, 512)  # enough work to be divided
    with mock.patch("subprocess.Popen", side_effect=OSError("no process to be had")):
        model.step(x, x)
    return model.warnings


def full_precision(folder: Path) -> object:
    del folder
    return compile_spec(spec('\n[train]\nprecision = "bf16-mixed"\n'), engine="optimized").warnings


WAYS: dict[str, Callable[[Path], object]] = {
    "E209": other_target,
    "E301": missing_data,
    "E302": unknown_source,
    "E303": unsafe_pickle,
    "E304": grey_pictures,
    "E305": no_data,
    "E306": no_noise,
    "E401": no_run,
    "E402": no_picture,
    "E403": folder_in_use,
    "E404": weights_alone,
    "E405": no_folder,
    "E406": not_a_number,
    "E407": diverging,
    "E501": unknown_engine,
    "E502": no_device,
    "E503": no_twin,
    "E504": no_memory,
    "E505": low_limit,
    "W301": noise_on_pairs,
    "W302": no_validation,
    "W303": transparent,
    "W304": left_out,
    "W305": shifting_noise,
    "W306": doing_harm,
    "W501": no_compiler,
    "W502": no_helper,
    "W503": full_precision,
}


def _diagnostics(way: Callable[[Path], object]) -> Callable[[Path], tuple[Diagnostic, ...]]:
    def provoke(folder: Path) -> tuple[Diagnostic, ...]:
        try:
            found = way(folder)
        except DiagnosticError as error:
            return error.diagnostics
        return found if isinstance(found, tuple) else ()

    return provoke


PROVOKED = {code: _diagnostics(way) for code, way in WAYS.items()}
"""Diagnostics by code, given a folder."""

"""Evaluation: the numbers of the run, and numbers that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2nspec.apply import denoise, evaluate
from n2nspec.diagnostics import DiagnosticError
from n2nspec.spec import Spec
from n2nspec.training import train


def test_the_held_out_pictures_of_the_spec(trained: Any) -> None:
    evaluation = evaluate(trained.path)
    assert evaluation == evaluate(trained)
    assert evaluation.pictures == len(evaluation.scores) == 3
    assert evaluation.psnr == trained.psnr
    assert evaluation.noisy_psnr == trained.noisy_psnr
    assert [score.name for score in evaluation.scores] == ["val[0]", "val[1]", "val[2]"]


def test_other_pictures(trained: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    noisy = random.random((2, 6, 7, 3))
    clean = random.random((2, 6, 7, 3))
    np.savez(tmp_path / "other.npz", a=noisy, b=clean)
    evaluation = evaluate(trained, tmp_path / "other.npz")

    def decibels(first: np.ndarray) -> float:
        return float(
            np.mean([-10 * math.log10(np.mean((a - b) ** 2)) for a, b in zip(first, clean, strict=True)])
        )

    assert evaluation.noisy_psnr == pytest.approx(decibels(noisy), abs=1e-5)
    assert evaluation.psnr == pytest.approx(decibels(denoise(trained, noisy)), abs=1e-5)
    assert evaluation.pictures == 2


def test_pictures_without_noise_at_all(trained: Any, tmp_path: Path) -> None:
    clean = np.random.default_rng(6).random((2, 4, 4, 3))
    np.savez(tmp_path / "clean.npz", a=clean, b=clean)
    evaluation = evaluate(trained, str(tmp_path / "clean.npz"))
    assert evaluation.noisy_psnr == math.inf
    assert math.isfinite(evaluation.psnr)


def test_no_pictures_to_measure_on(tmp_path: Path, spec: Callable[..., Spec], pairs: dict[str, Any]) -> None:
    del pairs["val"]
    run = train(spec(), tmp_path / "run", epochs=0)
    for data, match in ((None, "names no held-out pictures"), (tmp_path / "absent.npz", "absent")):
        with pytest.raises(DiagnosticError, match=match) as caught:
            evaluate(run, data)
        assert [d.code for d in caught.value.diagnostics] == ["E301"]

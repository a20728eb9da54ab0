"""How good a trained network is on held-out pictures.

In: a run, and pictures other than those of its spec if wanted. Out: mean PSNRs, and that of every picture.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from n2nspec.data import open_validation
from n2nspec.diagnostics import Diagnostic, fail
from n2nspec.training.evaluation import Score, measure
from n2nspec.training.inference import Frame
from n2nspec.training.run import Run, open_run

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Held-out pictures, measured.

    Attributes:
        psnr: mean over the pictures after denoising, dB; `inf` when one equals its reference.
        noisy_psnr: the same for the pictures as they were.
        pictures: how many.
        description: what they are, in words.
        scores: picture by picture, in order.
    """

    psnr: float
    noisy_psnr: float
    pictures: int
    description: str
    scores: tuple[Score, ...]
    warnings: tuple[Diagnostic, ...] = ()


def evaluate(
    run: Run | str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
) -> Evaluation:
    """Denoises held-out pictures and compares them with their references.

    Args:
        run: a run, or the path of one or of its `model.safetensors`.
        data: what `[data] val` may be; that of the run's spec when absent.
        engine, device: as in `n2nspec.compile`.

    Raises:
        DiagnosticError: E301, no pictures to measure on; E3…, pictures that cannot be used; E401 or E404, no
            usable run; E208, a picture too large for the network.
    """
    run = run if isinstance(run, Run) else open_run(run)
    model = run.model(engine=engine, device=device)
    held_out = run.spec.data.val if data is None and run.spec.data else data
    # given, not read from a spec: what is wrong with them, no edit of the spec can mend any more
    pictures = open_validation(run.spec, model.dtype, os.fspath(held_out)) if held_out is not None else None
    if pictures is None:
        raise fail(
            "E301",
            "the run's spec names no held-out pictures",
            file=run.path,
            help="name some with --data",
        )
    measured = measure(model.forward, Frame(model.graph), pictures, model.device)
    if math.isnan(measured.psnr):
        raise fail(
            "E406",
            "the network's result has values that are not finite numbers",
            file=run.path,
            help="train it again, with a smaller learning rate",
        )
    return Evaluation(
        psnr=measured.psnr,
        noisy_psnr=measured.noisy_psnr,
        pictures=len(measured.scores),
        description=pictures.description,
        scores=measured.scores,
        warnings=pictures.warnings,
    )

"""From a source to a `Spec`: the one place where the stages of this floor come together.

In: a path or a dict, and overrides. Out: a `Spec` that knows where each value was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from n2nspec.diagnostics import DiagnosticError
from n2nspec.spec.models import Spec
from n2nspec.spec.origins import Origins
from n2nspec.spec.overrides import apply_overrides
from n2nspec.spec.problems import problems, tame
from n2nspec.spec.source import read, wrap

__all__ = ["load"]


def load(source: str | FilePath | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Spec:
    """Reads and validates a spec.

    Args:
        source: path of a TOML or JSON file, or the document as a dict.
        overrides: values to put over those of the source, by dotted key: `{"train.optimizer.lr": 1.0}`.
            A layer is addressed by its index or its name: `encoder.0.out_channels`.

    Raises:
        DiagnosticError: every mistake found, in source order.
    """
    written = wrap(source) if isinstance(source, Mapping) else read(FilePath(source))
    document, elsewhere = apply_overrides(written.document, overrides or {}, file=written.file)
    origins = Origins(source=written, elsewhere=elsewhere)
    spec, error = None, None
    try:
        spec = Spec.model_validate(tame(document))
    except ValidationError as caught:
        error = caught
    found = problems(error, document, origins)
    if spec is None or found:
        raise DiagnosticError(found)
    spec._origins = origins
    return spec

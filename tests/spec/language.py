"""Small documents in the whole language of specs, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.spec import load, to_document

__all__ = ["conv", "document", "flat", "problems", "refused"]


def document(*encoder: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """A spec with these layers."""
    return {
        "spec_version": 1,
        "name": "small",
        "input": {"x": ["N", 3, "H", "W"]},
        **({"encoder": list(encoder)} if encoder else {}),
        **others,
    }


def conv(channels: object = 4, **fields: Any) -> dict[str, Any]:
    return {"type": "Conv2d", "out_channels": channels, "kernel_size": 3, **fields}


def flat(source: Any, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The flat document, which loads as the same spec."""
    spec = load(source, overrides)
    written = to_document(spec)
    assert load(written) == spec
    return written


def refused(source: Any, overrides: Mapping[str, Any] | None = None) -> tuple[Diagnostic, ...]:
    try:
        load(source, overrides)
    except DiagnosticError as error:
        return error.diagnostics
    raise AssertionError("it loads without a mistake")


def problems(source: Any, overrides: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Code and path of every mistake."""
    return [(diagnostic.code, diagnostic.path) for diagnostic in refused(source, overrides)]

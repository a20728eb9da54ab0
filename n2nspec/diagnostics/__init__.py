"""Errors and warnings as data. Floor 0: no torch, no other part of the package."""

from n2nspec.diagnostics.codes import CODES
from n2nspec.diagnostics.github import to_github
from n2nspec.diagnostics.model import (
    COMMAND_LINE,
    SIZE_OPTION,
    Diagnostic,
    DiagnosticError,
    Label,
    Span,
    fail,
)
from n2nspec.diagnostics.order import in_source_order
from n2nspec.diagnostics.render import render, render_all, summary, to_json
from n2nspec.diagnostics.words import (
    closest,
    describe_value,
    did_you_mean,
    listing,
    plural,
    quote,
    render_path,
)

__all__ = [
    "CODES",
    "COMMAND_LINE",
    "SIZE_OPTION",
    "Diagnostic",
    "DiagnosticError",
    "Label",
    "Span",
    "closest",
    "describe_value",
    "did_you_mean",
    "fail",
    "in_source_order",
    "listing",
    "plural",
    "quote",
    "render",
    "render_all",
    "render_path",
    "summary",
    "to_github",
    "to_json",
]

"""Spec text → validated spec. In: TOML, JSON or a dict. Out: `Spec`, or every mistake with its place."""

from n2nspec.spec.document import to_document, to_toml
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.load import Examined, examine, load
from n2nspec.spec.models import DataSpec, Require, Spec, TrainSpec
from n2nspec.spec.overrides import parse_override
from n2nspec.spec.parts import Part, Unsound

__all__ = [
    "ENTRIES",
    "DataSpec",
    "Entry",
    "Examined",
    "Part",
    "Require",
    "Spec",
    "TrainSpec",
    "Unsound",
    "examine",
    "load",
    "parse_override",
    "to_document",
    "to_toml",
]

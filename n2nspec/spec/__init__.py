"""Spec text → validated spec. In: TOML, JSON or a dict. Out: `Spec`, or every mistake with its place.

What a spec may say once instead of many times is taken out, stage by stage, before it is validated
(`flatten`): `extends` (`extends`, `merge`), `--set` (`overrides`), `[vars]` and `${…}` (`variables`,
`templates`, `expressions`), `[blocks]` and `repeat` (`blocks`, `expand`, `references`), `[defaults]`
(`defaults`). Each of these modules says how its part is written. `trace` keeps the place of every value.
"""

from n2nspec.spec.document import to_document, to_toml
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.load import Examined, examine, load
from n2nspec.spec.models import DataSpec, Require, Spec, TrainSpec
from n2nspec.spec.names import is_name
from n2nspec.spec.overrides import parse_override, parse_overrides, read_overrides
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
    "is_name",
    "load",
    "parse_override",
    "parse_overrides",
    "read_overrides",
    "to_document",
    "to_toml",
]

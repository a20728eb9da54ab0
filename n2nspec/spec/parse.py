"""Text → plain document, judged by tomllib and json.

In: the text of a file. Out: dicts, lists and values; or the diagnostics of `faults` and `faults_json`,
which are imported only when there is something to say: a sound spec never pays for it.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from n2nspec.diagnostics import DiagnosticError

__all__ = ["DEEPEST", "LONG_KEY", "ConstantError", "has_twice", "parse_json", "parse_toml", "refuse_constant"]

DEEPEST = 64
"""Levels of tables and lists; a network needs four."""

LONG_KEY = re.compile(
    rf"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""", re.ASCII
)
"""A key of very many parts, for which tomllib takes quadratic time; or what looks like one in a text."""


class ConstantError(ValueError):
    """NaN or an infinity, which json reads and JSON does not have."""


def parse_toml(file: str, text: str) -> dict[str, Any]:
    if LONG_KEY.search(text):
        from n2nspec.spec.faults import long_key

        found = long_key(file, text)
        if found is not None:
            raise DiagnosticError([found])
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        from n2nspec.spec.faults import of_toml

        raise DiagnosticError(of_toml(file, text, error)) from None


def parse_json(file: str, text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        document, repeated = _loads(text)
    except (ValueError, RecursionError) as error:
        from n2nspec.spec.faults_json import of_json

        raise DiagnosticError(of_json(file, text, error)) from None
    if repeated:
        from n2nspec.spec.faults_json import twice_in_json

        raise DiagnosticError(twice_in_json(file, text))
    if not isinstance(document, dict):
        from n2nspec.spec.faults import no_object

        raise DiagnosticError([no_object(file, text, document)])
    return document


def has_twice(text: str) -> bool:
    """Whether a text, which is JSON, has a key twice in an object."""
    return _loads(text)[1]


def _loads(text: str) -> tuple[Any, bool]:
    repeated = False

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        made = dict(pairs)
        repeated = repeated or len(made) < len(pairs)
        return made

    return json.loads(text, object_pairs_hook=table, parse_constant=refuse_constant), repeated


def refuse_constant(name: str) -> None:
    """For json, which would read it."""
    raise ConstantError(name)

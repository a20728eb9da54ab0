"""Codes and sentences for pydantic's kinds of error: what was expected, what was received.

Errors of our own validators (`PydanticCustomError`) bring their sentence; the ending of their kind gives the
code: `…_type` E112, `…_range` E113, `…_name` E114; anything else E113.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from n2nspec.diagnostics import describe_value, listing

__all__ = ["sentence", "respelt"]

KINDS: Mapping[str, tuple[type, ...]] = {
    "int_type": (int,),
    "float_type": (int, float),
    "bool_type": (bool,),
    "tuple_type": (list,),
    "list_type": (list,),
    "dict_type": (dict,),
    "model_type": (dict,),
    "model_attributes_type": (dict,),
    "numbers_type": (int, list),
    "number_type": (int,),
    "dim_type": (int,),
    "dim_range": (int,),
}
"""What is expected, for errors where the author may have put it in quotes."""
WRONG_TYPE = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "{min_length} or more entries",
    "too_few": "more entries",
    "too_long": "{max_length} entries or fewer",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "{max_length} characters or fewer",
    "finite_number": "a finite number",
    "int_parsing_size": "a smaller integer",
}
OWN = {"no_layers": "E201"}
ENDINGS = {"type": "E112", "range": "E113", "name": "E114"}


def sentence(detail: Mapping[str, Any]) -> tuple[str, str]:
    """(code, sentence) of an error about one value."""
    kind, received = detail["type"], describe_value(detail.get("input"))
    context = detail.get("ctx") or {}
    if kind in WRONG_TYPE:
        return "E112", f"expected {WRONG_TYPE[kind]}; received {received}"
    if kind in ("too_short", "string_too_short") and received == '""':
        return "E113", f"expected text that is not empty; received {received}"
    if kind in BOUNDS:
        return "E113", f"expected {_bound(kind, context)}; received {received}"
    if kind == "string_pattern_mismatch":
        return (
            "E118",
            f"expected letters, digits, _ and -, not beginning with a digit or -; received {received}",
        )
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"])
        expected = listing(options, "or") if options else context["expected"]
        return "E114", f"expected {expected}; received {received}"
    code = OWN.get(kind) or ENDINGS.get(kind.rpartition("_")[2], "E113")
    text = detail["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    if text.startswith("expected") and "received" not in text:
        text += f"; received {received}"
    return code, text


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    whole = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in context.items()
    }
    return BOUNDS[kind].format_map(whole)


def respelt(detail: Mapping[str, Any]) -> str:
    """A help for what was meant but written in another type; empty when nothing suggests itself."""
    value, kinds = detail.get("input"), KINDS.get(detail["type"], ())
    if detail["type"] == "string_pattern_mismatch" and isinstance(value, str):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", value[:200]).strip("_-")
        return f'for example "{"_" if name[0].isdigit() else ""}{name}"' if name else ""
    if isinstance(value, str) and kinds and len(value) <= 200:
        return _without_quotes(value, kinds)
    if isinstance(value, list) and len(value) == 1 and list not in kinds and type(value[0]) in kinds:
        return f"write {describe_value(value[0])}, without brackets"
    if bool in kinds and value in (0, 1):
        return f"write {describe_value(bool(value))}"
    if int in kinds and isinstance(value, float) and value.is_integer():
        return f"write {describe_value(int(value))}"
    return ""


def _without_quotes(text: str, kinds: tuple[type, ...]) -> str:
    spelt = text.lower() if bool in kinds else text.strip()
    try:
        meant = tomllib.loads(f"value = {spelt}")
    except (ValueError, RecursionError):
        if spelt[:1] in ("[", "{"):
            return (
                "this is text, for it is no valid list or table; with --set, put single quotes around all of"
                " it, so that the shell leaves the inner ones"
            )
        return ""
    if meant.keys() == {"value"} and type(meant["value"]) in kinds:
        return f"write {spelt}, without quotes"
    return ""

"""A layer whose type is nearly certain is judged as one of that type, beside the error of the type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from language import conv, document

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph import check
from n2nspec.spec import ENTRIES
from n2nspec.spec.near_types import near_type

RELU = {"type": "ReLU"}
POOL = {"type": "MaxPol2d"}


def found(source: Any) -> tuple[Diagnostic, ...]:
    try:
        check(source)
    except DiagnosticError as error:
        return error.diagnostics
    return ()


def told(*layers: Any, **others: Any) -> list[tuple[str, str]]:
    """Code and key of every mistake."""
    return [(one.code, one.path.rpartition(".")[2]) for one in found(document(*layers, **others))]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELU", "ReLU"), ("conv2d", "Conv2d"), ("MaxPol2d", "MaxPool2d"), ("MaxPooll2d", "MaxPool2d"),
        ("MaxPaol2d", "MaxPool2d"), ("Conv2", "Conv2d"),
        # two are as near; another number, another layer; too far
        ("CELU", None), ("Conv3d", None), ("Conv", None), ("MaxPo2d", None), ("${t}", None), ("", None),
        (3, None),
    ],
)  # fmt: skip
def test_near_types(name: object, meant: str | None) -> None:
    assert near_type(name) == meant


@given(st.sampled_from(sorted(ENTRIES)), st.integers(0, 20), st.sampled_from(["", "q", "qq"]))
def test_an_edit_away(kind: str, place: int, put: str) -> None:
    """A letter that no type has says that one was put in or replaced."""
    place = min(place, len(kind))
    inserted = kind[:place] + put + kind[place:]
    assert near_type(inserted) in ((kind, None) if len(put) < 2 else (None,))


@pytest.mark.parametrize(("fields", "mistakes"), [
    ({"kernel_size": 2}, []),
    ({}, []),
    ({"kernel_sise": 2}, [("E110", "kernel_sise")]),
    ({"kernel_size": "2"}, [("E112", "kernel_size")]),
    ({"kernel_size": [2]}, [("E112", "kernel_size")]),
    ({"stride": 0}, [("E113", "stride")]),
    ({"stride": 2**70}, [("E113", "stride")]),
    ({"stride": 0, "colour": 3}, [("E110", "colour"), ("E113", "stride")]),
    ({"stride": "${nothing}"}, [("E121", "stride")]),
    ({"name": "9x"}, [("E118", "name")]),
    ({"nam": "p", "form": "x"}, [("E110", "form"), ("E110", "nam")]),
    # a default may make it right
    ({"kernel_size": 2, "padding": 2}, []),
], ids=str)  # fmt: skip
def test_its_fields_are_judged(fields: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    expected = sorted([("E116", "type"), *mistakes])
    assert sorted(told({**POOL, **fields})) == expected
    assert sorted(told({**POOL, "repeat": 2, **fields})) == expected
    block = {"layers": [{**POOL, **fields}]}
    if "from" not in fields and "form" not in fields:
        assert sorted(told({"block": "b"}, {"block": "b"}, blocks={"b": block})) == expected


def test_of_any_other_type_nothing_is_known() -> None:
    assert told({"type": "Conv3d", "kernel_sise": [3, 3, 3]}) == [("E116", "type")]
    assert told({"type": "CELU", "alpha": 3}) == [("E116", "type")]


def test_the_message_names_the_type_that_was_meant() -> None:
    kind, key = found(document({**POOL, "kernel_sise": 2}))
    assert kind.message == 'unknown layer type "MaxPol2d"'
    assert key.message == 'unknown key "kernel_sise" in MaxPool2d'
    assert key.help == 'did you mean "kernel_size"?'


def test_what_reads_it_is_not_judged() -> None:
    layers = [{**POOL, "name": "p", "stride": 0}, conv(4, groups=2), {**RELU, "from": "p"}]
    assert told(*layers) == [("E116", "type"), ("E113", "stride")]


def test_its_name_may_be_refused() -> None:
    assert told({"type": "RELU", "name": "9x"}, {**RELU, "from": "old"}) == [
        ("E116", "type"), ("E118", "name"),
    ]  # fmt: skip

"""Warnings: legal, but surely not meant. As important: no warning without a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import Window
from n2nspec.graph import ShapedGraph, check, size_values, warnings_at

RELU: dict[str, Any] = {"type": "ReLU"}


def conv(kernel: Any = 3, **fields: Any) -> dict[str, Any]:
    return {"type": "Conv2d", "out_channels": 3, "kernel_size": kernel, **fields}


def graph(*layers: dict[str, Any], sizes: tuple[Any, Any] = ("H", "W"), **more: Any) -> ShapedGraph:
    return check(
        {
            "spec_version": 1,
            "name": "t",
            "input": {"x": ["N", 3, *sizes]},
            "encoder": list(layers),
            **more,
        }
    )


def codes(found: ShapedGraph) -> list[str]:
    return [warning.code for warning in found.warnings]


@pytest.mark.parametrize("file", sorted(Path("specs").glob("n2n*.toml")), ids=str)
def test_the_specs_that_we_ship_have_none(file: Path) -> None:
    assert check(file).warnings == ()


def test_errors_hold_them_back() -> None:
    with pytest.raises(DiagnosticError) as error:
        graph(RELU, RELU, {**RELU, "from": "x"}, train={"epochs": -1})
    assert [problem.code for problem in error.value.diagnostics] == ["E113"]


def test_an_activation_after_itself() -> None:
    (warning,) = graph(RELU, RELU, conv()).warnings
    assert (warning.code, warning.path) == ("W202", "encoder[1]")
    assert codes(graph({"type": "Sigmoid"}, {"type": "Sigmoid"})) == ["W202"]
    assert codes(graph(RELU, {"type": "Sigmoid"}, RELU)) == []
    assert codes(graph(RELU, {**RELU, "from": "x"}, output={"y": "relu2"})) == ["W201"]
    assert codes(graph({"type": "Identity"}, {"type": "Identity"})) == []
    assert codes(graph(RELU, {**RELU, "from": "relu1"}, {**RELU, "from": "relu1"})) == [
        "W201",
        "W202",
        "W202",
    ]


def test_a_row_of_activations_is_one_warning() -> None:
    (warning,) = graph(conv(padding=1), *[RELU] * 1000, conv(), RELU).warnings
    assert warning.code == "W202"
    assert warning.message == '"relu1" to "relu1000" are 1,000 ReLU layers in a row'
    assert warning.path == "encoder[2]"
    branches = graph(RELU, RELU, RELU, {**RELU, "from": "relu2"}, {"type": "Add", "from": ["relu3", "relu4"]})
    assert [found.message for found in branches.warnings] == [
        '"relu1" to "relu3" are 3 ReLU layers in a row', '"relu4" is a ReLU right after "relu2", another one'
    ]  # fmt: skip


# -- rows that are never read ------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    kernel=st.integers(1, 6), stride=st.integers(1, 6), dilation=st.integers(1, 3),
    before=st.integers(0, 3), after=st.integers(0, 3), n=st.integers(1, 30),
)  # fmt: skip
def test_unread_is_what_counting_finds(
    kernel: int, stride: int, dilation: int, before: int, after: int, n: int
) -> None:
    window = Window(kernel=kernel, stride=stride, dilation=dilation, before=before, after=after)
    size = window.size(n)
    if size is None:
        assert window.unread(n) == 0
        return
    last = (size - 1) * stride - before + (kernel - 1) * dilation
    gap = max(0, stride - window.span)  # pixels between any two windows: left out on purpose
    assert window.unread(n) == max(0, n - 1 - last - gap)
    assert window.remainder(n).endswith(f" = {(n + before + after - window.span) % stride}")


def test_fixed_sizes_say_how_many_rows_and_show_the_formula() -> None:
    (warning,) = graph(conv(5, stride=4), sizes=(32, 33)).warnings
    assert warning.code == "W203"
    assert warning.path == "encoder[0].stride"
    assert warning.message == (
        '"conv2d1" never reads the last 3 rows of its input: (32 + 2·0 - 1·(5 - 1) - 1) % 4 = 3'
    )


def test_a_row_of_padding_is_no_row_of_the_picture() -> None:
    assert codes(graph(conv(3, stride=2, padding=1), sizes=(32, 32))) == []
    assert codes(graph(conv(3, stride=2), sizes=(32, 32))) == ["W203"]


def test_a_stride_wider_than_the_kernel_leaves_gaps_on_purpose() -> None:
    assert codes(graph(conv(1, stride=2), sizes=(32, 32))) == []
    assert codes(graph(conv(1, stride=4), sizes=(32, 32))) == []


def test_free_sizes_warn_only_when_every_size_that_works_leaves_rows() -> None:
    down, up = conv(3, stride=2), {"type": "Upsampling", "out_channels": 3, "kernel_size": 3, "padding": 2}
    assert codes(graph(down)) == []
    found = graph(down, {**up, "name": "up"}, require={"same_size": ["x", "up"]})
    (warning,) = found.warnings
    assert warning.code == "W203"
    assert "at any picture size that works" in warning.message
    assert all(
        Window(kernel=3, stride=2).unread(h) == 1 for h in range(1, 60) if h in found.size_contract["H"]
    )


def test_one_size_can_be_asked_about() -> None:
    found = graph(conv(3, stride=2), RELU, RELU)
    assert codes(found) == ["W202"]
    even = warnings_at(found, size_values(found, (32, 33), 1))
    assert [warning.code for warning in even] == ["W203", "W202"]
    assert "last row of" in even[0].message
    assert [w.code for w in warnings_at(found, size_values(found, (33, 33), 1))] == ["W202"]


@settings(deadline=None, max_examples=60)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=3
    ),
    up=st.integers(1, 4),
)
def test_the_judgement_over_all_sizes_is_what_trying_them_finds(
    layers: list[tuple[int, int, int]], up: int
) -> None:
    stack = [conv(k, stride=s, padding=p) for k, s, p in layers]
    stack.append({"type": "NearestUpsampling", "scale_factor": up})
    try:
        free = graph(*stack, require={"same_size": ["x", "nearestupsampling1"]})
    except DiagnosticError:
        free = graph(*stack)
    tried = [h for h in range(1, 200) if h in free.size_contract["H"]]
    always: set[str] | None = None
    for h in tried:
        paths = {
            w.path for w in warnings_at(free, size_values(free, (h, tried[0]), 1))
            if w.code == "W203" and "row" in w.message
        }  # fmt: skip
        always = paths if always is None else always & paths
    assert {w.path for w in free.warnings if w.code == "W203" and "row" in w.message} == always

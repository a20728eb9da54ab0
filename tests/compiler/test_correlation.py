"""Correlations with phases along one axis, against direct loops over integers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from n2nspec.compiler.correlation import AxisMap, convolution, transposed

MANY = settings(max_examples=150, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Case:
    """A layer along one axis: its map, and its output by a loop that follows the definition."""

    map: AxisMap
    x: list[int]
    kernel: list[int]
    y: list[int]


def convolved(
    x: list[int], kernel: list[int], stride: int, dilation: int, before: int, after: int, scale: int
) -> list[int]:
    large = [0] * before + [value for value in x for _ in range(scale)] + [0] * after
    count = (len(large) - dilation * (len(kernel) - 1) - 1) // stride + 1
    return [sum(large[i * stride + t * dilation] * k for t, k in enumerate(kernel)) for i in range(count)]


def transpose_convolved(
    x: list[int], kernel: list[int], stride: int, dilation: int, padding: int, more: int
) -> list[int]:
    size = (len(x) - 1) * stride - 2 * padding + dilation * (len(kernel) - 1) + more + 1
    y = [0] * max(size, 0)
    for j, value in enumerate(x):
        for t, k in enumerate(kernel):
            place = j * stride - padding + t * dilation
            if 0 <= place < size:
                y[place] += value * k
    return y


NUMBERS = st.integers(-9, 9)


@st.composite
def cases(draw: st.DrawFn, kind: str) -> Case:
    x = draw(st.lists(NUMBERS, min_size=1, max_size=9))
    kernel = draw(st.lists(NUMBERS, min_size=1, max_size=5))
    step, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    if kind == "convolution":
        axis = convolution(len(kernel), step, dilation, before)
        y = convolved(x, kernel, step, dilation, before, after, 1)
    elif kind == "upsampled convolution":
        axis = convolution(len(kernel), 1, dilation, before, step)
        y = convolved(x, kernel, 1, dilation, before, after, step)
    else:
        axis = transposed(len(kernel), step, dilation, before)
        y = transpose_convolved(
            x, kernel, step, dilation, before, draw(st.integers(0, max(step, dilation) - 1))
        )
    assume(y)
    return Case(axis, x, kernel, y)


def correlated(axis: AxisMap, x: list[int], kernel: list[int], output: int) -> list[Any]:
    """The windows of `axis.grid` over the padded `x`, each phase in its places; None where none writes."""
    grid = axis.grid(len(x), output)
    padded = [0] * grid.before + x + [0] * grid.after
    y: list[Any] = [None] * output
    for g in range(grid.windows):
        begin = grid.before + axis.stride * g + grid.first
        window = padded[begin : begin + axis.dilation * (axis.length - 1) + 1 : axis.dilation]
        assert len(window) == axis.length
        for r in range(axis.scale):
            if 0 <= g - grid.delays[r] < grid.counts[r]:
                numbers = [sum(kernel[t] for t in taps) for taps in axis.taps[r]]
                y[axis.scale * (g - grid.delays[r]) + r] = sum(
                    a * b for a, b in zip(window, numbers, strict=True)
                )
    return y


KINDS = ("convolution", "upsampled convolution", "transposed convolution")


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_the_layer(kind: str) -> None:
    @MANY
    @given(cases(kind))
    def check(case: Case) -> None:
        assert correlated(case.map, case.x, case.kernel, len(case.y)) == case.y

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_adjoint_is_the_adjoint(kind: str) -> None:
    """⟨gy, y(x)⟩ = ⟨gx, x⟩ for every x, so gx[j] = ⟨gy, y(the j-th unit vector)⟩; and back again."""

    @MANY
    @given(cases(kind), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        n, m = len(case.x), len(case.y)
        gy = data.draw(st.lists(NUMBERS, min_size=m, max_size=m))
        units = [[int(i == j) for i in range(n)] for j in range(n)]
        columns = [correlated(case.map, unit, case.kernel, m) for unit in units]
        expected = [sum(a * b for a, b in zip(gy, column, strict=True)) for column in columns]
        adjoint = case.map.adjoint()
        assert (adjoint.scale, adjoint.stride) == (case.map.stride, case.map.scale)
        assert correlated(adjoint, gy, case.kernel, n) == expected
        assert correlated(adjoint.adjoint(), case.x, case.kernel, m) == case.y

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_neighbours_have_the_layers_own_kernel(kind: str) -> None:
    """Each adjoint of one phase is a map on sums of neighbouring pixels, with a place for each tap."""

    @MANY
    @given(cases(kind), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        adjoint = case.map.adjoint()
        found = adjoint.summed()
        assert (found is None) == (adjoint.scale > 1)
        if found is None:
            return
        width, axis = found
        assert width == (case.map.scale if kind == "upsampled convolution" else 1)
        assert axis.length == len(case.kernel)
        assert axis.plain or axis.turned
        gy = data.draw(st.lists(NUMBERS, min_size=len(case.y), max_size=len(case.y)))
        sums = [sum(gy[max(0, i) : i + width]) for i in range(1 - width, len(gy))]
        moved = replace(axis, starts=(axis.starts[0] + width - 1,))  # the first sum begins before gy does
        n = len(case.x)
        assert correlated(moved, sums, case.kernel, n) == correlated(adjoint, gy, case.kernel, n)

    check()


def test_upsampling_by_two_makes_four_kernels_of_two_by_two() -> None:
    """The example of the pass's documentation, along one axis: phases of two places, of one or two taps."""
    axis = convolution(3, 1, 1, 1, scale=2)
    assert (axis.scale, axis.stride, axis.length) == (2, 1, 2)
    assert axis.taps == (((0,), (1, 2)), ((0, 1), (2,)))
    assert axis.starts == (-1, 0)
    assert not axis.plain


def test_only_a_layers_own_kernel_is_plain() -> None:
    assert convolution(3, 2, 2, 1).plain
    assert transposed(1, 1, 1, 0).plain
    assert not transposed(3, 1, 1, 1).plain  # the kernel turned round
    assert not transposed(1, 2, 1, 0).plain


def test_a_stride_wider_than_the_kernel_leaves_phases_without_taps() -> None:
    axis = transposed(2, 4, 1, 0)
    assert [any(phase) for phase in axis.taps] == [True, True, False, False]
    assert correlated(axis, [3, 5], [1, 2], 8) == [3, 6, 0, 0, 5, 10, 0, 0]


def test_upsampling_and_stride_along_one_axis_are_refused() -> None:
    with pytest.raises(AssertionError):
        convolution(3, 2, 1, 1, scale=2)

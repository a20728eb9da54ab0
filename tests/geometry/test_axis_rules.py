"""Size rules against torch: our size is torch's real output size, and what we refuse torch refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec.geometry import SAME, AxisRule, Chain, Repeat, TransposedWindow, Window
from n2nspec.layers import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
quick = settings(deadline=None, max_examples=150)
small = st.integers(1, 4)


def torch_size(module: torch.nn.Module, n: int) -> int | None:
    """The size along a column of n pixels; None when torch refuses it."""
    try:
        return module(torch.zeros(1, 1, n, 1)).shape[2]
    except (RuntimeError, ValueError):
        return None


def height_rule(type_name: str, **fields: Any) -> AxisRule:
    return LAYERS[type_name](out_channels=1, **fields).axes()[0]


@quick
@given(
    n=st.integers(1, 12), kernel=small, stride=small, dilation=small, padding=st.integers(0, 5),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)  # fmt: skip
def test_convolution(n: int, kernel: int, stride: int, dilation: int, padding: int, mode: str) -> None:
    fields: dict[str, Any] = {
        "kernel_size": (kernel, 1), "stride": (stride, 1), "dilation": (dilation, 1), "padding": (padding, 0),
        "padding_mode": mode,
    }  # fmt: skip
    assert height_rule("Conv2d", **fields).size(n) == torch_size(torch.nn.Conv2d(1, 1, **fields), n)


@quick
@given(
    n=st.integers(1, 12), kernel=st.integers(1, 6), dilation=small, name=st.sampled_from(["same", "valid"]),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)  # fmt: skip
def test_convolution_with_named_padding(n: int, kernel: int, dilation: int, name: str, mode: str) -> None:
    fields: dict[str, Any] = {
        "kernel_size": (kernel, 1), "dilation": (dilation, 1), "padding": name, "padding_mode": mode,
    }  # fmt: skip
    assert height_rule("Conv2d", **fields).size(n) == torch_size(torch.nn.Conv2d(1, 1, **fields), n)


@quick
@given(
    n=st.integers(1, 8), kernel=small, stride=small, dilation=small, padding=st.integers(0, 6),
    output_padding=st.integers(0, 3),
)  # fmt: skip
def test_transposed_convolution(
    n: int, kernel: int, stride: int, dilation: int, padding: int, output_padding: int
) -> None:
    fields: dict[str, Any] = {
        "kernel_size": (kernel, 1), "stride": (stride, 1), "dilation": (dilation, 1), "padding": (padding, 0),
        "output_padding": (output_padding, 0),
    }  # fmt: skip
    theirs = torch_size(torch.nn.ConvTranspose2d(1, 1, **fields), n)
    if output_padding >= max(stride, dilation):
        assert theirs is None
        with pytest.raises(ValueError, match="output_padding must be smaller"):
            height_rule("TransposeConv2d", **fields)
    else:
        assert height_rule("TransposeConv2d", **fields).size(n) == theirs


@quick
@given(n=st.integers(1, 40), factor=st.integers(1, 9))
def test_upsampling(n: int, factor: int) -> None:
    assert Repeat(factor).size(n) == torch_size(torch.nn.Upsample(scale_factor=(factor, 1)), n)


# -- every rule's own promises ---------------------------------------------------------------------------

windows = st.builds(
    Window, kernel=small, stride=small, dilation=small, before=st.integers(0, 4), after=st.integers(0, 4),
    smallest=st.integers(1, 6),
)  # fmt: skip
transposed = st.builds(
    TransposedWindow, kernel=small, stride=small, padding=st.integers(0, 4), output_padding=st.integers(0, 3),
    dilation=small,
)  # fmt: skip
simple = st.one_of(st.just(SAME), st.builds(Repeat, small), windows, transposed)
chains = st.lists(simple, min_size=1, max_size=4).map(lambda rules: Chain(tuple(rules)))
rules = st.one_of(simple, chains)


@quick
@given(rule=rules)
def test_the_periodic_law_holds_from_start_on_and_nothing_before(rule: AxisRule) -> None:
    assert rule.period >= 1
    assert rule.start >= 1
    for n in range(rule.start, rule.start + 2 * rule.period + 5):
        size, later = rule.size(n), rule.size(n + rule.period)
        assert size is not None
        assert size >= 1
        assert later == size + rule.gain
    assert all(rule.size(n) is None for n in range(rule.start))


@quick
@given(rule=rules, n=st.integers(1, 40))
def test_the_formula_states_the_size(rule: AxisRule, n: int) -> None:
    text = rule.formula(n)
    size = rule.size(n)
    if size is not None:
        assert text.split(" = ")[-1] == str(size)
    elif n >= 1:  # refused: the formula ends with why
        assert text


def sources(rule: AxisRule, output: int) -> set[int]:
    """The input pixels that an output pixel of an endless axis reads, by the definition of each rule."""
    match rule:
        case Window():
            return {output * rule.stride - rule.before + t * rule.dilation for t in range(rule.kernel)}
        case TransposedWindow():
            reached = range(output - 50, output + 51)
            return {
                i for i in reached for t in range(rule.kernel)
                if i * rule.stride - rule.padding + t * rule.dilation == output
            }  # fmt: skip
        case Repeat():
            return {output // rule.factor}
        case Chain():
            read = {output}
            for part in reversed(rule.rules):
                read = {i for j in read for i in sources(part, j)}
            return read
    return {output}


@quick
@given(rule=simple, first=st.integers(0, 12), count=st.integers(1, 6))
def test_reach_is_the_interval_of_what_is_read(rule: AxisRule, first: int, count: int) -> None:
    read = {i for j in range(first, first + count) for i in sources(rule, j)}
    expected = (min(read), max(read)) if read else None
    assert rule.reach(first, first + count - 1) == expected


@quick
@given(rule=chains, output=st.integers(0, 12))
def test_reach_of_a_chain_leaves_nothing_out(rule: Chain, output: int) -> None:
    read = sources(rule, output)
    reach = rule.reach(output, output)
    if read:
        assert reach is not None
        assert reach[0] <= min(read)
        assert max(read) <= reach[1]
    if not any(isinstance(part, TransposedWindow) for part in rule.rules):
        assert reach == (min(read), max(read))  # without gaps in between it is exact

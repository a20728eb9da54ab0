"""Size rules against torch: our size is torch's real output size, and what we refuse torch refuses."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from n2nspec.geometry import (
    IDENTITY,
    SAME,
    AxisRule,
    Blend,
    Border,
    Chain,
    Divide,
    Repeat,
    ShapeError,
    Symbolic,
    TransposedWindow,
    Window,
    transform,
)
from n2nspec.layers import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
quick = settings(deadline=None, max_examples=150)
small = st.integers(1, 4)


def torch_size(module: torch.nn.Module, n: int) -> int | None:
    """The size along a column of n pixels; None when torch refuses it, or leaves nothing of it.

    None, too, where a maximum is taken of no pixel: torch's backward writes outside the picture then.
    """
    try:
        column = module(torch.zeros(1, 1, n, 1))
    except (RuntimeError, ValueError):
        return None
    return None if column.isinf().any() else column.shape[2] or None


def height_rule(type_name: str, **fields: Any) -> AxisRule:
    channels = {"out_channels": 1} if "out_channels" in LAYERS[type_name].model_fields else {}
    return LAYERS[type_name](**channels, **fields).axes()[0]


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


pools = {
    "kernel_size": st.tuples(st.integers(1, 7), st.just(1)),
    "stride": st.one_of(st.none(), st.tuples(st.integers(1, 9), st.just(1))),
    "padding": st.tuples(st.integers(0, 3), st.just(0)),
    "ceil_mode": st.booleans(),
}


@settings(quick, max_examples=300)
@given(
    fields=st.one_of(
        st.fixed_dictionaries({"type": st.just("AvgPool2d"), **pools}),
        st.fixed_dictionaries(
            {"type": st.just("MaxPool2d"), **pools, "dilation": st.tuples(small, st.just(1))}
        ),
    )
)
@example(
    fields={
        "type": "MaxPool2d", "kernel_size": (2, 1), "stride": (3, 1), "padding": (1, 0), "ceil_mode": True
    }
)  # fmt: skip
@example(
    fields={
        "type": "MaxPool2d", "kernel_size": (2, 1), "stride": (2, 1), "padding": (1, 0), "dilation": (3, 1),
        "ceil_mode": True,
    }
)  # fmt: skip
def test_pooling(fields: dict[str, Any]) -> None:
    name = fields.pop("type")
    module = getattr(torch.nn, name)(**fields)
    theirs = [torch_size(module, n) for n in range(1, 61)]
    if 2 * fields["padding"][0] > fields["kernel_size"][0]:
        assert not any(theirs)
        with pytest.raises(ValueError, match="at most half of kernel_size"):
            height_rule(name, **fields)
        return
    rule = height_rule(name, **fields)
    assert [rule.size(n) for n in range(1, 61)] == theirs


def test_a_window_without_a_pixel_is_refused_by_name() -> None:
    fields = {"kernel_size": 2, "padding": 1, "dilation": 3, "stride": 2, "ceil_mode": True}
    with pytest.raises(ShapeError, match="height 2 is too small, at least 3 is needed"):
        transform(2, height_rule("MaxPool2d", **fields), axis="height")


@quick
@given(
    mode=st.sampled_from(["Zero", "Constant", "Reflection", "Replication", "Circular"]),
    top=st.integers(-6, 6), bottom=st.integers(-6, 6),
)  # fmt: skip
def test_padding_layers(mode: str, top: int, bottom: int) -> None:
    fields: dict[str, Any] = {"padding": (0, 0, top, bottom), **({"value": 2} if mode == "Constant" else {})}
    rule = height_rule(f"{mode}Pad2d", **fields)
    module = getattr(torch.nn, f"{mode}Pad2d")(**fields)
    for n in range(1, 16):
        theirs = torch_size(module, n)
        left = n - max(-top, 0) - max(-bottom, 0)
        if mode == "Circular" and left < max(top, bottom, 1):
            theirs = None  # torch copies memory that it has not written
        assert rule.size(n) == theirs


@quick
@given(factor=st.integers(1, 9))
def test_factors(factor: int) -> None:
    bilinear = torch.nn.Upsample(scale_factor=(factor, 1), mode="bilinear")
    shuffle, unshuffle = torch.nn.PixelShuffle(factor), torch.nn.PixelUnshuffle(factor)
    for n in range(1, 41):
        assert height_rule("BilinearUpsampling", scale_factor=factor).size(n) == torch_size(bilinear, n)
        column = torch.zeros(1, factor**2, n, 1)
        assert height_rule("PixelShuffle", upscale_factor=factor).size(n) == shuffle(column).shape[2]
        divided = n // factor if n % factor == 0 else None
        assert height_rule("PixelUnshuffle", downscale_factor=factor).size(n) == divided
        if divided:
            assert unshuffle(torch.zeros(1, 1, n, factor)).shape[2] == divided
        else:
            with pytest.raises(RuntimeError, match="divisible"):
                unshuffle(torch.zeros(1, 1, n, factor))


# -- every rule's own promises ---------------------------------------------------------------------------

windows = st.builds(
    Window, kernel=small, stride=small, dilation=small, before=st.integers(0, 4), after=st.integers(0, 4),
    smallest=st.integers(1, 6), ceil=st.booleans(),
)  # fmt: skip
borders = st.builds(Border, before=st.integers(-4, 4), after=st.integers(-4, 4), smallest=st.integers(1, 6))
transposed = st.builds(
    TransposedWindow, kernel=small, stride=small, padding=st.integers(0, 4), output_padding=st.integers(0, 3),
    dilation=small,
)  # fmt: skip
simple = st.one_of(
    st.just(SAME), windows, transposed, borders, *(st.builds(rule, small) for rule in (Repeat, Blend, Divide))
)
chains = st.lists(simple, min_size=1, max_size=4).map(lambda rules: Chain(tuple(rules)))
rules = st.one_of(simple, chains)


@quick
@given(rule=rules)
def test_the_periodic_law_holds_from_start_on_and_nothing_before(rule: AxisRule) -> None:
    assert rule.period >= 1
    assert rule.start >= 1
    divides = any(isinstance(part, Divide) for part in getattr(rule, "rules", (rule,)))
    for n in range(rule.start, rule.start + 2 * rule.period + 5):
        size, later = rule.size(n), rule.size(n + rule.period)
        if size is None:
            assert later is None
            assert divides, "only a rule that takes multiples refuses what is large enough"
        else:
            assert size >= 1
            assert later == size + rule.gain
    assert all(rule.size(n) is None for n in range(rule.start))


@quick
@given(rule=rules)
def test_rounded_sizes_have_no_gaps(rule: AxisRule) -> None:
    rounded = [rule.rounded(n) for n in range(1, rule.start + 2 * rule.period + 5)]
    assert all(size is None for size in rounded[: rule.start - 1])
    present = [size for size in rounded[rule.start - 1 :] if size is not None]
    assert len(present) == len(rounded) - rule.start + 1
    assert present == sorted(present)
    assert all(rule.size(n) in (None, size) for n, size in enumerate(rounded, start=1))


@quick
@given(rule=windows, n=st.integers(1, 30))
def test_unread_counts_the_pixels_behind_the_last_window(rule: Window, n: int) -> None:
    size = rule.size(n)
    if size is None:
        assert rule.unread(n) == 0
        return
    behind = n - 1 - max(i for j in range(size) for i in sources(rule, j))
    gap = max(0, rule.stride - rule.span)
    assert rule.unread(n) == max(0, behind - gap)
    if rule.ceil and rule.before <= rule.span:  # which pooling demands
        assert behind <= gap


@quick
@given(chain=st.lists(simple, max_size=4))
def test_a_size_as_a_function_of_the_pictures_is_exact(chain: list[AxisRule]) -> None:
    """Also where only multiples are taken, over whole periods."""
    function = IDENTITY
    for rule in chain:
        function = function.then(rule)
    whole = Chain(tuple(chain)) if chain else SAME
    assert [function(h) for h in range(1, 200)] == [whole.size(h) for h in range(1, 200)]
    assert function == IDENTITY.then(whole)


def test_a_chain_may_refuse_every_size() -> None:
    odd = Chain((Repeat(2), Border(before=1, after=0), Divide(2)))
    assert not any(odd.size(n) for n in range(1, 100))
    assert IDENTITY.then(odd).domain.is_empty
    odder = Chain((Repeat(4), Border(before=1, after=0), Divide(2)))
    assert IDENTITY.then(odd) == IDENTITY.then(odder)
    with pytest.raises(ShapeError, match="no picture size gives this layer an input height that it accepts"):
        transform(Symbolic("H"), odd, axis="height")
    with pytest.raises(ShapeError, match="height 5 does not fit; what does: no size"):
        transform(5, odd, axis="height")


@pytest.mark.parametrize(
    ("rule", "n", "message", "help"),
    [
        (Divide(4), 7, "height 7 does not fit; what does: any multiple of 4 from 4; output size: 7 / 4 is",
         "pad this layer's input to height 8"),
        (Divide(4), 3, "height 3 is too small, at least 4 is needed", "an input of height 4 or more"),
        (Chain((Window(kernel=3), Divide(4))), 7, "what does: height % 4 in {2} from 6", "to height 10"),
        # the least that is large enough is no multiple yet
        (Chain((Repeat(3), Divide(4))), 1, "what does: any multiple of 4 from 4", "to height 4"),
        (Border(before=-2, after=1, smallest=2), 1, "at least 2 is needed; output size: 1 - 2 + 1 = 0", ""),
        (Window(kernel=3, stride=2, ceil=True), 0, r"ceil((0 + 2·0 - 1·(3 - 1) - 1) / 2) + 1", ""),
    ],
)  # fmt: skip
def test_a_refusal_says_what_works(rule: AxisRule, n: int, message: str, help: str) -> None:
    with pytest.raises(ShapeError) as error:
        transform(n, rule, axis="height")
    assert message in error.value.message
    assert help in error.value.help


@pytest.mark.parametrize(
    ("rule", "n", "text"),
    [
        (Window(kernel=3, stride=2, ceil=True), 6, "ceil((6 + 2·0 - 1·(3 - 1) - 1) / 2) + 1 = 3"),
        (Window(kernel=2, stride=3, before=1, after=1, ceil=True), 5,
         "ceil((5 + 2·1 - 1·(2 - 1) - 1) / 3) + 1 less the window that would start beyond the end = 2"),
        (Border(before=2, after=-1), 5, "5 + 2 - 1 = 6"),
        (Divide(3), 6, "6 / 3 = 2"),
        (Blend(3), 6, "6·3 = 18"),
    ],
)  # fmt: skip
def test_formulae(rule: AxisRule, n: int, text: str) -> None:
    assert rule.formula(n) == text


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
        case Blend():
            place = Fraction(2 * output + 1, 2 * rule.factor) - Fraction(1, 2)
            return {floor(place), ceil(place)}
        case Repeat():
            return {output // rule.factor}
        case Divide():
            return {output * rule.factor + t for t in range(rule.factor)}
        case Border():
            return {output - rule.before}
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
@given(rule=rules, first=st.integers(0, 12), count=st.integers(1, 6))
def test_pieces_are_what_is_read(rule: AxisRule, first: int, count: int) -> None:
    read = {i for j in range(first, first + count) for i in sources(rule, j)}
    pieces = list(rule.pieces(first, first + count - 1))
    assert {i for low, high in pieces for i in range(low, high + 1)} == read


@quick
@given(rule=rules, outputs=st.sets(st.integers(0, 12), min_size=1))
def test_only_of_a_selective_rule_inner_pixels_matter(rule: AxisRule, outputs: set[int]) -> None:
    read = {i for j in outputs for i in sources(rule, j)}
    if not rule.selective:
        assert rule.reach(min(outputs), max(outputs)) == (min(read), max(read))


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

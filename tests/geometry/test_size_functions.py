"""Exact size functions and sets of sizes against brute force, over every size to 200."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from n2nspec.geometry import (
    ALL_SIZES,
    IDENTITY,
    AxisRule,
    Chain,
    Repeat,
    ShapeError,
    SizeFunction,
    SizeLimitError,
    SizeSet,
    Symbolic,
    TransposedWindow,
    Window,
    concrete,
    constant,
    render_shape,
    transform,
)

SIZES = range(1, 201)
quick = settings(deadline=None, max_examples=150)
small = st.integers(1, 4)
rules = st.one_of(
    st.builds(Repeat, small),
    st.builds(
        Window, kernel=st.integers(1, 5), stride=small, dilation=st.integers(1, 2),
        before=st.integers(0, 3), after=st.integers(0, 3), smallest=st.integers(1, 4),
    ),
    st.builds(
        TransposedWindow, kernel=small, stride=small, padding=st.integers(0, 2),
        output_padding=st.integers(0, 1),
    ),
)  # fmt: skip
chains = st.lists(rules, max_size=5)


def run(chain: list[AxisRule], h: int) -> int | None:
    size: int | None = h
    for rule in chain:
        size = None if size is None else rule.size(size)
    return size


def compose(chain: list[AxisRule], start: SizeFunction = IDENTITY) -> SizeFunction:
    function = start
    for rule in chain:
        function = function.then(rule)
    return function


@st.composite
def functions(draw: st.DrawFn) -> SizeFunction:
    """A size in a graph: a chain of layers, now and then after a fixed size."""
    start = constant(draw(st.integers(1, 30))) if draw(st.integers(0, 9)) == 0 else IDENTITY
    return compose(draw(chains), start)


@quick
@given(chain=chains)
def test_then_is_the_composition(chain: list[AxisRule]) -> None:
    function = compose(chain)
    assert [function(h) for h in SIZES] == [run(chain, h) for h in SIZES]
    assert [function(h) for h in (-3, -1, 0)] == [None] * 3


@quick
@given(chain=chains, h=st.integers(1, 1_000_000))
def test_the_law_holds_beyond_every_table(chain: list[AxisRule], h: int) -> None:
    assert compose(chain)(h) == run(chain, h)


@quick
@given(chain=chains.filter(bool))
def test_equal_functions_compare_equal(chain: list[AxisRule]) -> None:
    """One layer after the other, or all as one rule: the normal form is the same."""
    assert compose(chain) == IDENTITY.then(Chain(tuple(chain)))


@quick
@given(chain=chains, size=st.integers(1, 60))
def test_a_fixed_size_stays_fixed(chain: list[AxisRule], size: int) -> None:
    function = compose(chain, constant(size))
    assert {function(h) for h in SIZES} == {run(chain, size)}
    assert function.domain == (ALL_SIZES if run(chain, size) else SizeSet.finite(()))


@quick
@given(f=functions())
def test_domain(f: SizeFunction) -> None:
    domain = f.domain
    assert [h in domain for h in SIZES] == [f(h) is not None for h in SIZES]


@quick
@given(f=functions(), g=functions())
def test_equals(f: SizeFunction, g: SizeFunction) -> None:
    same = f.equals(g)
    assert [h in same for h in SIZES] == [f(h) is not None and f(h) == g(h) for h in SIZES]
    assert same == g.equals(f)
    far = 10**6
    assert [h in same for h in range(far, far + 50)] == [
        f(h) is not None and f(h) == g(h) for h in range(far, far + 50)
    ]
    assert f.equals(f) == f.domain


@quick
@given(f=functions(), g=functions(), h=functions())
def test_intersection(f: SizeFunction, g: SizeFunction, h: SizeFunction) -> None:
    sets = f.equals(g), g.domain, h.domain
    both = sets[0] & sets[1] & sets[2]
    assert [n in both for n in SIZES] == [all(n in s for s in sets) for n in SIZES]
    assert both == sets[2] & sets[1] & sets[0]
    assert both & ALL_SIZES == both
    assert both & both == both


def size_sets() -> st.SearchStrategy[SizeSet]:
    members = st.lists(st.integers(1, 30), max_size=5)
    return st.builds(
        lambda period, residues, start, below: SizeSet.of(
            lambda h: h in below if h < start else h % period in residues, start=start, period=period
        ),
        st.integers(1, 6), st.sets(st.integers(0, 5)), st.integers(1, 12), members,
    )  # fmt: skip


@quick
@given(sizes=size_sets(), h=st.integers(1, 60))
def test_questions_to_a_set(sizes: SizeSet, h: int) -> None:
    members = [n for n in range(1, 400) if n in sizes]
    assert sizes.is_empty == (not members)
    assert sizes.at_least(h) == next((n for n in members if n >= h), None)
    if sizes.remainders:
        assert sizes.maximum is None
        # the smallest size from which the residues alone decide, and itself a member
        law = [n % sizes.period in sizes.remainders for n in range(400)]
        assert sizes.start in sizes
        assert all((n in sizes) == law[n] for n in range(sizes.start, 400))
        assert all(e < sizes.start for e in sizes.exceptions)
    elif members:
        assert sizes.maximum == members[-1] < sizes.start
        assert sizes.exceptions == tuple(members)


@quick
@given(sizes=size_sets())
def test_sets_are_in_normal_form(sizes: SizeSet) -> None:
    """Described in another way, a set of sizes is the same value."""
    again = SizeSet.of(lambda h: h in sizes, start=sizes.start + 7, period=sizes.period * 6)
    assert again == sizes


@settings(deadline=None, max_examples=400)
@given(f=functions())
def test_rendered_formulae_are_right(f: SizeFunction) -> None:
    text = f.render("H")
    if not text.startswith("size("):
        for h in range(f.start, 200):
            assert eval(text, {"__builtins__": {}}, {"H": h}) == f(h), (text, h)


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ([], "H"),
        ([Window(kernel=3, stride=2, before=1, after=1)], "(H+1)//2"),
        ([Window(kernel=3, stride=2, before=1, after=1)] * 2, "(H+3)//4"),
        ([*[Window(kernel=3, stride=2, before=1, after=1)] * 2, Repeat(4)], "4*((H+3)//4)"),
        ([Window(kernel=2, stride=2)], "H//2"),
        ([Window(kernel=3)], "H-2"),
        ([Repeat(3)], "3*H"),
        ([TransposedWindow(kernel=3, stride=2, padding=1)], "2*H-1"),
    ],
)
def test_formulae_read_well(chain: list[AxisRule], text: str) -> None:
    assert compose(chain).render("H") == text


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        (ALL_SIZES, "any size from 1"),
        (SizeSet.of(lambda h: h % 4 == 0, start=1, period=4), "any multiple of 4 from 4"),
        (SizeSet.of(lambda h: h % 4 in (0, 3), start=3, period=4), "H % 4 in {0, 3} from 3"),
        (SizeSet.of(lambda h: h in (2, 9) or h >= 20, start=20, period=1), "any size from 20, also {2, 9}"),
        (SizeSet.finite([5, 3]), "only {3, 5}"),
        (SizeSet.finite([]), "no size"),
    ],
)
def test_sets_read_well(sizes: SizeSet, text: str) -> None:
    assert sizes.render("H") == text


def test_the_designs_example() -> None:
    """A 1 × 1 convolution and a 3 × 3 pooling, both of stride 4, agree for H % 4 in {0, 3}."""
    conv, pool = IDENTITY.then(Window(kernel=1, stride=4)), IDENTITY.then(Window(kernel=3, stride=4))
    same = conv.equals(pool)
    assert (same.period, same.remainders, same.start, same.exceptions) == (4, (0, 3), 3, ())


def test_branches_of_different_slope_meet_finitely_often() -> None:
    halved, less = IDENTITY.then(Window(kernel=1, stride=2)), IDENTITY.then(Window(kernel=101))
    same = halved.equals(less)
    assert same == SizeSet.finite(h for h in range(101, 1000) if (h + 1) // 2 == h - 100)
    assert same.maximum == 201
    # the meeting point may be far off and costs nothing
    far = IDENTITY.then(Window(kernel=1, stride=2)).equals(IDENTITY.then(Window(kernel=100_001)))
    assert far.exceptions == (200_000, 200_001)


def test_absurd_strides_are_refused_at_once() -> None:
    function = IDENTITY.then(Window(kernel=1, stride=60_000))
    with pytest.raises(SizeLimitError, match="262144 is the limit"):
        function.then(Window(kernel=1, stride=60_000))
    with pytest.raises(SizeLimitError):
        IDENTITY.then(Window(kernel=60_000, dilation=60_000))
    with pytest.raises(SizeLimitError):
        IDENTITY.then(Window(kernel=1, stride=60_000)).equals(IDENTITY.then(Window(kernel=1, stride=59_999)))
    with pytest.raises(ShapeError):
        transform(Symbolic("H", function), Window(kernel=1, stride=60_000))


# -- shapes ------------------------------------------------------------------------------------------------


def test_shapes_with_symbols() -> None:
    halve = Window(kernel=3, stride=2, before=1, after=1)
    shape = (Symbolic("N"), 16, transform(Symbolic("H"), halve), transform(7, halve))
    assert render_shape(shape) == "N × 16 × (H+1)//2 × 4"
    assert concrete(shape, {"N": 2, "H": 9}) == (2, 16, 5, 4)
    valid = (transform(Symbolic("H"), Window(kernel=5)),)
    assert concrete(valid, {"H": 4}) is None
    with pytest.raises(
        ShapeError, match=r"height 2 is too small, at least 5 is needed; output size: floor\("
    ):
        transform(2, Window(kernel=5), axis="height")
    with pytest.raises(ShapeError, match="no picture size gives"):
        transform(Symbolic("H", constant(2)), Window(kernel=5))


@quick
@given(chain=chains, kernel=st.integers(20, 60), n=st.integers(1, 4))
def test_a_number_is_refused_with_the_least_that_works(chain: list[AxisRule], kernel: int, n: int) -> None:
    rule = Chain((*chain, Window(kernel=kernel)))
    assume(rule.size(n) is None)
    with pytest.raises(ShapeError, match=f"at least {rule.start} is needed"):
        transform(n, rule)


@quick
@given(one=functions(), other=functions(), third=functions())
def test_sums_orders_and_differences(one: SizeFunction, other: SizeFunction, third: SizeFunction) -> None:
    assume(one.period * other.period * third.period < 5_000)
    pairs = {h: (one(h), other(h)) for h in SIZES}
    both = {h: (a, b) for h, (a, b) in pairs.items() if a is not None and b is not None}
    total, larger = one.plus(other), one.at_least(other)
    assert [total(h) for h in SIZES] == [sum(both[h]) if h in both else None for h in SIZES]
    assert [h in larger for h in SIZES] == [h in both and both[h][0] >= both[h][1] for h in SIZES]
    equal = third.domain
    kept = one.within(equal)
    assert [kept(h) for h in SIZES] == [one(h) if h in equal else None for h in SIZES]
    assert kept.domain == one.domain & equal
    rest = one.domain - equal
    assert [h in rest for h in SIZES] == [one(h) is not None and h not in equal for h in SIZES]


@quick
@given(one=functions(), other=functions(), h=st.integers(1, 1_000_000))
def test_sums_and_orders_hold_beyond_every_table(one: SizeFunction, other: SizeFunction, h: int) -> None:
    a, b = one(h), other(h)
    assert one.plus(other)(h) == (None if a is None or b is None else a + b)
    assert (h in one.at_least(other)) == (a is not None and b is not None and a >= b)


@quick
@given(one=functions(), other=functions())
def test_gaps_hold_every_difference(one: SizeFunction, other: SizeFunction) -> None:
    found = {a - b for h in range(1, 2_000) if (a := one(h)) is not None and (b := other(h)) is not None}
    gaps = one.gaps(other)
    if gaps is None:
        assert not found or one.gain * other.period != other.gain * one.period
    else:
        assert gaps == (min(found), max(found))


def test_formulae_of_finitely_many_sizes() -> None:
    few = SizeSet.finite([3, 4, 5, 6, 8])
    assert IDENTITY.render("H", few) == "H"
    halved = IDENTITY.then(Window(kernel=3, stride=2))
    assert halved.render("H", few) == "(H-1)//2"
    joined = halved.within(few)  # no law is left beyond them
    assert joined.render("H", few) == "(H-1)//2"
    assert constant(7).within(few).render("H", few) == "7"
    assert IDENTITY.render("H", SizeSet.finite([])) == "size(H)"


@quick
@given(functions(), st.sets(st.integers(1, 60), min_size=1, max_size=6))
def test_formulae_of_finitely_many_sizes_hold(function: SizeFunction, members: set[int]) -> None:
    few = SizeSet.finite(h for h in members if function(h) is not None)
    for text in (function.render("H", few), function.within(few).render("H", few)):
        if not text.startswith("size("):
            assert all(eval(text, {"H": h}) == function(h) for h in few.exceptions)

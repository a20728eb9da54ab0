"""What to compute again: timelines by hand, and the search against trying everything."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import conv, program_of

from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import Program
from n2nspec.compiler.recompute import INPUT, Demand, Recomputation, Search, Timeline, TooLittleError


def convolutions(count: int) -> Program:
    """Convolutions with their activations: x → c0 → c1 → …"""
    layers = [entry for i in range(count) for entry in (conv(f"c{i}"), {"type": "ReLU", "name": f"r{i}"})]
    return optimise(program_of(layers))


def names(program: Program) -> list[str]:
    return [op.name for op in program.ops]


def again(*values: str) -> Recomputation:
    return Recomputation(values=frozenset(values))


def test_without_recomputation_moments_are_those_of_the_operations() -> None:
    program = convolutions(3)
    timeline = Timeline(program, names(program))
    assert [call[:2] for call in timeline.calls] == [(4, "backward"), (5, "backward"), (6, "backward")]
    assert [call.op for call in timeline.calls] == [2, 1, 0]
    assert timeline.values == {"x": ((0, 6),), "r0": ((0, 6),), "r1": ((1, 5),), "r2": ((2, 7),)}
    assert (timeline.moment(4), timeline.moment(7), timeline.macs) == (4, 7, 0)


def test_a_value_is_computed_again_right_before_it_is_read() -> None:
    program = convolutions(3)
    timeline = Timeline(program, names(program), again("r1"))
    assert [(call.kind, call.op) for call in timeline.calls] == [
        ("recompute", 1), ("backward", 2), ("backward", 1), ("backward", 0)
    ]  # fmt: skip
    assert [call.moment for call in timeline.calls] == [4, 5, 6, 7]
    assert timeline.values == {"x": ((0, 7),), "r0": ((0, 7),), "r1": ((1, 2), (4, 6)), "r2": ((2, 8),)}
    assert timeline.macs == program.by_name["r1"].macs(program.shapes)
    # gradients and workspace move along: what was planned for the backward of r0 is a moment later
    assert timeline.work(5, 6) == ((6, 7),)
    assert timeline.work(1, 1) == ((1, 1), (4, 4))
    assert timeline.work(0, 6) == ((0, 7),)


def test_what_it_is_made_of_is_computed_first() -> None:
    program = convolutions(4)
    timeline = Timeline(program, names(program), again("x", "r0", "r1", "r3"))
    assert [(call.kind, call.op) for call in timeline.calls] == [
        ("backward", 3), ("recompute", INPUT), ("recompute", 0), ("recompute", 1),
        ("backward", 2), ("backward", 1), ("backward", 0),
    ]  # fmt: skip
    assert timeline.values["x"] == ((0, 0), (6, 11))
    assert timeline.values["r0"] == ((0, 1), (7, 11))
    assert timeline.values["r3"] == ((3, 12),), "the output stays"


def test_copied_windows_are_given_up_on_their_own() -> None:
    program = convolutions(2)
    choice = Recomputation(values=frozenset({"r0"}), columns=frozenset({"r0"}))
    timeline = Timeline(program, names(program), choice)
    assert [(call.kind, call.op) for call in timeline.calls][:2] == [("recompute", 0), ("backward", 1)]
    assert timeline.work(0, 4) == ((0, 0), (3, 3), (5, 5))


def test_a_view_keeps_what_it_looks_at() -> None:
    """A Dropout's value may be its input's memory, which then cannot be given to others while it is read."""
    layers = [conv("a"), {"type": "Tanh", "name": "t"}, {"type": "Dropout", "name": "v"},
              {"type": "Tanh", "name": "u"}, conv("b")]  # fmt: skip
    program = optimise(program_of(layers))
    wanted = names(program)
    alone = Timeline(program, wanted, again("t"))
    assert not alone.again, "who keeps it does not let go"
    both = Timeline(program, wanted, again("t", "v", "u"))
    assert [call.op for call in both.calls if call.kind == "recompute"] == [1, 2, 3]
    assert both.values["t"][0] == (1, 3)
    assert both.values["t"][1][1] >= both.values["v"][1][1]


def demands_of(program: Program, item: int = 4) -> tuple[Demand, ...]:
    """Values, gradients from a value's last reader to its own operation, and some work."""
    count = len(program.ops)
    index = {op.name: i for i, op in enumerate(program.ops)}
    sizes = {name: prod(shape) * item for name, shape in program.shapes.items()}
    found = [Demand(bytes=size, kind="value", of=name) for name, size in sizes.items()]
    for i, op in enumerate(program.ops):
        born = 2 * count - max((index[r.name] for r in program.readers[op.name]), default=count)
        found.append(Demand(bytes=sizes[op.name], kind="work", moments=(born, 2 * count - i)))
        found += [Demand(bytes=100, kind="work", moments=(t, t)) for t in (i, 2 * count - i)]
    return tuple(found)


def search_of(program: Program, exact: Callable[[Search, Recomputation], int] | None = None) -> Search:
    def peak(choice: Recomputation | None) -> int:
        plain = choice or Recomputation()
        return exact(found, plain) if exact else found.peak(plain)

    found = Search(
        program=program, wanted=names(program), demands=demands_of(program), columns={}, exact=peak
    )
    return found


def test_the_peak_is_what_is_alive_at_the_worst_moment() -> None:
    program = convolutions(5)
    search = search_of(program)
    choice = again("r1", "r2")
    timeline = Timeline(program, names(program), choice)
    alive = [
        sum(d.bytes for d in search.demands if any(a <= t <= b for a, b in d.spans(timeline)))
        for t in range(timeline.end + 1)
    ]
    assert search.peak(choice) == max(alive)


def test_everything_stays_where_there_is_room() -> None:
    search = search_of(convolutions(6))
    most = search.peak(Recomputation())
    assert search.run(most) is None


def test_a_long_chain_takes_little_more_than_a_few_values() -> None:
    """Chen et al.: n values, of which about 2 √n are there at once, for one more forward pass at most."""
    program = convolutions(64)
    search = search_of(program)
    size = prod(program.shapes["r0"]) * 4
    with pytest.raises(TooLittleError) as refusal:
        search.run(1)
    assert refusal.value.least < 24 * size, "instead of 66"
    found = search.run(refusal.value.least)
    assert found is not None
    assert Timeline(program, names(program), found).macs < program.macs
    with pytest.raises(TooLittleError):
        search_of(program).run(refusal.value.least - 1)


@pytest.mark.parametrize("part", [0.95, 0.85, 0.75, 0.65])
def test_limits_are_kept_with_less_to_do_again_the_higher_they_are(part: float) -> None:
    program = convolutions(24)
    search = search_of(program)
    limit = int(part * search.peak(Recomputation()))
    found = search.run(limit)
    assert found is not None
    assert search.peak(found) <= limit
    fewer = [Recomputation(values=found.values - {name}) for name in found.values]
    assert all(search.peak(choice) > limit for choice in fewer), "all of it is needed"


def test_the_exact_peak_decides() -> None:
    """A prediction that is too low by a tenth leads to a plan that fits all the same."""
    program = convolutions(16)
    search = search_of(program, lambda search, choice: int(1.1 * search.peak(choice)) + 50)
    limit = int(0.8 * search.exact(None))
    found = search.run(limit)
    assert found is not None
    assert search.exact(found) <= limit


LAYERS = st.lists(st.sampled_from(["conv", "wide", "pool", "tanh", "skip"]), min_size=2, max_size=7)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(LAYERS, st.floats(0, 1))
def test_the_search_is_nearly_as_good_as_trying_everything(kinds: list[str], part: float) -> None:
    """The least memory within an eighth of the best plan's; every limit from there on is kept."""
    layers = []
    for number, kind in enumerate(kinds):
        name = f"l{number}"
        if kind == "skip" and number > 1:
            layers.append({"type": "Add", "from": [f"l{number - 1}", f"l{number - 2}"], "name": name})
        elif kind == "tanh":
            layers.append({"type": "Tanh", "name": name})
        else:
            layers.append(conv(name))
    program = optimise(program_of(layers))
    search = search_of(program)
    droppable = [name for name in program.shapes if name != program.output]
    choices = chain.from_iterable(combinations(droppable, n) for n in range(len(droppable) + 1))
    best = min(search.peak(again(*values)) for values in choices)
    most = search.peak(Recomputation())
    with pytest.raises(TooLittleError) as refusal:
        search.run(0)
    least = refusal.value.least
    assert best <= least <= 1.125 * best
    limit = int(least + part * (most - least))
    found = search.run(limit)
    assert search.peak(found or Recomputation()) <= limit

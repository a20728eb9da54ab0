"""The work of a step, counted by hand."""

from __future__ import annotations

from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import Program, program
from n2nspec.compiler.work import backward_macs, step_macs, step_numbers
from n2nspec.graph import analyse
from n2nspec.spec import load

PICTURE = 16 * 16


def chain(*layers: dict[str, object]) -> Program:
    """At 1 × 2 × 16 × 16."""
    document = {"spec_version": 1, "name": "chain", "input": {"x": ["N", 2, "H", "W"]}, "encoder": [*layers]}
    return program(analyse(load(document)), (1, 2, 16, 16))


def conv(name: str, channels: int) -> dict[str, object]:
    return {"name": name, "type": "Conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1}


def test_each_wanted_gradient_costs_what_the_forward_pass_does() -> None:
    written = chain(conv("a", 4), {"type": "ReLU", "name": "r"}, conv("b", 3))
    first, last = 9 * 2 * 4 * PICTURE, 9 * 4 * 3 * PICTURE
    wanted = {"a", "r", "b"}
    for steps in (written, optimise(written)):
        assert [backward_macs(op, steps, wanted) for op in steps.ops if op.macs(steps.shapes)] == [
            first, 2 * last,
        ]  # fmt: skip  # nobody wants the input's gradient
        assert step_macs(steps, wanted) == 2 * first + 3 * last
        assert step_macs(steps) == first + last


def test_a_gradient_that_nobody_wants_costs_nothing() -> None:
    steps = optimise(chain(conv("a", 4), conv("b", 3)))
    by_name = steps.by_name
    assert backward_macs(by_name["b"], steps, {"b"}) == 9 * 4 * 3 * PICTURE
    assert backward_macs(by_name["a"], steps, {"b"}) == 0


def test_of_a_concatenation_each_part_counts_for_itself() -> None:
    steps = optimise(
        chain(
            conv("a", 4), {"name": "c", "type": "Concat", "from": ["x", "a"]}, {**conv("b", 3), "from": "c"}
        )
    )
    of_x, of_a = 9 * 2 * 3 * PICTURE, 9 * 4 * 3 * PICTURE
    assert backward_macs(steps.by_name["b"], steps, {"a", "b"}) == of_x + 2 * of_a


def test_numbers_are_moved_once_for_each_operation() -> None:
    steps = chain(conv("a", 4), {"type": "ReLU", "name": "r"})
    x, a = 2 * PICTURE, 4 * PICTURE
    assert step_numbers(steps) == (x + a) + (a + a)
    assert step_numbers(steps, {"a", "r"}) == 2 * ((x + a) + (a + a)) + a

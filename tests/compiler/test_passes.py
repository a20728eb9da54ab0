"""Each pass alone: what it changes and what it leaves, that once is enough, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from programs import (
    SPECS,
    agree,
    conv,
    graph_of,
    model_of,
    of_model,
    of_program,
    pictures,
    program_of,
    spec_graph,
)
from strategies import Network, fusable, networks

from n2nspec.compiler.passes import (
    PASSES,
    activations,
    concatenations,
    convolutions,
    duplicates,
    identities,
    losses,
    optimise,
    pooling,
    trace,
    upsampling,
)
from n2nspec.compiler.program import Activation, ConvOp, PoolOp, Program, program
from n2nspec.graph import analyse
from n2nspec.spec import load

ALONE: dict[ModuleType, Sequence[ModuleType]] = {
    identities: (),
    duplicates: (),
    convolutions: (),
    upsampling: (convolutions,),
    concatenations: (convolutions,),
    activations: (convolutions,),
    losses: (convolutions, activations),
    pooling: (),
}
"""Each pass, and what has to come before it to give it something to do."""
Layers = list[dict[str, Any]]


def named(rewriting: ModuleType) -> str:
    return rewriting.__name__.rpartition(".")[2]


def before(rewriting: ModuleType, steps: Program) -> Program:
    for earlier in ALONE[rewriting]:
        steps = earlier.apply(steps)
    return steps


def layer(kind: str, name: str = "", source: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        **({"name": name} if name else {}),
        **({"from": source} if source else {}),
        **fields,
    }


UP = layer("NearestUpsampling", "up", scale_factor=2)
TALL, WIDE = (
    {**UP, "name": name, "scale_factor": scale} for name, scale in (("tall", [2, 1]), ("wide", [1, 2]))
)
COMPOSITE = layer("Upsampling", "up", out_channels=3, kernel_size=3, padding=1)

# (pass, layers, the operations after it: value, kind, what it reads); the last layer is the output
CHANGED: dict[str, tuple[ModuleType, Layers, list[tuple[str, str, tuple[str, ...]]]]] = {
    "identity": (identities, [conv("a"), layer("Identity"), conv("b")],
                 [("a", "Conv2d", ("x",)), ("b", "Conv2d", ("a",))]),
    "identity at the end": (identities, [conv("a"), layer("Identity"), layer("Identity")],
                            [("a", "Conv2d", ("x",))]),
    "nothing but identity": (identities, [layer("Identity")], []),
    "concat of one": (identities, [layer("Concat", source=["x"]), conv("b")], [("b", "Conv2d", ("x",))]),
    "upsampling by one": (identities, [{**UP, "scale_factor": 1}, conv("b")], [("b", "Conv2d", ("x",))]),
    "composite's upsampling by one": (identities, [{**COMPOSITE, "scale_factor": 1}],
                                      [("up", "Conv2d", ("x",))]),
    "dropout of none": (identities, [layer("Dropout", p=0.0), conv("b")], [("b", "Conv2d", ("x",))]),
    "padding by nothing": (identities, [layer("ReflectionPad2d", padding=0), conv("b")],
                           [("b", "Conv2d", ("x",))]),
    "pixel shuffle by one": (identities, [layer("PixelShuffle", upscale_factor=1), conv("b")],
                             [("b", "Conv2d", ("x",))]),
    "equal layers": (duplicates,
                     [layer("Tanh", "s", "x"), layer("Tanh", "t", "x"), layer("Add", "y", ["s", "t"])],
                     [("s", "Tanh", ("x",)), ("y", "Add", ("s", "s"))]),
    "equal layers on equal layers": (
        duplicates,
        [layer("Tanh", "s", "x"), layer("Tanh", "t", "x"), layer("ReLU", "u", "s"), layer("ReLU", "v", "t"),
         layer("Sub", "y", ["u", "v"])],
        [("s", "Tanh", ("x",)), ("u", "ReLU", ("s",)), ("y", "Sub", ("u", "u"))]),
    "equal layers with one's weights": (
        duplicates,
        [conv("a", "x"), conv("b", "x", share="a"), layer("Add", "y", ["a", "b"])],
        [("a", "Conv2d", ("x",)), ("y", "Add", ("a", "a"))]),
    "convolution": (convolutions, [conv("a", stride=2, dilation=2)], [("a", "conv", ("x",))]),
    "transposed convolution": (
        convolutions, [layer("TransposeConv2d", "a", out_channels=3, kernel_size=3, stride=2)],
        [("a", "conv", ("x",))]),
    "a padding mode that pads nothing": (convolutions, [conv("a", padding=0, padding_mode="reflect")],
                                         [("a", "conv", ("x",))]),
    "upsampling": (upsampling, [UP, conv("a")], [("a", "conv", ("x",))]),
    "upsampling inside a composite": (upsampling, [COMPOSITE], [("up", "conv", ("x",))]),
    "upsampling that others read": (
        upsampling, [UP, conv("a", "up"), conv("b", "up"), layer("Add", "y", ["a", "b"])],
        [("a", "conv", ("x",)), ("b", "conv", ("x",)), ("y", "Add", ("a", "b"))]),
    "upsampling that no convolution reads either": (
        upsampling, [UP, conv("a", "up"), layer("Add", "y", ["a", "up"])],
        [("up", "NearestUpsampling", ("x",)), ("a", "conv", ("x",)), ("y", "Add", ("a", "up"))]),
    "two upsamplings, an axis each": (upsampling, [TALL, WIDE, conv("a")], [("a", "conv", ("x",))]),
    "two upsamplings of one axis": (upsampling, [TALL, {**TALL, "name": "tall2"}, conv("a")],
                                    [("tall", "NearestUpsampling", ("x",)), ("a", "conv", ("tall",))]),
    "concatenation": (
        concatenations, [conv("a"), layer("Concat", "c", ["a", "x", "a"]), conv("b")],
        [("a", "conv", ("x",)), ("b", "conv", ("a", "x", "a"))]),
    "concatenation along -3": (
        concatenations, [conv("a"), layer("Concat", "c", ["a", "x"], dim=-3), conv("b")],
        [("a", "conv", ("x",)), ("b", "conv", ("a", "x"))]),
    "concatenation that others read": (
        concatenations,
        [layer("Concat", "c", ["x", "x"]), conv("a", "c", out_channels=4), layer("Add", "y", ["a", "c"])],
        [("c", "Concat", ("x", "x")), ("a", "conv", ("x", "x")), ("y", "Add", ("a", "c"))]),
    "concatenation of concatenations": (
        concatenations,
        [conv("a"), layer("Concat", "c", ["a", "x"]), layer("Concat", "d", ["x", "c"]), conv("b")],
        [("a", "conv", ("x",)), ("b", "conv", ("x", "a", "x"))]),
    "concatenation before a transposed convolution": (
        concatenations,
        [conv("a"), layer("Concat", "c", ["a", "x"]),
         layer("TransposeConv2d", "b", out_channels=3, kernel_size=2, stride=2)],
        [("a", "conv", ("x",)), ("b", "conv", ("a", "x"))]),
    "ReLU": (activations, [conv("a"), layer("ReLU", "r")], [("r", "conv", ("x",))]),
    "Sigmoid": (activations, [conv("a"), layer("Sigmoid", "s")], [("s", "conv", ("x",))]),
    "LeakyReLU": (activations, [conv("a"), layer("LeakyReLU", "l", negative_slope=0.2)],
                  [("l", "conv", ("x",))]),
    "the first of two activations": (activations, [conv("a"), layer("ReLU", "r"), layer("Sigmoid", "s")],
                                     [("r", "conv", ("x",)), ("s", "Sigmoid", ("r",))]),
    "a sigmoid before the loss": (losses, [conv("a"), layer("Sigmoid", "s")], [("s", "conv", ("x",))]),
    "max-pooling": (pooling, [layer("MaxPool2d", "p", kernel_size=2)], [("p", "max_pool", ("x",))]),
    "max-pooling that leaves pixels over": (pooling, [layer("MaxPool2d", "p", kernel_size=[3, 1])],
                                            [("p", "max_pool", ("x",))]),
}  # fmt: skip

UNCHANGED: dict[str, tuple[ModuleType, Layers]] = {
    "other layers": (identities, [conv("a"), layer("Dropout", p=0.5), layer("Concat", source=["a", "x"])]),
    "padding by something": (identities, [layer("ZeroPad2d", padding=[0, 0, 1, -1])]),
    "different fields": (
        duplicates,
        [layer("LeakyReLU", "s", "x"), layer("LeakyReLU", "t", "x", negative_slope=0.5),
         layer("Add", "y", ["s", "t"])]),
    "another order": (
        duplicates,
        [conv("a"), layer("Sub", "s", ["a", "x"]), layer("Sub", "t", ["x", "a"]),
         layer("Add", source=["s", "t"])]),
    "weights of their own": (duplicates, [conv("a", "x"), conv("b", "x"), layer("Add", source=["a", "b"])]),
    "layers that draw numbers": (
        duplicates,
        [layer("Dropout", "s", "x"), layer("Dropout", "t", "x"), layer("Add", "y", ["s", "t"])]),
    "statistics of their own": (
        duplicates,
        [layer("BatchNorm2d", "s", "x"), layer("BatchNorm2d", "t", "x", share="s"),
         layer("Add", "y", ["s", "t"])]),
    "groups": (convolutions, [conv("a", groups=2)]),
    "groups of a transposed convolution": (
        convolutions, [layer("TransposeConv2d", out_channels=2, kernel_size=3, groups=2)]),
    "padding mode": (convolutions, [conv("a", padding_mode="reflect")]),
    "a stride after upsampling": (upsampling, [UP, conv("a", stride=2)]),
    "a stride along the other axis": (upsampling, [TALL, conv("a", stride=[1, 2])]),
    "upsampling before a transposed convolution": (
        upsampling, [UP, layer("TransposeConv2d", out_channels=2, kernel_size=3)]),
    "something in between": (upsampling, [UP, layer("ReLU"), conv("a")]),
    "upsampling as the output": (upsampling, [conv("a"), UP]),
    "bilinear upsampling": (upsampling, [layer("BilinearUpsampling", scale_factor=2), conv("a")]),
    "concatenation along the height": (
        concatenations, [conv("a"), layer("Concat", source=["a", "x"], dim=2), conv("b")]),
    "concatenation as the output": (concatenations, [conv("a"), layer("Concat", source=["a", "x"])]),
    "convolution that no pass understands": (
        concatenations, [conv("a"), layer("Concat", source=["a", "x"]), conv("b", groups=2)]),
    "a negative slope": (activations, [conv("a"), layer("LeakyReLU", negative_slope=-0.5)]),
    "a slope above 1": (activations, [conv("a"), layer("LeakyReLU", negative_slope=2.0)]),
    "a slope of 0, whose gradient the output does not tell": (
        activations, [conv("a"), layer("LeakyReLU", negative_slope=0.0)]),
    "another activation": (activations, [conv("a"), layer("Tanh")]),
    "an input that others read": (
        activations, [conv("a"), layer("ReLU", "r"), layer("Add", source=["a", "r"])]),
    "no convolution before": (activations, [layer("ReLU"), conv("a")]),
    "a convolution that no pass understands": (activations, [conv("a", groups=2), layer("ReLU")]),
    "another activation before the loss": (losses, [conv("a"), layer("ReLU")]),
    "a sigmoid of no convolution": (losses, [layer("Sigmoid")]),
    "no activation": (losses, [conv("a")]),
    "windows that overlap": (pooling, [layer("MaxPool2d", kernel_size=3, stride=2)]),
    "windows apart": (pooling, [layer("MaxPool2d", kernel_size=2, stride=3)]),
    "padding": (pooling, [layer("MaxPool2d", kernel_size=2, padding=1)]),
    "dilation": (pooling, [layer("MaxPool2d", kernel_size=2, dilation=2)]),
    "ceil_mode": (pooling, [layer("MaxPool2d", kernel_size=3, ceil_mode=True)]),
    "average pooling": (pooling, [layer("AvgPool2d", kernel_size=2)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_a_pass_changes(case: str) -> None:
    rewriting, layers, expected = CHANGED[case]
    earlier = before(rewriting, program_of(layers))
    after = rewriting.apply(earlier)
    assert after != earlier
    assert [(op.name, op.kind, op.inputs) for op in after.ops] == expected
    assert rewriting.apply(after) == after, "once is enough"
    graph, x = graph_of(layers), pictures((2, 2, 8, 8))
    agree(of_program(graph, after, x), of_model(model_of(graph, "reference"), x))


@pytest.mark.parametrize("case", UNCHANGED)
def test_a_pass_leaves_alone(case: str) -> None:
    rewriting, layers = UNCHANGED[case]
    earlier = before(rewriting, program_of(layers))
    assert rewriting.apply(earlier) == earlier


def test_every_pass_has_a_case_of_both_kinds() -> None:
    functions = {apply for _, apply in PASSES}
    assert functions == {rewriting.apply for rewriting in ALONE}
    assert {entry[0] for entry in CHANGED.values()} == set(ALONE)
    assert {entry[0] for entry in UNCHANGED.values()} == set(ALONE)


def test_a_convolution_knows_its_sources_and_what_it_covers() -> None:
    steps = program_of(
        [conv("a"), {**UP, "from": "a"}, layer("Concat", "c", ["up", "up"]), conv("b", out_channels=3),
         layer("LeakyReLU", "l", negative_slope=0.2)]
    )  # fmt: skip
    *_, last = optimise(steps).ops
    assert isinstance(last, ConvOp)
    assert (last.name, last.inputs, last.covers) == ("l", ("a", "a"), ("b", "l"))
    assert [(s.value, s.channels, s.maps[0].scale) for s in last.sources] == [("a", 2, 2), ("a", 2, 2)]
    assert last.activation == Activation(kind="leaky_relu", slope=0.2)


def test_a_pool_knows_its_window() -> None:
    (op,) = optimise(program_of([layer("MaxPool2d", kernel_size=[2, 3])])).ops
    assert isinstance(op, PoolOp)
    assert op.window == (2, 3)


def test_figure_1_is_four_convolutions_for_fewer_products() -> None:
    """The last two do up to 2.25 times fewer: what their windows see beyond the border costs a little."""
    steps = program(spec_graph("n2n"), (1, 3, 32, 32))
    changes = list(trace(steps))
    after = optimise(steps)
    assert changes[-1].after == after
    assert [change.name for change in changes] == [name for name, _ in PASSES]
    assert [(op.name, op.kind) for op in after.ops] == [
        ("relu1", "conv"), ("relu2", "conv"), ("relu3", "conv"), ("sigmoid", "conv"),
    ]  # fmt: skip
    assert steps.macs == 2_027_520
    # windows lie around the small picture, (h + 1)² of them, each with 2 × 2 places for four phases
    first_two = 3 * 16 * 9 * 16**2 + 16 * 32 * 9 * 8**2
    assert after.macs == first_two + 16 * 9**2 * 32 * 16 + 16 * 17**2 * 16 * 3 == 1_291_008
    assert next(c.values for c in changes if c.name == "activation into convolution") == (
        "conv1", "relu1", "conv2", "relu2", "up1", "relu3", "up2", "sigmoid",
    )  # fmt: skip


def test_plugin_layers_whose_fields_cannot_be_hashed_are_compared_all_the_same() -> None:
    from n2nspec.layers.relu import ReLUSpec

    class Listed(ReLUSpec):
        numbers: list[int] = []  # noqa: RUF012  pydantic copies it

    steps = program_of([layer("ReLU", "a", "x"), layer("ReLU", "b", "x"), layer("Add", "y", ["a", "b"])])
    *both, last = steps.ops
    from dataclasses import replace

    for second, count in (([1], 2), ([2], 3)):
        ops = [replace(op, layer=Listed(numbers=n)) for op, n in zip(both, ([1], second), strict=True)]  # type: ignore[call-arg]
        assert len(duplicates.apply(steps.with_ops([*ops, last])).ops) == count


FAST = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def for_each_pass(check: Callable[[ModuleType, Network], None], rewriting: ModuleType) -> None:
    for layers in (None, fusable()):

        @FAST
        @given(networks(largest=8, layers=layers))
        def run(network: Network) -> None:
            check(rewriting, network)

        run()


@pytest.mark.parametrize("rewriting", ALONE, ids=named)
def test_random_networks_keep_values_and_gradients(rewriting: ModuleType) -> None:
    def check(rewriting: ModuleType, network: Network) -> None:
        graph, x = analyse(load(network.document)), pictures(network.input_shape)
        after = rewriting.apply(before(rewriting, program(graph, network.input_shape)))
        assert rewriting.apply(after) == after
        agree(of_program(graph, after, x), of_model(model_of(graph, "reference"), x))

    for_each_pass(check, rewriting)


@pytest.mark.parametrize("rewriting", ALONE, ids=named)
@pytest.mark.parametrize("name", SPECS)
def test_our_specs_keep_values_and_gradients(name: str, rewriting: ModuleType) -> None:
    graph, x = spec_graph(name), pictures(SPECS[name])
    after = rewriting.apply(before(rewriting, program(graph, SPECS[name])))
    assert rewriting.apply(after) == after
    agree(of_program(graph, after, x), of_model(model_of(graph, "reference"), x))


@settings(FAST, max_examples=60)
@given(networks(layers=fusable()))
def test_all_passes_together_change_nothing_when_run_again(network: Network) -> None:
    steps = program(analyse(load(network.document)), network.input_shape)
    for change in trace(steps):
        known = {steps.input_name}
        for op in change.after.ops:  # still in topological order, and everything there is read
            assert known.issuperset(op.inputs)
            known.add(op.name)
            assert op.name == change.after.output or change.after.readers[op.name]
        assert change.after.output in known

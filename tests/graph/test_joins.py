"""Joining branches: sizes against brute force, receptive fields against autograd, shared weights."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Network, networks

from n2nspec import load
from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import ShapeError, Symbolic
from n2nspec.graph import Reach, ShapedGraph, analyse, cost, receptive_field
from n2nspec.oracle.twin import twin

SLOW = settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def document(*layers: dict[str, Any], channels: int = 1, **more: Any) -> dict[str, Any]:
    given = {"input": {"x": ["N", channels, "H", "W"]}, "encoder": [*layers]}
    return {"spec_version": 1, "name": "t", **given, **more}


def conv(name: str, source: str | None = None, **fields: Any) -> dict[str, Any]:
    given = {"out_channels": 1, "kernel_size": 3, **fields}
    return {"type": "Conv2d", "name": name, **({"from": source} if source else {}), **given}


def works(graph: ShapedGraph, height: int, width: int) -> bool:
    """Whether every layer accepts its concrete input; judged without any symbolic size."""
    numbers = {"N": 2, "H": height, "W": width}
    shapes: dict[str, tuple[int, ...]] = {
        graph.input_name: tuple(
            numbers[d.symbol] if isinstance(d, Symbolic) else d for d in graph.input_shape
        )
    }
    try:
        for node in graph.nodes:
            inputs = tuple(shapes[name] for name in node.inputs)
            shapes[node.name] = node.layer.infer(inputs)  # type: ignore[assignment]
            for several in node.layer.several(inputs):
                if not several.training and all(dim == 1 for dim in several.dims):
                    return False
    except ShapeError:
        return False
    return True


def check_sizes(graph: ShapedGraph, upto: int = 200) -> None:
    contract = graph.size_contract
    other = {axis: contract[axis].at_least(40) or contract[axis].maximum for axis in "HW"}
    for size in range(1, upto + 1):
        height, width = other["H"], other["W"]
        assert height
        assert width
        assert works(graph, size, width) == (size in contract["H"]), f"height {size}"
        assert works(graph, height, size) == (size in contract["W"]), f"width {size}"


def test_a_skip_over_unequal_strides_works_for_two_residues() -> None:
    graph = analyse(
        load(
            document(
                conv("a", "x", kernel_size=1, stride=4),
                {"type": "MaxPool2d", "name": "b", "from": "x", "kernel_size": 3, "stride": 4},
                {"type": "Concat", "name": "c", "from": ["a", "b"]},
            )
        )
    )
    sizes = graph.size_contract["H"]
    assert (sizes.period, sizes.remainders) == (4, (0, 3))
    check_sizes(graph)


def test_branches_of_different_slope_leave_finitely_many_sizes() -> None:
    graph = analyse(
        load(
            document(
                conv("a", "x", kernel_size=1, stride=2),
                conv("b", "x", kernel_size=10, stride=1),
                {"type": "Add", "name": "c", "from": ["a", "b"]},
            )
        )
    )
    assert graph.size_contract["H"].exceptions == (18, 19)
    assert graph.size_contract["H"].maximum == 19


def test_a_unet_says_which_sizes_fail_and_by_how_much() -> None:
    graph = analyse(load("specs/unet_n2n.toml"))
    assert graph.size_contract["H"].render("H") == "any multiple of 32 from 32"
    narrowing = {(n.node, n.axis): n for n in graph.narrowings}
    assert {node for node, axis in narrowing if axis == "height"} == {
        "dec5.concat", "dec4.concat", "dec3.concat", "dec2.concat", "dec1.concat",
    }  # fmt: skip
    found = narrowing["dec1.concat", "height"]
    assert found.symbol == "H"
    assert found.example % 2 == 1
    assert dict(found.values)["x"] == found.example


@SLOW
@given(networks())
def test_sizes_are_what_brute_force_finds(network: Network) -> None:
    if network.document["input"]["x"][2] != "H":
        return
    check_sizes(analyse(load(network.document)))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (conv("b", "x", out_channels=2, padding=1), "same number of channels: 1 against 2"),
        (conv("b", "x", kernel_size=5), "no picture size gives the same height: H-2 against H-4"),
    ],
)
def test_a_join_that_never_fits_shows_both_branches(second: dict[str, Any], message: str) -> None:
    padding = second.get("padding", 0)
    layers = [conv("a", "x", padding=padding), second, {"type": "Add", "name": "c", "from": ["a", "b"]}]
    with pytest.raises(DiagnosticError) as error:
        analyse(load(document(*layers)))
    (problem,) = error.value.diagnostics
    assert problem.code == "E206"
    assert message in problem.message
    assert problem.help


def test_joins_that_exclude_each_other_are_one_error_at_the_later() -> None:
    shapes = [
        conv("half", "x", kernel_size=1, stride=2),
        {"type": "NearestUpsampling", "name": "twice", "scale_factor": 2},
        {"type": "Add", "name": "even", "from": ["twice", "x"]},
        conv("odd", "x", kernel_size=2, stride=2),
        {"type": "TransposeConv2d", "name": "back", "out_channels": 1, "kernel_size": 3, "stride": 2},
        {"type": "Add", "name": "uneven", "from": ["back", "x"]},
    ]
    with pytest.raises(DiagnosticError) as error:
        analyse(load(document(*shapes)))
    (problem,) = error.value.diagnostics
    assert problem.code == "E206"
    assert '"uneven" accepts no H' in problem.message
    assert problem.path == "encoder[5].name" or problem.path == "encoder[5]"


def test_conditions_tie_height_to_width() -> None:
    layers = [conv("a", "x", stride=4, padding=1), {"type": "InstanceNorm2d", "name": "norm"}]
    graph = analyse(load(document(*layers)))
    (condition,) = graph.conditions
    assert not condition.training
    assert str(condition) == (
        "norm needs more than one value a channel: not H in {1, 2, 3, 4} and W in {1, 2, 3, 4} at once"
    )
    for height in range(1, 12):
        for width in range(1, 12):
            assert condition.broken({"N": 1, "H": height, "W": width}) != works(graph, height, width)


def test_sizes_grow_until_no_condition_is_broken() -> None:
    layers = [conv("a", "x", stride=4, padding=1), {"type": "InstanceNorm2d", "name": "norm"}]
    graph = analyse(load(document(*layers)))
    start = {"N": 1, "H": 3, "W": 4}
    assert graph.enlarged(start, graph.sizes, training=False) == {"N": 1, "H": 5, "W": 4}
    fixed = {name: graph.sizes[name] for name in "NW"}
    assert graph.enlarged(start, fixed, training=False) == {"N": 1, "H": 3, "W": 5}
    assert graph.enlarged(start, {}, training=False) is None
    works = {"N": 1, "H": 5, "W": 1}
    assert graph.enlarged(works, {}, training=True) == works


def test_a_condition_of_training_counts_in_training_only() -> None:
    graph = analyse(load(document({"type": "BatchNorm2d", "name": "norm"})))
    single = {"N": 1, "H": 1, "W": 1}
    assert graph.broken(single, training=False) is None
    assert graph.broken(single, training=True) is graph.conditions[0]
    assert cost(graph, (1, 1)).macs >= 0, "a picture of one pixel can be denoised"
    with pytest.raises(DiagnosticError, match="H = 1, W = 1 does not work: norm"):
        cost(analyse(load(document({"type": "InstanceNorm2d", "name": "norm"}))), (1, 1))


def test_a_condition_that_one_size_decides_narrows_the_contract() -> None:
    layers = [conv("a", "x", stride=4, padding=1), {"type": "InstanceNorm2d", "name": "norm"}]
    spec = document(*layers) | {"input": {"x": ["N", 1, "H", 3]}}
    graph = analyse(load(spec))
    assert graph.conditions == ()
    assert graph.size_contract["H"].smallest == 5


def test_a_single_value_for_every_size_is_an_error() -> None:
    spec = document({"type": "InstanceNorm2d"}) | {"input": {"x": ["N", 1, 1, 1]}}
    with pytest.raises(DiagnosticError, match="needs more than one value a channel"):
        analyse(load(spec))


# -- receptive fields ---------------------------------------------------------------------------------


@st.composite
def branching(draw: st.DrawFn) -> dict[str, Any]:
    """Positive linear layers and joins, so that a zero gradient means that a pixel is not read."""
    layers: list[dict[str, Any]] = []
    names = ["x"]
    for index in range(draw(st.integers(2, 6))):
        name, source = f"n{index}", names[-1] if draw(st.booleans()) else draw(st.sampled_from(names))
        kind = draw(st.sampled_from(["conv", "down", "up", "spread", "join", "join", "crop"]))
        entry: dict[str, Any]
        if kind in ("conv", "down"):
            kernel = draw(st.integers(1, 4))
            entry = conv(
                name, source, kernel_size=kernel, stride=2 if kind == "down" else 1,
                padding=draw(st.integers(0, 2)), dilation=draw(st.integers(1, 3)),
            )  # fmt: skip
        elif kind == "spread":
            stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
            entry = {
                "type": "TransposeConv2d", "name": name, "from": source, "out_channels": 1, "stride": stride,
                "kernel_size": draw(st.integers(1, 3)), "dilation": dilation,
                "output_padding": draw(st.integers(0, max(stride, dilation) - 1)),
            }  # fmt: skip
        elif kind == "up":
            entry = {"type": "NearestUpsampling", "name": name, "from": source, "scale_factor": 2}
        else:
            other = draw(st.sampled_from(names))
            type_ = "CropLike" if kind == "crop" else draw(st.sampled_from(["Add", "Concat"]))
            entry = {"type": type_, "name": name, "from": [source, other]}
        try:
            analyse(load(document(*layers, entry)))
        except DiagnosticError:
            continue
        layers.append(entry)
        names.append(name)
    return document(*layers, conv("last", names[-1], kernel_size=1))


@SLOW
@given(branching())
def test_branches_agree_with_autograd(spec: dict[str, Any]) -> None:
    graph = analyse(load(spec))
    reach = receptive_field(graph)["H"]
    sizes = graph.size_contract["H"]
    if reach == "global" or not sizes.remainders:
        return  # branches of different scale
    assert isinstance(reach, Reach)
    assert reach.exact
    phases = len(reach.extents)
    shape = graph.nodes[-1].shape[-2]
    assert isinstance(shape, Symbolic)
    ratio = Fraction(shape.function.period, shape.function.gain)  # input pixels an output pixel advances by
    height = sizes.at_least(120 + 2 * (reach.left + reach.right) + ceil(2 * phases * ratio))
    width = graph.size_contract["W"].at_least(40)
    assert height is not None
    assert width is not None
    module = twin(graph, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    x = torch.zeros(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    y = module(x)
    start = y.shape[-2] // 2 // phases * phases
    extents, lefts, rights = [], [0], [0]
    for j in range(start, start + phases):
        (gradient,) = torch.autograd.grad(y[0, 0, j].sum(), x, retain_graph=True)
        rows = gradient[0, 0].sum(1).nonzero().flatten()
        extents.append(int(rows[-1] - rows[0]) + 1 if len(rows) else 0)
        if len(rows):
            lefts.append(int(j * ratio) - int(rows[0]))
            rights.append(int(rows[-1]) - int(j * ratio))
    found, stated = (max(lefts), max(rights), *extents), (reach.left, reach.right, *reach.extents)
    if any(node.layer.type == "CropLike" for node in graph.nodes if node.name in graph.live):
        # for pictures of some sizes it begins a pixel further on
        assert all(one <= bound for one, bound in zip(found, stated, strict=True))
    else:
        assert found == stated


def test_where_a_crop_begins_may_depend_on_the_size() -> None:
    crop = {"type": "CenterCrop", "size": 8}
    assert receptive_field(analyse(load(document(crop)))) == {"H": "global", "W": "global"}
    fixed = document(crop) | {"input": {"x": ["N", 1, 20, 9]}}
    field = receptive_field(analyse(load(fixed)))
    assert field["H"] == Reach(left=0, right=6, extents=(1,))
    along = {"type": "Concat", "from": ["x", "x"], "dim": 2}
    assert receptive_field(analyse(load(document(along)))) == {
        "H": "global",
        "W": Reach(left=0, right=0, extents=(1,)),
    }


# -- shared weights -----------------------------------------------------------------------------------


def test_shared_weights_are_one_parameter() -> None:
    graph = analyse(
        load(document(conv("a", padding=1), conv("b", padding=1, share="a"), conv("c", padding=1)))
    )
    assert graph.parameter_count == 20
    assert [len(node.parameters) for node in graph.nodes] == [2, 0, 2]


@pytest.mark.parametrize(
    ("layer", "code", "text"),
    [
        (conv("b", share="A"), "E203", 'there is no layer named "A"'),
        (conv("b", share="b"), "E210", "shares its own weights"),
        (conv("b", share="second"), "E210", 'it shares those of "a"'),
        (conv("b", share="a", kernel_size=5), "E210", "weight is 1 × 1 × 3 × 3 there and 1 × 1 × 5 × 5 here"),
        (conv("b", share="a", bias=False), "E210", '"a" has weight, bias and "b" has weight'),
        ({"type": "ReLU", "name": "b", "share": "a"}, "E210", "they are ReLU and Conv2d"),
        ({"type": "ReLU", "name": "b", "share": "relu"}, "E210", "ReLU has none"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_shared(layer: dict[str, Any], code: str, text: str) -> None:
    layers = [conv("a"), {"type": "ReLU", "name": "relu"}, conv("second", share="a"), layer]
    with pytest.raises(DiagnosticError) as error:
        analyse(load(document(*layers)))
    (problem,) = error.value.diagnostics
    assert problem.code == code
    assert text in problem.message
    assert problem.path == "encoder[3].share"

"""All mistakes of a spec in one run, in source order, each told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph import analyse, build, check, shape
from n2nspec.spec import load

CONV: dict[str, Any] = {"type": "Conv2d", "out_channels": 4, "kernel_size": 3}
RELU: dict[str, Any] = {"type": "ReLU"}


def document(*layers: Any, **more: Any) -> dict[str, Any]:
    return {
        "spec_version": 1,
        "name": "t",
        "input": {"x": ["N", 3, "H", "W"]},
        "encoder": list(layers),
        **more,
    }


def found(source: Any, **options: Any) -> list[tuple[str, str]]:
    """(code, path) of every mistake."""
    with pytest.raises(DiagnosticError) as error:
        check(source, **options)
    return [(problem.code, problem.path) for problem in error.value.diagnostics]


def test_a_sound_spec_is_what_analyse_makes_of_it() -> None:
    source = "specs/n2n.toml"
    assert check(source).nodes == analyse(load(source)).nodes == shape(build(load(source))).nodes
    assert check(source).warnings == ()


def test_fields_names_and_shapes_are_reported_together_in_the_order_of_the_document() -> None:
    assert found(
        document(
            {**CONV, "name": "a", "kernel_size": 0},
            {**CONV, "name": "b", "from": "x", "groups": 2},
            {**RELU, "from": "bb"},
            output={"y": "nobody"},
            require={"same_size": ["x", "noone"]},
            train={"epochs": "ten"},
        )
    ) == [
        ("E113", "encoder[0].kernel_size"),
        ("E206", "encoder[1].groups"),
        ("E203", "encoder[2].from"),
        ("E203", "output.y"),
        ("E203", "require.same_size[1]"),
        ("E112", "train.epochs"),
    ]


def test_in_a_file_the_order_is_that_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "t"\n[train]\nepochs = "ten"\n[[decoder]]\ntype = "ReLU"\nfrom = "nobody"\n'
        '[[encoder]]\ntype = "Conv2d"\nout_channels = 4\nkernel_size = 3\ngroups = 2\n'
        '[input]\nx = ["N", 3, "H", "W"]\n'
    )
    with pytest.raises(DiagnosticError) as error:
        check(file)
    places = [problem.span.line for problem in error.value.diagnostics if problem.span]
    assert places == sorted(places) == [4, 7, 12]


def test_overrides_take_part_and_come_last() -> None:
    assert found("specs/n2n.toml", overrides={"encoder.conv2.groups": 16, "train.seed": -1}) == [
        ("E113", "train.seed")
    ]
    assert found("specs/n2n.toml", overrides={"encoder.conv1.groups": 8, "train.seed": -1}) == [
        ("E206", "encoder[0].groups"),
        ("E113", "train.seed"),
    ]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param(
            [{**CONV, "kernel_size": 0}, {**CONV, "groups": 2}, {**CONV, "groups": 4}],
            ["E113"],
            id="what follows a layer with wrong fields",
        ),
        pytest.param(
            [{**CONV, "out_channels": 3, "groups": 3}, {**CONV, "groups": 4}, {**CONV, "groups": 2}],
            ["E206"],
            id="what follows a layer that does not fit",
        ),
        pytest.param(
            [{**RELU, "from": "nobody"}, {**CONV, "groups": 2}], ["E203"], id="what follows a dangling from"
        ),
        pytest.param(
            [{**RELU, "from": ["x", "x"]}, {**CONV, "groups": 2}], ["E205"], id="what follows two inputs"
        ),
        pytest.param(
            [{**RELU, "name": "a", "from": "b"}, {**RELU, "name": "b"}, {**CONV, "groups": 2}],
            ["E204"],
            id="what follows a circle",
        ),
        pytest.param(
            [{**CONV, "nam": "a"}, {**RELU, "from": "a"}], ["E110"], id="a name under a misspelt key"
        ),
        pytest.param(
            [{**CONV, "name": "1a"}, {**RELU, "from": "1a"}], ["E118"], id="a name that is not allowed"
        ),
        pytest.param([{**CONV, "name": 3}, {**RELU, "from": "a"}], ["E112"], id="a name that is no text"),
        pytest.param(
            [{"type": "Relu"}, {**RELU, "name": "b"}, {**RELU, "from": "relu1"}],
            ["E116"],
            id="the number of a layer whose type is misspelt",
        ),
        pytest.param(
            [{"type": 3}, RELU, {**CONV, "from": "relu2"}, {**CONV, "from": "relu1", "groups": 2}],
            ["E112"],
            id="numbers behind a layer of no type",
        ),
        pytest.param(
            [{**RELU, "from": 3, "name": "a"}, {**RELU, "name": "b", "from": "c"}, {**RELU, "name": "c"}],
            ["E112", "E204"],
            id="a circle beside a from that is no name",
        ),
        pytest.param(
            [{**RELU, "name": "a", "from": "c"}, {**RELU, "name": "b", "from": 3}, {**RELU, "name": "c"}],
            ["E112"],
            id="a circle only if the wrong from were absent",
        ),
        pytest.param([3, {**CONV, "groups": 2}], ["E112"], id="no table"),
        pytest.param(
            [
                {**CONV, "name": "a"},
                {**CONV, "name": "a", "out_channels": 6},
                {**CONV, "out_channels": 6, "groups": 6},
                {**CONV, "from": "a", "groups": 3, "out_channels": 6},
            ],
            ["E202"],
            id="a name that means two layers",
        ),
    ],
)
def test_one_mistake_is_one_error(layers: list[Any], expected: list[str]) -> None:
    assert [code for code, _ in found(document(*layers))] == expected


def test_a_layer_that_follows_a_duplicate_is_judged_by_the_one_before_it() -> None:
    layers = [{**CONV, "name": "a"}, {**CONV, "name": "a", "out_channels": 6}, {**CONV, "groups": 4}]
    assert found(document(*layers)) == [("E202", "encoder[1].name"), ("E206", "encoder[2].groups")]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"input": {"x": ["N", "3", "H", "W"]}}, ["E113"]),
        ({"input": {}}, ["E113"]),
        ({"input": 3}, ["E112"]),
        ({"input": {"x": [3], "z": [3]}}, ["E113"]),
        ({"outputs": {"y": "conv2d1"}}, ["E110"]),
        ({"outputs": {"y": "zzz"}}, ["E110", "E203"]),
        ({"require": {"same_size": ["zzz"]}}, ["E113"]),
        ({"encodr": [{"type": "ReLU", "name": "zzz"}]}, ["E110"]),
        ({"layers": [{"type": "ReLU", "name": "zzz"}]}, ["E110"]),
    ],
)
def test_what_depends_on_a_wrong_table_is_not_blamed(wrong: dict[str, Any], expected: list[str]) -> None:
    reader = {**RELU, "from": "zzz"} if expected == ["E110"] and "outputs" not in wrong else RELU
    source = document({**CONV, "from": "x", "groups": 2 if "input" in wrong else 1}, reader) | wrong
    codes = [code for code, _ in found(source)]
    assert codes == expected


def test_names_are_judged_although_the_input_is_wrong() -> None:
    source = document(RELU, {**RELU, "from": "relu"}, input={"x": ["N", 3, "H", 0]})
    assert [code for code, _ in found(source)] == ["E113", "E203"]


def test_a_mistake_in_a_block_is_told_once() -> None:
    block = {"layers": [{**CONV, "groups": 2}]}
    uses = [{"block": "b", "from": "x"}] * 5
    (problem,) = found(document(*uses, blocks={"b": block}))
    assert problem == ("E206", "blocks.b.layers[0].groups")


def labels(problem: Diagnostic) -> list[tuple[int, str]]:
    return [(label.span.line, label.text) for label in problem.labels]


def test_the_second_place_is_where_the_value_was_made(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "t"\n[input]\nx = ["N", 3, "H", "W"]\n'
        '[[encoder]]\ntype = "Conv2d"\nname = "first"\nout_channels = 16\nkernel_size = 1\n'
        '[[encoder]]\ntype = "ReLU"\n'
        '[[encoder]]\ntype = "Conv2d"\nout_channels = 9\nkernel_size = 1\ngroups = 3\n'
    )
    with pytest.raises(DiagnosticError) as error:
        check(file)
    (problem,) = error.value.diagnostics
    assert labels(problem) == [(7, '"first" gives N × 16 × H × W, which "relu1" hands on')]


def test_requirements_that_only_together_are_impossible() -> None:
    source = document(
        {**CONV, "name": "even", "kernel_size": 1, "stride": 2},
        {"type": "NearestUpsampling", "scale_factor": 2, "name": "up"},
        {**CONV, "from": "x", "kernel_size": 1, "stride": 2, "name": "half"},
        {"type": "Upsampling", "out_channels": 3, "kernel_size": 2, "name": "odd", "from": "half"},
        require={"same_size": ["x", "up", "odd"]},
    )
    with pytest.raises(DiagnosticError, match="satisfies the requirements before this one"):
        check(source)


def test_too_few_inputs_show_what_is_read_without_a_from(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "t"\n[input]\nx = ["N", 3, "H", "W"]\n'
        '[[encoder]]\nname = "a"\ntype = "ReLU"\n[[encoder]]\ntype = "Add"\n[[encoder]]\ntype = "ReLU"\n'
    )
    with pytest.raises(DiagnosticError) as error:
        check(file)
    (problem,) = error.value.diagnostics
    assert (problem.code, problem.message) == ("E205", 'Add "add1" takes 2 or more inputs; received 1')
    assert labels(problem) == [(6, "without `from`, it reads this")]


def test_a_join_shows_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "t"\n[input]\nx = ["N", 3, "H", "W"]\n'
        '[[encoder]]\nname = "a"\ntype = "Conv2d"\nout_channels = 4\nkernel_size = 1\n'
        '[[encoder]]\ntype = "Add"\nfrom = ["x", "a"]\n'
    )
    with pytest.raises(DiagnosticError) as error:
        check(file)
    (problem,) = error.value.diagnostics
    assert problem.code == "E206"
    assert labels(problem) == [(6, '"a" gives N × 4 × H × W'), (4, '"x" gives N × 3 × H × W')]


def test_a_long_circle_is_shown_in_part() -> None:
    names = [f"n{index}" for index in range(50)]
    layers = [
        {**RELU, "name": name, "from": before}
        for before, name in zip([names[-1], *names], names, strict=False)
    ]
    with pytest.raises(DiagnosticError) as error:
        check(document(*layers))
    (problem,) = error.value.diagnostics
    assert problem.message == "the graph runs in a circle: n0 → n1 → n2 → n3 → … → n49 → n0"


def test_a_list_of_names_points_at_the_wrong_one() -> None:
    assert found(document({**RELU, "from": ["y"]})) == [("E203", "encoder[0].from[0]")]


def test_the_work_on_sizes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    strided, shrinking = {**CONV, "stride": 100}, {**CONV, "kernel_size": 2}
    source = document(strided, *[shrinking] * 20, {**CONV, "groups": 3})
    assert [code for code, _ in found(source)] == ["E115"]
    assert check(document(strided, *[shrinking] * 20))
    monkeypatch.setattr("n2nspec.graph.shapes.EFFORT", 1_000)
    with pytest.raises(DiagnosticError, match="repeat only every 100 pixels"):
        check(document(strided, *[shrinking] * 20))
    keeping = {**CONV, "padding": 1}
    assert check(document(*[keeping] * 300))


def test_thousands_of_wrong_names_are_answered() -> None:
    """Suggestions cost; they end before they take minutes. Lists of thousands of names help nobody."""
    layers = [{**RELU, "name": f"layer{index}", "from": f"leyer{index}"} for index in range(2000)]
    with pytest.raises(DiagnosticError) as error:
        check(document(*layers))
    helps = [problem.help for problem in error.value.diagnostics]
    assert len(helps) == 2000
    assert "did you mean" in helps[0]
    assert max(map(len, helps)) < 100


def test_a_misspelt_key_at_the_top_hides_no_wrong_name() -> None:
    wrong = {**document({**RELU, "name": "a"}), "nmae": "x", "require": {"same_size": ["x", "b"]}}
    assert sorted(code for code, _ in found(wrong)) == ["E110", "E203"]


def test_a_wrong_layer_may_also_read_what_does_not_exist() -> None:
    wrong = document({**RELU, "name": "a"}, {"type": "Conv2d", "kernel_size": 3, "from": "q"})
    assert found(wrong) == [("E111", "encoder[1].out_channels"), ("E203", "encoder[1].from")]

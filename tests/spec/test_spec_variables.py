"""`[vars]`, `${…}` and the conditions of `[require]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language import conv, document, flat, problems, refused

from n2nspec.diagnostics import COMMAND_LINE
from n2nspec.spec import load, to_document

RELU = {"type": "ReLU"}


def first(**others: Any) -> dict[str, Any]:
    layer: dict[str, Any] = flat(document(**others))["encoder"][0]
    return layer


def test_a_string_that_is_one_expression_becomes_an_integer() -> None:
    layer = conv("${2*width}", kernel_size=["${k}", "${k + 2}"], name="c${width}", padding="${ k // 2 }")
    assert first(encoder=[layer], vars={"width": 16, "k": 3}) == {
        "type": "Conv2d", "name": "c16", "out_channels": 32, "kernel_size": [3, 5], "padding": 1,
    }  # fmt: skip


def test_variables_may_use_others_in_any_order() -> None:
    variables = {"c": "${a + b}", "a": 2, "b": "${3*a}"}
    assert first(encoder=[conv("${c}")], vars=variables)["out_channels"] == 8


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("width is ${width}", "width is 16"),
        ("${width}${width + 1}", "1617"),
        ("$${width}", "${width}"),
        ("$$${width}", "$${width}"),
        ("a $ b {} $x", "a $ b {} $x"),
        ("$${ and ${width}", "${ and 16"),
    ],
)
def test_texts(written: str, read: str) -> None:
    spec = load(document(RELU, vars={"width": 16}, description=written))
    assert spec.description == read
    assert load(to_document(spec)).description == read


def test_everything_outside_of_blocks_may_have_variables() -> None:
    written = document(
        conv(name="c1"), {"type": "ReLU", "from": "c${one}", "name": "r"},
        vars={"one": 1, "n": 7}, input={"x": ["N", "${n}", "H", "W"]}, output={"y": "r"},
        train={"epochs": "${n}", "optimizer": {"type": "Adam", "lr": "${one}"}},
        data={"train": "folder${n}", "patch": "${n*2}"},
        require={"same_size": ["x", "c${one}"]},
    )  # fmt: skip
    spec = load(written)
    assert spec.input == {"x": ("N", 7, "H", "W")}
    assert (spec.train.epochs, spec.encoder[1].sources) == (7, ("c1",))
    assert spec.data is not None
    assert (spec.data.train, spec.data.patch) == ("folder7", (14, 14))
    assert spec.require is not None
    assert spec.require.same_size == ("x", "c1")
    assert "vars" not in to_document(spec)


def test_overrides_set_variables_and_may_use_them() -> None:
    written = document(conv("${width}"), vars={"width": 16, "k": 3})
    assert flat(written, {"vars.width": 8})["encoder"][0]["out_channels"] == 8
    assert flat(written, {"encoder.0.kernel_size": "${k + 2}"})["encoder"][0]["kernel_size"] == 5
    (unknown,) = refused(written, {"vars.widht": 8})
    assert (unknown.code, unknown.help) == ("E117", 'did you mean "width"?')


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ([], [("E112", "vars")]),
        ({"a": 1.5}, [("E112", "vars.a")]),
        ({"a": True}, [("E112", "vars.a")]),
        ({"a": None}, [("E112", "vars.a")]),
        ({"a": "x"}, [("E112", "vars.a")]),
        ({"a": "a${1}"}, [("E112", "vars.a")]),
        ({"a": [1]}, [("E112", "vars.a")]),
        ({"a": 2**63}, [("E113", "vars.a")]),
        ({"a-b": 1}, [("E118", "vars.a-b")]),
        ({"": 1}, [("E118", 'vars.""')]),
        ({"a": "${b}"}, [("E121", "vars.a")]),
        ({"a": "${1 //0}"}, [("E120", "vars.a")]),
        ({"a": "${a}"}, [("E120", "vars.a")]),
        ({"a": "${b}", "b": "${c + a}", "c": 1}, [("E120", "vars.a")]),
        (
            {"a": "${b}", "b": "${a}", "c": "${b + 1}", "d": "${a+nothing}"},
            [("E120", "vars.a"), ("E121", "vars.d")],
        ),
        ({"a": "${"}, [("E120", "vars.a")]),
        ({"a": "2*${b"}, [("E120", "vars.a")]),
        ({"a": "${b}", "b": "${a}", "c": "${d}", "d": "${c}"}, [("E120", "vars.a"), ("E120", "vars.c")]),
    ],
)
def test_one_mistake_in_a_variable_is_one_diagnostic(variables: Any, expected: list[tuple[str, str]]) -> None:
    layers = [conv("${a}", name="c1"), conv("${2*a}", name="c2")] if "a" in variables else [RELU]
    assert problems(document(*layers, vars=variables)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"description": "${"}, [("E120", "description")]),
        ({"description": "${a"}, [("E120", "description")]),
        ({"description": "${a${a}}"}, [("E120", "description")]),
        ({"description": "${}"}, [("E120", "description")]),
        ({"description": "x${b}"}, [("E121", "description")]),
        ({"name": "${a}"}, [("E112", "name")]),
        ({"name": "n ${a}"}, [("E118", "name")]),
        ({"encoder": [conv("${a == 1}")]}, [("E120", "encoder[0].out_channels")]),
        ({"encoder": [conv("${a}a")]}, [("E112", "encoder[0].out_channels")]),
        ({"encoder": [{"type": "${b}"}]}, [("E121", "encoder[0].type")]),
        ({"encoder": [conv(kernel_size=["${b}", 3])]}, [("E121", "encoder[0].kernel_size[0]")]),
        ({"encoder": "${b}"}, [("E121", "encoder")]),
        ({"encoder": ["${b}"]}, [("E121", "encoder[0]")]),
        ({"input": {"x": ["N", "${b}", "H", "W"]}}, [("E121", "input.x[1]")]),
        ({"train": {"loss": {"type": "${b}"}}}, [("E121", "train.loss.type")]),
        ({"require": {"same_size": ["x", "${b}"]}}, [("E121", "require.same_size[1]")]),
    ],
)
def test_one_mistake_in_an_expression_is_one_diagnostic(
    change: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert problems({**document(RELU, vars={"a": 1}), **change}) == expected


def test_a_bad_value_of_a_variable_is_told_once_with_its_way(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "n"\ninput.x = [3, 8, 8]\nvars.a = "${b - 3}"\nvars.b = 1\n'
        + 3 * '[[encoder]]\ntype = "Conv2d"\nout_channels = "${a}"\nkernel_size = "${a + 3}"\n'
    )
    (diagnostic,) = refused(file)
    assert (diagnostic.code, diagnostic.span and diagnostic.span.line) == ("E113", 8)
    assert [(label.text, label.span.line) for label in diagnostic.labels] == [("a is -2", 4), ("b is 1", 5)]
    (diagnostic,) = refused(file, {"vars.b": -7, "encoder.0.kernel_size": 3, "encoder.1": {"type": "ReLU"}})
    assert [(label.text, label.span.file) for label in diagnostic.labels][1] == ("b is -7", COMMAND_LINE)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (["${a == 6}", "${a % 4 == b}", "${-a < b}", "${(a + b) // 4 >= 2}"], []),
        (["${a % 4 == 0}"], [("E126", "require.check[0]")]),
        (["${a != 6}", "${a < 6}"], [("E126", "require.check[0]"), ("E126", "require.check[1]")]),
        (["a == 6"], [("E112", "require.check[0]")]),
        ([True], [("E112", "require.check[0]")]),
        (["${a}"], [("E120", "require.check[0]")]),
        (["${a == 6"], [("E120", "require.check[0]")]),
        (["${a = 6}"], [("E120", "require.check[0]")]),
        (["${c == 6}"], [("E121", "require.check[0]")]),
        ("${a == 6}", [("E112", "require.check")]),
        ([], []),
    ],
)
def test_conditions(checks: Any, expected: list[tuple[str, str]]) -> None:
    written = document(RELU, vars={"a": 6, "b": 2}, require={"check": checks})
    if expected:
        assert problems(written) == expected
    else:
        assert "require" not in flat(written)


def test_a_condition_shows_its_numbers() -> None:
    (found,) = refused(document(RELU, vars={"a": 6}, require={"check": ["${a % 4 == 0}"]}))
    assert found.message == 'the condition "a % 4 == 0" is not met: 2 == 0 with a = 6'
    (found,) = refused(document(RELU, require={"check": ["${1 > 2}"]}))
    assert found.message == 'the condition "1 > 2" is not met: 1 > 2'


def test_what_is_known_of_an_expression_is_judged() -> None:
    """An unknown variable in it hides neither another one nor a mistake in its text."""
    found = problems(document(conv("${p + q}"), conv("${p +}"), conv("${p // 0}"), vars={"p": "${o}"}))
    assert found == [
        ("E121", "encoder[0].out_channels"), ("E120", "encoder[1].out_channels"),
        ("E120", "encoder[2].out_channels"), ("E121", "vars.p"),
    ]  # fmt: skip
    (found_in_text,) = refused(document(RELU, description="${o} and ${1 +}", vars={"o": 2}))
    assert found_in_text.message == 'in "1 +": it ends too early'


@pytest.mark.parametrize(
    ("written", "help"),
    [
        ("${1 // 0}", "what stands after // is 0 here; make it another number"),
        ("${4 % (w - 3)}", "what stands after % is 0 here; make it another number"),
        ("${w * 9223372036854775807}", "integers go up to 9,223,372,036,854,775,807: use smaller numbers"),
        ("${9223372036854775808}", "integers go up to 9,223,372,036,854,775,807: use smaller numbers"),
        ("${w / 2}", "write // for a division, which rounds down"),
        ("${w ** 2}", "there are no powers: write width*width"),
        ("${1.5}", "expressions are of integers; write any other number as it is, without ${…}"),
        ("${w == 3}", "only the conditions of [require] check compare, and each compares once"),
        ("${" + "(" * 60 + "w}", "give a part of it a name in [vars]"),
        ("${w", "write }; or $${ for the characters ${ themselves"),
        (
            "${w +}",
            "integers, variables, + - * // % and parentheses make an expression; $${ stands for ${ itself",
        ),
    ],
)
def test_each_broken_expression_has_its_help(written: str, help: str) -> None:
    (found,) = refused(document(conv(written), vars={"w": 3}))
    assert (found.code, found.help) == ("E120", help)
    (found,) = refused(document(RELU, vars={"k": written, "w": 3}))
    assert (found.code, found.path, found.help) == ("E120", "vars.k", help)


def test_what_the_numbers_make_wrong_shows_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'spec_version = 1\nname = "n"\ninput.x = [3, 8, 8]\nvars.a = 3\nvars.k = "${4 // (a - 3)}"\n'
        '[[encoder]]\ntype = "ReLU"\n'
    )
    (found,) = refused(file)
    assert [(label.text, label.span.line) for label in found.labels] == [("a is 3", 4)]
    assert found.span is not None
    assert (found.span.line, found.span.column, found.span.end_column) == (5, 15, 17)


def test_an_undeclared_variable_is_one_mistake_wherever_it_is_used(tmp_path: Path) -> None:
    use = '[[encoder]]\ntype = "Conv2d"\nout_channels = "${width}"\nkernel_size = "${width + 1}"\n'
    head = 'spec_version = 1\nname = "n"\nvars.with = 24\n'
    body = use.replace("encoder", "blocks.b.layers")
    file = tmp_path / "a.toml"
    # the text begins with the decoder, a document with the encoder
    file.write_text(head + use.replace("encoder", "decoder") + body + 2 * use + 'input.x = ["N", 3]\n')
    found = [problem for problem in refused(file) if problem.code == "E121"]
    assert [problem.help for problem in found] == ['did you mean "with"?']
    assert [(label.text, label.span.line) for label in found[0].labels] == [
        ("the same here", 7), ("the same here", 10), ("the same here, and in 4 more places", 11),
    ]  # fmt: skip
    assert found[0].span is not None
    assert (found[0].span.line, found[0].span.column, found[0].span.end_column) == (6, 19, 24)


def test_each_undeclared_variable_of_a_text_is_told() -> None:
    layers = [conv("${p * q + p}"), conv("${q}")]
    found = [(problem.message, problem.path) for problem in refused(document(*layers))]
    assert found == [
        ('there is no variable "p"', "encoder[0].out_channels"),
        ('there is no variable "q", here and in 1 more place', "encoder[0].out_channels"),
    ]
    found = [(problem.message, problem.path) for problem in refused(document(RELU, description="${p} ${q}"))]
    assert [path for _, path in found] == ["description", "description"]

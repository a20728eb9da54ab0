"""Overrides: what `--set` and `load(…, overrides=…)` reach, and where mistakes in them point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n2nspec.diagnostics import COMMAND_LINE, DiagnosticError, Span, render_all, to_json
from n2nspec.spec import load, parse_override, parse_overrides

N2N = Path(__file__).parents[2] / "specs" / "n2n.toml"
BARE = {"spec_version": 1, "name": "bare", "input": {"x": [3, 8, 8]}, "encoder": [{"type": "ReLU"}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.optimizer.lr=1", ("train.optimizer.lr", 1)),
        ("train.optimizer.lr = 1e-3", ("train.optimizer.lr", 1e-3)),
        ("data.train=my pictures", ("data.train", "my pictures")),
        ('data.train="my pictures"', ("data.train", "my pictures")),
        ("data.train=a=b", ("data.train", "a=b")),
        ("input.x=['N', 1]", ("input.x", ["N", 1])),
        ('train.loss={type="MSE"}', ("train.loss", {"type": "MSE"})),
        ("encoder.0.bias=true", ("encoder.0.bias", True)),
        ("name=", ("name", "")),
        ("name=[1", ("name", "[1")),
        ("name=1\nx = 2", ("name", "1\nx = 2")),
        ("name=" + "9" * 5000, ("name", "9" * 5000)),
        ("name=" + "[" * 5000, ("name", "[" * 5000)),
    ],
)
def test_parse(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["", "=", "=1", "train.epochs", " = 1"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_override(text)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E117"]


def test_values_are_put_in() -> None:
    spec = load(
        N2N,
        overrides={
            "train.optimizer.lr": 1.0,
            "encoder.0.out_channels": 8,
            "encoder.conv2.kernel_size": (3, 5),
            "decoder.sigmoid": {"type": "ReLU", "name": "sigmoid"},
            '"name"': "other",
            "output.y": "sigmoid",
            "input.x.1": 1,
        },
    )
    assert spec.train.optimizer.lr == 1.0  # type: ignore[attr-defined]
    assert spec.encoder[0].layer.out_channels == 8  # type: ignore[attr-defined]
    assert spec.encoder[2].layer.kernel_size == (3, 5)  # type: ignore[attr-defined]
    assert spec.decoder[3].type == "ReLU"
    assert (spec.name, spec.output, spec.input) == ("other", {"y": "sigmoid"}, {"x": ("N", 1, "H", "W")})
    assert load(N2N).name == "n2n"


def test_defaults_can_be_reached() -> None:
    spec = load(BARE, overrides={"train.optimizer.lr": 0.5, "train.loss.reduction": "sum"})
    assert (spec.train.optimizer.type, spec.train.optimizer.lr) == ("Adam", 0.5)  # type: ignore[attr-defined]
    assert spec.train.loss.reduction == "sum"  # type: ignore[attr-defined]


def test_the_given_document_stays_as_it_is() -> None:
    load(BARE, overrides={"encoder.0.name": "r", "train.epochs": 1})
    assert BARE["encoder"] == [{"type": "ReLU"}]
    assert "train" not in BARE


def test_a_later_override_wins() -> None:
    spec = load(BARE, overrides={"train": {"epochs": 1, "seed": 3}, "train.epochs": 2})
    assert (spec.train.epochs, spec.train.seed) == (2, 3)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("encoder.9.bias", "encoder has 4 entries; there is no 9"),
        ("encoder.-1.bias", 'encoder has no entry named "-1"'),
        ("encoder.conv9.bias", 'encoder has no entry named "conv9"'),
        ("name.x", 'name is "n2n", which has no keys'),
        ("input.x.7", "input.x has 4 entries; there is no 7"),
        ("", '"" is not a dotted key'),
        ("a b", '"a b" is not a dotted key'),
        ("train..lr", '"train..lr" is not a dotted key'),
        ("a=1\nb", '"a=1\\nb" is not a dotted key'),
    ],
)
def test_keys_that_lead_nowhere(key: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides={key: 1})
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E117", message)


def test_every_impossible_key_is_reported() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides={"encoder.9.bias": 1, "name.x": 1})
    assert len(caught.value.diagnostics) == 2


def test_a_name_used_twice_needs_an_index() -> None:
    twice = {**BARE, "encoder": [{"type": "ReLU", "name": "a"}, {"type": "ReLU", "name": "a"}]}
    with pytest.raises(DiagnosticError, match='2 entries named "a"'):
        load(twice, overrides={"encoder.a.type": "Sigmoid"})


def test_mistakes_point_at_the_override_and_come_last() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides={"train.optimizer.lr": -1, "trian.epochs": 2, "train.epochs": "x"})
    assert render_all(caught.value.diagnostics).splitlines() == [
        "error[E113]: lr: expected 0 or more; received -1",
        " --> --set",
        "  |",
        "  | train.optimizer.lr = -1",
        "  |                      ^^",
        *[
            line
            for line in render_all(caught.value.diagnostics).splitlines()[5:6]
            if line.startswith("help: lr:")
        ],
        "",
        'error[E110]: unknown key "trian" in the spec',
        " --> --set",
        "  |",
        "  | trian.epochs = 2",
        "  | ^^^^^",
        'help: did you mean "train"?',
        "",
        'error[E112]: epochs: expected an integer; received "x"',
        " --> --set",
        "  |",
        '  | train.epochs = "x"',
        "  |                ^^^",
        "help: epochs: Passes over the training pairs.",
    ]
    first = to_json(caught.value.diagnostics[0])
    assert (first["file"], first["line"], first["column"], first["path"]) == (
        COMMAND_LINE, None, None, "train.optimizer.lr",
    )  # fmt: skip


def test_locate_gives_the_override_not_the_stale_line() -> None:
    spec = load(
        N2N, overrides={"encoder.conv1.kernel_size": 5, "train.optimizer": {"type": "SGD", "lr": 1.0}}
    )
    changed = spec.locate(("encoder", 0, "kernel_size"))
    below = spec.locate(("train", "optimizer", "lr"))
    kept = spec.locate(("encoder", 0, "stride"))
    assert changed is not None
    assert below is not None
    assert kept is not None
    assert (changed.file, below.file, kept.file) == (COMMAND_LINE, COMMAND_LINE, str(N2N))


@pytest.mark.parametrize("wrong", ["train.epochs=1", [], {3: 4}])
def test_overrides_are_a_mapping_of_dotted_keys(wrong: object) -> None:
    with pytest.raises(DiagnosticError, match="overrides are values by dotted key"):
        load(N2N, overrides=wrong)  # type: ignore[arg-type]


def under(span: Span | None) -> str:
    assert span is not None
    assert span.text is not None
    assert span.file == COMMAND_LINE
    return span.text[span.column - 1 : span.end_column - 1]


@pytest.mark.parametrize(
    ("setting", "over", "message"),
    [
        ('train.optimizer={type="Adam",lr="x"}', '"x"', 'lr: expected a number; received "x"'),
        ('train.optimizer={type="Adam",lrr=1}', "lrr", 'unknown key "lrr" in Adam'),
        ("train.optimizer = { lr = 1 }", "{ lr = 1 }", 'an optimizer needs "type"'),
        ("encoder.0.padding=[1, -1]", "-1", "padding[1]: expected 0 to 65535; received -1"),
        ('encoder=[{type="Relu"}]', '"Relu"', 'unknown layer type "Relu"'),
        ("a.b.c.d=1", "a", 'unknown key "a" in the spec'),
        ("train.optimizr.lr=1", "optimizr", 'unknown key "optimizr" in [train]'),
        ("encoder.9.bias=1", "9", "encoder has 4 entries; there is no 9"),
        ("encoder.'conv9'.bias=1", "'conv9'", 'encoder has no entry named "conv9"'),
        ("name.first=a", "first", 'name is "n2n", which has no keys'),
        ("vars.x=1", "x", 'there is no variable "x"'),
        ("extends=a.toml", "extends", "extends cannot be set from outside"),
        (" train.epochs = ten ", "ten", 'epochs: expected an integer; received "ten"'),
        ("train.epochs=", "", 'epochs: expected an integer; received ""'),
        ("train.seed=[1,", "[1,", 'seed: expected an integer; received "[1,"'),
        ("train..lr=1", "train..lr", '"train..lr" is not a dotted key'),
        ("encoder.conv1.bias=[\n1]", "[", "bias: expected true or false; received [1]"),
        ("encoder.conv1.padding=[1,\n-1]", "-1", "padding[1]: expected 0 to 65535; received -1"),
    ],
)
def test_the_authors_text_is_shown_with_the_caret_at_the_fault(setting: str, over: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides=parse_overrides([setting]))
    (found,) = caught.value.diagnostics
    assert found.message == message
    assert found.help
    assert under(found.span) == over
    assert found.span is not None
    assert found.span.text in setting.split("\n")


@pytest.mark.parametrize(
    ("key", "value", "text", "over"),
    [
        (
            "train.optimizer",
            {"type": "Adam", "lr": "x"},
            'train.optimizer = { type = "Adam", lr = "x" }',
            '"x"',
        ),
        ("encoder.0.padding", (1, -1), "encoder.0.padding = [1, -1]", "-1"),
        ("train.epochs", None, "train.epochs = null", "null"),
        ("train.loss", {"a b": 1, "type": "MSE"}, 'train.loss = { "a b" = 1, type = "MSE" }', '"a b"'),
    ],
)
def test_a_value_from_python_is_shown_as_toml_writes_it(key: str, value: Any, text: str, over: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides={key: value})
    (found,) = caught.value.diagnostics
    assert found.span is not None
    assert found.span.text == text
    assert under(found.span) == over


def test_every_setting_without_a_value_is_reported() -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_overrides(["train.epochs", "train.seed=1", "=2"])
    assert [under(found.span) for found in caught.value.diagnostics] == ["train.epochs", "="]
    assert parse_overrides(["a=1", "b=x y", "a=2"]) == {"a": 2, "b": "x y"}


def test_a_list_that_the_shell_took_the_quotes_from_is_explained() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides=parse_overrides(["input.x=[N,3,H,W]"]))
    (found,) = caught.value.diagnostics
    assert "single quotes around all of it" in found.help
    assert under(found.span) == "[N,3,H,W]"


def test_a_later_setting_of_a_table_takes_the_places_of_what_was_in_it() -> None:
    settings = ["train.optimizer.lr=0.1", 'train.optimizer={type="SGD",lr=-1}']
    with pytest.raises(DiagnosticError) as caught:
        load(N2N, overrides=parse_overrides(settings))
    (found,) = caught.value.diagnostics
    assert found.span is not None
    assert (found.span.text, found.span.line) == (settings[1], 2)


def test_what_an_earlier_one_leaves_unknown_takes_any_key() -> None:
    spec = {**BARE, "vars": {"width": 3}}
    given = {"vars.widht": 3, "vars.width.x": 4, "name": "n", "name.a": 1, "name.a.b": 2, "name.c": 3}
    with pytest.raises(DiagnosticError) as caught:
        load(spec, given)
    assert [d.message for d in caught.value.diagnostics] == [
        'there is no variable "widht"', 'name is "n", which has no keys',
    ]  # fmt: skip

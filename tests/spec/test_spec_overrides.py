"""Overrides: what `--set` and `load(…, overrides=…)` reach, and where mistakes in them point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n2nspec.diagnostics import COMMAND_LINE, DiagnosticError, render_all, to_json
from n2nspec.spec import load, parse_override

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
        "  | ^^^^^^^^^^^^",
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

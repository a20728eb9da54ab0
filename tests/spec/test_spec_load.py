"""Loading whole specs: the ones that are shipped, bad files, laziness."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from n2nspec.diagnostics import DiagnosticError
from n2nspec.spec import ENTRIES, DataSpec, Require, Spec, TrainSpec, load, to_document, to_toml

SPECS = Path(__file__).parents[2] / "specs"
ALL_SPECS = [path for path in sorted(SPECS.glob("*.*")) if not path.name.endswith(".schema.json")]

SMALL = {
    "spec_version": 1,
    "name": "small",
    "input": {"x": ["N", 3, "H", "W"]},
    "encoder": [{"type": "Conv2d", "out_channels": 4, "kernel_size": [3, 5]}, {"type": "ReLU"}],
}


def codes(error: DiagnosticError) -> list[str]:
    return [diagnostic.code for diagnostic in error.diagnostics]


def test_figure_1() -> None:
    spec = load(SPECS / "n2n.toml")
    assert [entry.type for entry in (*spec.encoder, *spec.decoder)] == [
        "Conv2d", "ReLU", "Conv2d", "ReLU", "Upsampling", "ReLU", "Upsampling", "Sigmoid",
    ]  # fmt: skip
    assert spec.input == {"x": ("N", 3, "H", "W")}
    assert spec.require is not None
    assert spec.require.same_size == ("x", "sigmoid")
    assert (spec.train.epochs, spec.train.batch_size, spec.train.optimizer.type) == (10, 32, "Adam")
    assert spec.data is not None
    assert spec.data.patch == (32, 32)
    assert spec.source_file == str(SPECS / "n2n.toml")


def test_json_and_toml_are_one_document() -> None:
    assert load(SPECS / "n2n.json") == load(SPECS / "n2n.toml")


def test_sgd_differs_in_name_and_optimizer_only() -> None:
    adam, sgd = to_document(load(SPECS / "n2n.toml")), to_document(load(SPECS / "n2n_sgd.toml"))
    assert sgd["name"] == "n2n_sgd"
    assert sgd["train"].pop("optimizer") == {"type": "SGD", "lr": 1.0}
    assert adam["train"].pop("optimizer") == {"type": "Adam", "lr": 0.01}
    assert {**sgd, "name": "n2n"} == adam


@pytest.mark.parametrize("path", ALL_SPECS, ids=lambda path: path.name)
def test_round_trip(path: Path, tmp_path: Path) -> None:
    spec = load(path)
    assert load(to_document(spec)) == spec
    again = tmp_path / "again.toml"
    again.write_text(to_toml(spec), encoding="utf-8")
    assert load(again) == spec
    again_json = tmp_path / "again.json"
    again_json.write_text(json.dumps(to_document(spec)), encoding="utf-8")
    assert load(again_json) == spec


def test_document_keeps_what_was_given_and_drops_defaults() -> None:
    given = {**SMALL, "train": {"epochs": 10}}
    assert to_document(load(given)) == {
        **given,
        "encoder": [
            {"type": "Conv2d", "out_channels": 4, "kernel_size": [3, 5]},
            {"type": "ReLU"},
        ],
    }


def test_document_of_a_changed_model() -> None:
    spec = load(SMALL)
    train = spec.train.model_copy(update={"seed": 7})
    assert to_document(spec.model_copy(update={"train": train}))["train"] == {"seed": 7}


def test_entries_separate_the_layer_from_its_place() -> None:
    spec = load({**SMALL, "encoder": [
        {"type": "Conv2d", "name": "c", "out_channels": 4, "kernel_size": 3, "from": "x"},
        {"type": "ReLU", "from": ["c"]},
        {"type": "ReLU"},
    ]})  # fmt: skip
    first, second, third = spec.encoder
    assert (first.name, first.sources, second.sources, third.sources) == ("c", ("x",), ("c",), None)
    assert first.layer == type(first.layer)(out_channels=4, kernel_size=3)
    assert "name" not in type(first.layer).model_fields
    assert first.layer.twin_fields()["kernel_size"] == (3, 3)
    assert load(to_document(spec)) == spec


def test_every_field_has_a_description() -> None:
    models = [*ENTRIES.values(), Spec, TrainSpec, DataSpec, Require]
    for model in models:
        for name, field in model.model_fields.items():
            if name != "type":
                assert field.description, f"{model.__name__}.{name}"


def test_specs_are_frozen_and_compare_by_content() -> None:
    spec = load(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    assert spec == load(SMALL)
    assert spec != load({**SMALL, "name": "other"})
    assert spec != "small"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("bom.toml", b"\xef\xbb\xbf", None),
        ("crlf.toml", b"", None),
        ("utf16.toml", b"\xff\xfea\x00", "E104"),
        ("latin.toml", b'spec_version = 1\nname = "caf\xe9"\n', "E104"),
        ("empty.toml", b"", "E106"),
        ("comment.toml", b"# nothing yet\n", "E106"),
        ("empty.json", b" \n", "E106"),
        ("braces.json", b"{}", "E106"),
        ("list.json", b"[1]", "E112"),
        ("nan.json", b'{"name": NaN}', "E103"),
        ("twice.json", b'{"name": "a", "name": "b"}', "E103"),
        ("twice.toml", b'name = "a"\nname = "b"\n', "E102"),
        ("nul.toml", b'name = "a\x00"', "E102"),
        ("deep.toml", b"a = " + b"[" * 5000, "E107"),
        ("deep.json", b"[" * 100_000, "E107"),
        ("deep_but_valid.json", b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "E107"),
        ("dots.toml", b"a." * 50_000 + b"b = 1", "E107"),
        ("digits.toml", b"a = " + b"9" * 5000, "E102"),
        ("digits.json", b'{"a": ' + b"9" * 5000 + b"}", "E103"),
        ("spec.yaml", b"name: a\n", "E105"),
        ("spec", b"name: a\n", "E105"),
        ("large.toml", b"#" * (4 * 2**20 + 1), "E101"),
    ],
)
def test_one_diagnostic_for_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, data: bytes, expected: str | None
) -> None:
    file = tmp_path / name
    if expected is None:  # what is legal: Windows line ends and a byte order mark
        text = (SPECS / "n2n.toml").read_bytes()
        file.write_bytes(data + text.replace(b"\n", b"\r\n"))
        spec = load(file)
        assert spec == load(SPECS / "n2n.toml")
        assert spec.locate(("name",)) is not None
        assert spec.locate(("name",), key=True).column == 1  # type: ignore[union-attr]
        return
    file.write_bytes(data)
    with pytest.raises(DiagnosticError) as caught:
        load(file)
    assert codes(caught.value) == [expected]
    assert caught.value.diagnostics[0].file == str(file)


@pytest.mark.parametrize(
    "path", [".", "no/such/folder/spec.toml", "missing.toml", "nul\0.toml", "x" * 5000 + ".toml"]
)
def test_paths_that_are_no_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        load(path)
    assert codes(caught.value) == ["E101"]


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "n2n.toml").write_text("")
    with pytest.raises(DiagnosticError) as caught:
        load(tmp_path / "n2m.toml")
    assert caught.value.diagnostics[0].help == 'did you mean "n2n.toml"?'


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": None}, [("E112", "name")]),
        ({"train": {"optimizer": {"type": "Adam", "lr": float("inf")}}}, [("E113", "train.optimizer.lr")]),
        ({"train": {"optimizer": {"type": "Adam", "lr": float("nan")}}}, [("E113", "train.optimizer.lr")]),
        ({"train": {"epochs": True}}, [("E112", "train.epochs")]),
        ({"train": {"epochs": 3.0}}, [("E112", "train.epochs")]),
        ({"train": {"epochs": "3"}}, [("E112", "train.epochs")]),
        ({"spec_version": True}, [("E112", "spec_version")]),
        ({"spec_version": 1.0}, [("E112", "spec_version")]),
        ({"spec_version": 2}, [("E114", "spec_version")]),
        ({"input": {}}, [("E113", "input")]),
        ({"input": {"x": []}}, [("E113", "input.x")]),
        ({"input": {"x": [3, 0]}}, [("E113", "input.x[1]")]),
        ({"input": {"a.b": [3]}}, [("E118", 'input."a.b"')]),
        ({"name": "a/b"}, [("E118", "name")]),
        ({"name": "a\n"}, [("E118", "name")]),
        ({"name": 3}, [("E112", "name")]),
        ({"description": "\ud800"}, [("E113", "description")]),
        ({"description": "\0"}, [("E113", "description")]),
        ({"\ud800": 1}, [("E118", '"\\ud800"')]),
        ({"encoder": {"type": "ReLU"}}, [("E112", "encoder")]),
        ({"encoder": [{"type": None}]}, [("E112", "encoder[0].type")]),
        ({"encoder": [{"type": []}]}, [("E112", "encoder[0].type")]),
        ({"encoder": ["ReLU"]}, [("E112", "encoder[0]")]),
        ({"encoder": []}, [("E201", "")]),
        ({"encoder": [{"type": "ReLU", "from": []}]}, [("E113", "encoder[0].from")]),
        ({"encoder": [{"type": "ReLU", "from": [""]}]}, [("E113", "encoder[0].from[0]")]),
        ({"encoder": [{"type": "ReLU", "from": 3}]}, [("E112", "encoder[0].from")]),
        ({"encoder": [{"type": "ReLU", "from_": "x"}]}, [("E110", "encoder[0].from_")]),
        ({"output": {"y": "relu1", "z": "x"}}, [("E113", "output")]),
        ({"require": {"same_size": ["x"]}}, [("E113", "require.same_size")]),
        ({"data": {}}, [("E111", "data.train")]),
        ({"data": {"train": ""}}, [("E113", "data.train")]),
        ({"data": {"train": "a\0"}}, [("E113", "data.train")]),
        ({"data": {"train": "a", "patch": [32, 32, 32]}}, [("E112", "data.patch")]),
        ({"data": {"train": "a", "noise": {"type": "gausian", "sigma": 1}}}, [("E114", "data.noise.type")]),
        ({"train": {"seed": 2**63}}, [("E113", "train.seed")]),
        ({"train": {"seed": 10**4000}}, [("E113", "train.seed")]),
        ({"input": {"x": [0]}}, [("E113", "input.x[0]")]),
        ({"require": {"same_size": ["x", 3]}}, [("E112", "require.same_size[1]")]),
        ({"encoder": [[float("inf")]]}, [("E112", "encoder[0]"), ("E113", "encoder[0][0]")]),
    ],
)
def test_one_mistake_gives_one_diagnostic(change: dict[str, object], expected: list[tuple[str, str]]) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load({**SMALL, **change})
    assert [(diagnostic.code, diagnostic.path) for diagnostic in caught.value.diagnostics] == expected


def test_integers_too_long_to_print(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load({**SMALL, "input": {"x": [10**5000]}, "train": {"seed": -(10**5000), "epochs": -1}})
    assert [(diagnostic.code, diagnostic.path) for diagnostic in caught.value.diagnostics] == [
        ("E113", "input.x[0]"), ("E113", "train.seed"), ("E113", "train.epochs"),
    ]  # fmt: skip
    file = tmp_path / "hex.toml"
    file.write_text(f"spec_version = 1\nname = 0x{'f' * 5000}\n")
    with pytest.raises(DiagnosticError) as caught:
        load(file)
    assert codes(caught.value) == ["E111", "E201", "E113"]


def test_a_misspelt_required_key_is_not_missing_as_well() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load({**SMALL, "encoder": [{"type": "Conv2d", "out_channels": 4, "kernal_size": 3}]})
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.help) == ("E110", 'did you mean "kernel_size"?')


def test_dicts_hold_what_documents_hold() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load({**SMALL, 3: "x"})  # type: ignore[dict-item]
    assert codes(caught.value) == ["E112"]
    circular: dict[str, object] = dict(SMALL)
    circular["train"] = circular
    with pytest.raises(DiagnosticError) as caught:
        load(circular)
    assert codes(caught.value) == ["E107"]
    assert load({**SMALL, "input": {"x": ("N", 3, "H", "W")}}) == load(SMALL)


def test_checking_needs_no_torch_and_no_parser_of_positions() -> None:
    script = (
        "import sys; from n2nspec.spec import load; load(sys.argv[1], {'train.optimizer': {'type': 'Adam'}});"
        "assert not {'torch', 'tree_sitter', 'n2nspec.spec.faults'} & sys.modules.keys(), 'imported'"
    )
    subprocess.run([sys.executable, "-c", script, str(SPECS / "n2n.toml")], check=True, timeout=60)


def test_a_key_that_looks_like_pydantics_mark_for_keys() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load({**to_document(load("specs/n2n.toml")), "[key]": 1, "encoder": [{"type": "ReLU", "[key]": 2}]})
    assert [found.code for found in caught.value.diagnostics] == ["E110", "E110"]

"""`extends`: a spec over another; and the files that it may not reach."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from language import conv, document, flat, problems, refused

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check
from n2nspec.spec import load, to_document

SPECS = Path(__file__).parents[2] / "specs"
RELU = {"type": "ReLU"}
BASE = document(
    conv(name="conv1", padding=1), {**RELU, "name": "act1"}, conv(8, name="conv2"), RELU,
    description="the base",
    train={"epochs": 3, "optimizer": {"type": "SGD", "lr": 0.5}},
    require={"same_size": ["x", "act1"]},
)  # fmt: skip


@pytest.fixture
def over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes BASE as base.toml and a spec that extends it; gives the path of the second."""
    monkeypatch.chdir(tmp_path)

    def write(top: dict[str, Any], base: dict[str, Any] = BASE, **folder: dict[str, Any]) -> Path:
        Path("base.toml").write_text(tomli_w.dumps(base), encoding="utf-8")
        Path("top.json").write_text(json.dumps({"extends": "base.toml", **top}), encoding="utf-8")
        return Path("top.json")

    return write


def layers(source: Any) -> list[str]:
    """Names, or types of layers without one."""
    return [entry.name or entry.type for entry in load(source).encoder]


def test_tables_merge_key_by_key(over: Any) -> None:
    spec = flat(over({"name": "top", "train": {"seed": 7, "optimizer": {"lr": 2.0}}}))
    assert spec == {
        **flat(BASE), "name": "top",
        "train": {"epochs": 3, "seed": 7, "optimizer": {"type": "SGD", "lr": 2.0}},
    }  # fmt: skip


def test_another_type_replaces_a_table(over: Any) -> None:
    spec = flat(over({"train": {"optimizer": {"type": "Adam"}}}))
    assert spec["train"]["optimizer"] == {"type": "Adam"}


def test_lists_and_single_entries_are_replaced(over: Any) -> None:
    spec = load(
        over({"input": {"picture": ["N", 1, "H", "W"]}, "require": {"same_size": ["picture", "conv2"]}})
    )
    assert spec.input == {"picture": ("N", 1, "H", "W")}
    assert spec.require is not None
    assert spec.require.same_size == ("picture", "conv2")


def test_layers_are_changed_and_replaced_by_name(over: Any) -> None:
    spec = flat(over({"encoder": [
        {"name": "conv2", "out_channels": 16, "from": "conv1"}, {"name": "act1", "type": "Sigmoid"},
        {"name": "conv1", "type": "Conv2d", "stride": 2},
    ]}))["encoder"]  # fmt: skip
    assert spec == [
        conv(name="conv1", padding=1, stride=2), {"type": "Sigmoid", "name": "act1"},
        conv(16, name="conv2", **{"from": "conv1"}), RELU,
    ]  # fmt: skip


def test_layers_are_inserted_and_removed(over: Any) -> None:
    added = [
        {"name": "a", "after": "conv1", **RELU}, {"name": "b", "after": "conv1", **RELU},
        {"name": "c", "before": "conv1", **RELU}, {"name": "d", "before": "conv1", **RELU},
        {"name": "e", **RELU}, {"after": "conv2", "type": "Sigmoid"},
    ]  # fmt: skip
    assert layers(over({"encoder": added})) == [
        "c", "d", "conv1", "a", "b", "act1", "conv2", "Sigmoid", "ReLU", "e",
    ]  # fmt: skip
    removed = {"remove": ["act1"], "require": {"same_size": ["x", "conv1"]}}
    assert layers(over(removed)) == ["conv1", "conv2", "ReLU"]
    again = {**removed, "encoder": [{"name": "act1", **RELU}]}
    assert layers(over(again)) == ["conv1", "conv2", "ReLU", "act1"]
    assert layers(over({"decoder": [{"name": "up", **RELU}]})) == ["conv1", "act1", "conv2", "ReLU"]


def test_vars_defaults_and_blocks_merge(over: Any) -> None:
    base = document(
        {"block": "b", "ch": "${w}", "name": "e"}, {"block": "c"},
        vars={"w": 4, "v": 2}, defaults={"Conv2d": {"padding": 1, "stride": 2}},
        blocks={"b": {"params": ["ch", {"k": 3}], "layers": [conv("${ch}", kernel_size="${k}")]},
                "c": {"params": {"n": 1}, "layers": [conv("${n + v}")]}},
    )  # fmt: skip
    top = {
        "vars": {"w": 5}, "defaults": {"Conv2d": {"stride": 1}},
        "blocks": {"b": {"params": ["ch"], "layers": [RELU, conv("${ch}")]}, "c": {"params": {"n": 9}}},
        "encoder": [{"name": "e", "ch": 7}],
    }  # fmt: skip
    spec = flat(over(top, base))["encoder"]
    assert [layer.get("out_channels") for layer in spec] == [None, 7, 11]
    assert [layer.get("padding") for layer in spec] == [None, 1, 1]
    assert [layer.get("stride") for layer in spec] == [None, 1, 1]
    assert [
        layer.get("out_channels")
        for layer in flat(
            over({"vars": {"w": 5}}, base),
        )["encoder"]
    ] == [5, 3]
    assert load(over({}, base), {"vars.w": 6}).encoder[0].layer.out_channels == 6  # type: ignore[attr-defined]


def test_uses_of_blocks_replace_and_are_replaced(over: Any) -> None:
    base = document({"block": "b", "name": "e"}, {**RELU, "name": "r"}, blocks={"b": {"layers": [RELU]}})
    assert layers(over({"encoder": [{"name": "e", "type": "Sigmoid"}]}, base)) == ["e", "r"]
    assert layers(over({"encoder": [{"name": "r", "block": "b"}]}, base)) == ["e.relu1", "r.relu1"]


def test_chains_of_files_and_of_languages(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.toml").write_text(tomli_w.dumps(BASE))
    (tmp_path / "sub" / "b.json").write_text(
        json.dumps({"extends": "../a.toml", "train": {"epochs": 4, "seed": 1}})
    )
    (tmp_path / "c.toml").write_text('extends = "sub/b.json"\ntrain.seed = 2\n')
    spec = load(tmp_path / "c.toml")
    assert (spec.train.epochs, spec.train.seed, spec.description) == (4, 2, "the base")
    assert spec.source_files == tuple(str(tmp_path / name) for name in ("c.toml", "sub/b.json", "a.toml"))
    place = spec.locate(("train", "epochs"))
    assert place is not None
    assert place.file == str(tmp_path / "sub" / "b.json")
    assert [(label.text, label.span.file) for label in spec.trail(("train", "optimizer", "lr"))] == [
        ("extended here", str(tmp_path / "sub" / "b.json")), ("extended here", str(tmp_path / "c.toml")),
    ]  # fmt: skip
    assert spec.trail(("train", "seed")) == ()


def test_a_dict_may_extend_a_file_of_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SPECS.parent)
    spec = load({"extends": "specs/n2n.toml", "name": "other"})
    assert to_document(spec) == {**to_document(load(SPECS / "n2n.toml")), "name": "other"}


def test_mistakes_of_several_files_in_their_order(over: Any) -> None:
    base = {**BASE, "train": {"epochs": -1}, "nam": "b"}
    found = refused(over({"train": {"seed": -1}}, base), {"train.batch_size": 0})
    assert [(d.code, d.span and d.span.file) for d in found] == [
        ("E113", "top.json"), ("E110", "base.toml"), ("E113", "base.toml"), ("E113", "--set"),
    ]  # fmt: skip
    assert [[label.span.file for label in d.labels] for d in found] == [[], ["top.json"], ["top.json"], []]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({"extends": 3}, [("E112", "extends")]),
        ({"extends": ["base.toml"]}, [("E112", "extends")]),
        ({"extends": None}, [("E112", "extends")]),
        ({"extends": ""}, [("E124", "extends")]),
        ({"extends": "a\0"}, [("E124", "extends")]),
        ({"extends": "\ud800"}, [("E124", "extends")]),
        ({"extends": "x" * 5000}, [("E124", "extends")]),
        ({"extends": "bass.toml"}, [("E124", "extends")]),
        ({"extends": "."}, [("E124", "extends")]),
        ({"extends": "top.json"}, [("E124", "extends")]),
        ({"extends": "base.toml/x.toml"}, [("E124", "extends")]),
        ({"extends": "other.txt"}, [("E124", "extends")]),
        ({"extends": "empty.toml"}, [("E106", "")]),
        ({"remove": "act1"}, [("E112", "remove")]),
        ({"remove": [1]}, [("E112", "remove")]),
        ({"remove": ["act9"]}, [("E127", "remove[0]")]),
        ({"remove": ["relu1"]}, [("E127", "remove[0]")]),
        ({"remove": ["act1", "act1"]}, [("E127", "remove[1]")]),
        ({"encoder": [{"name": "conv9", "stride": 2}]}, [("E127", "encoder[0].name")]),
        ({"encoder": [{"after": "conv9", **RELU}]}, [("E127", "encoder[0].after")]),
        ({"encoder": [{"before": 3, **RELU}]}, [("E112", "encoder[0].before")]),
        ({"encoder": [{"before": "conv1", "after": "conv1", **RELU}]}, [("E127", "encoder[0].after")]),
        ({"encoder": [{"name": "conv1", "after": "act1", **RELU}]}, [("E127", "encoder[0].after")]),
        ({"decoder": [{"after": "conv1", **RELU}]}, [("E127", "decoder[0].after")]),
        ({"encoder": [{"after": "conv1"}]}, [("E111", "encoder[0].type")]),
        ({"encoder": [3]}, [("E112", "encoder[0]")]),
        ({"encoder": 3}, [("E112", "encoder")]),
        ({"train": 3}, [("E112", "train")]),
        ({"encoder": [{"name": "conv1", "out_channels": 0}]}, [("E113", "encoder[0].out_channels")]),
    ],
)
def test_one_mistake_is_one_diagnostic(
    over: Any, top: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    file = over(top)
    Path("other.txt").write_text("name = 'x'")
    Path("empty.toml").write_text("")
    if top.get("remove") == ["act1", "act1"]:
        file = over({**top, "require": {"same_size": ["x", "conv1"]}})
    assert problems(file) == expected


def test_before_and_after_are_for_specs_that_extend() -> None:
    assert problems(document({"after": "x", **RELU})) == [("E110", "encoder[0].after")]
    assert problems(document(RELU, remove=["relu1"])) == [("E110", "remove")]


def test_a_name_that_the_base_has_twice(over: Any) -> None:
    base = document({**RELU, "name": "a"}, {**RELU, "name": "a"})
    for change in ({"name": "a", "inplace": True}, {"after": "a", **RELU}):
        (found,) = refused(over({"encoder": [change]}, base))
        assert (found.code, found.message) == ("E127", 'the base has 2 layers named "a"')


def test_a_base_that_is_no_toml_says_so_in_its_place(over: Any) -> None:
    file = over({})
    Path("base.toml").write_text('spec_version = 1\nname = "a" "b"\n')
    (found,) = refused(file)
    assert (found.code, found.span and (found.span.file, found.span.line)) == ("E102", ("base.toml", 2))
    assert [(label.text, label.span.file) for label in found.labels] == [("extended here", "top.json")]


def test_circles_and_long_chains(tmp_path: Path) -> None:
    for index in range(40):
        (tmp_path / f"{index}.toml").write_text(f'extends = "{(index + 1) % 40}.toml"\n')
    (found,) = refused(tmp_path / "0.toml")
    assert (found.code, found.message) == ("E124", "more than 32 files extend one another")
    (tmp_path / "2.toml").write_text('extends = "./1.toml"\n')
    (found,) = refused(tmp_path / "0.toml")
    assert found.message.startswith("a file extends itself: ")


def test_links_may_not_lead_in_circles_or_out_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside.toml"
    (project / "specs").mkdir(parents=True)
    outside.write_text(tomli_w.dumps(BASE))
    (project / "base.toml").write_text(tomli_w.dumps(BASE))
    os.symlink("loop.toml", project / "loop.toml")
    os.symlink(outside, project / "out.toml")
    os.symlink(project, project / "again")
    file = project / "specs" / "top.toml"

    def codes(extends: str, folder: Path) -> list[str]:
        monkeypatch.chdir(folder)
        file.write_text(f"extends = {json.dumps(extends)}\n")
        try:
            load(file)
        except ValueError as error:
            return [d.message for d in error.diagnostics]  # type: ignore[attr-defined]
        return []

    (message,) = codes("../loop.toml", project)
    assert message.endswith('/project/loop.toml" is a link that leads to itself')
    for name in ("../out.toml", "../../outside.toml", str(outside), "/etc/passwd", "/dev/zero"):
        (message,) = codes(name, project)
        assert message.endswith("lies outside of the project")
    # the working folder decides how far up a base may lie
    assert codes("../base.toml", project) == []
    assert codes(str(project / "base.toml"), project) == []
    assert codes("../again/base.toml", project) == []
    (message,) = codes("../base.toml", project / "specs")
    assert message.endswith("lies outside of the project")
    os.mkfifo(project / "pipe.toml")
    (message,) = codes("../pipe.toml", project)
    assert message.endswith("is no file")


def test_extends_cannot_be_set_from_outside(over: Any) -> None:
    assert problems(over({}), {"extends": "other.toml"}) == [("E117", "extends")]


def test_warnings_are_about_the_spec_itself(over: Any) -> None:
    base = {**BASE, "vars": {"a": 1}, "blocks": {"b": {"layers": [RELU]}}, "defaults": {"Sigmoid": {}}}
    assert load(over({}, base)).warnings == ()
    (found,) = load(over({"vars": {"b": 1}}, base)).warnings
    assert (found.code, found.path) == ("W210", "vars.b")


def told(source: Any, code: str) -> list[tuple[str, str, list[tuple[str, str, int]]]]:
    """Message, help and labels of the mistakes with a code; those of the graph too."""
    with pytest.raises(DiagnosticError) as caught:
        check(source)
    return [
        (d.message, d.help, [(label.text, label.span.file, label.span.line) for label in d.labels])
        for d in caught.value.diagnostics
        if d.code == code
    ]


@pytest.mark.parametrize("others", [{}, {"encoder": [{**RELU, "repeat": 2}]}])
def test_a_name_that_dangles_because_of_remove_names_the_remove(over: Any, others: dict[str, Any]) -> None:
    base = {**BASE, "output": {"y": "act1"}, "decoder": [{**RELU, "from": "act1"}]}
    found = told(over({"remove": ["act1"], **others}, base), "E203")
    assert len(found) == 3
    for message, help, labels in found:
        assert message.startswith("there is no layer")
        assert message.endswith('named "act1"')
        assert help == "leave that layer in, or use another name here"
        assert labels == [("removed here", "top.json", 1), ("extended here", "top.json", 1)]


def test_a_name_inside_a_removed_use_names_the_remove(over: Any) -> None:
    uses = [{"block": "b", "name": "e"}, {**RELU, "from": "e.c"}, {"block": "b"}]
    base = document(*uses, blocks={"b": {"layers": [{**RELU, "name": "c"}]}})
    ((message, _, labels),) = told(over({"remove": ["e"]}, base), "E203")
    assert message.endswith('"e.c"')
    assert labels[0] == ("removed here", "top.json", 1)


REMOVED = ("removed here", "top.json", 1)


@pytest.mark.parametrize(
    ("top", "message", "help", "labels"),
    [
        ({"encoder": [{"after": "conv1", **RELU}]},
         'the layer "conv1" of the base is removed, so nothing can be put after it',
         "leave it in, or name another layer", [REMOVED]),
        ({"encoder": [{"name": "conv1", "stride": 2}]},
         'the layer "conv1" of the base is removed, so it cannot be changed',
         "leave it in, or name another layer", [REMOVED]),
        ({"remove": ["conv1", "conv1"]}, 'the layer "conv1" is removed twice', "name it once",
         [("removed here already", "top.json", 1)]),
        ({"decoder": [{"after": "conv2", **RELU}]},
         'there is no layer "conv2" in the decoder of the base, so nothing can be put after it',
         'write [[encoder]] above this layer: "conv2" is there', [("it is in the encoder", "base.toml", 6)]),
        ({"decoder": [{"name": "conv2", "stride": 2}]},
         'there is no layer "conv2" in the decoder of the base, so it cannot be changed',
         'write [[encoder]] above this layer: "conv2" is there', [("it is in the encoder", "base.toml", 6)]),
        ({"encoder": [{"name": "new", **RELU}, {"before": "new", **RELU}]},
         'there is no layer "new" in the encoder of the base, so nothing can be put before it',
         "new layers keep their order: write this one below that, with the same before or after",
         [("it is a new layer", "top.json", 1)]),
        ({"encoder": [{"after": "use.c", **RELU}]},
         'there is no layer "use.c" in the encoder of the base, so nothing can be put after it',
         'use uses a block, and is addressed as a whole: "use"', []),
        ({"encoder": [{"name": "twice.1", "inplace": True}]},
         'there is no layer "twice.1" in the encoder of the base, so it cannot be changed',
         'twice is repeated, and is addressed as a whole: "twice"', []),
    ],
)  # fmt: skip
def test_what_became_of_a_layer_is_told(
    over: Any, top: dict[str, Any], message: str, help: str, labels: list[tuple[str, str, int]]
) -> None:
    uses = [{"block": "b", "name": "use"}, {**RELU, "name": "twice", "repeat": 2}]
    base = {
        **BASE,
        "encoder": [*BASE["encoder"], *uses],
        "blocks": {"b": {"layers": [{**RELU, "name": "c"}]}},
    }
    assert told(over({"remove": ["conv1"], **top}, base), "E127") == [(message, help, labels)]


def test_what_an_earlier_file_removed_is_told_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(tomli_w.dumps(BASE))
    (tmp_path / "b.toml").write_text('extends = "a.toml"\nremove = ["conv1"]\n')
    (tmp_path / "c.toml").write_text(
        'extends = "b.toml"\nremove = ["conv1"]\n[[encoder]]\nafter = "conv1"\ntype = "ReLU"\n'
    )
    (twice, _, labels), (after, _, _) = told(tmp_path / "c.toml", "E127")
    assert twice == 'the layer "conv1" is removed already'
    assert labels[0] == ("removed here", str(tmp_path / "b.toml"), 2)
    assert after == 'the layer "conv1" of the base is removed, so nothing can be put after it'


def test_a_missing_base_is_never_said_to_be_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('extends = "ones.toml"\nname = "n"\n')
    with pytest.raises(DiagnosticError) as caught:
        load(tmp_path / "one.toml")
    first = caught.value.diagnostics[0]
    assert first.code == "E124"
    assert "one.toml" not in first.help
    (tmp_path / "onex.toml").write_text("")
    with pytest.raises(DiagnosticError) as caught:
        load(tmp_path / "one.toml")
    assert "onex.toml" in caught.value.diagnostics[0].help

"""What is broken, a block, a use of one, a name, a default, costs what depends on it and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from language import conv, document, refused

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph import check

RELU = {"type": "ReLU"}
UNFIT = conv(9, name="unfit", groups=9)
"""Does not fit behind 3 channels."""
BLOCK = {"params": ["ch"], "layers": [conv("${ch}", name="first"), RELU]}
SHAPE = ("E206", "encoder[0].groups")


def told(source: Any) -> list[tuple[str, str]]:
    """Code and path of every mistake, the graph's as well."""
    try:
        check(source)
    except DiagnosticError as error:
        return [(diagnostic.code, diagnostic.path) for diagnostic in error.diagnostics]
    return []


def refused_by_graph(source: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        check(source)
    return caught.value.diagnostics


def use(**fields: Any) -> dict[str, Any]:
    return {"block": "b", **fields}


USES: list[tuple[dict[str, Any], str]] = [
    (use(), "E123"),
    (use(ch=3, k=2), "E123"),
    (use(ch=0), "E113"),
    (use(ch="three"), "E112"),
    (use(ch="${w}"), "E121"),
    (use(ch="${1 +}"), "E120"),
    (use(ch=3, type="ReLU"), "E123"),
    (use(ch=3, repeat=0), "E113"),
    (use(ch=3, repeat="two"), "E112"),
    (use(ch=3, repeat=10**9), "E125"),
    (use(ch=3, name="my block"), "E118"),
    (use(ch=3, name=7), "E112"),
    (use(ch=3, name="x"), "E202"),
    (use(ch=3, name="unfit"), "E202"),
    (use(ch=3, name="n" * 199), "E118"),
    (use(ch=3, **{"from": "nowhere"}), "E203"),
    ({"block": "c"}, "E122"),
    ({"block": 3}, "E112"),
]


@pytest.mark.parametrize(("entry", "mistake"), USES, ids=str)
def test_a_broken_use_costs_what_reads_it_and_nothing_else(entry: dict[str, Any], mistake: str) -> None:
    silent, sound = conv(4, groups=2), conv(5, groups=5, **{"from": "unfit"})
    branch = conv(7, groups=7, **{"from": "x"})
    spec = document(
        {**UNFIT, "from": "x"}, entry, silent, branch, {**conv(5, kernel_siz=3)}, {**sound, "from": "nobody"},
        blocks={"b": BLOCK},
    )  # fmt: skip
    others = [SHAPE, ("E206", "encoder[3].groups"), ("E110", "encoder[4].kernel_siz")]
    if mistake != "E118" and entry.get("name") != 7:  # for all we know it should be nobody
        others.append(("E203", "encoder[5].from"))
    found = told(spec)
    assert [other for other in found if other in others] == others
    assert [code for code, path in found if (code, path) not in others] == [mistake]


BODIES: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"parms": ["ch"]}, ("E110", "blocks.b.parms")),
    ({"params": "ch"}, ("E112", "blocks.b.params")),
    ({"params": ["ch", "ch"]}, ("E123", "blocks.b.params[1]")),
    ({"params": ["ch", "a b"]}, ("E118", "blocks.b.params[1]")),
    ({"output": "secnd"}, ("E203", "blocks.b.output")),
    ({"output": 3}, ("E112", "blocks.b.output")),
    ({"colour": "red"}, ("E110", "blocks.b.colour")),
]


@pytest.mark.parametrize(("change", "mistake"), BODIES, ids=str)
def test_a_broken_block_costs_what_reads_it_and_nothing_else(
    change: dict[str, Any], mistake: tuple[str, str]
) -> None:
    broken = {**BLOCK, **change}
    spec = document(
        use(ch=3), conv(4, groups=4), use(ch=4, name="u"), conv(4, groups=4),
        conv(7, groups=7, **{"from": "x"}), blocks={"b": broken}, require={"same_size": ["x", "nowhere"]},
    )  # fmt: skip
    expected = [mistake, ("E206", "encoder[4].groups"), ("E203", "require.same_size[1]")]
    assert sorted(told(spec)) == sorted(expected)


LAYERS: list[tuple[list[Any], list[str]]] = [
    ([conv(4, paddin=1)], ["E110"]),
    ([conv(4), 3], ["E112"]),
    ([conv(4, name="a"), conv(4, name="a")], ["E202"]),
    ([conv(4, name="in")], ["E118"]),
    ([conv("${q}")], ["E121"]),
    ([{"type": "Conf2d"}], ["E116"]),
    ([use()], ["E123"]),
    ([{"block": "none"}], ["E122"]),
    ([], ["E113"]),
]


@pytest.mark.parametrize(("layers", "codes"), LAYERS, ids=str)
def test_what_is_beside_a_mistake_in_the_body_of_a_block_is_judged(
    layers: list[Any], codes: list[str]
) -> None:
    before = [conv(9, groups=9)] if layers else []
    spec = document(
        use(), conv(4, groups=4), {"block": "fine", "ch": 4, "from": "x"}, conv(3, groups=3),
        blocks={"b": {"layers": [*before, *layers]}, "fine": BLOCK},
    )  # fmt: skip
    inner = ["E206"] if layers else []
    assert sorted(code for code, _ in told(spec)) == sorted([*codes, *inner, "E206"])


DEFAULTS: list[tuple[Any, str]] = [
    ({"Conv2d": {"kernal_size": 3}}, "E110"),
    ({"Conv2": {"kernel_size": 3}}, "E116"),
    ({"Conv2d": 3}, "E112"),
    (7, "E112"),
    ({"Conv2d": {"kernel_size": 0}}, "E113"),
    ({"Conv2d": {"kernel_size": "${q}"}}, "E121"),
]


@pytest.mark.parametrize(("defaults", "mistake"), DEFAULTS, ids=str)
def test_what_a_default_was_meant_to_say_is_not_missed(defaults: Any, mistake: str) -> None:
    layer = {"type": "Conv2d", "out_channels": 4}
    spec = document(layer, conv(9, groups=2, **{"from": "x"}), layer, defaults=defaults)
    assert sorted(code for code, _ in told(spec)) == sorted(["E115", mistake])


def test_variables_that_cannot_be_read_are_not_called_unknown() -> None:
    for variables in (7, ["w"], "w"):
        spec = document(conv("${w}"), conv(9, groups=9, **{"from": "x"}), vars=variables)
        assert [code for code, _ in told(spec)] == ["E206", "E112"]


def test_names_are_judged_beside_a_stage_that_is_no_list() -> None:
    spec = document({**RELU, "name": "a"}, {**RELU, "name": "a"}, decoder=3)
    assert told(spec) == [("E202", "encoder[1].name"), ("E112", "decoder")]


def test_a_name_that_cannot_be_one_costs_no_shape() -> None:
    spec = document({**RELU, "name": "my layer"}, conv(9, groups=9), {**RELU, "from": "my layer"})
    assert told(spec) == [("E118", "encoder[0].name"), ("E206", "encoder[1].groups")]


def test_that_no_size_fits_is_told_beside_other_shapes() -> None:
    spec = document(
        conv(9, groups=9),
        {"type": "AvgPool2d", "kernel_size": 4, "from": "x", "name": "a"},
        {"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "from": "x", "name": "b"},
        {"type": "Add", "from": ["a", "b"]},
        require={"same_size": ["x", "a"]},
    )
    alone = told({**spec, "encoder": spec["encoder"][1:]})
    assert len(alone) == len(told(spec)) - 1


@pytest.mark.parametrize(
    "place", [{"after": "nobody"}, {"before": 3}, {"before": "a", "after": "a"}], ids=str
)
def test_a_layer_that_is_put_nowhere_keeps_its_name(
    place: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.json").write_text(json.dumps(document({**RELU, "name": "a"})), encoding="utf-8")
    new = conv(4, name="new", paddin=5, **place)
    spec = {"extends": "base.json", "encoder": [new, conv(9, groups=9, **{"from": "new"})]}
    found = told(spec)
    assert len(found) == 2
    assert ("E110", "encoder[0].paddin") in found


@pytest.mark.parametrize(("change", "help"), [
    ({"name": None}, "give it a value: it has no default"),
    ({"encoder": [{**RELU, "name": None}]}, "leave the key out for its default"),
    ({"encoder": [{"type": None}]}, "give it a value: it has no default"),
    ({"encoder": [conv(None)]}, "give it a value: it has no default"),
    ({"encoder": [RELU, None]}, "take it out of the list, or give it a value"),
])  # fmt: skip
def test_what_to_do_about_null(change: dict[str, Any], help: str) -> None:
    (found,) = refused({**document(RELU), **change})
    assert (found.code, found.help) == ("E112", help)


def test_what_stands_for_something_is_never_suggested() -> None:
    layers = [use(), use(ch=3, name="x"), {"block": "c", "name": "d"}, {**RELU, "from": "zzz"}]
    found = refused_by_graph(document(*layers, blocks={"b": BLOCK}))
    (help,) = (diagnostic.help for diagnostic in found if diagnostic.code == "E203")
    assert "x" in help
    assert "un" not in help


def test_what_cannot_be_a_name_is_never_suggested() -> None:
    inner = {"layers": [{**RELU, "name": "9conv", "repeat": 0}, {**RELU, "name": "conv"}]}
    layers = [{**RELU, "name": "conv1"}, {**RELU, "name": "9conv1"}, {**RELU, "from": "convv1"}]
    for others in ([], [{"block": "b", "name": "u", "from": "x"}, {**RELU, "from": "u.9convv"}]):
        found = refused_by_graph(document(*layers, *others, blocks={"b": inner}))
        assert 'did you mean "conv1"?' in [one.help for one in found if one.code == "E203"]
        assert not any("9conv" in one.help for one in found if one.code == "E203")


def test_a_layer_whose_name_is_no_text_is_called_by_its_place() -> None:
    found = refused_by_graph(document(RELU, {**UNFIT, "name": 3}))
    assert '"unnamed encoder[1]": Conv2d got 3' in found[1].message


@pytest.mark.parametrize(("name", "code"), [("", "E113"), ("9x", "E118"), ("a b", "E118"), ("é", "E118")])
@pytest.mark.parametrize("blocks", [{}, {"blocks": {"b": BLOCK}}])
def test_a_name_that_is_none_is_missed_by_nobody(name: str, code: str, blocks: dict[str, Any]) -> None:
    """Only what is surely another name is told."""
    layers = [
        {**RELU, "name": name},
        {**RELU, "name": "conv2", "from": "conv1"},
        {**RELU, "name": "middle", "from": "x"},
        {**RELU, "from": "midle"},
        *([use(ch=3, **{"from": "old"})] if blocks else []),
    ]
    found = refused_by_graph(document(*layers, output={"y": "gone"}, **blocks))
    assert [(one.code, one.path) for one in found] == [(code, "encoder[0].name"), ("E203", "encoder[3].from")]
    assert found[1].help == 'did you mean "middle"?'


def test_a_name_that_is_none_inside_a_block() -> None:
    block = {
        "output": "old",
        "layers": [
            {**RELU, "name": "9 x"},
            {**RELU, "name": "first", "from": "old"},
            {"type": "Add", "from": ["frist", "old"]},
        ],
    }
    layers = [{"block": "b", "name": "u"}, {"type": "Add", "from": ["u.old", "u.firts", "u.first"]}]
    found = refused_by_graph(document(*layers, blocks={"b": block}))
    assert [(one.code, one.path, one.help) for one in found] == [
        ("E203", "encoder[1].from[1]", 'did you mean "first"?'),
        ("E118", "blocks.b.layers[0].name", 'for example "_9_x"'),
        ("E203", "blocks.b.layers[2].from[0]", 'did you mean "first"?'),
    ]

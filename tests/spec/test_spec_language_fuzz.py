"""The whole language at once: blocks grow what a simple model of them says, the flat spec makes the same
graph, and whatever is changed at random ends in a spec or in diagnostics."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language import conv, document

from n2nspec.diagnostics import CODES, DiagnosticError, render_all, to_json
from n2nspec.graph import analyse, check
from n2nspec.spec import Spec, load, to_document, to_toml

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
RELU = {"type": "ReLU"}


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[str, str, int]]]:
    """A document with blocks, and its layers as a simple model of the language has them: name (empty for one
    that the graph chooses), type and output channels (0 for a ReLU)."""
    width = draw(st.integers(1, 4))
    variables = {"w": width, "d": "${w + 1}"}
    blocks: dict[str, Any] = {}
    made: dict[str, Any] = {}  # by name, a function from channels to layers

    def entry(names: list[str], inner: bool, index: int) -> tuple[dict[str, Any], Any]:
        """An entry, and the function from the channels in reach to its (name, type, channels)."""
        kind = draw(st.sampled_from(["relu", "conv", *(["block"] if names else [])]))
        repeat = draw(st.sampled_from([None, None, 1, 2, "${d - w + 1}"]))
        copies = 1 if repeat is None else 2 if isinstance(repeat, str) else repeat
        name = draw(st.sampled_from(["", f"n{index}"]))
        fields: dict[str, Any] = {"name": name} if name else {}
        fields |= {"repeat": repeat} if repeat is not None else {}
        if kind == "relu":
            return {**RELU, **fields}, lambda ch: (name, "relu", copies, [("", "ReLU", 0)])
        expression, value = draw(
            st.sampled_from([
                ("${w}", lambda ch: width), ("${2*d}", lambda ch: 2 * width + 2), (3, lambda ch: 3),
                *([("${ch}", lambda ch: ch), ("${ch*2 - 1}", lambda ch: 2 * ch - 1)] if inner else []),
            ])
        )  # fmt: skip
        if kind == "conv":
            return conv(expression, padding=1, **fields), lambda ch: (
                name, "conv2d", copies, [("", "Conv2d", value(ch))],
            )  # fmt: skip
        block = draw(st.sampled_from(names))
        return {"block": block, "ch": expression, **fields}, lambda ch: (
            name,
            block,
            copies,
            made[block](value(ch)),
        )

    def body(entries: list[Any], inner: bool) -> Any:
        def grow(ch: int) -> list[tuple[str, str, int]]:
            layers: list[tuple[str, str, int]] = []
            numbers: dict[str, int] = {}
            for build in entries:
                name, kind, copies, content = build(ch)
                for copy_number in range(1, copies + 1):
                    if name:
                        own = name if copies == 1 else f"{name}.{copy_number}"
                    elif inner or kind not in ("relu", "conv2d"):
                        numbers[kind] = numbers.get(kind, 0) + 1
                        own = f"{kind}{numbers[kind]}"
                    else:
                        own = ""
                    layers += [
                        (f"{own}.{part}" if part else own, layer, channels)
                        for part, layer, channels in content
                    ]
            return layers

        return grow

    for number in range(draw(st.integers(0, 3))):
        entries = [entry(list(blocks), True, index) for index in range(draw(st.integers(1, 3)))]
        made[f"b{number}"] = body([build for _, build in entries], True)
        blocks[f"b{number}"] = {"params": ["ch"], "layers": [written for written, _ in entries]}
    entries = [entry(list(blocks), False, index) for index in range(draw(st.integers(1, 4)))]
    source = document(*(written for written, _ in entries), vars=variables, blocks=blocks)
    return source, body([build for _, build in entries], False)(0)


@settings(deadline=None)
@given(networks())
def test_blocks_grow_what_a_simple_model_says(
    network: tuple[dict[str, Any], list[tuple[str, str, int]]],
) -> None:
    source, expected = network
    spec = load(source)
    assert [(e.name or "", e.type, getattr(e, "out_channels", 0)) for e in spec.encoder] == expected
    assert all(entry.sources is None for entry in spec.encoder)


@SAME_FOLDER
@given(network=networks())
def test_the_flat_spec_makes_the_same_graph(network: Any, tmp_path: Path) -> None:
    source, _ = network
    graph = check(source)
    toml, js = tmp_path / "flat.toml", tmp_path / "flat.json"
    spec = load(source)
    toml.write_text(to_toml(spec), encoding="utf-8")
    js.write_text(json.dumps(to_document(spec)), encoding="utf-8")
    for again in (analyse(load(toml)), analyse(load(js))):
        assert [(n.name, n.layer, n.inputs, n.shape) for n in again.nodes] == [
            (n.name, n.layer, n.inputs, n.shape) for n in graph.nodes
        ]
        assert again.output == graph.output


@settings(deadline=None)
@given(networks())
def test_blocks_that_are_right_when_used_are_right_when_not(network: Any) -> None:
    source, _ = network
    load({**source, "encoder": [RELU]})


SEED = {
    "extends": "base.toml",
    "spec_version": 1,
    "name": "n${w}",
    "vars": {"w": 4, "d": "${2*w}"},
    "remove": ["old"],
    "defaults": {"Conv2d": {"padding": 1, "kernel_size": "${w - 1}"}},
    "blocks": {
        "double": {
            "params": ["ch", {"act": "ReLU"}],
            "output": "last",
            "layers": [
                {"type": "Conv2d", "out_channels": "${ch}", "name": "c"},
                {"type": "${act}", "from": ["c"]},
                {"type": "Conv2d", "out_channels": "${ch*2}", "from": "in", "name": "last"},
            ],
        },
        "outer": {
            "params": {"n": 2},
            "layers": [{"block": "double", "ch": "${n}", "repeat": "${n}", "name": "i"}],
        },
    },
    "encoder": [
        {"block": "outer", "name": "e", "n": "${w // 2}"},
        {"type": "ReLU", "after": "first", "from": "first"},
        {"name": "first", "out_channels": "${d}"},
        {"type": "Conv2d", "out_channels": 3, "from": "e.i.1.c", "repeat": 2, "name": "r"},
    ],
    "output": {"y": "e.i"},
    "require": {"same_size": ["x", "e"], "check": ["${d % 2 == 0}"]},
}
BASE = document(
    {"type": "Conv2d", "name": "first", "out_channels": 2},
    {"type": "ReLU", "name": "old"},
    train={"epochs": 1},
)

words = st.sampled_from([
    "type", "block", "name", "from", "repeat", "params", "layers", "output", "vars", "defaults", "blocks",
    "extends", "remove", "before", "after", "check", "ch", "w", "in", "e", "e.i", "i.1", "double", "outer",
    "first", "x",
])  # fmt: skip
texts = st.sampled_from([
    "${w}", "${d}", "${ch}", "${n}", "${", "${}", "$${w}", "${w +}", "${1//0}", "${w == 4}", "a${w}",
    "${w}${w}", "in", "in2", "e", "e.i", "e.i.2.last", "e.zz", "first", "old", "double", "outer", "ReLU",
    "base.toml", "top.toml", "\0", "\ud800", "",
])  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([2**70, 10**6, 0.5, float("nan")]),
    texts,
    words,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | texts, inner, max_size=3),
    max_leaves=6,
)


keys = st.lists(words | st.sampled_from(["0", "1", "encoder"]), min_size=1, max_size=4).map(".".join)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """SEED with a few values replaced, moved, removed or added."""
    changed: dict[str, Any] = copy.deepcopy(SEED)
    for _ in range(draw(st.integers(0, 4))):
        node: Any = changed
        while True:
            if isinstance(node, list):
                if not node:
                    break
                key: Any = draw(st.integers(0, len(node) - 1))
            else:
                key = draw(st.sampled_from(sorted(node)) | words) if node else draw(words)
            inner = node[key] if isinstance(node, list) else node.get(key)
            if isinstance(inner, (dict, list)) and draw(st.integers(0, 3)):
                node = inner
                continue
            action = draw(st.integers(0, 3))
            if action < 2:
                node[key] = draw(values)
            elif isinstance(node, list):
                node.append(copy.deepcopy(node[draw(st.integers(0, len(node) - 1))]))
            else:
                node.pop(key, None)
            break
    return changed


def outcome(source: Any, overrides: Any = None) -> None:
    """Ends in a spec that survives the round trip, or in diagnostics that can be shown, no two alike."""
    try:
        spec = load(source, overrides)
    except DiagnosticError as error:
        found = error.diagnostics
        assert found
        assert {diagnostic.code for diagnostic in found} <= CODES.keys()
        assert not any(diagnostic.code.startswith("W") for diagnostic in found)
        assert len({(d.code, d.path, d.span, d.message) for d in found}) == len(found)
    else:
        found = spec.warnings
        assert isinstance(spec, Spec)
        assert load(to_document(spec)) == spec
        for stage in ("encoder", "decoder"):
            for index in range(len(getattr(spec, stage))):
                spec.locate((stage, index, "name")), spec.trail((stage, index)), spec.written((stage, index))
    assert json.dumps([to_json(diagnostic) for diagnostic in found])
    render_all(found).encode()
    assert "UNKNOWN" not in render_all(found)
    assert "_Unknown" not in render_all(found)
    try:  # and so for what the graph makes of it
        found = check(source, overrides).warnings
    except DiagnosticError as error:
        found = error.diagnostics
    render_all(found).encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=mutated())
def test_mutated_documents(source: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(tomli_w.dumps(BASE))
    file = tmp_path / "top.json"
    file.write_text(json.dumps(source))
    outcome(file)


@settings(deadline=None)
@given(source=mutated())
def test_what_loads_loads_without_the_uses_of_its_blocks(source: dict[str, Any]) -> None:
    """Mistakes that are told of a block by itself are mistakes in each use. The uses are the seed's."""
    alone = {"spec_version": 1, "name": "n", "input": {"x": ["N", 3, "H", "W"]}}
    used = {
        **alone,
        **{key: source[key] for key in ("vars", "defaults", "blocks") if key in source},
        "encoder": [SEED["encoder"][0], SEED["encoder"][3]],  # type: ignore[index]
    }
    try:
        load(used)
    except DiagnosticError:
        return
    load({**used, "encoder": [RELU]})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=st.dictionaries(keys, values, max_size=3))
def test_overrides(overrides: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(tomli_w.dumps(BASE))
    file = tmp_path / "top.json"
    file.write_text(json.dumps(SEED))
    outcome(file, overrides)


def test_the_seed_of_the_mutations_is_sound(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(tomli_w.dumps(BASE))
    file = tmp_path / "top.json"
    file.write_text(json.dumps(SEED))
    assert len(load(file).encoder) == 2 + 6 + 2
    outcome(file)

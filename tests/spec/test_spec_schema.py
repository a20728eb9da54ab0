"""The schema that editors are given, against the loader: specs fit it, and what it refuses `load` refuses."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import DiagnosticError
from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.losses import LOSSES
from n2nspec.noise import NOISES
from n2nspec.optim import OPTIMIZERS
from n2nspec.spec import load
from n2nspec.spec.schema import SCHEMA_FILE, json_schema
from n2nspec.spec.schema_fields import field_schemas

ROOT = Path(__file__).parents[2]
SPECS = [path for path in sorted((ROOT / "specs").iterdir()) if path.name != SCHEMA_FILE]
SCHEMA = json_schema()
JUDGE = jsonschema.Draft7Validator(SCHEMA)

EVERYTHING = """
spec_version = 1
name = "everything"
description = "All that the language has."

[vars]
width = 8
twice = "${2*width}"

[input]
x = ["N", 3, "H", "W"]

[defaults.Conv2d]
padding = "same"
kernel_size = 3

[defaults.ConvTranspose2d]
stride = 2

[blocks.unit]
description = "A convolution and what follows it."
params = ["ch", { k = 3, after_it = "ReLU" }]
output = "act"

[[blocks.unit.layers]]
type = "Conv2d"
out_channels = "${ch}"
kernel_size = ["${k}", "${k}"]

[[blocks.unit.layers]]
name = "act"
type = "${after_it}"

[blocks.pair]
params = { ch = 4 }

[[blocks.pair.layers]]
block = "unit"
ch = "${ch}"
repeat = 2

[blocks.spare]
params = ["groups"]

[[blocks.spare.layers]]
type = "Conv2d"
out_channels = 12
groups = "${groups}"
dilation = 2

[defaults.Upsampling]
scale_factor = 4

[[encoder]]
name = "first"
block = "unit"
ch = "${width}"

[[encoder]]
block = "pair"
from = "first"

[[encoder]]
type = "Conv2d"
name = "c${width}"
out_channels = "${twice - 1}"
stride = [1, 1]
bias = false
repeat = 2

[[decoder]]
type = "ConvTranspose2d"
out_channels = 3
kernel_size = 2

[[decoder]]
type = "Sigmoid"
name = "y"
from = ["convtranspose2d1"]

[output]
y = "y"

[require]
same_size = ["x", "x"]
check = ["${width % 4 == 0}"]

[train]
epochs = "${width}"
batch_size = 4
dtype = "float${twice*4}"
loss = { type = "MSE", reduction = "sum" }
optimizer = { type = "Adam", lr = 0.01, betas = [0.8, 0.9] }

[data]
train = "builtin:photos"
val = "builtin:photos"
patch = ["${twice}", 32]
patches_per_epoch = 100
noise = { type = "pixelate", block = 2 }
"""
EXTENDING = """
extends = "specs/n2n.toml"
name = "wider"
remove = ["conv2"]

[[encoder]]
name = "conv1"
out_channels = 24
stride = [2, 2]

[[encoder]]
after = "conv1"
type = "Sigmoid"

[train]
epochs = 3
optimizer = { lr = 0.02 }

[data]
noise = { sigma = 0.2 }
"""


def plain(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    return document


DOCUMENTS = [*map(plain, SPECS), tomllib.loads(EVERYTHING), tomllib.loads(EXTENDING)]


def loads(document: Any) -> bool:
    try:
        load(document)
    except DiagnosticError:
        return False
    return True


def test_it_is_a_schema_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_one_beside_the_specs_is_up_to_date() -> None:
    """Write it anew with `n2nspec schema -o specs/n2nspec.schema.json`."""
    assert json.loads((ROOT / "specs" / SCHEMA_FILE).read_text(encoding="utf-8")) == SCHEMA


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_spec_fits_and_names_it(path: Path) -> None:
    assert not list(JUDGE.iter_errors(plain(path)))
    first = path.read_text(encoding="utf-8").splitlines()[: 2 if path.suffix == ".json" else 1]
    assert f"./{SCHEMA_FILE}" in "".join(first)


@pytest.mark.parametrize("text", [EVERYTHING, EXTENDING])
def test_the_whole_language_fits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    document = tomllib.loads(text)
    load(document)
    assert not list(JUDGE.iter_errors(document))


# -- what is in it ------------------------------------------------------------------------------------


def test_there_is_a_branch_for_every_type() -> None:
    definitions = SCHEMA["definitions"]
    branches = [
        definitions[form["$ref"].removeprefix("#/definitions/")] for form in definitions["layer"]["oneOf"]
    ]
    named = [branch["properties"]["type"] for branch in branches if "type" in branch["properties"]]
    types = [name for spelt in named for name in spelt.get("enum", [spelt.get("const")]) if name]
    assert sorted(types) == sorted(LAYERS)
    for registry in (LOSSES, OPTIMIZERS, NOISES):
        for name, model in registry.items():
            branch = next(found for found in definitions.values() if found.get("title") == name)
            assert branch["additionalProperties"] is False
            assert branch["properties"].keys() == field_schemas(model).keys()


def tables(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema["properties"]
        for key, value in schema.items():
            if key not in ("if", "then", "not"):  # those repeat names of keys, and describe nothing
                yield from tables(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from tables(item)


def test_every_key_is_described() -> None:
    bare = {
        key
        for properties in tables(SCHEMA)
        for key, value in properties.items()
        if "description" not in value and "$ref" not in value
    }
    assert not bare


def test_defaults_and_bounds_are_those_of_the_model() -> None:
    conv = SCHEMA["definitions"]["layer-Conv2d"]["properties"]
    assert conv["stride"]["default"] == 1
    assert conv["groups"]["minimum"] == 1
    assert conv["padding_mode"]["default"] == "zeros"
    assert "default" not in conv["out_channels"]
    adam = SCHEMA["definitions"]["optimizer-Adam"]["properties"]
    assert adam["betas"]["default"] == [0.9, 0.999]
    assert adam["betas"]["items"][0]["exclusiveMaximum"] == 1


# -- against the loader -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stride = [1, 1]", "strid = 1"),
        ("stride = [1, 1]", "stride = [1, 1, 1]"),
        ("stride = [1, 1]", 'stride = "1"'),
        ("stride = [1, 1]", "stride = 0"),
        ("stride = [1, 1]", "stride = 1.5"),
        ("bias = false", "bias = 0"),
        ("bias = false", 'padding_mode = "wrap"'),
        ('type = "Sigmoid"', 'type = "Sigmoid"\nrepeat = 0'),
        ('type = "Sigmoid"', 'type = "sigmoid"'),
        ('type = "Sigmoid"', ""),
        ('type = "Sigmoid"', 'type = "Sigmoid"\nblock = "unit"'),
        ('type = "ConvTranspose2d"', 'type = "Linear"'),
        ("out_channels = 3\nkernel_size = 2", "out_channels = 3"),
        ('name = "everything"', ""),
        ('name = "everything"', 'name = "every thing"'),
        ("spec_version = 1", "spec_version = 2"),
        ("spec_version = 1", ""),
        ('x = ["N", 3, "H", "W"]', 'x = ["N", 0, "H", "W"]'),
        ('x = ["N", 3, "H", "W"]', 'x = ["N", 3, "H-1", "W"]'),
        ('x = ["N", 3, "H", "W"]', 'x = ["N", 3]\nz = ["N", 3]'),
        ("width = 8", "width = 8.5"),
        ("width = 8", "1a = 8"),
        ('padding = "same"', 'pading = "same"'),
        ("[defaults.Conv2d]", "[defaults.Conv3000d]"),
        ('output = "act"', "outputs = 1"),
        ("dilation = 2", "dilatoin = 2"),
        ("dilation = 2", "dilation = 0"),
        ("dilation = 2", "dilation = 1.5"),
        ("out_channels = 12\n", ""),
        ("scale_factor = 4", "scale_factor = 0"),
        ("scale_factor = 4", 'padding_mode = "wrap"'),
        ('params = { ch = 4 }', "params = 4"),
        ('check = ["${width % 4 == 0}"]', 'check = ["width % 4 == 0"]'),
        ("epochs = \"${width}\"", "epochs = -1"),
        ('loss = { type = "MSE", reduction = "sum" }', 'loss = { reduction = "sum" }'),
        ('loss = { type = "MSE", reduction = "sum" }', 'loss = { type = "MSE", reduction = "none" }'),
        ("betas = [0.8, 0.9]", "betas = [0.8, 1.0]"),
        ("betas = [0.8, 0.9]", "betas = [0.8]"),
        ("block = 2 }", "block = 1 }"),
        (", block = 2 }", " }"),
        ('noise = { type = "pixelate", block = 2 }', "noise = { block = 2 }"),
        ('train = "builtin:photos"\n', ""),
        ("block = 2 }", "blocks = 2 }"),
        ("[output]", "[outputs]"),
        ("[output]\n", '[output]\nz = "first"\n'),
    ],
)  # fmt: skip
def test_mistakes_that_both_refuse(old: str, new: str) -> None:
    assert old in EVERYTHING
    document = tomllib.loads(EVERYTHING.replace(old, new))
    assert not JUDGE.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize("spec_type", list(dict.fromkeys(LAYERS.values())), ids=lambda spec: spec.__name__)
def test_cases_of_layers(spec_type: type[LayerSpec]) -> None:
    base = {"spec_version": 1, "name": "case", "input": {"x": ["N", 3, "H", "W"]}}
    name = spec_type.model_fields["type"].default
    for case in (*spec_type.CASES, *spec_type.BAD_CASES):
        fields = {key: value for key, value in case.fields.items() if key not in spec_type.inferred}
        document = json.loads(json.dumps({**base, "encoder": [{"type": name, **fields}]}))
        fits = JUDGE.is_valid(document)
        assert fits or not loads(document), document
        assert fits or case in spec_type.BAD_CASES, document


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**6, 2**31, 2**63, -(2**63) - 1, 1.0, 0.5, -1.5, float("inf")]),
    st.sampled_from(
        ["", "x", "1a", "a b", "${width}", "${", "$${", "Conv2d", "ReLU", "same", "unit", "\0", "y" * 300]
    ),
    st.lists(st.sampled_from([1, 0, "x", "${width}", None]), max_size=3),
    st.dictionaries(st.sampled_from(["type", "x", "a b"]), st.sampled_from(["MSE", 1, []]), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, the tables and lists themselves included."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A spec with one thing changed: a value replaced, a key or an item added or taken out."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    *way, last = draw(st.sampled_from(list(places(document))))
    table: Any = document
    for key in way:
        table = table[key]
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            table[last] = draw(JUNK)
        case "remove":
            del table[last]
        case "add" if isinstance(table, list):
            table.insert(last, draw(JUNK))
        case _:
            keys = [
                "type",
                "name",
                "from",
                "block",
                "repeat",
                "before",
                "after",
                "padding",
                "layers",
                "params",
                "zz",
            ]
            table[draw(st.sampled_from([*keys, *SCHEMA["properties"]]))] = draw(JUNK)
    return document


@settings(max_examples=400, deadline=None)
@given(document=mutated())
def test_what_the_schema_refuses_the_loader_refuses(document: dict[str, Any]) -> None:
    assume(not JUDGE.is_valid(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert not loads(document)

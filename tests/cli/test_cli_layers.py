"""`n2nspec layers`: every type is listed and shown in full, out of its own file."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from n2nspec.cli import main
from n2nspec.layers import LAYERS
from n2nspec.losses import LOSSES
from n2nspec.noise import NOISES
from n2nspec.optim import OPTIMIZERS
from n2nspec.spec import load
from n2nspec.spec.catalogue import KINDS, Page, pages

Output = pytest.CaptureFixture[str]
PAGES = list(pages())
TYPES = [*LAYERS, *LOSSES, *OPTIMIZERS, *NOISES]


def test_the_list_has_every_type_on_one_line(capsys: Output) -> None:
    assert main(["layers"]) == 0
    printed = capsys.readouterr()
    lines = [line.strip() for line in printed.out.splitlines()]
    assert not printed.err
    for page in PAGES:
        (line,) = [line for line in lines if line.startswith(", ".join(page.names) + " ")]
        assert line.endswith(page.summary)
        assert page.summary.endswith(".")
    assert [line for line in lines if line in ("layers", "losses", "optimizers", "noise models")] == [
        "layers", "losses", "optimizers", "noise models",
    ]  # fmt: skip


def test_the_list_as_json(capsys: Output) -> None:
    assert main(["layers", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["layers", "losses", "optimizers", "noise_models"]
    (conv,) = [layer for layer in document["layers"] if layer["names"] == ["Conv2d"]]
    assert conv["twin"] == "torch.nn.Conv2d"
    assert ["TransposeConv2d", "ConvTranspose2d"] in [layer["names"] for layer in document["layers"]]


@pytest.mark.parametrize("name", TYPES)
def test_each_type_in_full(name: str, capsys: Output) -> None:
    assert main(["layers", name]) == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())  # a long description goes on in the next line
    (page,) = [page for page in PAGES if name in page.names]
    for field in page.fields:
        assert field.name in text
        assert field.description in words
        assert field.description
        assert field.type
        assert bool(field.default) != field.required
    assert page.documentation in text
    assert page.snippet in text


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.kind == "layer"], ids=lambda page: page.names[0]
)
def test_each_layer_has_its_formulae(page: Page) -> None:
    assert "y" in page.forward
    assert "gx" in page.backward
    assert page.sizes
    assert all(formula in page.documentation.replace("\n", " ") for formula in (page.forward, page.backward))


def test_what_is_said_of_a_convolution(capsys: Output) -> None:
    assert main(["layers", "Conv2d", "--format", "json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["forward"] == "y = W·col + b"
    assert page["sizes"].startswith("H_out = floor((H + 2·padding - dilation·(kernel - 1) - 1) / stride) + 1")
    assert page["inferred"] == ["in_channels"]
    assert page["twin"] == "torch.nn.Conv2d"
    fields = {field["name"]: field for field in page["fields"]}
    assert fields["stride"]["type"] == "integer from 1 to 65,535, or two"
    assert fields["stride"]["default"] == "1"
    assert fields["padding"]["type"] == '"same", "valid" or integer from 0 to 65,535, or two'
    assert fields["bias"]["type"] == "true or false"
    assert fields["kernel_size"]["required"]


def test_words_of_other_fields() -> None:
    words = {(page.names[0], field.name): field.type for page in PAGES for field in page.fields}
    defaults = {(page.names[0], field.name): field.default for page in PAGES for field in page.fields}
    assert words["ZeroPad2d", "padding"] == "integer from -65,535 to 65,535, or four"
    assert words["MaxPool2d", "stride"] == "integer from 1 to 65,535, or two"
    assert defaults["MaxPool2d", "stride"] == "left out"
    assert words["MaxPool2d", "return_indices"] == defaults["MaxPool2d", "return_indices"] == "false"
    assert words["Adam", "betas"] == "list of 2: number from 0 to below 1"
    assert words["gaussian", "sigma"] == "number, 0 or more"
    assert words["poisson", "peak"] == "number, more than 0"
    assert words["MSE", "reduction"] == '"mean", "sum"'


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.names[0])
def test_each_snippet_can_be_pasted_into_a_spec(page: Page) -> None:
    spec = 'spec_version = 1\nname = "pasted"\n\n[input]\nx = ["N", 3, "H", "W"]\n\n'
    if page.kind != "layer":
        spec += '[[encoder]]\ntype = "ReLU"\n\n'
    text = spec + page.snippet + "\n"
    if page.kind == "noise":
        text += 'train = "builtin:photos"\n'
    loaded: Any = load(tomllib.loads(text))
    chosen = {
        "layer": lambda: loaded.encoder[0],
        "loss": lambda: loaded.train.loss,
        "optimizer": lambda: loaded.train.optimizer,
        "noise": lambda: loaded.data.noise,
    }[page.kind]()
    assert chosen.type == page.names[0]
    assert page.kind in KINDS


def test_what_torch_lacks_is_not_said_to_be_as_in_torch(capsys: Output) -> None:
    for name, said in (("Huber", True), ("Charbonnier", False)):
        assert main(["layers", name]) == 0
        assert ("as in torch" in capsys.readouterr().out) == said


def test_an_unknown_type(capsys: Output) -> None:
    assert main(["layers", "conv2"]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    assert 'error[E116]: unknown type "conv2"' in printed.err
    assert 'did you mean "Conv2d"?' in printed.err
    assert main(["layers", "zzzzzz"]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["'layers'", "'layers', 'Conv2d'", "'layers', 'Adam'", "'schema'"])
def test_no_torch(command: str) -> None:
    run = f"import sys, n2nspec.cli\nassert n2nspec.cli.main([{command}]) == 0\n"
    code = run + "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

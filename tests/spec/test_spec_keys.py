"""Keys that a table does not have: where they belong, or what was meant; and values of another type."""

from __future__ import annotations

from typing import Any

import pytest

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.spec import load

CONV = {"type": "Conv2d", "out_channels": 4, "kernel_size": 3}
SMALL = {"spec_version": 1, "name": "small", "input": {"x": ["N", 3, "H", "W"]}, "encoder": [CONV]}


def problem(change: dict[str, Any]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load({**SMALL, **change})
    (found,) = caught.value.diagnostics
    return found


@pytest.mark.parametrize(
    ("change", "help"),
    [
        ({"epochs": 3}, "epochs belongs to [train]"),
        ({"patch": 3}, "patch belongs to [data]"),
        ({"kernel_size": 3}, "kernel_size belongs to a layer"),
        ({"train": {"lr": 3}}, "lr belongs to [train.optimizer]"),
        ({"train": {"learning_rate": 3}}, "lr belongs to [train.optimizer]"),
        ({"train": {"train": "a"}}, "train belongs to [data]"),
        ({"train": {"plugins": []}}, "plugins belongs to the top of the spec"),
        ({"train": {"optimizer": {"type": "Adam", "learning_rate": 1}}}, 'did you mean "lr"?'),
        ({"data": {"train": "a", "sigma": 1}}, "sigma belongs to [data.noise]"),
        ({"encoder": [{**CONV, "epochs": 3}]}, "epochs belongs to [train]"),
        ({"encoder": [{"type": "Conv2d", "filters": 4, "kernel_size": 3}]}, 'did you mean "out_channels"?'),
        ({"layers": []}, 'did you mean "encoder"?'),
        ({"train": {"Epochs": 3}}, 'did you mean "epochs"?'),
    ],
)
def test_unknown_keys(change: dict[str, Any], help: str) -> None:
    found = problem(change)
    assert (found.code, found.help) == ("E110", help)


@pytest.mark.parametrize(
    ("change", "path", "message", "help"),
    [
        ({"padding": [1, -1]}, "padding[1]", "padding[1]: expected 0 to 65535; received -1", "padding: "),
        ({"padding": [1, "a"]}, "padding[1]", 'padding[1]: expected an integer; received "a"', "padding: "),
        ({"stride": [True, 1]}, "stride[0]", "stride[0]: expected an integer; received true", "stride: "),
        ({"stride": -1}, "stride", "stride: expected 1 to 65535; received -1", "stride: "),
        ({"stride": [1, "2"]}, "stride[1]", 'stride[1]: expected an integer; received "2"',
         "write 2, without quotes"),
        ({"stride": [1]}, "stride", "stride: expected an integer, or two for height and width; received [1]",
         "stride: "),
        ({"stride": "[1, 2]"}, "stride",
         'stride: expected an integer, or two for height and width; received "[1, 2]"',
         "write [1, 2], without quotes"),
        ({"groups": "2"}, "groups", 'groups: expected an integer; received "2"', "write 2, without quotes"),
        ({"groups": "2.5"}, "groups", 'groups: expected an integer; received "2.5"', "groups: "),
        ({"groups": 2.0}, "groups", "groups: expected an integer; received 2.0", "write 2"),
        ({"groups": [2]}, "groups", "groups: expected an integer; received [2]", "write 2, without brackets"),
        ({"bias": "True"}, "bias", 'bias: expected true or false; received "True"',
         "write true, without quotes"),
        ({"bias": 0}, "bias", "bias: expected true or false; received 0", "write false"),
    ],
)  # fmt: skip
def test_values_of_another_type(change: dict[str, Any], path: str, message: str, help: str) -> None:
    found = problem({"encoder": [{**CONV, **change}]})
    assert (found.path, found.message) == (f"encoder[0].{path}", message)
    assert found.help.startswith(help)


@pytest.mark.parametrize(
    ("change", "message", "help"),
    [
        ({"train": {"loss": "mse"}}, 'loss: expected a table; received "mse"',
         'write loss = { type = "MSE" }'),
        ({"train": {"optimizer": {"type": "Adam", "betas": [0.9]}}},
         "betas: expected more entries; received [0.9]", "betas: "),
        ({"train": {"optimizer": {"type": "Adam", "betas": []}}},
         "betas: expected more entries; received []", "betas: "),
        ({"encoder": [{**CONV, "from": ["x", ""]}]},
         'from[1]: expected a name that is not empty; received ""',
         "from: "),
        ({"encoder": [{**CONV, "from": ["x", 3]}]}, "from[1]: expected a name; received 3", "from: "),
        ({"encoder": [{**CONV, "from": ""}]},
         'from: expected a name that is not empty; received ""', "from: "),
        ({"encoder": [{**CONV, "from": []}]}, "from: expected at least one name; received []", "from: "),
        ({"encoder": [{**CONV, "from": ["x", ""], "repeat": 2}]},
         'from: expected a name that is not empty; received ""', "name a layer or the input"),
        ({"data": {"train": ""}}, 'train: expected text that is not empty; received ""', "train: "),
        ({"encoder": [{"type": "torch.nn.Conv2d"}]}, 'unknown layer type "torch.nn.Conv2d"',
         'did you mean "Conv2d"?'),
        ({"encoder": [{"type": "Transformer"}]}, 'unknown layer type "Transformer"',
         "`n2nspec layers` lists the types"),
    ],
)  # fmt: skip
def test_other_values(change: dict[str, Any], message: str, help: str) -> None:
    found = problem(change)
    assert found.message == message
    assert found.help.startswith(help)

"""The files of a run: written whole, named without collisions, and read back."""

from __future__ import annotations

import csv
import json
import math
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from n2nspec import __version__
from n2nspec.diagnostics import DiagnosticError
from n2nspec.runtime import compile
from n2nspec.spec import Spec, load, to_toml
from n2nspec.training import Run, open_run
from n2nspec.training.files import claim_folder, refuse_existing, write_files
from n2nspec.training.history import Row, epochs_axis, read_rows, write_rows
from n2nspec.training.run import encode_weights


def code(caught: pytest.ExceptionInfo[DiagnosticError]) -> str:
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code


@pytest.fixture
def weights(tmp_path: Path, spec: Callable[..., Spec]) -> Path:
    path = tmp_path / "weights.safetensors"
    model = compile(spec())
    path.write_bytes(
        encode_weights(model.state_dict(), spec(), epochs=2, steps=6, psnr=21.5, noisy_psnr=math.inf)
    )
    return path


def test_a_file_that_cannot_be_replaced_leaves_no_half_of_one(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"1", "b": b"1"})
    (tmp_path / "c").mkdir()  # a name that cannot be replaced by a file
    with pytest.raises(DiagnosticError) as caught:
        write_files(tmp_path, {"c": b"2", "a": b"2"})
    assert code(caught) == "E405"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert (tmp_path / "c").is_dir()
    assert (tmp_path / "a").read_bytes() in (b"1", b"2")
    assert (tmp_path / "b").read_bytes() == b"1"


def test_an_interruption_leaves_the_old_files(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"old", "b": b"old"})

    class Interrupting(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            if name == "b":
                raise KeyboardInterrupt
            return super().__getitem__(name)

    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, Interrupting(a=b"new", b=b"new"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old", "b": b"old"}


def test_folders_get_numbers(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made = [claim_folder(None, "n2n", runs) for _ in range(3)]
    assert [path.name for path in made] == ["n2n", "n2n-2", "n2n-3"]
    assert all(path.is_dir() for path in made)


def test_an_explicit_folder_may_be_new_or_empty(tmp_path: Path) -> None:
    assert claim_folder(tmp_path / "a" / "b", "n2n") == tmp_path / "a" / "b"
    assert claim_folder(tmp_path / "a" / "b", "n2n").is_dir()
    (tmp_path / "a" / "b" / "thesis.tex").write_text("mine")
    with pytest.raises(DiagnosticError, match="is not empty") as caught:
        refuse_existing(tmp_path / "a" / "b")
    assert code(caught) == "E403"
    with pytest.raises(DiagnosticError, match="is not a folder") as caught:
        refuse_existing(tmp_path / "a" / "b" / "thesis.tex")
    assert code(caught) == "E403"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiagnosticError) as caught:
        claim_folder(tmp_path / "file" / "run", "n2n")
    assert code(caught) == "E405"


def test_weights_carry_the_spec(weights: Path, spec: Callable[..., Spec]) -> None:
    run = open_run(weights)
    assert run == Run(
        path=weights, weights=weights, spec=spec(), epochs=2, steps=6, psnr=21.5, noisy_psnr=math.inf
    )
    with safetensors.safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
        names = sorted(file.keys())
    assert metadata["n2nspec_version"] == __version__
    assert metadata["format"] == "pt"
    assert load(tomllib.loads(metadata["spec"])) == spec()
    assert names == ["conv1.bias", "conv1.weight", "up1.conv.bias", "up1.conv.weight"]


def test_weights_load_into_torch_and_into_a_model(weights: Path, spec: Callable[..., Spec]) -> None:
    original = compile(spec()).state_dict()
    state = safetensors.torch.load_file(weights)
    assert state.keys() == original.keys()
    model = open_run(weights).model()
    assert not model.training
    for name, tensor in original.items():
        assert torch.equal(state[name], tensor)
        assert torch.equal(model.state_dict()[name], tensor)
    model.to_torch().load_state_dict(state)


def test_equal_weights_give_equal_bytes(spec: Callable[..., Spec]) -> None:
    state = compile(spec()).state_dict()
    data = {encode_weights(state, spec(), epochs=1, steps=2, psnr=None, noisy_psnr=None) for _ in range(5)}
    assert len(data) == 1
    (length,) = struct.unpack("<Q", data.pop()[:8])
    assert length % 8 == 0


def test_what_is_not_a_run(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no network")
    for path in (tmp_path / "absent", tmp_path / "empty", tmp_path / "notes.txt"):
        with pytest.raises(DiagnosticError) as caught:
            open_run(path)
        assert code(caught) == "E401"
        assert str(path) in str(caught.value)


def _damaged(weights: Path, **metadata: str) -> None:
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("spec", "name = ", "is damaged"),
        ("spec", "spec_version = 1", "not one that this version reads"),
        ("epochs", "many", "epochs is not a number"),
        ("steps", "0.5", "how many steps"),
    ],
)
def test_damaged_metadata(weights: Path, key: str, value: str, match: str) -> None:
    _damaged(weights, **{key: value})
    with pytest.raises(DiagnosticError, match=match) as caught:
        open_run(weights)
    assert code(caught) == "E404"


def test_damaged_weights(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(DiagnosticError, match="damaged or not readable") as caught:
        open_run(weights)
    assert code(caught) == "E404"


def test_weights_of_someone_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(3)}, path)
    with pytest.raises(DiagnosticError, match="not the spec of their network") as caught:
        open_run(path)
    assert code(caught) == "E404"


def test_weights_that_do_not_fit_their_spec(weights: Path, spec: Callable[..., Spec]) -> None:
    _damaged(weights, spec=to_toml(spec(encoder__0__out_channels=5)))
    with pytest.raises(DiagnosticError, match=r"conv1\.weight: expected shape \(5, 3, 3, 3\)") as caught:
        open_run(weights).model()
    assert code(caught) == "E404"


ROWS = [
    Row(step=0, epoch=0, seconds=0.0, psnr=20.5),
    Row(step=1, epoch=1, loss=0.1, seconds=0.25, oracle_loss=1 / 3),
    Row(step=2, epoch=1, loss=2e-17, seconds=0.5, psnr=math.inf, oracle_loss=0.1, oracle_psnr=22.0),
    Row(step=3, epoch=2, loss=0.3, seconds=0.75),
]


def test_metrics_survive_the_round_trip(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(
        write_rows(ROWS[:2], header=True) + write_rows(ROWS[2:], header=False)
    )
    assert read_rows(tmp_path) == ROWS
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["loss"] for row in table] == ["", "0.1", "2e-17", "0.3"]


def test_steps_on_an_axis_of_epochs() -> None:
    assert epochs_axis(ROWS) == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"a,b\n1,2\n", "no column"), (b"step,epoch,loss\n1,1,x\n", "line 2"), (b"\xff", "text")],
)
def test_metrics_that_are_none(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(DiagnosticError, match=match) as caught:
        read_rows(tmp_path)
    assert code(caught) == "E401"

"""A run: what training left on the disk, and how to get a network out of it again.

In: a run folder, or the `model.safetensors` of one. Out: `Run`, and from it a model with the trained weights.

The weights file holds, besides the tensors (torch's names and layout), this metadata, all of it text:
`format` ("pt"), `n2nspec_version`, `spec` (the resolved spec as TOML), `epochs` and `steps` taken, and where
there are held-out pictures `psnr` and `noisy_psnr`. This one file is enough to denoise.
"""

from __future__ import annotations

import json
import os
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.numpy
from safetensors import SafetensorError, safe_open

from n2nspec._lazy import torch
from n2nspec._version import __version__
from n2nspec.diagnostics import DiagnosticError, fail
from n2nspec.runtime import Model, compile
from n2nspec.spec import Spec, load, to_toml

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SPEC_FILE", "WEIGHTS_FILE", "Run", "encode_weights", "open_run"]

SPEC_FILE = "spec.toml"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trained network on the disk.

    Attributes:
        path: the run folder; or the weights file, when that is all there is.
        weights: the weights file.
        spec: resolved, as trained.
        epochs: finished ones.
        steps: training steps behind the weights.
        psnr: mean over the held-out pictures after the last finished epoch, dB; None without any.
        noisy_psnr: the same for the pictures as they were.
    """

    path: Path
    weights: Path
    spec: Spec
    epochs: int
    steps: int
    psnr: float | None
    noisy_psnr: float | None

    @property
    def name(self) -> str:
        """The name of the run folder, or of the weights file."""
        return self.path.resolve().name

    def model(self, engine: str = "auto", device: str = "cpu") -> Model:
        """The trained network, in evaluation mode.

        Raises:
            DiagnosticError: E404, the weights are unreadable or do not fit the spec; E5…, engine or device.
        """
        model = compile(self.spec, engine=engine, device=device)
        try:
            with safe_open(self.weights, framework="numpy") as file:
                state = {name: torch.from_numpy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            model.load_state_dict(state)
        except (OSError, SafetensorError, TypeError, ValueError) as error:
            raise fail(
                "E404",
                f"the weights in {self.weights} cannot be used: {error}",
                file=self.weights,
                help="train again, or take the file from a copy of the run",
            ) from error
        return model.eval()


def encode_weights(
    state: Mapping[str, Tensor],
    spec: Spec,
    *,
    epochs: int,
    steps: int,
    psnr: float | None,
    noisy_psnr: float | None,
) -> bytes:
    """The content of `model.safetensors`; equal weights and figures give equal bytes."""
    metadata = {
        "format": "pt",
        "n2nspec_version": __version__,
        "spec": to_toml(spec),
        "epochs": str(epochs),
        "steps": str(steps),
    }
    metadata |= {
        name: repr(value) for name, value in (("psnr", psnr), ("noisy_psnr", noisy_psnr)) if value is not None
    }
    tensors = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.items()}
    data = safetensors.numpy.save(tensors, metadata)
    # The library writes the metadata in the order of a randomised hash table; sort the JSON header. Layout:
    # its length as a little-endian 64-bit integer, the header padded with spaces to 8 bytes, the numbers.
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def open_run(path: str | os.PathLike[str], *, allow_plugins: bool = False) -> Run:
    """The run in a folder, or in one `model.safetensors`.

    Args:
        allow_plugins: run the Python files beside the weights that the spec in them names. Say so only for a
            run of your own, or of someone whose programs you would run.

    Raises:
        DiagnosticError: E401, there is no run there; E404, the weights file is damaged, or its spec is not
            one that this version reads; E13…, its plugins may not run or cannot.
    """
    path = Path(path)
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    help = f"give a run folder, as n2nspec train makes them, or its {WEIGHTS_FILE}"
    if not path.exists():
        raise fail("E401", f"there is no run at {path}", file=path, help=help)
    if not weights.is_file():
        raise fail("E401", f"{path} is not a run: there is no {WEIGHTS_FILE} in it", file=path, help=help)
    try:
        weights.open("rb").close()  # else a file that may not be read is told not to be there
        with safe_open(weights, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        if path != weights or path.suffix == ".safetensors":
            raise fail(
                "E404",
                f"{weights} is damaged or not readable: {getattr(error, 'strerror', None) or error}",
                file=weights,
                help="train again, or take the file from a copy of the run",
            ) from error
        if path.suffix.lower() in (".toml", ".json"):
            help = f"if it is a spec, train it first: n2nspec train {path}"
        raise fail(
            "E401", f"{path} is neither a run folder nor a weights file", file=path, help=help
        ) from error
    if "spec" not in metadata:
        raise fail(
            "E404",
            f"{weights} holds weights, but not the spec of their network",
            file=weights,
            help="only files that n2nspec train wrote can be used on their own",
        )
    return Run(
        path=path,
        weights=weights,
        spec=_spec(metadata["spec"], weights, allow_plugins),
        epochs=_count(metadata, "epochs", weights),
        steps=_count(metadata, "steps", weights),
        psnr=_number(metadata, "psnr", weights),
        noisy_psnr=_number(metadata, "noisy_psnr", weights),
    )


def _spec(text: str, weights: Path, allow_plugins: bool) -> Spec:
    try:
        return load(tomllib.loads(text), allow_plugins=allow_plugins, folder=weights.parent)
    except tomllib.TOMLDecodeError as error:
        raise fail("E404", f"the spec in {weights} is damaged: {error}", file=weights) from error
    except DiagnosticError as error:
        plugins = [replace(d, file=d.file or str(weights)) for d in error.diagnostics if d.code[:3] == "E13"]
        if plugins:
            raise DiagnosticError(plugins) from error
        raise fail(
            "E404",
            f"the spec in {weights} is not one that this version reads:"
            f" {'; '.join(diagnostic.message for diagnostic in error.diagnostics)}",
            file=weights,
            help="use the version that trained it; n2nspec_version in the file's metadata names it",
        ) from error


def _number(metadata: Mapping[str, str], key: str, weights: Path) -> float | None:
    text = metadata.get(key)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise fail("E404", f"{weights}: {key} is not a number: {text!r}", file=weights) from error


def _count(metadata: Mapping[str, str], key: str, weights: Path) -> int:
    number = _number(metadata, key, weights)
    if number is None or not number.is_integer():
        raise fail("E404", f"{weights} does not say how many {key} it took", file=weights)
    return int(number)

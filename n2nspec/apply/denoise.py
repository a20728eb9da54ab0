"""Denoising of pictures in memory.

In: a run and a picture, as NumPy or torch have it. Out: the same kind of thing: array or tensor, axes, size,
dtype, range, device.

| | one picture | several of one size |
| --- | --- | --- |
| NumPy | (H, W) grey, (H, W, C) | (N, H, W, C) |
| torch | (H, W) grey, (C, H, W) | (N, C, H, W) |

uint8 and uint16 are scaled from their range to [0, 1], and the result is rounded back; floating point is
taken to be on [0, 1] already, and what the network gives is handed on as it is. A picture goes through the
network whole, so its size is bounded by memory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from n2nspec._lazy import torch
from n2nspec.data import from_unit
from n2nspec.data.scaling import to_tensor
from n2nspec.diagnostics import fail
from n2nspec.runtime import Model
from n2nspec.training.inference import Frame
from n2nspec.training.run import Run, open_run

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Denoiser", "denoise"]

Image = TypeVar("Image", "NDArray[Any]", "Tensor")
FLOATS = ("float16", "float32", "float64", "bfloat16")
FARTHEST = 16.0
"""Noise carries floating point beyond [0, 1], but not this far; 0 … 255 stored as floats does."""


class Denoiser:
    """A network ready to denoise, opened once for many pictures.

    Args:
        source: a run, the path of one or of its `model.safetensors`, or a model.
        engine, device: as in `n2nspec.compile`; a model keeps its own.

    Raises:
        DiagnosticError: E401 or E404, no usable run; E208, the network is no denoiser.
    """

    def __init__(
        self, source: Run | Model | str | os.PathLike[str], *, engine: str = "auto", device: str = "cpu"
    ) -> None:
        if isinstance(source, Model):
            self.model = source
        else:
            run = source if isinstance(source, Run) else open_run(source)
            self.model = run.model(engine=engine, device=device)
        self.frame = Frame(self.model.graph)

    def batch(self, pictures: Tensor) -> Tensor:
        """Denoised pictures (N, C, H, W) on [0, 1], in the network's dtype and on its device.

        Raises:
            DiagnosticError: E304, the wrong number of channels; E208, too large for the network.
        """
        training = self.model.training
        self.model.eval()
        try:
            pictures = pictures.detach().to(device=self.model.device, dtype=self.model.dtype)
            return self.frame.apply(self.model.forward, pictures)
        finally:
            self.model.train(training)


def denoise(
    source: Run | Model | Denoiser | str | os.PathLike[str],
    image: Image,
    *,
    engine: str = "auto",
    device: str = "cpu",
) -> Image:
    """A denoised picture, or several.

    Args:
        source: a run, the path of one or of its `model.safetensors`, a model, or a `Denoiser`.
        image: array or tensor; the module's docstring has the axes and dtypes.
        engine, device: as in `n2nspec.compile`.

    Returns:
        a new array or tensor of the same kind, shape, dtype and device.

    Raises:
        DiagnosticError: E402, not a picture, by type, axes, dtype or range; E304, the wrong number of
            channels; E208, too large for the network; E401 or E404, no usable run.
    """
    denoiser = source if isinstance(source, Denoiser) else Denoiser(source, engine=engine, device=device)
    result: Any
    if isinstance(image, np.ndarray):
        result = _denoise_array(denoiser, image)
    elif isinstance(image, torch.Tensor):
        result = _denoise_tensor(denoiser, image)
    else:
        raise fail(
            "E402",
            f"expected a NumPy array or a torch tensor; received {type(image).__name__}",
            help="numpy.asarray(picture) makes an array of most things",
        )
    return cast(Image, result)


def _denoise_array(denoiser: Denoiser, image: NDArray[Any]) -> NDArray[Any]:
    axes = {2: "(H, W)", 3: "(H, W, C)", 4: "(N, H, W, C)"}.get(image.ndim)
    _check(image.shape, str(image.dtype.newbyteorder("=")), axes, "(H, W), (H, W, C) or (N, H, W, C)")
    if image.dtype.kind == "f":
        _check_range(float(np.nan_to_num(np.abs(image), nan=0.0).max()))
    channels = image.shape[-1] if image.ndim > 2 else 1
    _check_channels(image.shape, channels, denoiser.frame.channels, axes or "", (1 if image.ndim == 4 else 0))
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    batch_nhwc = native.reshape(1, *native.shape, 1) if native.ndim == 2 else native
    batch_nhwc = batch_nhwc[None] if batch_nhwc.ndim == 3 else batch_nhwc
    x = to_tensor(np.ascontiguousarray(batch_nhwc.transpose(0, 3, 1, 2)), denoiser.model.dtype)
    y = denoiser.batch(x).cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return from_unit(y, native.dtype).reshape(image.shape).astype(image.dtype, copy=False)


def _denoise_tensor(denoiser: Denoiser, image: Tensor) -> Tensor:
    axes = {2: "(H, W)", 3: "(C, H, W)", 4: "(N, C, H, W)"}.get(image.ndim)
    dtype = str(image.dtype).removeprefix("torch.")
    _check(tuple(image.shape), dtype, axes, "(H, W), (C, H, W) or (N, C, H, W)")
    if image.is_floating_point():
        _check_range(float(image.detach().abs().nan_to_num(0.0).max()))
    channels = image.shape[-3] if image.ndim > 2 else 1
    _check_channels(tuple(image.shape), channels, denoiser.frame.channels, axes or "", -1)
    shape = image.shape
    x = image.detach().reshape(-1, channels, *shape[-2:])
    if image.is_floating_point():
        return denoiser.batch(x).to(device=image.device, dtype=image.dtype).reshape(shape)
    unit = to_tensor(x.cpu().numpy(), denoiser.model.dtype)
    values = from_unit(denoiser.batch(unit).cpu().numpy(), np.dtype(dtype))
    return torch.from_numpy(values).to(image.device).reshape(shape)


def _check(shape: tuple[int, ...], dtype: str, axes: str | None, expected: str) -> None:
    if axes is None:
        raise fail("E402", f"expected a picture with axes {expected}; received shape {shape}")
    if 0 in shape:
        raise fail("E402", f"expected a picture with pixels; received shape {shape}")
    if dtype not in ("uint8", "uint16", *FLOATS):
        raise fail(
            "E402",
            f"expected uint8, uint16 or floating point on [0, 1]; received {dtype}, whose white nobody knows",
            help="convert it, for example with picture.astype('uint8') if the values are 0 to 255",
        )


def _check_range(largest: float) -> None:
    if not largest <= FARTHEST:
        raise fail(
            "E402",
            f"expected floating-point numbers on [0, 1]; received values as large as {largest:g}",
            help="divide by the value of white, or pass uint8 or uint16",
        )


def _check_channels(shape: tuple[int, ...], received: int, expected: int, axes: str, other: int) -> None:
    """`other` is where the channels would be if the axes were those of the other library."""
    if received == expected:
        return
    swapped = len(shape) > 2 and shape[other] == expected
    if len(shape) == 2:
        help = "the picture is grey: repeat it for every channel, or train a network for one channel"
    elif swapped:
        how = "last" if other >= 0 else "first"
        help = f"the axes are {axes} here; move the channels {how}"
    elif received == expected + 1:
        help = "remove the alpha channel"
    else:
        help = f"the axes are {axes}; a network with {received} channels is needed, or another picture"
    raise fail(
        "E304",
        f"the network takes {expected} {'channel' if expected == 1 else 'channels'};"
        f" the picture of shape {shape} has {received}",
        help=help,
    )

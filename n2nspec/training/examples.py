"""`examples.png`: noisy, denoised and clean pictures side by side.

In: a few pictures as tensors. Out: a PNG, one row a picture, that fits on a screen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from n2nspec._lazy import torch
from n2nspec.training.metrics import psnr

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ROWS", "Example", "draw_examples", "example"]

ROWS = 4
CELL = 256
"""Pixels of the figure that a picture may take, and of a picture that are shown."""
SMALLEST = 128
"""Smaller pictures are magnified by a whole factor until they are about this large."""
GAP, MARGIN, LINE = 12, 16, 18
TEXT = 2 * LINE + 6
"""Height of a row's title and captions."""
INK, FAINT = (17, 17, 17), (96, 96, 96)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row: crops (C, h, w), and the PSNR of the whole pictures."""

    name: str
    size: tuple[int, int]
    noisy: Tensor
    denoised: Tensor
    reference: Tensor
    noisy_psnr: float
    psnr: float


def example(name: str, noisy: Tensor, denoised: Tensor, reference: Tensor) -> Example:
    """A row from whole pictures (C, H, W), of which the middle is kept."""
    height, width = noisy.shape[-2:]
    top, left = max(0, (height - CELL) // 2), max(0, (width - CELL) // 2)
    # clones, so that the whole pictures can be forgotten
    noisy_crop, denoised_crop, reference_crop = (
        picture[..., top : top + CELL, left : left + CELL].detach().cpu().clone()
        for picture in (noisy, denoised, reference)
    )
    return Example(
        name=name,
        size=(height, width),
        noisy=noisy_crop,
        denoised=denoised_crop,
        reference=reference_crop,
        noisy_psnr=psnr(noisy, reference),
        psnr=psnr(denoised, reference),
    )


def draw_examples(examples: Sequence[Example], *, reference: str = "clean") -> bytes:
    """The figure as the content of a PNG file.

    Args:
        examples: one or more rows.
        reference: what the third column shows; without held-out pictures it is the second noisy one.
    """
    rows = [[_image(row.noisy), _image(row.denoised), _image(row.reference)] for row in examples]
    column = max(CELL // 2, *(image.width for row in rows for image in row))
    heights = [row[0].height for row in rows]
    canvas = Image.new(
        "RGB",
        (
            2 * MARGIN + 3 * column + 2 * GAP,
            2 * MARGIN + sum(heights) + len(rows) * TEXT + (len(rows) - 1) * GAP,
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    top = MARGIN
    for row, images in zip(examples, rows, strict=True):
        draw.text((MARGIN, top), _title(row), fill=FAINT, font=font)
        captions = (
            f"noisy {_decibels(row.noisy_psnr)}",
            f"denoised {_decibels(row.psnr)}",
            reference,
        )
        for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
            left = MARGIN + index * (column + GAP)
            canvas.paste(image, (left, top + LINE + 2))
            draw.text((left, top + LINE + 4 + image.height), caption, fill=INK, font=font)
        top += images[0].height + TEXT + GAP
    content = io.BytesIO()
    canvas.save(content, format="PNG")
    return content.getvalue()


def _title(row: Example) -> str:
    height, width = row.size
    shown = tuple(row.noisy.shape[-2:])
    text = f"{row.name}, {height} by {width} pixels"  # Pillow's font has no ×
    return text if shown == row.size else f"{text}; the middle {shown[0]} by {shown[1]} shown"


def _decibels(value: float) -> str:
    return "equal" if math.isinf(value) else f"{value:.2f} dB"


def _image(picture: Tensor) -> Image.Image:
    """A picture (C, h, w) of [0, 1] for the screen: clipped, grey or the first three channels, magnified."""
    pixels = (picture.to(torch.float64).clamp(0, 1) * 255).round().to(torch.uint8)
    channels = 3 if pixels.shape[0] >= 3 else 1
    array = np.ascontiguousarray(pixels[:channels].permute(1, 2, 0).numpy())
    image = Image.fromarray(array if channels == 3 else array[:, :, 0]).convert("RGB")
    factor = max(1, SMALLEST // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)

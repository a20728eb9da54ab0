"""PNG and JPEG pictures, in and out.

In: a path. Out: a `Picture`: its colours as an array, and what is needed to write the same kind of file
again. The codec is Pillow; what a file holds is told from its content, not from its name.

What happens to what a network cannot use:

- transparency is kept beside the colours, untouched, and written again;
- a palette becomes RGB (a denoised picture has more colours than a palette holds); CMYK and YCCK become RGB;
- the orientation that a camera notes in EXIF is applied to the pixels; the other EXIF fields are dropped;
- an ICC colour profile is kept, except that of a CMYK picture, which would be wrong for RGB.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from n2nspec.data.files import atomic_write
from n2nspec.data.scaling import from_unit, to_unit
from n2nspec.diagnostics import DiagnosticError, fail

__all__ = ["SUFFIXES", "Picture", "read_picture", "write_picture"]

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Lower-case file suffixes and the format that `write_picture` chooses for them."""

_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
"""What Pillow's modes become: L is grey, A transparency, 1 black and white, P a palette."""
_TRANSPARENT = {"L": "LA", "LA": "LA", "RGB": "RGBA", "RGBA": "RGBA"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture as a file holds it.

    Attributes:
        array: (H, W, C), uint8 or uint16; C is 1 (grey) or 3 (RGB).
        alpha: (H, W), the same dtype; None when the file has no transparency.
        icc_profile: the bytes that say what the numbers mean as colours, when the file says so.
        stored_as: Pillow's name of how the file stored it ("L", "RGB", "P", "CMYK", "I;16", …).
    """

    array: NDArray[Any]
    alpha: NDArray[Any] | None = None
    icc_profile: bytes | None = None
    stored_as: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.shape[2] not in (1, 3) or 0 in self.array.shape:
            raise ValueError(f"expected an array (H, W, 1) or (H, W, 3), received {self.array.shape}")
        if self.array.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"expected uint8 or uint16, received {self.array.dtype}")
        if self.alpha is not None and (
            self.alpha.shape != self.array.shape[:2] or self.alpha.dtype != self.array.dtype
        ):
            raise ValueError(
                f"expected transparency like {self.array.shape[:2]}, received {self.alpha.shape}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB; transparency does not count."""
        return int(self.array.shape[2])

    def unit(self) -> NDArray[np.float64]:
        """The colours as a network takes them: (C, H, W) on [0, 1]."""
        return np.ascontiguousarray(to_unit(self.array).transpose(2, 0, 1))

    def with_unit(self, values: NDArray[Any]) -> Picture:
        """This picture with other colours, (C, H, W) on [0, 1]: rounded to the same dtype, the rest kept.

        Raises:
            ValueError: the number of channels or the size differs.
            DiagnosticError: E406, some value is not a number.
        """
        colours = values.transpose(1, 2, 0)
        if colours.shape != self.array.shape:
            raise ValueError(f"expected colours {self.array.shape}, received {colours.shape}")
        return dataclasses.replace(self, array=from_unit(colours, self.array.dtype))


def read_picture(path: str | Path) -> Picture:
    """The picture in a PNG or JPEG file, whatever its suffix.

    Raises:
        DiagnosticError: E301, no such file, or not readable; E402, not a whole PNG or JPEG picture, or one
            of a kind that Pillow would cut to 8 bits, or one with more pixels than Pillow thinks safe.
    """
    path = Path(path)
    try:
        is_folder, is_device = path.is_dir(), path.exists() and not path.is_file()
        content = b"" if is_folder or is_device else path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise fail(
            "E301", f"cannot read {path.name}: {reason}", file=path, help="check the path and its permissions"
        ) from error
    if is_folder:
        raise fail("E402", f"{path.name} is a folder, not a picture", file=path, help="name a file in it")
    if is_device:
        raise fail("E402", f"{path.name} is a device, not a picture", file=path)
    if not content:
        raise fail("E402", f"{path.name} is an empty file", file=path)
    try:
        # the warning for more than half of the largest size that Pillow accepts, and for odd EXIF data, say
        # nothing that the outcome does not
        with warnings.catch_warnings(action="ignore"):
            return _decode(content, path)
    except DiagnosticError:
        raise
    except UnidentifiedImageError as error:
        raise fail(
            "E402",
            f"{path.name} is not a PNG or JPEG picture",
            file=path,
            help="convert it to PNG, which loses nothing",
        ) from error
    except Image.DecompressionBombError as error:
        raise fail(
            "E402",
            f"{path.name} claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels",
            file=path,
            help="cut it into several pictures",
        ) from error
    except Exception as error:  # Pillow answers broken bytes with SyntaxError, struct.error …
        raise fail(
            "E402",
            f"{path.name} is a broken or truncated picture: {error}",
            file=path,
            help="open it in a viewer, or copy it again",
        ) from error


def _decode(content: bytes, path: Path) -> Picture:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        _refuse_what_would_be_lost(image, path)
        image.load()
        stored_as = image.mode
        profile = image.info.get("icc_profile") if stored_as != "CMYK" else None
        upright = ImageOps.exif_transpose(image)
        if stored_as.startswith("I"):  # 16-bit grey; some versions of Pillow hand it out as 32-bit
            array = np.array(upright).astype(np.uint16)
            return Picture(array=array[:, :, None], icc_profile=profile, stored_as=stored_as)
        if stored_as not in _MODES:
            raise fail("E402", f"{path.name} has colours of an unknown kind, {stored_as}", file=path)
        mode = _MODES[stored_as]
        if upright.has_transparency_data:
            mode = _TRANSPARENT[mode]
        array = np.array(upright.convert(mode))
    if mode in ("LA", "RGBA"):
        return Picture(
            array=np.ascontiguousarray(array[:, :, :-1]),
            alpha=np.ascontiguousarray(array[:, :, -1]),
            icc_profile=profile,
            stored_as=stored_as,
        )
    if mode == "L":
        array = array[:, :, None]
    return Picture(array=array, icc_profile=profile, stored_as=stored_as)


def _refuse_what_would_be_lost(image: Image.Image, path: Path) -> None:
    """Pillow cuts colours of 16 bits to 8 and shows the first frame of an animation, without a word."""
    if image.format != "PNG" or not isinstance(image, ImageFile.ImageFile):
        return
    raw = str(image.tile[0].args) if image.tile else ""
    deep = ";16" in raw
    if deep and (not image.mode.startswith("I") or "transparency" in image.info):
        raise fail(
            "E402",
            f"{path.name} has 16 bits a channel and is not plain grey; only grey pictures can have 16 bits",
            file=path,
            help="convert it to 8 bits a channel, or save each channel as a grey picture",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise fail(
            "E402",
            f"{path.name} is an animation of {frames} frames",
            file=path,
            help="save each frame as a file",
        )


def write_picture(path: str | Path, picture: Picture | NDArray[Any], *, quality: int = 95) -> None:
    """Writes a PNG or JPEG file, as the suffix says; the file appears whole or not at all.

    Args:
        path: an existing file is replaced.
        picture: a `Picture`, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8 or, for grey PNG, uint16.
        quality: of JPEG, 1 to 100; colours are never subsampled.

    Raises:
        DiagnosticError: E405, unknown suffix, a format that cannot hold this kind of picture, or a folder
            that cannot be written to.
        ValueError: an array of another shape or dtype.
    """
    path = Path(path)
    if not isinstance(picture, Picture):
        picture = Picture(array=picture[:, :, None] if picture.ndim == 2 else picture)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise fail(
            "E405",
            f"cannot tell the format of {path.name} from its suffix",
            file=path,
            help=f"use one of {', '.join(SUFFIXES)}",
        )
    deep = picture.array.dtype == np.uint16
    if deep and (picture.channels != 1 or picture.alpha is not None):
        raise fail("E405", "only grey pictures without transparency can be written with 16 bits", file=path)
    if kind == "JPEG" and (deep or picture.alpha is not None):
        what = "16 bits a channel" if deep else "transparency"
        raise fail("E405", f"JPEG cannot hold {what}", file=path, help="give the output the suffix .png")
    pixels = picture.array if picture.alpha is None else np.dstack([picture.array, picture.alpha])
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, Any] = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {}
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    with atomic_write(path) as stream:
        image.save(stream, format=kind, **options)

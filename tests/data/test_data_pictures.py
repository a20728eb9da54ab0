"""Pictures in and out: every kind of file keeps its kind, and a broken one is one diagnostic."""

from __future__ import annotations

import io
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from n2nspec.data import Picture, read_picture, write_picture
from n2nspec.diagnostics import DiagnosticError

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
RGB = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 255, (7, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (7, 5), dtype=np.uint16)


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def png(
    width: int, height: int, bits: int, colour: int, rows: bytes, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """A PNG file put together by hand, for the kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks)


def one_error(path: Path) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        read_picture(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.file == str(path)
    return diagnostic.code, diagnostic.message


@pytest.mark.parametrize(
    ("image", "colours", "alpha"),
    [
        (Image.fromarray(GREY), GREY[:, :, None], None),
        (Image.fromarray(RGB), RGB, None),
        (Image.fromarray(GREY16), GREY16[:, :, None], None),
        (Image.fromarray(np.dstack([GREY, ALPHA])), GREY[:, :, None], ALPHA),
        (Image.fromarray(np.dstack([RGB, ALPHA])), RGB, ALPHA),
        (Image.fromarray(GREY > 99), np.where(GREY > 99, 255, 0)[:, :, None], None),
    ],
    ids=["grey", "rgb", "grey 16", "grey and alpha", "rgb and alpha", "black and white"],
)
def test_png_goes_in_and_out(
    tmp_path: Path, image: Image.Image, colours: np.ndarray, alpha: np.ndarray | None
) -> None:
    image.save(tmp_path / "in put.png")
    picture = read_picture(tmp_path / "in put.png")
    assert np.array_equal(picture.array, colours)
    assert picture.array.dtype == (np.uint16 if image.mode == "I;16" else np.uint8)
    assert (picture.alpha is None) == (alpha is None)
    write_picture(tmp_path / "out.png", picture)
    with Image.open(tmp_path / "out.png") as written:
        expected = "L" if image.mode == "1" else image.mode
        assert written.mode == expected
        assert np.array_equal(np.array(written), np.array(image.convert(expected)))


def test_a_denoised_picture_is_of_the_same_kind(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([GREY, ALPHA])).save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    unit = picture.unit()
    assert unit.shape == (1, 7, 5)
    assert np.array_equal(unit[0], GREY / 255)
    darker = picture.with_unit(unit / 2)
    assert np.array_equal(darker.array[:, :, 0], np.rint(GREY / 255 / 2 * 255))
    assert np.array_equal(darker.alpha, ALPHA)
    with pytest.raises(ValueError, match="expected colours"):
        picture.with_unit(unit[:, 1:])


@pytest.mark.parametrize("colours", [GREY, RGB], ids=["grey", "rgb"])
def test_jpeg_keeps_its_kind(tmp_path: Path, colours: np.ndarray) -> None:
    smooth = np.broadcast_to(np.array(100, np.uint8), colours.shape)
    write_picture(tmp_path / "x.JPEG", smooth)
    picture = read_picture(tmp_path / "x.JPEG")
    assert np.array_equal(picture.array, smooth.reshape(7, 5, -1))
    with Image.open(tmp_path / "x.JPEG") as written:
        assert written.format == "JPEG"
        assert written.mode == ("L" if colours.ndim == 2 else "RGB")


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "photo.jpg", format="PNG")
    assert np.array_equal(read_picture(tmp_path / "photo.jpg").array, RGB)


def test_a_palette_becomes_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(4)
    image.save(tmp_path / "p.png")
    picture = read_picture(tmp_path / "p.png")
    assert picture.stored_as == "P"
    assert np.array_equal(picture.array, np.array(image.convert("RGB")))
    assert picture.alpha is None


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_alpha(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 2), 0)
    image.putpixel((1, 1), 7 if mode != "RGB" else (7, 7, 7))
    image.save(tmp_path / "t.png", transparency=0 if mode != "RGB" else (0, 0, 0))
    picture = read_picture(tmp_path / "t.png")
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 0, 0], [0, 255, 0]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    picture = read_picture(tmp_path / "c.jpg")
    assert picture.stored_as == "CMYK"
    assert np.abs(picture.array.astype(int) - (255, 0, 0)).max() <= 3


def test_exif_orientation_is_applied_and_not_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row is the picture's right side
    Image.fromarray(RGB).save(tmp_path / "e.png", exif=exif)
    picture = read_picture(tmp_path / "e.png")
    assert np.array_equal(picture.array, np.rot90(RGB, -1))
    write_picture(tmp_path / "o.png", picture)
    assert np.array_equal(read_picture(tmp_path / "o.png").array, picture.array)


def test_a_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "i.png", icc_profile=profile)
    write_picture(tmp_path / "o.jpg", read_picture(tmp_path / "i.png"))
    with Image.open(tmp_path / "o.jpg") as written:
        assert written.info["icc_profile"] == profile


@pytest.mark.parametrize("colours", [GREY, RGB, GREY16], ids=["grey", "rgb", "grey 16"])
def test_one_pixel(tmp_path: Path, colours: np.ndarray) -> None:
    write_picture(tmp_path / "1.png", colours[:1, :1])
    picture = read_picture(tmp_path / "1.png")
    assert picture.size == (1, 1)
    assert np.array_equal(picture.array.ravel(), colours[:1, :1].ravel())


def test_broken_files_are_one_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, "PNG")
    whole = buffer.getvalue()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    jpeg = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    cases = {
        "cut.png": whole[: len(whole) // 2],
        "head.png": whole[:20],
        "damaged.png": bytes(damaged),
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        code, message = one_error(tmp_path / name)
        assert code == "E402", name
        assert name in message
        assert "broken" in message or "not a PNG" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello, world\n" * 20, "not a PNG or JPEG"),
        (b"GIF89a" + bytes(40), "not a PNG or JPEG"),
        (png(60000, 60000, 8, 2, b""), "pixels"),
        (png(1, 1, 16, 2, bytes(7)), "16 bits"),
        (png(1, 1, 16, 6, bytes(9)), "16 bits"),
        (png(1, 1, 16, 0, bytes(3), ((b"tRNS", b"\0\0"),)), "16 bits"),
    ],
    ids=["empty", "text", "gif", "bomb", "rgb 16", "rgba 16", "grey 16 with a transparent colour"],
)
def test_what_is_no_usable_picture(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    code, message = one_error(tmp_path / "x.png")
    assert code == "E402"
    assert words in message


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY.T.copy()).resize((5, 7))]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    assert "animation of 2 frames" in one_error(tmp_path / "x.png")[1]


def test_odd_exif_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(8))
    assert read_picture(tmp_path / "x.png").channels == 3


def test_what_is_no_file(tmp_path: Path) -> None:
    assert one_error(tmp_path / "nowhere.png")[0] == "E301"
    assert one_error(tmp_path) == ("E402", f"{tmp_path.name} is a folder, not a picture")
    assert one_error(tmp_path / "null\0byte.png")[0] == "E301"
    assert one_error(tmp_path / ("long" * 100))[0] == "E301"
    assert "device" in one_error(Path("/dev/null"))[1]


@pytest.mark.parametrize(
    ("name", "picture", "words"),
    [
        ("x.gif", GREY, "suffix"),
        ("x", GREY, "suffix"),
        ("x.jpg", GREY16, "16 bits"),
        ("x.jpg", Picture(array=RGB, alpha=ALPHA), "transparency"),
        ("x.png", RGB.astype(np.uint16), "16 bits"),
    ],
)
def test_what_a_format_cannot_hold(
    tmp_path: Path, name: str, picture: Picture | np.ndarray, words: str
) -> None:
    with pytest.raises(DiagnosticError, match=words) as caught:
        write_picture(tmp_path / name, picture)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E405"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("array", [RGB / 255, RGB[:, :, :2], GREY[0], np.zeros((0, 3), np.uint8)])
def test_arrays_that_are_no_pictures(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_picture(tmp_path / "x.png", array)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "x.png", GREY)
    before = (tmp_path / "x.png").read_bytes()

    def full(image: Image.Image, stream: io.BytesIO, **_: object) -> None:
        stream.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DiagnosticError, match="No space left"):
        write_picture(tmp_path / "x.png", RGB)
    assert (tmp_path / "x.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "no" / "x.png", tmp_path / "file" / "x.png", tmp_path / "folder.png"):
        with pytest.raises(DiagnosticError, match="cannot write"):
            write_picture(path, GREY)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.png"}


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_picture(tmp_path / "x.png", GREY)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "x.png")]
    assert modes[0] == modes[1]

"""Loading of image files: every mode becomes RGB, and unusable files are refused in one line."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from lad.data.images import load_image
from lad.utils.messages import one_line


@pytest.fixture
def colors() -> np.ndarray:
    """[4, 6, 3]: no two rows or columns alike, so that every rotation shows."""
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_rgb_is_loaded_as_stored(tmp_path, colors):
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), colors)


def test_grayscale_is_repeated_in_three_channels(tmp_path, colors):
    Image.fromarray(colors[:, :, 0]).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), np.repeat(colors[:, :, :1], 3, axis=2))


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert load_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 0]]]


def test_alpha_is_dropped_and_the_color_kept(tmp_path, colors):
    alpha = np.full((4, 6, 1), 7, dtype=np.uint8)
    Image.fromarray(np.concatenate([colors, alpha], axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), colors)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied(tmp_path, colors, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colors).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: colors, 2: colors[:, ::-1], 3: colors[::-1, ::-1], 4: colors[::-1],
        5: colors.transpose(1, 0, 2), 6: np.rot90(colors, -1),
        7: np.rot90(colors, 2).transpose(1, 0, 2), 8: np.rot90(colors),
    }[orientation]  # fmt: skip
    assert np.array_equal(load_image(tmp_path / "a.png"), upright)
    assert np.array_equal(load_image(tmp_path / "a.png", upright.shape[:2]), upright)


def test_an_image_annotated_as_stored_is_not_rotated(tmp_path, colors):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colors).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "a.png", annotated_hw=(4, 6)), colors)


def test_an_unusable_file_is_named(tmp_path, colors):
    with pytest.raises(ValueError, match=r"none\.png: no such image file"):
        load_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as an image"):
        load_image(tmp_path / "text.png")
    Image.fromarray(np.tile(colors, (50, 50, 1))).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.jpg: cannot be read as an image .*truncated"):
        load_image(tmp_path / "cut.jpg")
    with pytest.raises(ValueError, match=r"whole\.jpg: is 300 x 200 pixels, annotated as 200 x 300"):
        load_image(tmp_path / "whole.jpg", annotated_hw=(300, 200))


def png_header(path: Path, width: int, height: int) -> bytes:
    """Write a small file whose header claims a black and white image of that size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(content)
    return content


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 40_000])  # beyond the limit, where Pillow warns, and beyond twice it
def test_an_image_with_too_many_pixels_is_refused_with_its_size_and_the_limit(tmp_path, side):
    content = png_header(tmp_path / "bomb.png", side, side)
    size = rf"has {side} x {side} = {side**2:,} pixels, more than the limit of 89,478,485 .*; resize it"
    with pytest.raises(ValueError, match=rf"bomb\.png: {size}"):
        load_image(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=rf"the image: {size}"):
        load_image(io.BytesIO(content))


def test_the_limit_is_pillows_own(tmp_path, colors, monkeypatch):
    Image.fromarray(colors).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", colors[:, :, 0].size)
    load_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(ValueError, match="has 6 x 4 = 24 pixels, more than the limit of 5"):
        load_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    load_image(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_a_truncated_file_is_refused_unless_all_pixels_are_there(tmp_path, form):
    file = tmp_path / f"a.{form}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    content, pixels = file.read_bytes(), load_image(file)
    refused = 0
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        try:
            assert np.array_equal(load_image(file), pixels)
        except ValueError as error:
            assert str(error).startswith(f"{file}: ")
            refused += 1
    assert refused > 0.9 * len(content) / 7


def test_no_module_makes_pillow_accept_truncated_files():
    assert "lad.data.images" in sys.modules and not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("form", ["gif", "png", "webp"])
def test_an_animation_is_refused(tmp_path, form):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / f"a.{form}", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=rf"a\.{form}: is an animation; save the annotated frame"):
        load_image(tmp_path / f"a.{form}")
    frames[0].save(tmp_path / f"still.{form}")
    assert load_image(tmp_path / f"still.{form}").shape == (8, 8, 3)


def test_a_photo_with_a_second_view_is_not_an_animation(tmp_path):
    """Phones write such files."""
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "mpo", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.jpg")[0, 0].tolist() == [254, 0, 0]


def test_floating_point_pixels_are_refused_with_the_files_name(tmp_path):
    Image.new("F", (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff: cannot be read as an image \(mode F, .*8 bits per channel"):
        load_image(tmp_path / "a.tiff")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.png", "no such image file"),
        ("file/none.png", "no such image file"),
        ("file", "is empty (0 bytes)"),
        ("folder", "is a folder, not an image file"),
        ("pipe", "is not a regular file but a pipe"),
        ("loop", "cannot be read as an image (Too many levels of symbolic links)"),
        ("a\0b", "cannot be read as an image (embedded null byte)"),
        ("\ud800.png", "cannot be read as an image ("),
        ("not \udce9 unicode.png", "no such image file"),
        ("a\nb\x1b[31m.png", "no such image file"),
        ("x" * 5000, "cannot be read as an image (File name too long)"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_in_one_line(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ValueError) as caught:
        load_image(tmp_path / name)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 1000
    assert line.startswith(str(tmp_path)) and f": {reason}" in line


def test_a_message_is_one_printable_line():
    assert one_line("é 日 × 3") == "é 日 × 3"
    assert one_line("a\nb\0\x1b[1m\udce9") == r"a\nb\x00\x1b[1m\udce9"
    assert one_line("a" * 900 + "b" * 900) == "a" * 500 + " … " + "b" * 500

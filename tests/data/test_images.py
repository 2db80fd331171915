"""Images of every mode come out as the RGB bytes that a person would expect."""

import numpy as np
import pytest
from PIL import Image

from lad.data.images import load_image


@pytest.fixture
def colours() -> np.ndarray:
    """[4, 6, 3]: no two rows or columns alike, so that any turn shows."""
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_rgb_comes_as_stored(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), colours)


def test_grayscale_fills_three_channels(tmp_path, colours):
    Image.fromarray(colours[:, :, 0]).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), np.repeat(colours[:, :, :1], 3, axis=2))


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert load_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 0]]]


def test_alpha_is_dropped_and_the_colour_kept(tmp_path, colours):
    alpha = np.full((4, 6, 1), 7, dtype=np.uint8)
    Image.fromarray(np.concatenate([colours, alpha], axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), colours)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied(tmp_path, colours, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: colours, 2: colours[:, ::-1], 3: colours[::-1, ::-1], 4: colours[::-1],
        5: colours.transpose(1, 0, 2), 6: np.rot90(colours, -1),
        7: np.rot90(colours, 2).transpose(1, 0, 2), 8: np.rot90(colours),
    }[orientation]  # fmt: skip
    assert np.array_equal(load_image(tmp_path / "a.png"), upright)
    assert np.array_equal(load_image(tmp_path / "a.png", upright.shape[:2]), upright)


def test_an_image_annotated_as_stored_is_not_turned(tmp_path, colours):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "a.png", annotated_hw=(4, 6)), colours)


def test_what_cannot_be_used_is_named(tmp_path, colours):
    with pytest.raises(ValueError, match=r"none\.png: no such image file"):
        load_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as an image"):
        load_image(tmp_path / "text.png")
    Image.fromarray(np.tile(colours, (50, 50, 1))).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.jpg: cannot be read as an image .*truncated"):
        load_image(tmp_path / "cut.jpg")
    with pytest.raises(ValueError, match=r"whole\.jpg: is 300 x 200 pixels but its annotations say 200 x 300"):
        load_image(tmp_path / "whole.jpg", annotated_hw=(300, 200))

"""Animated images: every frame as displayed, its duration, and an animation like it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lad.data.animations import Animation, read_animation, read_frames, write_animation

DURATIONS = [100, 250, 40]
FORMATS = pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])


@pytest.fixture(scope="module")
def frames() -> list[Image.Image]:
    return [Image.new("RGB", (30, 20), color) for color in ("#ff0000", "#00ff00", "#0000ff")]


def save(path: Path, frames: list[Image.Image], **options: object) -> Path:
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=DURATIONS, **options)
    return path


@FORMATS
def test_every_frame_is_read_with_its_duration(tmp_path, frames, suffix):
    read = list(read_frames(save(tmp_path / f"a{suffix}", frames)))
    assert [duration for _, duration in read] == DURATIONS
    for (pixels, _), frame in zip(read, frames, strict=True):
        np.testing.assert_allclose(pixels, np.asarray(frame), atol=6)  # WebP is lossy


@FORMATS
@pytest.mark.parametrize("loop", [0, 3])
def test_a_written_animation_has_the_properties_of_the_one_that_was_read(tmp_path, frames, suffix, loop):
    animation = read_animation(save(tmp_path / f"a{suffix}", frames, loop=loop))
    assert (animation.num_frames, animation.size, animation.loop) == (3, (30, 20), loop)
    write_animation(tmp_path / "b", frames, DURATIONS, animation)
    assert read_animation(tmp_path / "b") == animation
    assert [duration for _, duration in read_frames(tmp_path / "b")] == DURATIONS


def test_a_gif_that_plays_once_stays_one(tmp_path, frames):
    animation = read_animation(save(tmp_path / "a.gif", frames))
    write_animation(tmp_path / "b.gif", frames, DURATIONS, animation)
    assert animation.loop is None and "loop" not in Image.open(tmp_path / "b.gif").info


def test_the_still_image_of_an_apng_is_not_a_frame(tmp_path, frames):
    still = Image.new("RGB", (30, 20), "white")
    path = tmp_path / "a.png"
    still.save(path, save_all=True, append_images=frames, duration=DURATIONS, default_image=True)
    assert read_animation(path).num_frames == 3
    assert [pixels[0, 0].tolist() for pixels, _ in read_frames(path)] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_still_image_and_what_is_no_image_are_no_animations(tmp_path, frames):
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.gif").write_text("no image")
    names = ("still.gif", "pages.tif", "text.gif", "missing.gif")
    assert [read_animation(tmp_path / name) for name in names] == [None] * 4


def test_the_frames_before_a_corrupted_one_are_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", [Image.fromarray(pixels) for pixels in noise])
    path.write_bytes(path.read_bytes()[:-3000])
    read = []
    with pytest.raises(ValueError, match=r"a\.png: frame 2 cannot be read"):
        read.extend(frame for frame in read_frames(path))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.png: frame \d cannot be read") as error:
        list(read_frames(path))
    assert "\n" not in str(error.value)


def test_an_animation_of_too_many_pixels_is_not_writable():
    assert Animation("GIF", 200, (1000, 1000), None).is_writable
    assert not Animation("GIF", 300, (1000, 1000), None).is_writable


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_frames_beyond_the_limit_of_pixels_are_refused(tmp_path, frames, monkeypatch):
    path = save(tmp_path / "a.gif", frames)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match=r"a\.gif: frame 0 cannot be read \("):
        list(read_frames(path))

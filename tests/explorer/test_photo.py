"""The user's own photo: its objects, its size and orientation, and what is an error."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lad.explorer import photo as photo_module
from lad.explorer.photo import MAX_DETECTIONS, MAX_DISPLAY_SIDE, UserBox, open_photo
from lad.explorer.session import open_session
from lad.explorer.view import gt_names, render_view
from lad.structures import Detections


def saved(tmp_path, name, image, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def colorful(width=60, height=40):
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 5, columns * 4, rows + columns], axis=2).astype(np.uint8))


def test_on_a_photo_the_users_box_is_the_first_object(plain, config_for, tmp_path):
    config = config_for(photo=saved(tmp_path, "mine.png", colorful()))
    view = render_view(plain, config, box=UserBox((0.25, 0.5, 0.75, 1.0), label=3))
    height, width = view.batch.targets.image_hw[0].tolist()
    assert (height, width) == (85, 128)  # as the network sees 40 x 60 pixels
    assert view.batch.targets.boxes[0].tolist() == [0.25 * 128, 0.5 * 85, 0.75 * 128, 85]
    assert view.batch.targets.labels[0] == 3 and gt_names(view)[0] == "your box"
    assert np.array_equal(view.pixels, np.asarray(colorful()))


@pytest.mark.parametrize("label", [6, -1])
def test_a_box_of_an_unknown_class_is_one_clear_line(label, plain, config_for, tmp_path):
    config = config_for(photo=saved(tmp_path, "mine.png", colorful()))
    with pytest.raises(ValueError, match=rf"^box of class {label}: the class must be 0 … 5$"):
        render_view(plain, config, box=UserBox(label=label))


def test_the_students_detections_are_the_photos_other_objects(plain, config_for, tmp_path):
    corners = torch.tensor([[float(i), 0, 40 + i, 50] for i in range(8)])
    detections = Detections(corners, torch.linspace(0.9, 0.4, 8), torch.arange(8) % 6)
    photo = dataclasses.replace(open_photo(plain, saved(tmp_path, "mine.png", colorful())), detections=detections)
    view = render_view(plain, config_for(), photo, UserBox())
    assert len(view.batch.targets.boxes) == 1 + MAX_DETECTIONS
    assert torch.equal(view.batch.targets.boxes[1:], corners[:MAX_DETECTIONS])
    assert view.batch.targets.labels.tolist() == [0, 0, 1, 2, 3, 4]


def test_another_box_on_the_photo_is_analyzed_again(plain, config_for, tmp_path):
    photo = open_photo(plain, saved(tmp_path, "mine.png", colorful()))
    boxes = [UserBox((0, 0, 0.5, 0.5)), UserBox((0.5, 0.5, 1, 1)), UserBox((0, 0, 0.5, 0.5))]
    first, second, again = (render_view(plain, config_for(), photo, box) for box in boxes)
    assert not torch.equal(first.positives.anchor, second.positives.anchor)
    assert torch.equal(first.positives.anchor, again.positives.anchor)


def test_detections_on_a_photo_do_not_depend_on_the_epoch_on_show(runs, config_for, tmp_path):
    path = saved(tmp_path, "mine.png", colorful())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_module, "SCORE_THRESHOLD", 0.0)
        run = runs["plain"].folder.name
        detections = []
        for epoch in (None, 0):
            fresh = open_session(config_for(run=run))
            render_view(fresh, config_for(epoch=epoch))
            detections.append(open_photo(fresh, path).detections)
    assert len(detections[0].boxes) and torch.equal(detections[0].boxes, detections[1].boxes)


@pytest.mark.parametrize("kind", ["L", "RGBA", "P", "1", "I;16"])
def test_a_photo_of_any_color_mode_is_shown(kind, plain, config_for, tmp_path):
    if kind == "I;16":
        image = Image.fromarray((np.arange(2400).reshape(40, 60) * 20).astype(np.uint16))
    else:
        image = colorful().convert(kind)
    view = render_view(plain, config_for(photo=saved(tmp_path, "mine.png", image)))
    assert view.pixels.shape == (40, 60, 3) and view.pixels.dtype == np.uint8
    if kind == "L":
        assert np.array_equal(view.pixels, np.repeat(np.asarray(image)[:, :, None], 3, axis=2))


def test_a_photo_is_rotated_as_its_exif_says(plain, config_for, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise
    path = saved(tmp_path, "phone.jpg", colorful(), exif=exif, quality=95)
    view = render_view(plain, config_for(photo=path))
    assert view.pixels.shape == (60, 40, 3)
    upright = np.asarray(colorful().rotate(-90, expand=True)).astype(int)
    assert np.abs(view.pixels.astype(int) - upright).mean() < 6  # JPEG is lossy


@pytest.mark.parametrize(("width", "height"), [(1, 1), (900, 9), (1300, 700)])
def test_a_photo_of_any_size_is_shown_at_no_more_than_display_size(width, height, plain, config_for, tmp_path):
    view = render_view(plain, config_for(photo=saved(tmp_path, "mine.png", colorful(width, height))))
    assert max(view.pixels.shape) <= MAX_DISPLAY_SIDE
    assert len(view.batch.targets.boxes) >= 1 and max(view.batch.targets.image_hw[0].tolist()) <= 128


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + 40 * b"x", b"GIF89a"])
def test_a_file_that_is_not_an_image_is_one_clear_line(content, plain, config_for, tmp_path):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        render_view(plain, config_for(photo=path))
    reason = "cannot be read as an image (" if content else "is empty (0 bytes)"
    assert str(caught.value).startswith(f"{path}: {reason}") and "\n" not in str(caught.value)


def test_a_corrupted_upload_is_named_in_the_message(plain):
    content = io.BytesIO(b"no picture")
    content.name = "cat.jpg"
    with pytest.raises(ValueError, match=r"^cat\.jpg: cannot be read as an image"):
        open_photo(plain, content)


def test_a_truncated_image_is_an_error_wherever_it_ends(plain):
    whole = {}
    for kind in ("png", "jpeg"):
        file = io.BytesIO()
        colorful(200, 100).save(file, format=kind)
        whole[kind] = file.getvalue()
    for content in whole.values():
        for share in (0.02, 0.3, 0.9):
            with pytest.raises(ValueError, match="cannot be read as an image"):
                open_photo(plain, io.BytesIO(content[: int(share * len(content))]))

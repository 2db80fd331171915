"""COCO-format folders: what becomes a gt, what is refused, and with which words."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lad.data import CocoDataset, collate, eval_transform, find_split, read_annotations, train_transform

IMAGE = {"id": 7, "file_name": "a.png", "width": 40, "height": 30}
CATEGORIES = [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}]


def gt(number: int = 1, **changes) -> dict:
    return {"id": number, "image_id": 7, "category_id": 3, "bbox": [5, 6, 10, 12], "area": 120, "iscrowd": 0, **changes}


def write(folder: Path, annotations: list, split: str = "train", images: list | None = None, **changes) -> Path:
    content = {"images": images or [IMAGE], "annotations": annotations, "categories": CATEGORIES, **changes}
    path = folder / f"instances_{split}.json"
    path.write_text(json.dumps(content))
    return path


def test_category_ids_with_gaps_become_contiguous_labels(tmp_path):
    annotations = read_annotations(write(tmp_path, [gt(category_id=90), gt(2, category_id=3)]))
    assert annotations.category_ids == (3, 90) and annotations.class_names == ("car", "zebra")
    assert annotations.records[0].labels.tolist() == [1, 0]
    assert annotations.records[0].boxes.tolist() == [[5, 6, 15, 18]] * 2


def test_crowds_and_boxes_without_area_are_no_gts_and_their_image_stays(tmp_path):
    entries = [gt(iscrowd=1), gt(2, bbox=[1, 1, 0, 5]), gt(3, bbox=[1, 1, 5, 0]), gt(4, bbox=[9, 9, -3, 4])]
    (record,) = read_annotations(write(tmp_path, entries)).records
    assert record.boxes.shape == (0, 4) and record.labels.shape == (0,)


def test_a_box_outside_its_image_is_clipped_and_said_once(tmp_path, caplog):
    entries = [gt(11, bbox=[30, 20, 50, 50]), gt(12, bbox=[100, 100, 5, 5]), gt(13, bbox=[-0.4, 0, 10, 10.2])]
    with caplog.at_level(logging.WARNING):
        (record,) = read_annotations(write(tmp_path, entries)).records
    np.testing.assert_allclose(record.boxes, [[30, 20, 40, 30], [0, 0, 9.6, 10.2]], rtol=1e-6)
    (line,) = caplog.messages
    assert (
        "instances_train.json: 2 boxes reach outside their image and were clipped to it (first: annotation 11)" in line
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "is not valid JSON (Expecting value: line 1 column 13"),
        ("[1, 2]", "is not a COCO instances JSON"),
        ("{}", "has no list 'images'"),
        ('{"images": [], "annotations": {}, "categories": []}', "has no list 'annotations'"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no categories"),
    ],
)
def test_a_malformed_json_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "instances_train.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_annotations(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [gt(5, image_id=8)]}, "annotation 5 has image_id 8, which is not listed"),
        ({"annotations": [gt(5, category_id=4)]}, "annotation 5 has category_id 4, which is not listed"),
        ({"annotations": [gt(5, category_id="car")]}, "annotation 5 has no whole number 'category_id'"),
        ({"annotations": [gt(5, bbox=[1, 2, 3])]}, "annotation 5 has bbox [1, 2, 3]; four finite numbers are needed"),
        ({"annotations": [gt(5, bbox=[1, 2, 3, None])]}, "annotation 5 has bbox [1, 2, 3, None]"),
        ({"annotations": [gt(5, bbox=[1, 2, 3, float("nan")])]}, "annotation 5 has bbox [1, 2, 3, nan]"),
        ({"annotations": ["x"]}, "annotation ? has no whole number 'image_id'"),
        ({"images": [IMAGE, IMAGE]}, "image ids are not unique"),
        ({"images": [{"id": 7, "file_name": "a.png", "width": 40}]}, "image 7 has no whole number 'height'"),
        ({"images": [{**IMAGE, "height": 0}]}, "image 7 has size 40 x 0"),
        ({"images": [{**IMAGE, "file_name": "../../secret.png"}]}, "image 7 has no file_name inside the images folder"),
        ({"images": [{**IMAGE, "file_name": None}]}, "image 7 has no file_name inside the images folder (None)"),
        ({"categories": [*CATEGORIES, {"id": 3}]}, "category ids are not unique"),
    ],
)
def test_what_the_format_forbids_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError) as caught:
        read_annotations(write(tmp_path, **{"annotations": [], **changes}))
    assert message in str(caught.value)


def test_validation_must_share_the_categories_of_training(tmp_path):
    train = read_annotations(write(tmp_path, [gt()]))
    val = write(tmp_path, [], "val", categories=[{"id": 3, "name": "car"}])
    with pytest.raises(
        ValueError, match=r"instances_val.json: its categories differ from those of .*instances_train.json"
    ):
        read_annotations(val, like=train)


@pytest.mark.parametrize("place", [".", "images", "train2017", "images/train2017"])
@pytest.mark.parametrize("annotations", [".", "annotations"])
def test_a_split_is_found_wherever_it_usually_lies(tmp_path, place, annotations):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / annotations).mkdir(exist_ok=True)
    write(tmp_path, [gt()]).rename(tmp_path / annotations / "instances_train2017.json")
    Image.new("RGB", (40, 30)).save(tmp_path / place / "a.png")
    images, path = find_split(tmp_path, "train")
    assert images.samefile(tmp_path / place) and path.name == "instances_train2017.json"


def test_a_folder_that_does_not_fit_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"data '.*nowhere': no such folder"):
        find_split(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match=r"no instances_train\*\.json in it or its annotations/ folder"):
        find_split(tmp_path, "train")
    write(tmp_path, [gt()])
    with pytest.raises(ValueError, match=r"names a\.png, which is in none of train/, images/train/"):
        find_split(tmp_path, "train")


def test_a_sample_follows_its_transform(tmp_path):
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    pixels[6:18, 5:15] = 255  # the gt, in white
    Image.fromarray(pixels).save(tmp_path / "a.png")
    annotations = read_annotations(write(tmp_path, [gt()]))
    plain = CocoDataset(tmp_path, annotations)[0]
    assert plain.image.shape == (3, 30, 40) and plain.image.max() == 1
    assert (plain.image_id, plain.original_hw, plain.labels.tolist()) == (7, (30, 40), [0])

    flipped = CocoDataset(tmp_path, annotations, train_transform([60], 80, flip_probability=1))[0]
    assert flipped.image.shape == (3, 60, 80)
    assert flipped.boxes.tolist() == [[50, 12, 70, 36]]
    inside = flipped.image[:, 13:35, 51:69]
    assert inside.min() > flipped.image[:, :, :48].max()  # the white moved with its box


def test_real_photographs_load(real_data):
    """COCO's own: crowds, images without boxes, a grayscale one, category ids with gaps, tiny boxes."""
    folder = real_data("coco_ccby320")
    for split, images, gts in (("train", 34, 285), ("val", 47, 425)):
        place, path = find_split(folder, split)
        annotations = read_annotations(path)
        dataset = CocoDataset(place, annotations, eval_transform(200, 320))
        assert len(dataset) == images and sum(len(record.boxes) for record in annotations.records) == gts
        assert len(annotations.class_names) == 80 and max(annotations.category_ids) == 90
        assert dataset.unreadable_images() == {}
        batch = collate([dataset[index] for index in range(8)])
        assert batch.images.isfinite().all() and batch.images.shape[2] % 32 == 0
        assert (batch.targets.boxes[:, 2:] > batch.targets.boxes[:, :2]).all()
        limit = batch.targets.image_hw.flip(1)[batch.targets.image]
        assert (batch.targets.boxes[:, 2:] <= limit + 1e-3).all()
    assert any(len(record.boxes) == 0 for record in annotations.records)
    assert torch.equal(batch.image_id, torch.tensor([record.image_id for record in annotations.records[:8]]))

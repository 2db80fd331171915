"""COCO-format folders: which annotations become gts, and which files are refused with which message."""

import json
import logging
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lad.data.annotations import CocoAnnotations, read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.collate import collate
from lad.data.samplers import SampleKey
from lad.data.transforms import eval_transform, train_transform
from lad.data.validation.image_files import ensure_usable

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


def test_crowds_and_boxes_without_area_are_not_gts_and_their_image_stays(tmp_path):
    entries = [gt(iscrowd=1), gt(2, bbox=[1, 1, 0, 5]), gt(3, bbox=[1, 1, 5, 0]), gt(4, bbox=[9, 9, -3, 4])]
    (record,) = read_annotations(write(tmp_path, entries)).records
    assert record.boxes.shape == (0, 4) and record.labels.shape == (0,)


def test_boxes_beyond_their_image_are_clipped_with_one_warning(tmp_path, caplog):
    entries = [gt(11, bbox=[30, 20, 50, 50]), gt(12, bbox=[100, 100, 5, 5]), gt(13, bbox=[-0.4, 0, 10, 10.2])]
    with caplog.at_level(logging.WARNING):
        (record,) = read_annotations(write(tmp_path, entries)).records
    np.testing.assert_allclose(record.boxes, [[30, 20, 40, 30], [0, 0, 9.6, 10.2]], rtol=1e-6)
    (line,) = caplog.messages
    assert (
        "instances_train.json: 2 boxes extend beyond their image and were clipped to it (first: annotation 11)" in line
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "is not valid JSON (Expecting value: line 1 column 13"),
        ("[1, 2]", "is not a COCO instances JSON"),
        ("", "is not valid JSON"),
        ("{}", "is not a COCO instances JSON (Object missing required field `images`)"),
        ('{"images": [], "categories": []}', "has no list 'annotations'"),
        (
            '{"images": [], "annotations": {}, "categories": []}',
            "is not a COCO instances JSON (Expected `array | null`, got `object` - at `$.annotations`)",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "lists no categories"),
    ],
)
def test_a_malformed_json_is_refused_in_one_line(tmp_path, text, message):
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
        ({"annotations": [gt(5, category_id="car")]}, "annotation 5 has no 64-bit integer 'category_id'"),
        ({"annotations": [gt(5, bbox=[1, 2, 3])]}, "annotation 5 has bbox [1, 2, 3]; expected four finite numbers"),
        ({"annotations": [gt(5, bbox=[1, 2, 3, None])]}, "annotation 5 has bbox [1, 2, 3, None]"),
        ({"annotations": [gt(5, bbox=[1, 2, 3, float("nan")])]}, "annotation 5 has bbox [1, 2, 3, nan]"),
        ({"annotations": [gt(5, bbox=[1, 2, 3, 10**400])]}, "annotation 5 has bbox [1, 2, 3, 1000"),
        (
            {"annotations": [gt(5, image_id=7.5)]},
            "annotation 5 has no 64-bit integer 'image_id' (7.5)",
        ),
        ({"annotations": [gt(5, image_id=True)]}, "annotation 5 has no 64-bit integer 'image_id'"),
        ({"annotations": [{"bbox": [1, 2, 3, 4]}]}, "annotation ? has no 64-bit integer 'image_id'"),
        ({"annotations": [gt(5), "x"]}, "(Expected `object`, got `str` - at `$.annotations[1]`)"),
        ({"images": [{**IMAGE, "id": 2**63}]}, "image 9223372036854775808 has no 64-bit integer 'id'"),
        ({"images": [IMAGE, IMAGE]}, "image ids are not unique"),
        ({"images": [{"id": 7, "file_name": "a.png", "width": 40}]}, "image 7 has no 64-bit integer 'height'"),
        ({"images": [{**IMAGE, "height": 0}]}, "image 7 has size 40 x 0"),
        ({"images": [{**IMAGE, "file_name": "../../secret.png"}]}, "image 7 has no file_name inside the images folder"),
        ({"images": [{**IMAGE, "file_name": None}]}, "image 7 has no file_name inside the images folder (None)"),
        ({"categories": [*CATEGORIES, {"id": 3}]}, "category ids are not unique"),
    ],
)
def test_a_violation_of_the_format_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError) as caught:
        read_annotations(write(tmp_path, **{"annotations": [], **changes}))
    assert message in str(caught.value)


@pytest.mark.parametrize("place", ["info", "segmentation", "id", "bbox"])
@pytest.mark.parametrize("depth", [980, 100_000])
def test_a_deeply_nested_json_is_refused_in_one_line(tmp_path, place, depth):
    """In a field that is read, or skipped, deeper than Python's stack."""
    changes = {"annotations": [gt(**({} if place == "info" else {place: "HERE"}))], "info": "HERE"}
    path = write(tmp_path, **(changes if place == "info" else {"annotations": changes["annotations"]}))
    path.write_text(path.read_text().replace('"HERE"', "[" * depth + "]" * depth))
    try:
        read_annotations(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error)) < 1000
        return
    assert depth == 980 and place != "bbox"


def test_an_entry_is_named_in_one_line_whatever_its_id(tmp_path):
    for number in ("two\nlines", "x" * 10**6, [[["a"]]]):
        with pytest.raises(ValueError) as caught:
            read_annotations(write(tmp_path, [gt(number, bbox=None)]))
        assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 1000


def test_a_box_without_area_after_rounding_is_not_a_gt(tmp_path):
    (record,) = read_annotations(write(tmp_path, [gt(bbox=[20, 2, 1e-9, 4]), gt(2, bbox=[0, 2, 1e-9, 4])])).records
    assert record.boxes.shape == (1, 4) and (record.boxes[:, 2:] > record.boxes[:, :2]).all()


def test_fields_that_are_not_needed_are_not_read(tmp_path):
    polygon, runs = [[5, 6, 15, 6, 15, 18.5]], {"counts": [3, 4], "size": [30, 40]}
    entries = [gt(segmentation=polygon, attributes={"occluded": True}), gt("a", segmentation=runs, area=float("nan"))]
    path = write(tmp_path, entries, info=None, licenses=[{"id": 1}], images=[{**IMAGE, "date_captured": 0}])
    (record,) = read_annotations(path).records
    assert len(record.boxes) == 2


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = write(tmp_path, [gt()])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(read_annotations(path).records) == 1


@pytest.fixture
def mixed(tmp_path) -> CocoAnnotations:
    """Images 0 to 3 with 2, 0, 1 and 3 gts, in another order in the file; box x0 is the annotation's id."""
    names = ["a.png", "folder/é and 日.png", "", "not \udce9 unicode.png"]
    images = [{"id": i, "file_name": name, "width": 40 + i, "height": 30} for i, name in enumerate(names)]
    entries = [gt(number, image_id=i, bbox=[number, 0, 2, 2]) for number, i in enumerate([3, 0, 2, 3, 0, 3])]
    return read_annotations(write(tmp_path, entries, images=images))


def test_records_are_a_sequence(mixed):
    records = mixed.records
    assert len(records) == 4 and [record.image_id for record in records] == [0, 1, 2, 3]
    assert [record.boxes[:, 0].tolist() for record in records] == [[1, 4], [], [2], [0, 3, 5]]
    assert [len(record.labels) for record in records] == [2, 0, 1, 3]
    assert records[1].file_name == "folder/é and 日.png" and records[1].hw == (30, 41)
    assert records[-1].file_name == "not \udce9 unicode.png" and records[np.int64(2)].file_name == ""
    assert records[0].boxes.dtype == np.float32 and records[0].labels.dtype == np.int64
    with pytest.raises(IndexError):
        records[4]


@pytest.mark.parametrize("part", [slice(2), slice(1, None), slice(None, None, -1), slice(9, None)])
def test_slices_of_records_are_those_of_a_list(mixed, part):
    assert [repr(record) for record in mixed.records[part]] == [repr(record) for record in list(mixed.records)[part]]


def test_a_subset_has_the_chosen_images_in_their_order(mixed, tmp_path):
    subset = CocoDataset(tmp_path, mixed).subset([3, 1, -4, 3])
    expected = [repr(mixed.records[index]) for index in (3, 1, 0, 3)]
    assert [repr(record) for record in subset.annotations.records] == expected
    assert len(subset.subset([])) == 0 and list(subset.subset([]).annotations.records) == []
    with pytest.raises(IndexError):
        subset.subset([4])


def test_records_do_not_share_their_arrays(mixed):
    mixed.records[0].boxes[:] = 0
    assert mixed.records[0].boxes[:, 0].tolist() == [1, 4]


def test_a_json_without_images_has_no_records(tmp_path):
    path = tmp_path / "instances_train.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": CATEGORIES}))
    assert list(read_annotations(path).records) == []


def test_gts_are_shared_with_workers_rather_than_pickled(tmp_path):
    dataset = CocoDataset(tmp_path, read_annotations(write(tmp_path, [gt(number) for number in range(5000)])))
    assert len(ForkingPickler.dumps(dataset)) < 5000


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_worker_loads_the_same_samples(tmp_path, start_method):
    images = [{**IMAGE, "id": i, "file_name": f"{i}.png"} for i in range(3)]
    for i in range(3):
        Image.new("RGB", (40, 30), (9 * i, 0, 0)).save(tmp_path / f"{i}.png")
    dataset = CocoDataset(tmp_path, read_annotations(write(tmp_path, [gt(image_id=2), gt(image_id=0)], images=images)))
    loader = DataLoader(dataset, batch_size=3, num_workers=1, collate_fn=collate, multiprocessing_context=start_method)
    (batch,) = loader
    expected = collate([dataset[index] for index in range(3)])
    assert torch.equal(batch.images, expected.images) and torch.equal(batch.image_id, expected.image_id)
    assert torch.equal(batch.targets.boxes, expected.targets.boxes) and batch.targets.image.tolist() == [0, 2]


def test_validation_must_share_the_categories_of_training(tmp_path):
    train = read_annotations(write(tmp_path, [gt()]))
    val = write(tmp_path, [], "val", categories=[{"id": 3, "name": "car"}])
    with pytest.raises(
        ValueError, match=r"instances_val.json: its categories differ from those of .*instances_train.json"
    ):
        read_annotations(val, like=train)


@pytest.mark.parametrize("place", [".", "images", "train2017", "images/train2017"])
@pytest.mark.parametrize("annotations", [".", "annotations"])
def test_a_split_is_found_in_every_usual_place(tmp_path, place, annotations):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / annotations).mkdir(exist_ok=True)
    write(tmp_path, [gt()]).rename(tmp_path / annotations / "instances_train2017.json")
    Image.new("RGB", (40, 30)).save(tmp_path / place / "a.png")
    images, path = find_split(tmp_path, "train")
    assert images.samefile(tmp_path / place) and path.name == "instances_train2017.json"


def test_a_folder_without_the_split_is_refused_with_the_places_searched(tmp_path):
    with pytest.raises(ValueError, match=r"data '.*nowhere': no such folder"):
        find_split(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match=r"no instances_train\*\.json in it or its annotations/ folder"):
        find_split(tmp_path, "train")
    write(tmp_path, [gt()])
    with pytest.raises(ValueError, match=r"lists a\.png, which is not in train/, images/train/"):
        find_split(tmp_path, "train")


def test_a_split_is_found_although_its_first_image_is_missing(tmp_path):
    images = [{"id": n, "file_name": name, "height": 30, "width": 40} for n, name in enumerate(("b.png", "a.png"))]
    write(tmp_path, [], images=images)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    assert find_split(tmp_path, "train")[0] == tmp_path / "images"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\ud800"])
def test_an_impossible_file_name_is_reported_in_one_line(tmp_path, name):
    write(tmp_path, [], images=[{"id": 7, "file_name": name, "height": 30, "width": 40}])
    with pytest.raises(ValueError, match="which is not in ") as error:
        find_split(tmp_path, "train")
    assert str(error.value).isprintable() and len(str(error.value)) < 3000


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
    assert flipped.is_flipped and not plain.is_flipped
    inside = flipped.image[:, 13:35, 51:69]
    assert inside.min() > flipped.image[:, :, :48].max()  # the white moved with its box


def test_the_seed_of_a_sample_key_alone_decides_its_transforms(tmp_path):
    Image.fromarray(np.arange(3600, dtype=np.uint8).reshape(30, 40, 3)).save(tmp_path / "a.png")
    dataset = CocoDataset(tmp_path, read_annotations(write(tmp_path, [gt()])), train_transform([30, 60], 80))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = [dataset[SampleKey(0, seed)] for seed in range(20)]
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is untouched
    torch.manual_seed(1)
    again = [dataset[SampleKey(0, seed)] for seed in range(20)]
    assert all(torch.equal(sample.image, other.image) for sample, other in zip(first, again, strict=True))
    assert len({(sample.is_flipped, sample.image.shape) for sample in first}) == 4


def test_real_photographs_load(real_data):
    """Of COCO: crowds, images without boxes, a grayscale image, category ids with gaps, tiny boxes."""
    folder = real_data("coco_ccby320")
    for split, images, gts in (("train", 34, 285), ("val", 47, 425)):
        folder_of_images, path = find_split(folder, split)
        annotations = read_annotations(path)
        dataset = CocoDataset(folder_of_images, annotations, eval_transform(200, 320))
        assert len(dataset) == images and sum(len(record.boxes) for record in annotations.records) == gts
        assert len(annotations.class_names) == 80 and max(annotations.category_ids) == 90
        assert len(ensure_usable(dataset, "stop")) == len(dataset)
        batch = collate([dataset[index] for index in range(8)])
        assert batch.images.isfinite().all() and batch.images.shape[2] % 32 == 0
        assert (batch.targets.boxes[:, 2:] > batch.targets.boxes[:, :2]).all()
        limit = batch.targets.image_hw.flip(1)[batch.targets.image]
        assert (batch.targets.boxes[:, 2:] <= limit + 1e-3).all()
    assert any(len(record.boxes) == 0 for record in annotations.records)
    assert torch.equal(batch.image_id, torch.tensor([record.image_id for record in annotations.records[:8]]))

"""Layouts: the exports of annotation tools are found without renaming, read alike, and split alike."""

import json
import shutil
from pathlib import Path

import pytest
from commands import run
from PIL import Image

from lad.config.evaluation import make_evaluation_config
from lad.config.experiment import make_parameters
from lad.data.coco import find_split, open_splits
from lad.data.layouts import data_of, is_shared, locate_split
from lad.data.validation.checker import validate_folder
from lad.evaluation.coco_eval import coco_metrics
from lad.experiments.setup import open_data

CATEGORIES = [{"id": 3, "name": "red"}, {"id": 7, "name": "blue"}]
ONE_JSON = ("cvat", "label_studio", "fiftyone", "json", "coco_train")
TWO_JSONS = ("coco", "roboflow", "fiftyone_splits")


def document(names, start=1):
    """Return an instances JSON in which each image has one box, of both classes in turn."""
    images = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(names, start)]
    boxes = [
        {"id": n, "image_id": n, "category_id": 3 + 4 * (n % 2), "bbox": [n - start, 2, 10, 12]}
        for n in range(start, start + len(names))
    ]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES}


def export(folder: Path, layout: str, images: Path, train: dict, val: dict | None = None) -> Path:
    """Write a data set in a layout, with copies of the images, and return what `data` is for it."""

    def write(file: str, content: dict, to: str, prefix: str = "") -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / to).mkdir(parents=True, exist_ok=True)
        listed = [{**image, "file_name": prefix + image["file_name"]} for image in content["images"]]
        (folder / file).write_text(json.dumps({**content, "images": listed}))
        for image in content["images"]:
            shutil.copy(images / image["file_name"], folder / to)

    for split, content in (("train", train), ("val", val)):
        if content is None:
            continue
        export_as = "valid" if split == "val" else split
        match layout:
            case "coco" | "coco_train":
                write(f"annotations/instances_{split}2017.json", content, f"{split}2017")
            case "roboflow":
                write(f"{export_as}/_annotations.coco.json", content, export_as)
            case "fiftyone_splits":
                write(f"{split}/labels.json", content, f"{split}/data")
            case "cvat":
                write("annotations/instances_default.json", content, "images")
            case "label_studio":
                write("result.json", content, "images", "images\\")
            case "fiftyone":
                write("labels.json", content, "data")
            case "json":
                write("deep/my export.json", content, "deep/images")
    return folder / "deep/my export.json" if layout == "json" else folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(14):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"{number:02}.png")
    return folder


def names(first, last):
    return [f"{number:02}.png" for number in range(first, last)]


def contents(dataset):
    """Return everything about a data set but its image ids, image by image."""
    rows = [
        (record.file_name, record.hw, record.boxes.tolist(), record.labels.tolist(), dataset.pixels(index).tobytes())
        for index, record in enumerate(dataset.annotations.records)
    ]
    return sorted(rows)


def parts(data, **options):
    """Return everything about the training and the validation images."""
    return [contents(dataset) for dataset in open_splits(data, ("train", "val"), **options)]


@pytest.mark.parametrize("layout", TWO_JSONS)
def test_layouts_with_a_validation_part_are_read_alike(tmp_path, pictures, layout):
    data = export(tmp_path / layout, layout, pictures, document(names(0, 8)), document(names(8, 14), start=51))
    reference = export(tmp_path / "own", "coco", pictures, document(names(0, 8)), document(names(8, 14)))
    assert not is_shared(data)
    assert parts(data) == parts(reference)


@pytest.mark.parametrize("layout", ONE_JSON)
def test_layouts_of_one_json_are_split_alike(tmp_path, pictures, layout):
    data = export(tmp_path / layout, layout, pictures, document(names(0, 14), start=71))
    reference = export(tmp_path / "own", "cvat", pictures, document(names(0, 14)))
    assert is_shared(data)
    for share in (0.2, 0.5):
        train, val = parts(data, val_share=share)
        assert [train, val] == parts(reference, val_share=share)
        assert [file_name for file_name, *_ in sorted(train + val)] == names(0, 14)


@pytest.mark.parametrize("layout", ONE_JSON)
def test_validation_and_its_corrected_copy_have_the_split_of_training(tmp_path, pictures, layout, capsys):
    data = export(tmp_path / layout, layout, pictures, document(names(0, 14)))
    of_training = open_splits(data, ("train", "val"))
    checked = validate_folder(data)
    for dataset, split in zip(of_training, checked.values(), strict=True):
        assert sorted(split.file_names.values()) == sorted(dataset.annotations.records.file_names())
        assert split.image_count == len(dataset) == split.annotation_count
        assert not [finding for finding in split.findings if finding.severity != "note"]
    run("validate", data, "--fix", tmp_path / "fixed")
    assert not is_shared(tmp_path / "fixed")
    assert parts(tmp_path / "fixed") == parts(data)


@pytest.mark.parametrize("layout", TWO_JSONS)
def test_a_corrected_copy_has_cocos_layout(tmp_path, pictures, layout, capsys):
    data = export(tmp_path / layout, layout, pictures, document(names(0, 8)), document(names(8, 14)))
    run("validate", data, "--fix", tmp_path / "fixed")
    found = [find_split(tmp_path / "fixed", split)[1].relative_to(tmp_path / "fixed") for split in ("train", "val")]
    year = "2017" if layout == "coco" else ""
    assert found == [Path(f"annotations/instances_{split}{year}.json") for split in ("train", "val")]
    assert parts(tmp_path / "fixed") == parts(data)


def test_errors_of_a_shared_json_are_reported_once_and_corrected(tmp_path, pictures, capsys):
    content = document(names(0, 14))
    content["annotations"][3]["bbox"] = None
    content["images"].append({**content["images"][0], "id": 99, "file_name": "missing.png"})
    (pictures / "missing.png").write_bytes(b"")
    data = export(tmp_path / "cvat", "cvat", pictures, content)
    (data / "images" / "missing.png").unlink()
    kinds = [finding.kind for split in validate_folder(data).values() for finding in split.findings]
    assert sorted(kinds)[:1] == ["bad-box"] and kinds.count("missing-file") == kinds.count("bad-box") == 1
    run("validate", data, "--fix", tmp_path / "fixed")
    train_set, val_set = open_splits(tmp_path / "fixed", ("train", "val"))
    assert len(train_set) + len(val_set) == 14


def test_two_layouts_in_a_folder_are_refused_by_name(tmp_path, pictures):
    data = export(tmp_path / "both", "cvat", pictures, document(names(0, 14)))
    export(data, "label_studio", pictures, document(names(0, 14)))
    with pytest.raises(ValueError, match=r"CVAT and Label Studio in it, annotations/instances_default\.json, result"):
        find_split(data, "train")


def test_several_jsons_of_a_split_are_refused_by_name(tmp_path, pictures):
    data = export(tmp_path / "coco", "coco", pictures, document(names(0, 8)), document(names(8, 14)))
    shutil.copy(data / "annotations/instances_val2017.json", data / "instances_val_old.json")
    with pytest.raises(ValueError, match=r"several JSON .*, instances_val_old\.json, annotations/instances_val20"):
        find_split(data, "val")


def test_a_training_json_beside_another_is_not_split(tmp_path, pictures):
    data = export(tmp_path / "coco", "coco", pictures, document(names(0, 8)), document(names(8, 14)))
    (data / "annotations/instances_val2017.json").rename(data / "annotations/instances_holdout.json")
    assert not is_shared(data)
    with pytest.raises(ValueError, match=r"no instances_val\*\.json"):
        find_split(data, "val")


def test_images_of_a_json_may_be_anywhere(tmp_path, pictures):
    path = tmp_path / "somewhere" / "export.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document(names(0, 14))))
    with pytest.raises(ValueError, match=r"lists 00\.png, which is not in images/, .* or .*"):
        find_split(path, "train")
    assert find_split(path, "train", pictures) == (pictures, path)
    with pytest.raises(ValueError, match=r"images '.*nowhere': no such folder"):
        find_split(path, "train", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="images is for a JSON file given as data"):
        find_split(pictures, "train", pictures)
    with pytest.raises(ValueError, match="has a training and a validation part, not 'test'"):
        find_split(path, "test", pictures)


def test_each_place_is_searched_once_and_a_backslash_is_named(tmp_path, pictures):
    data = export(tmp_path / "export", "label_studio", pictures, document(names(0, 4)))
    shutil.rmtree(data / "images")
    with pytest.raises(ValueError, match=r"images\\00\.png, which is not in images/ or \./; nor .*backslash \(\\\)$"):
        find_split(data, "train")
    for layout in TWO_JSONS + ONE_JSON:
        files = locate_split(export(tmp_path / layout, layout, pictures, document(names(0, 8))), "train")
        assert len(set(files.image_folders)) == len(files.image_folders)
        assert data_of(files.path) == files.data


def test_an_image_of_one_json_is_not_enough(tmp_path, pictures):
    data = export(tmp_path / "cvat", "cvat", pictures, document(names(0, 1)))
    with pytest.raises(ValueError, match="has no second image"):
        open_splits(data, ("train", "val"))


def test_val_share_counts_only_where_it_is_used(tmp_path, pictures):
    own = export(tmp_path / "roboflow", "roboflow", pictures, document(names(0, 8)), document(names(8, 14)))
    shared = export(tmp_path / "cvat", "cvat", pictures, document(names(0, 14)))
    given = [
        make_parameters({"data": data, "val_share": share}) for data in (own, shared) for share in (None, 0.2, 0.3)
    ]
    assert [parameters.val_share for parameters in given] == [None, None, None, 0.2, 0.2, 0.3]
    hashes = [parameters.hash for parameters in given]
    assert len(set(hashes[:3])) == 1 and hashes[3] == hashes[4] != hashes[5]
    assert "val_share" not in given[0].identity() and given[5].plain().val_share == 0.3
    with pytest.raises(ValueError, match="val_share"):
        make_parameters({"data": own, "val_share": 1})
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"")
    for data, share in ((own, None), (shared, 0.2)):
        assert make_evaluation_config({"checkpoint": checkpoint, "data": data}).val_share == share


def test_a_run_opens_the_split_of_its_share(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    data = export(tmp_path / "label_studio", "label_studio", pictures, document(names(0, 14)))
    parameters = make_parameters({"data": data, "val_share": 0.4})
    assert [contents(dataset) for dataset in open_data(parameters)] == parts(data, val_share=0.4)


def test_real_images_are_read_alike_in_every_layout(tmp_path, real_data):
    source = real_data("chess320")
    content = json.loads((source / "instances_val.json").read_text())
    content["images"] = content["images"][:12]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [gt for gt in content["annotations"] if gt["image_id"] in kept]
    images = find_split(source, "val")[0]
    for layouts, val in ((ONE_JSON, None), (TWO_JSONS, content)):
        datas = [export(tmp_path / layout, layout, images, content, val) for layout in layouts]
        reference, *others = map(parts, datas)
        assert len(reference[1]) == (12 if val else 2) and all(other == reference for other in others)
        first, *rest = map(metrics_of_shifted_gts, datas)
        assert 0 < first["AP"] < 1 and all(metrics == first for metrics in rest)


def metrics_of_shifted_gts(data):
    """Return the metrics of the validation images for their gts as results, each shifted by a tenth of its width."""
    (val_set,) = open_splits(data, ["val"])
    annotations = val_set.annotations
    results = [
        {"image_id": record.image_id, "category_id": annotations.category_ids[label], "score": 0.5,
         "bbox": [x0 + (x1 - x0) / 10, y0, x1 - x0, y1 - y0]}
        for record in annotations.records
        for (x0, y0, x1, y1), label in zip(record.boxes.tolist(), record.labels, strict=True)
    ]  # fmt: skip
    metrics = coco_metrics(annotations.path, results, annotations.records.image_id.tolist())
    return {name: value for name, value in metrics.items() if value == value}

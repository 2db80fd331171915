"""Validation of COCO-format data sets: every fault is found with its kind and ids."""

import json
import tempfile
from pathlib import Path

import pytest
from dataset_faults import FAULTS, HEIGHT, JSON_KINDS, WIDTH, kinds, problems, save, spoil, tiny, write
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset
from lad.data.images import load_image
from lad.data.validation.checker import validate, validate_folder
from lad.data.validation.image_files import ensure_usable


def trains(images: Path, path: Path) -> bool:
    """Return whether the JSON and all images can be read, without links out of the folder."""
    try:
        records = read_annotations(path).records
        for record in records:
            load_image(images / record.file_name, record.hw)
    except ValueError:
        return False
    return len(records) > 0 and all((images / record.file_name).resolve().is_relative_to(images) for record in records)


def passes(images: Path, path: Path) -> bool:
    """Return whether training accepts the data set."""
    try:
        ensure_usable(CocoDataset(images, read_annotations(path)), "stop")
    except ValueError:
        return False
    return True


def test_a_valid_data_set_has_no_findings_but_the_number_of_its_crowds(tmp_path):
    (note,) = validate(*write(tmp_path, tiny()))
    assert note.severity == "note" and "4 of 8 annotations are crowds, which are not trained on" in note.message


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_with_its_kind_and_ids(tmp_path, name):
    fault, severity, kind, (image_id, annotation_id) = FAULTS[name]
    document = tiny()
    images, path = write(tmp_path, document)
    fault(document, images, 1)
    save(tmp_path, document)
    (finding,) = [finding for finding in validate(images, path) if finding.kind == kind]
    assert (finding.severity, finding.image_id, finding.annotation_id) == (severity, image_id, annotation_id)
    line = str(finding)
    assert line.isprintable() and len(line) < 1200 and line.startswith(f"{severity}: {tmp_path}")
    assert image_id is None or f"image {image_id}" in line
    assert annotation_id is None or f"annotation {annotation_id}" in line
    assert finding.path == (path if finding.kind in JSON_KINDS else images / document["images"][1]["file_name"])


def test_a_fault_causes_no_other_errors(tmp_path):
    """Except those of annotations whose image or category has lost its id."""
    orphaning = {"an image's id of 64 bits", "an image without id", "a category without id"}
    for number, (name, (fault, severity, kind, _)) in enumerate(FAULTS.items()):
        document = tiny()
        images, path = write(tmp_path / str(number), document)
        fault(document, images, 1)
        save(path.parent, document)
        expected = {kind} if severity == "error" else set()
        extra = {"unknown-image", "unknown-category"} if name in orphaning else set()
        assert kinds(validate(images, path)) - extra == expected, name


NUMBERS = st.integers(-3, 20) | st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**400, 1e308, 5e-324]) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "0.png", "../a", "a\nb", "\ud800", "7"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=5,
)
KEYS = ("id", "file_name", "width", "height", "image_id", "category_id", "bbox", "iscrowd", "segmentation", "name")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(FAULTS)), st.integers(0, 3)), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(["images", "annotations", "categories"]), st.integers(0, 1), st.sampled_from(KEYS), VALUES
        ),
        max_size=2,
    ),
    st.none() | st.tuples(st.sampled_from(["images", "annotations", "categories", "info"]), VALUES),
)
@example([], [], ("images", []))
@example([], [], ("annotations", None))
@example([("a link to outside", 0)], [], None)
def test_there_is_no_error_if_and_only_if_the_set_can_be_trained_on(faults, values, section):
    with tempfile.TemporaryDirectory() as folder:
        document = tiny()
        images, path = write(Path(folder).resolve(), document)
        spoil(document, images, faults)
        for values_section, index, key, value in values:
            if isinstance(document[values_section][index], dict):
                document[values_section][index][key] = value
        if section is not None:
            document[section[0]] = section[1]
        save(path.parent, document)
        findings = validate(images, path)
        assert (not kinds(findings)) == trains(images, path) == passes(images, path), [
            str(finding) for finding in findings
        ]
        assert all(str(finding).isprintable() for finding in findings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "unreadable-json"),
        ("{", "unreadable-json"),
        ("[1, 2]", "unreadable-json"),
        ("[" * 100_000, "unreadable-json"),
        ('{"images": "\udcff"}', "unreadable-json"),
        ("{}", "missing-list"),
        ('{"images": {}, "categories": [], "annotations": []}', "missing-list empty-set"),
        ('{"images": [], "categories": [], "annotations": null}', "missing-list empty-set"),
        ('{"images": [], "categories": [{"id": 1}], "annotations": []}', "empty-set"),
        ('{"images": [], "categories": [], "annotations": []}', "empty-set"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_an_instances_json_is_an_error(tmp_path, text, expected):
    images, path = write(tmp_path, {})
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert kinds(validate(images, path)) == set(expected.split())


def test_a_missing_json_is_an_error(tmp_path):
    images, path = write(tmp_path, {})
    path.unlink()
    assert kinds(validate(images, path)) == {"unreadable-json"}
    path.mkdir()
    assert kinds(validate(images, path)) == {"unreadable-json"}


def test_invalid_json_in_a_skipped_field_is_a_warning(tmp_path):
    images, path = write(tmp_path, tiny())
    text = path.read_text().replace('"license": 1', f'"license": {"1" * 5000}')
    path.write_text(text)
    (finding,) = validate(images, path)
    assert (finding.severity, finding.kind) == ("warning", "odd-json") and trains(images, path)
    (images / "2.png").unlink()
    assert [(finding.kind, finding.image_id) for finding in validate(images, path)] == [
        ("missing-file", 2),
        ("odd-json", None),
    ]


def test_findings_are_sorted_by_severity_image_and_annotation(tmp_path):
    document = tiny()
    images, path = write(tmp_path, document)
    spoil(document, images, [("NaN", 2), ("a flat box", 1), ("no box", 1), ("no file", 3), ("a crowd as text", 0)])
    save(tmp_path, document)
    order = [(finding.severity, finding.image_id, finding.annotation_id) for finding in validate(images, path)]
    assert order[:5] == [
        ("error", 1, 11), ("error", 2, 20), ("error", 3, None), ("warning", 0, 0), ("warning", 1, 10)
    ]  # fmt: skip
    assert {severity for severity, *_ in order[5:]} == {"note"}


def test_images_and_categories_without_gts_are_one_note_each(tmp_path):
    document = tiny()
    del document["annotations"][2:6]
    notes = problems(validate(*write(tmp_path, document)))
    assert [(finding.severity, finding.kind) for finding in notes] == [("note", "images-without-gts")]
    assert "2 of 4 images have no gts (first: image 1)" in notes[0].message


def test_a_data_set_without_gts_is_a_warning(tmp_path):
    (finding,) = validate(*write(tmp_path, {**tiny(), "annotations": []}))
    assert (finding.severity, finding.kind) == ("warning", "no-gts")


def test_a_training_set_without_gts_is_an_error(folder):
    for split in ("train", "val"):
        (folder / f"instances_{split}.json").write_text(json.dumps({**tiny(), "annotations": []}))
    checked = validate_folder(folder)
    assert kinds(checked["train"].findings) == {"no-gts"} and kinds(checked["val"].findings) == set()


def test_boxes_that_seem_to_be_corners_are_a_warning(tmp_path):
    document = tiny()
    for annotation in document["annotations"]:
        annotation["bbox"] = [4, 3, 15, 11]
    assert "corner-boxes" in kinds(validate(*write(tmp_path, document)), "warning")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_of_json_is_read(tmp_path, encoding):
    images, path = write(tmp_path, tiny())
    path.write_bytes(path.read_text().encode(encoding))
    assert problems(validate(images, path)) == [] and trains(images, path)


def test_boxes_in_fractions_of_the_image_size_are_a_warning(tmp_path):
    document = tiny()
    for annotation in document["annotations"]:
        annotation["bbox"] = [0.1, 0.2, 0.5, 0.5]
    assert "tiny-boxes" in kinds(validate(*write(tmp_path, document)), "warning")


def test_without_decoding_only_the_existence_of_files_is_checked(tmp_path):
    document = tiny()
    images, path = write(tmp_path, document)
    spoil(document, images, [("text", 1), ("no file", 2), ("an empty file", 3)])
    findings = problems(validate(images, path, decode=False))
    assert [(finding.kind, finding.image_id) for finding in findings] == [
        ("missing-file", 2),
        ("unreadable-image", 3),
    ]


def test_a_list_of_test_images_needs_no_annotations(tmp_path):
    document = tiny()
    del document["annotations"]
    images, path = write(tmp_path, document)
    assert validate(images, path.rename(tmp_path / "image_info_test-dev.json")) == []


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a data set folder with train and val, whose images share names but not pixels."""
    for split in ("train", "val"):
        images, path = write(tmp_path / f"{split}-parts", tiny())
        images.rename(tmp_path / split)
        path.rename(tmp_path / f"instances_{split}.json")
    for i in range(4):
        Image.new("L", (WIDTH, HEIGHT), 100 + i).save(tmp_path / "val" / f"{i}.png")
    return tmp_path


def test_a_valid_folder_has_no_findings(folder):
    checked = validate_folder(folder)
    assert [
        (split.images.name, split.image_count, split.annotation_count, problems(split.findings))
        for split in checked.values()
    ] == [
        ("train", 4, 8, []), ("val", 4, 8, [])
    ]  # fmt: skip


def test_splits_must_have_the_same_categories(folder):
    document = {**tiny(), "categories": [*tiny()["categories"], {"id": 4, "name": "bus"}]}
    (folder / "instances_val.json").write_text(json.dumps(document))
    checked = validate_folder(folder)
    assert kinds(checked["train"].findings) == set() and kinds(checked["val"].findings) == {"categories-differ"}
    assert "missing here: none; only here: 4 bus" in checked["val"].findings[0].message


def test_an_image_in_both_splits_is_a_warning(folder):
    (folder / "val" / "2.png").write_bytes((folder / "train" / "2.png").read_bytes())
    (finding,) = problems(validate_folder(folder)["val"].findings)
    assert (finding.severity, finding.kind, finding.image_id) == ("warning", "in-both-splits", 2)


def test_a_folder_is_checked_although_its_first_image_is_missing(folder):
    (folder / "train" / "0.png").unlink()
    findings = problems(validate_folder(folder)["train"].findings)
    assert [(finding.kind, finding.path) for finding in findings] == [("missing-file", folder / "train" / "0.png")]


def test_a_missing_split_is_an_error(folder):
    checked = validate_folder(folder, ["train", "minival"])
    assert problems(checked["train"].findings) == [] and kinds(checked["minival"].findings) == {"no-split"}
    assert "no instances_minival*.json" in str(checked["minival"].findings[0])
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        validate_folder(folder / "nowhere")


@pytest.mark.parametrize("name", ["chess320", "coco_ccby320"])
def test_real_data_sets_have_only_notes(real_data, name):
    checked = validate_folder(real_data(name))
    assert {finding.severity for split in checked.values() for finding in split.findings} == {"note"}
    assert all(split.image_count > 30 for split in checked.values())

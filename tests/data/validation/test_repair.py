"""Corrected copies of data sets: no error remains, and all else is unchanged."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dataset_faults import FAULTS, SECTIONS, Fault, duplicate, kinds, of_gt, of_image, save, spoil, tiny, write
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.data.validation.checker import validate
from lad.data.validation.repair import fix


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(FAULTS)), st.integers(1, 3)), max_size=6))
def test_a_corrected_copy_has_no_error_and_all_else_is_unchanged(faults):
    with tempfile.TemporaryDirectory() as folder:
        document = tiny()
        images, path = write(Path(folder).resolve(), document)
        spoil(document, images, faults)
        original = save(path.parent, document).read_bytes()
        findings = validate(images, path)
        try:
            corrections = fix(images, path, path.with_name("corrected.json"), findings)
        except ValueError as error:
            assert "annotations can be used, so there is nothing to write" in str(error)
            assert not path.with_name("corrected.json").exists()
            return
        remaining = validate(images, path.with_name("corrected.json"))
        assert not kinds(remaining), [str(finding) for finding in remaining]
        assert path.read_bytes() == original
        entries = [
            finding
            for section in SECTIONS
            for finding in findings
            if finding.entry is not None and finding.entry[0] == section
        ]
        assert all(line.startswith(f"{finding}: ") for line, finding in zip(corrections, entries, strict=False))
        assert (
            len(entries) <= len(corrections) <= len(entries) + 3
        )  # of dependent annotations and of their number, at the end
        corrected, whole = json.loads(path.with_name("corrected.json").read_text()), tiny()
        assert corrected["info"] == whole["info"] and corrected["images"][0] == whole["images"][0]
        known = {category["id"] for category in corrected["categories"]}
        of_first = [annotation for annotation in corrected["annotations"] if annotation["image_id"] == 0]
        assert of_first == [annotation for annotation in whole["annotations"][:2] if annotation["category_id"] in known]


@pytest.fixture
def correct(tmp_path) -> Callable[[Fault], tuple[dict[str, Any], list[str]]]:
    """Return a function that spoils image 1 of a data set and returns the corrected copy and the corrections."""

    def correct(fault: Fault) -> tuple[dict[str, Any], list[str]]:
        document = tiny()
        images, path = write(tmp_path, document)
        fault(document, images, 1)
        save(tmp_path, document)
        corrections = fix(images, path, tmp_path / "new" / "corrected.json")
        return json.loads((tmp_path / "new" / "corrected.json").read_text()), corrections

    return correct


def test_a_copy_of_a_valid_data_set_is_the_same(correct):
    assert correct(lambda *_: None) == (tiny(), [])


def test_an_unusable_image_is_removed_with_its_annotations(correct):
    document, corrections = correct(FAULTS["text"][0])
    assert [image["id"] for image in document["images"]] == [0, 2, 3]
    assert [annotation["id"] for annotation in document["annotations"]] == [0, 1, 20, 21, 30, 31]
    assert "1.png: image 1: cannot be read as an image" in corrections[0] and corrections[0].endswith(": removed")
    assert corrections[1] == "annotations removed with their images or categories: 2"


def test_a_box_is_clipped_and_the_rest_of_its_annotation_unchanged(correct):
    document, corrections = correct(of_gt(bbox=[10, -4, 50, 8]))
    assert document["annotations"][2] == {**tiny()["annotations"][2], "bbox": [10, 0, 6, 4]}
    assert corrections[0].endswith(": clipped to [10.0, 0.0, 6.0, 4.0]")


def test_a_wrong_size_is_replaced_by_the_files_and_nothing_is_scaled(correct):
    document, (line, masks) = correct(of_image(width=32, height=24))
    assert document["images"] == tiny()["images"]
    assert [annotation["bbox"] for annotation in document["annotations"]] == [
        annotation["bbox"] for annotation in tiny()["annotations"]
    ]
    assert "boxes were not scaled" in line
    assert masks.startswith("warning") and masks.endswith("segmentation emptied")


def test_an_image_whose_boxes_extend_beyond_its_file_is_removed(correct):
    document, corrections = correct(FAULTS["a smaller file"][0])
    assert [image["id"] for image in document["images"]] == [0, 2, 3]
    assert "removed: its boxes extend beyond the file's 4 x 3" in corrections[0]


def test_an_annotation_with_a_repeated_id_gets_a_new_one(correct):
    document, corrections = correct(duplicate("annotations"))
    assert [annotation["id"] for annotation in document["annotations"]] == [0, 1, 10, 11, 20, 21, 30, 31, 32]
    assert corrections[0].endswith(": renumbered to annotation 32")


def test_the_first_of_two_images_with_one_id_is_kept(correct):
    document, _ = correct(duplicate("images", file_name="0.png"))
    assert document["images"] == tiny()["images"] and document["annotations"] == tiny()["annotations"]


def test_a_segmentation_that_does_not_fit_is_emptied(correct):
    document, _ = correct(FAULTS["a mask too short"][0])
    assert document["annotations"][3] == {**tiny()["annotations"][3], "segmentation": []}


def test_other_fields_are_unchanged(correct):
    extra = {"score": float("inf"), "note": "é \ud800", "huge": 2**200, "nested": {"a": [None, True, 1e-300]}}
    document, _ = correct(lambda document, images, i: (document.update(x=extra), document["images"][i].update(y=extra)))
    assert document["x"] == extra and document["images"][1]["y"] == extra


def test_a_copy_never_overwrites_a_file(tmp_path):
    images, path = write(tmp_path, tiny())
    (tmp_path / "link.json").symlink_to("nowhere.json")
    for out in (path, images / ".." / path.name, tmp_path / "link.json", images):
        with pytest.raises(ValueError, match=f"{out.name}: already exists"):
            fix(images, path, out)
    assert json.loads(path.read_text()) == tiny() and not (tmp_path / "nowhere.json").exists()


def test_a_copy_without_images_or_of_invalid_json_is_not_written(tmp_path):
    images, path = write(tmp_path, tiny(1))
    (images / "0.png").unlink()
    with pytest.raises(ValueError, match=r"instances_train\.json: none of its images can be used"):
        fix(images, path, tmp_path / "new" / "corrected.json")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is not valid JSON .*fixed by hand"):
        fix(images, path, tmp_path / "new" / "corrected.json")
    assert not (tmp_path / "new").exists()

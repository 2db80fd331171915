"""Every fault that a COCO-format set may have is found and named, and a corrected copy is without any."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset
from lad.data.images import load_image
from lad.data.validation.checker import ensure_usable, validate, validate_folder
from lad.data.validation.repair import fix

WIDTH, HEIGHT = 16, 12
ELSEWHERE = "elsewhere.png"  # beside the images folder
Fault = Callable[[dict[str, Any], Path, int], object]  # of a document, its images folder and an image's number


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LAD_CACHE", str(folder))
    return folder


def tiny(number: int = 4) -> dict[str, Any]:
    """Images 0, 1, … of two annotations each, the second a crowd: image 1 has annotations 10 and 11."""
    size = {"width": WIDTH, "height": HEIGHT, "license": 1}
    mask = {"size": [HEIGHT, WIDTH], "counts": [100, 30, 62]}
    polygon = [[2, 3, 8, 3, 8, 8.5]]
    return {
        "info": {"description": "tiny", "version": 1.0},
        "images": [{"id": i, "file_name": f"{i}.png", **size} for i in range(number)],
        "annotations": [
            {"id": 10 * i + j, "image_id": i, "category_id": (3, 90)[i % 2], "bbox": [2, 3, 6, 5.5], "area": 33.0,
             "iscrowd": j, "segmentation": (polygon, mask)[j]}
            for i in range(number) for j in range(2)
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car", "supercategory": "vehicle"}],
    }  # fmt: skip


def write(folder: Path, document: Any, number: int = 4) -> tuple[Path, Path]:
    """The images folder and the JSON of a data set."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(number):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9 * i, dtype=np.uint8)).save(images / f"{i}.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / ELSEWHERE)
    return images, save(folder, document)


def save(folder: Path, document: Any) -> Path:
    path = folder / "instances_train.json"
    path.write_text(json.dumps(document))
    return path


def of_image(**changes: Any) -> Fault:
    return lambda document, images, i: document["images"][i].update(changes)


def of_gt(**changes: Any) -> Fault:
    return lambda document, images, i: document["annotations"][2 * i].update(changes)


def of_crowd(**changes: Any) -> Fault:
    return lambda document, images, i: document["annotations"][2 * i + 1].update(changes)


def of_category(**changes: Any) -> Fault:
    return lambda document, images, i: document["categories"][1].update(changes)


def without(section: str, key: str) -> Fault:
    return lambda document, images, i: document[section][i].pop(key)


def of_file(change: Callable[[Path], object]) -> Fault:
    """The image's file is gone and `change` makes another one, or none."""

    def fault(document: dict[str, Any], images: Path, i: int) -> None:
        file = images / f"{i}.png"
        file.unlink(missing_ok=True)
        change(file)

    return fault


def cut(file: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:300])


def animate(file: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue")]
    frames[0].save(file, save_all=True, append_images=frames[1:])


def again(section: str, **changes: Any) -> Fault:
    """The image, or its first annotation, is there twice."""
    places = {"images": 1, "annotations": 2}
    return lambda document, images, i: document[section].append({**document[section][i * places[section]], **changes})


def mask(**changes: Any) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": [100, 30, 62], **changes}


SECTIONS = ("categories", "images", "annotations")
IMAGE, GT, CROWD = (1, None), (1, 10), (1, 11)  # which ids a finding about image 1 has
FAULTS: dict[str, tuple[Fault, str, str, tuple[int | None, int | None]]] = {
    "no file": (of_file(lambda file: None), "error", "missing-file", IMAGE),
    "a link to nowhere": (of_file(lambda file: file.symlink_to("nowhere.png")), "error", "missing-file", IMAGE),
    "a truncated file": (of_file(cut), "error", "unreadable-image", IMAGE),
    "text": (of_file(lambda file: file.write_text("text")), "error", "unreadable-image", IMAGE),
    "an empty file": (of_file(lambda file: file.write_bytes(b"")), "error", "unreadable-image", IMAGE),
    "a folder": (of_file(lambda file: file.mkdir()), "error", "unreadable-image", IMAGE),
    "a pipe": (of_file(lambda file: os.mkfifo(file)), "error", "unreadable-image", IMAGE),
    "an animation": (of_file(animate), "error", "unreadable-image", IMAGE),
    "floats": (of_file(lambda file: Image.new("F", (WIDTH, HEIGHT)).save(file, "tiff")), "error", "unreadable-image",
               IMAGE),
    "another size": (of_file(lambda file: Image.new("L", (HEIGHT, WIDTH)).save(file)), "error", "wrong-size", IMAGE),
    "a smaller file": (of_file(lambda file: Image.new("L", (4, 3)).save(file)), "error", "wrong-size", IMAGE),
    "a link to outside": (of_file(lambda file: file.symlink_to(file.parent.parent / ELSEWHERE)), "error",
                          "outside-folder", IMAGE),
    "a folder linked to outside": (
        lambda document, images, i: ((images / "out").symlink_to(images.parent),
                                     of_image(file_name=f"out/{ELSEWHERE}")(document, images, i)),
        "error", "outside-folder", IMAGE),
    "an absolute name": (lambda document, images, i: of_image(file_name=str(images / f"{i}.png"))(document, images, i),
                         "error", "bad-file-name", IMAGE),
    "a name that climbs": (of_image(file_name=f"../{ELSEWHERE}"), "error", "bad-file-name", IMAGE),
    "no name": (of_image(file_name=None), "error", "bad-file-name", IMAGE),
    "an empty name": (of_image(file_name=""), "error", "unreadable-image", IMAGE),
    "a name with NUL": (of_image(file_name="a\0.png"), "error", "missing-file", IMAGE),
    "a name of a lone surrogate": (of_image(file_name="\ud800.png"), "error", "missing-file", IMAGE),
    "a name without end": (of_image(file_name="x" * 5000), "error", "missing-file", IMAGE),
    "a wrong width": (of_image(width=WIDTH + 1), "error", "wrong-size", IMAGE),
    "no height": (without("images", "height"), "error", "bad-size", IMAGE),
    "no area": (of_image(width=0), "error", "bad-size", IMAGE),
    "a size in words": (of_image(width=str(WIDTH)), "error", "bad-size", IMAGE),
    "a size of 65 bits": (of_image(width=2**64), "error", "bad-size", IMAGE),
    "an image's id of 64 bits": (of_image(id=2**63), "error", "bad-id", (None, None)),
    "an image without id": (without("images", "id"), "error", "bad-id", (None, None)),
    "an image that is a string": (lambda document, images, i: document["images"].append("x"), "error", "not-an-object",
                                  (None, None)),
    "an image twice": (again("images"), "error", "duplicate-image-id", IMAGE),
    "an id taken by another image": (again("images", file_name="0.png"), "error", "duplicate-image-id", IMAGE),
    "a file twice": (again("images", id=77, file_name="./1.png"), "warning", "duplicate-file", (77, None)),
    "an unknown image": (of_gt(image_id=99), "error", "unknown-image", (99, 10)),
    "an image_id in words": (of_gt(image_id="1"), "error", "bad-id", (None, 10)),
    "no image_id": (of_gt(image_id=None), "error", "bad-id", (None, 10)),
    "an unknown category": (of_gt(category_id=4), "error", "unknown-category", GT),
    "a category by name": (of_gt(category_id="car"), "error", "bad-id", GT),
    "NaN": (of_gt(bbox=[2, 3, float("nan"), 5]), "error", "bad-box", GT),
    "infinity": (of_gt(bbox=[2, 3, float("inf"), 5]), "error", "bad-box", GT),
    "a box beyond floats": (of_gt(bbox=[2, 3, 10**400, 5]), "error", "bad-box", GT),
    "a box of three": (of_gt(bbox=[2, 3, 4]), "error", "bad-box", GT),
    "a box in words": (of_gt(bbox=["2", "3", "4", "5"]), "error", "bad-box", GT),
    "no box": (of_crowd(bbox=None), "error", "bad-box", CROWD),
    "an annotation that is a number": (lambda document, images, i: document["annotations"].append(7), "error",
                                       "not-an-object", (None, None)),
    "a flat box": (of_gt(bbox=[2, 3, 0, 5]), "warning", "empty-box", GT),
    "a negative box": (of_gt(bbox=[8, 8, -3, 5]), "warning", "empty-box", GT),
    "a box that float32 flattens": (of_gt(bbox=[8, 8, 1e-9, 5]), "warning", "empty-box", GT),
    "a box partly outside": (of_gt(bbox=[10, 3, 50, 5]), "warning", "outside-box", GT),
    "a box outside": (of_gt(bbox=[100, 100, 5, 5]), "warning", "outside-box", GT),
    "a huge box": (of_gt(bbox=[-1e300, 0, 1e308, 1e308]), "warning", "outside-box", GT),
    "an annotation twice": (again("annotations"), "warning", "duplicate-annotation-id", GT),
    "an annotation without id": (of_gt(id=None), "warning", "odd-annotation-id", IMAGE),
    "a crowd in words": (of_gt(iscrowd="0"), "warning", "odd-crowd", GT),
    "a mask of another size": (of_crowd(segmentation=mask(size=[WIDTH, HEIGHT])), "warning", "bad-segmentation", CROWD),
    "a mask too short": (of_crowd(segmentation=mask(counts=[100, 30, 61])), "warning", "bad-segmentation", CROWD),
    "a mask of letters": (of_crowd(segmentation=mask(counts="é")), "warning", "bad-segmentation", CROWD),
    "a mask of nothing": (of_crowd(segmentation={}), "warning", "bad-segmentation", CROWD),
    "a polygon of two points": (of_gt(segmentation=[[1, 2, 3, 4]]), "warning", "bad-segmentation", GT),
    "a category twice": (lambda document, images, i: document["categories"].append({"id": 3, "name": "lorry"}),
                         "error", "duplicate-category-id", (None, None)),
    "a name twice": (of_category(name="zebra"), "warning", "same-name", (None, None)),
    "a category without id": (of_category(id=None), "error", "bad-id", (None, None)),
}  # fmt: skip

OF_THE_JSON = {kind for _, _, kind, _ in FAULTS.values()} - {
    "missing-file", "unreadable-image", "wrong-size", "outside-folder"
}  # fmt: skip


def spoil(document: dict[str, Any], images: Path, faults: list[tuple[str, int]]) -> None:
    for name, i in faults:
        with suppress(TypeError, KeyError, AttributeError, OSError):  # where an earlier fault has left no place for it
            FAULTS[name][0](document, images, i)


def trains(images: Path, path: Path) -> bool:
    """Whether the set is read, and every image; a link must not lead out of the folder."""
    try:
        records = read_annotations(path).records
        for record in records:
            load_image(images / record.file_name, record.hw)
    except ValueError:
        return False
    return len(records) > 0 and all((images / one.file_name).resolve().is_relative_to(images) for one in records)


def passes(images: Path, path: Path) -> bool:
    """Whether training begins."""
    try:
        ensure_usable(CocoDataset(images, read_annotations(path)), "stop")
    except ValueError:
        return False
    return True


def kinds(findings: list, severity: str = "error") -> set[str]:
    return {finding.kind for finding in findings if finding.severity == severity}


def test_a_sound_set_has_no_findings(tmp_path):
    assert validate(*write(tmp_path, tiny())) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_with_its_kind_and_its_place(tmp_path, name):
    fault, severity, kind, (image_id, annotation_id) = FAULTS[name]
    document = tiny()
    images, path = write(tmp_path, document)
    fault(document, images, 1)
    save(tmp_path, document)
    (found,) = [finding for finding in validate(images, path) if finding.kind == kind]
    assert (found.severity, found.image_id, found.annotation_id) == (severity, image_id, annotation_id)
    line = str(found)
    assert line.isprintable() and len(line) < 1200 and line.startswith(f"{severity}: {tmp_path}")
    assert image_id is None or f"image {image_id}" in line
    assert annotation_id is None or f"annotation {annotation_id}" in line
    assert found.path == (path if found.kind in OF_THE_JSON else images / document["images"][1]["file_name"])


def test_a_fault_brings_no_other_errors(tmp_path):
    """Except for those of annotations whose image or category has lost its id."""
    follow = {"an image's id of 64 bits", "an image without id", "a category without id"}
    for number, (name, (fault, severity, kind, _)) in enumerate(FAULTS.items()):
        document = tiny()
        images, path = write(tmp_path / str(number), document)
        fault(document, images, 1)
        save(path.parent, document)
        expected = {kind} if severity == "error" else set()
        extra = {"unknown-image", "unknown-category"} if name in follow else set()
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
        for where, place, key, value in values:
            if isinstance(document[where][place], dict):
                document[where][place][key] = value
        if section is not None:
            document[section[0]] = section[1]
        save(path.parent, document)
        findings = validate(images, path)
        assert (not kinds(findings)) == trains(images, path) == passes(images, path), [str(one) for one in findings]
        assert all(str(finding).isprintable() for finding in findings)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(FAULTS)), st.integers(1, 3)), max_size=6))
def test_a_corrected_copy_has_no_error_and_keeps_all_else(faults):
    with tempfile.TemporaryDirectory() as folder:
        document = tiny()
        images, path = write(Path(folder).resolve(), document)
        spoil(document, images, faults)
        original = save(path.parent, document).read_bytes()
        findings = validate(images, path)
        done = fix(images, path, path.with_name("mended.json"), findings)
        left = validate(images, path.with_name("mended.json"))
        assert not kinds(left), [str(finding) for finding in left]
        assert path.read_bytes() == original
        entries = [one for where in SECTIONS for one in findings if one.entry is not None and one.entry[0] == where]
        assert all(line.startswith(f"{one}: ") for line, one in zip(done, entries, strict=False))
        assert len(entries) <= len(done) <= len(entries) + 2  # what follows from them comes last
        mended, whole = json.loads(path.with_name("mended.json").read_text()), tiny()
        assert mended["info"] == whole["info"] and mended["images"][0] == whole["images"][0]
        known = {category["id"] for category in mended["categories"]}
        of_first = [one for one in mended["annotations"] if one["image_id"] == 0]
        assert of_first == [one for one in whole["annotations"][:2] if one["category_id"] in known]


@pytest.fixture
def mend(tmp_path) -> Callable[[Fault], tuple[dict[str, Any], list[str]]]:
    """A set with one fault at image 1 → the corrected copy and what was done."""

    def mended(fault: Fault) -> tuple[dict[str, Any], list[str]]:
        document = tiny()
        images, path = write(tmp_path, document)
        fault(document, images, 1)
        save(tmp_path, document)
        done = fix(images, path, tmp_path / "new" / "mended.json")
        return json.loads((tmp_path / "new" / "mended.json").read_text()), done

    return mended


def test_a_copy_of_a_sound_set_is_the_same(mend):
    assert mend(lambda *_: None) == (tiny(), [])


def test_an_image_that_cannot_be_used_goes_with_its_annotations(mend):
    document, done = mend(FAULTS["text"][0])
    assert [image["id"] for image in document["images"]] == [0, 2, 3]
    assert [one["id"] for one in document["annotations"]] == [0, 1, 20, 21, 30, 31]
    assert "1.png: image 1: cannot be read as an image" in done[0] and done[0].endswith(": left out")
    assert done[1] == "annotations left out with their images or categories: 2"


def test_a_box_is_clipped_and_the_rest_of_its_annotation_kept(mend):
    document, done = mend(of_gt(bbox=[10, -4, 50, 8]))
    assert document["annotations"][2] == {**tiny()["annotations"][2], "bbox": [10, 0, 6, 4]}
    assert done[0].endswith(": clipped to [10.0, 0.0, 6.0, 4.0]")


def test_a_wrong_size_is_replaced_by_the_files_and_nothing_is_scaled(mend):
    document, (line, masks) = mend(of_image(width=32, height=24))
    assert document["images"] == tiny()["images"]
    assert [one["bbox"] for one in document["annotations"]] == [one["bbox"] for one in tiny()["annotations"]]
    assert "boxes were not scaled" in line
    assert masks.startswith("warning") and masks.endswith("segmentation emptied")


def test_an_image_whose_boxes_leave_its_file_is_of_another_size_and_goes(mend):
    document, done = mend(FAULTS["a smaller file"][0])
    assert [image["id"] for image in document["images"]] == [0, 2, 3]
    assert "left out: its boxes leave the file's 4 x 3" in done[0]


def test_an_annotation_with_a_taken_id_gets_a_new_one(mend):
    document, done = mend(again("annotations"))
    assert [one["id"] for one in document["annotations"]] == [0, 1, 10, 11, 20, 21, 30, 31, 32]
    assert done[0].endswith(": is annotation 32 now")


def test_of_two_images_with_one_id_the_first_stays(mend):
    document, _ = mend(again("images", file_name="0.png"))
    assert document["images"] == tiny()["images"] and document["annotations"] == tiny()["annotations"]


def test_a_segmentation_that_does_not_fit_is_emptied(mend):
    document, _ = mend(FAULTS["a mask too short"][0])
    assert document["annotations"][3] == {**tiny()["annotations"][3], "segmentation": []}


def test_other_fields_stay_as_they_are(mend):
    extra = {"score": float("inf"), "note": "é \ud800", "huge": 2**200, "nested": {"a": [None, True, 1e-300]}}
    document, _ = mend(lambda document, images, i: (document.update(x=extra), document["images"][i].update(y=extra)))
    assert document["x"] == extra and document["images"][1]["y"] == extra


def test_a_copy_is_never_written_over_a_file(tmp_path):
    images, path = write(tmp_path, tiny())
    (tmp_path / "link.json").symlink_to("nowhere.json")
    for out in (path, images / ".." / path.name, tmp_path / "link.json", images):
        with pytest.raises(ValueError, match=f"{out.name}: is there already"):
            fix(images, path, out)
    assert json.loads(path.read_text()) == tiny() and not (tmp_path / "nowhere.json").exists()


def test_a_copy_of_nothing_is_not_written(tmp_path):
    images, path = write(tmp_path, tiny(1))
    (images / "0.png").unlink()
    with pytest.raises(ValueError, match=r"instances_train\.json: none of its images can be used"):
        fix(images, path, tmp_path / "new" / "mended.json")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is not valid JSON .*mended by hand"):
        fix(images, path, tmp_path / "new" / "mended.json")
    assert not (tmp_path / "new").exists()


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
def test_a_file_that_is_no_instances_json_is_an_error(tmp_path, text, expected):
    images, path = write(tmp_path, {})
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert kinds(validate(images, path)) == set(expected.split())


def test_no_file_is_an_error_too(tmp_path):
    images, path = write(tmp_path, {})
    path.unlink()
    assert kinds(validate(images, path)) == {"unreadable-json"}
    path.mkdir()
    assert kinds(validate(images, path)) == {"unreadable-json"}


def test_what_training_skips_may_be_no_json(tmp_path):
    images, path = write(tmp_path, tiny())
    text = path.read_text().replace('"license": 1', f'"license": {"1" * 5000}')
    path.write_text(text)
    (finding,) = validate(images, path)
    assert (finding.severity, finding.kind) == ("warning", "odd-json") and trains(images, path)
    (images / "2.png").unlink()
    assert [(one.kind, one.image_id) for one in validate(images, path)] == [("missing-file", 2), ("odd-json", None)]


def test_findings_are_sorted_by_severity_image_and_annotation(tmp_path):
    document = tiny()
    images, path = write(tmp_path, document)
    spoil(document, images, [("NaN", 2), ("a flat box", 1), ("no box", 1), ("no file", 3), ("a crowd in words", 0)])
    save(tmp_path, document)
    order = [(one.severity, one.image_id, one.annotation_id) for one in validate(images, path)]
    assert order[:5] == [
        ("error", 1, 11), ("error", 2, 20), ("error", 3, None), ("warning", 0, 0), ("warning", 1, 10)
    ]  # fmt: skip
    assert {severity for severity, *_ in order[5:]} == {"note"}


def test_images_and_categories_without_gts_are_one_note_each(tmp_path):
    document = tiny()
    del document["annotations"][2:6]
    notes = validate(*write(tmp_path, document))
    assert [(one.severity, one.kind) for one in notes] == [
        ("note", "images-without-gts"),
    ]
    assert "2 of 4 images have no gts (first: image 1)" in notes[0].message


def test_a_set_without_gts_is_a_warning(tmp_path):
    (finding,) = validate(*write(tmp_path, {**tiny(), "annotations": []}))
    assert (finding.severity, finding.kind) == ("warning", "no-gts")


def test_boxes_in_fractions_of_the_image_are_a_warning(tmp_path):
    document = tiny()
    for annotation in document["annotations"]:
        annotation["bbox"] = [0.1, 0.2, 0.5, 0.5]
    assert "tiny-boxes" in kinds(validate(*write(tmp_path, document)), "warning")


def test_without_decoding_only_the_files_are_looked_for(tmp_path):
    document = tiny()
    images, path = write(tmp_path, document)
    spoil(document, images, [("text", 1), ("no file", 2), ("an empty file", 3)])
    findings = validate(images, path, decode=False)
    assert [(one.kind, one.image_id) for one in findings] == [("missing-file", 2), ("unreadable-image", 3)]


def test_a_list_of_test_images_needs_no_annotations(tmp_path):
    document = tiny()
    del document["annotations"]
    images, path = write(tmp_path, document)
    assert validate(images, path.rename(tmp_path / "image_info_test-dev.json")) == []


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data set folder with train and val, whose images share names but not pixels."""
    for split in ("train", "val"):
        images, path = write(tmp_path / f"{split}-parts", tiny())
        images.rename(tmp_path / split)
        path.rename(tmp_path / f"instances_{split}.json")
    for i in range(4):
        Image.new("L", (WIDTH, HEIGHT), 100 + i).save(tmp_path / "val" / f"{i}.png")
    return tmp_path


def test_a_sound_folder_has_no_findings(folder):
    checked = validate_folder(folder)
    assert [(one.images.name, one.image_count, one.annotation_count, one.findings) for one in checked.values()] == [
        ("train", 4, 8, []), ("val", 4, 8, [])
    ]  # fmt: skip


def test_splits_must_share_their_categories(folder):
    document = {**tiny(), "categories": [*tiny()["categories"], {"id": 4, "name": "bus"}]}
    (folder / "instances_val.json").write_text(json.dumps(document))
    checked = validate_folder(folder)
    assert kinds(checked["train"].findings) == set() and kinds(checked["val"].findings) == {"categories-differ"}
    assert "only there: none; only here: 4 bus" in checked["val"].findings[0].message


def test_a_picture_in_both_splits_is_a_warning(folder):
    (folder / "val" / "2.png").write_bytes((folder / "train" / "2.png").read_bytes())
    (finding,) = validate_folder(folder)["val"].findings
    assert (finding.severity, finding.kind, finding.image_id) == ("warning", "in-both-splits", 2)


def test_a_folder_is_checked_though_its_first_image_is_missing(folder):
    (folder / "train" / "0.png").unlink()
    findings = validate_folder(folder)["train"].findings
    assert [(one.kind, one.path) for one in findings] == [("missing-file", folder / "train" / "0.png")]


def test_a_split_that_is_not_there_is_an_error(folder):
    checked = validate_folder(folder, ["train", "minival"])
    assert checked["train"].findings == [] and kinds(checked["minival"].findings) == {"no-split"}
    assert "no instances_minival*.json" in str(checked["minival"].findings[0])
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        validate_folder(folder / "nowhere")


@pytest.mark.parametrize("name", ["chess320", "coco_ccby320"])
def test_real_sets_have_nothing_but_notes(real_data, name):
    checked = validate_folder(real_data(name))
    assert {finding.severity for one in checked.values() for finding in one.findings} == {"note"}
    assert all(one.image_count > 30 for one in checked.values())


@pytest.fixture
def open_tiny(tmp_path) -> Callable[[], CocoDataset]:
    images, path = write(tmp_path, tiny())
    return lambda: CocoDataset(images, read_annotations(path))


def test_a_usable_set_is_checked_once_and_that_is_said(open_tiny, capsys):
    dataset = open_tiny()
    assert ensure_usable(dataset, "stop") is dataset
    assert capsys.readouterr().out == "instances_train.json: checked 4 images\n"
    assert ensure_usable(open_tiny(), "stop") is not None and capsys.readouterr().out == ""


def test_a_subset_is_checked_once_too(open_tiny, capsys):
    ensure_usable(open_tiny().subset([0, 2]), "stop")
    assert "checked 2 images" in capsys.readouterr().out
    ensure_usable(open_tiny(), "stop")
    assert "checked 2 images" in capsys.readouterr().out


def test_an_image_that_changed_is_checked_again(open_tiny, capsys):
    ensure_usable(open_tiny(), "stop")
    file = open_tiny().images / "2.png"
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"2\.png: cannot be read as an image"):
        ensure_usable(open_tiny(), "stop")
    assert "checked 1 image\n" in capsys.readouterr().out


def test_all_are_checked_again_when_the_json_changed(open_tiny, tmp_path, capsys):
    ensure_usable(open_tiny(), "stop")
    document = tiny()
    document["images"][1]["width"] += 1
    save(tmp_path, document)
    with pytest.raises(ValueError, match=r"1\.png: is 16 x 12 pixels but its annotations say 17 x 12"):
        ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_an_image_that_failed_is_not_remembered(open_tiny):
    (open_tiny().images / "1.png").write_text("text")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"1\.png"):
            ensure_usable(open_tiny(), "stop")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"0": 5}', "[" * 100_000])
def test_a_damaged_memory_means_that_all_are_checked(open_tiny, cache, capsys, content):
    ensure_usable(open_tiny(), "stop")
    (memory,) = cache.rglob("*.json")
    memory.write_text(content)
    ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_without_a_place_to_remember_all_are_checked(open_tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_an_image_that_cannot_be_used_stops_with_the_way_to_see_all(open_tiny, tmp_path):
    for i in (1, 3):
        (open_tiny().images / f"{i}.png").unlink()
    with pytest.raises(ValueError) as caught:
        ensure_usable(open_tiny(), "stop")
    assert str(caught.value) == (
        f"{open_tiny().images / '1.png'}: no such image file and 1 more images; mend or remove what is wrong, or give "
        f"bad_images=skip to go on without; `lad validate {tmp_path}` lists all"
    )


def test_or_is_left_out(open_tiny, capsys):
    (open_tiny().images / "1.png").unlink()
    left = ensure_usable(open_tiny(), "skip")
    assert left.annotations.records.image_id.tolist() == [0, 2, 3]
    assert "left out: " in capsys.readouterr().out


def test_a_set_without_a_usable_image_is_refused_either_way(open_tiny):
    for file in open_tiny().images.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"none of .*instances_train\.json's images can be used"):
        ensure_usable(open_tiny(), "skip")
    with pytest.raises(ValueError, match="lists no images"):
        ensure_usable(open_tiny().subset([]), "skip")


def test_an_image_reached_by_a_link_to_outside_is_refused(open_tiny, tmp_path):
    FAULTS["a link to outside"][0](tiny(), open_tiny().images, 1)
    with pytest.raises(ValueError, match=r"1\.png: a link leads out of the images folder, to .*elsewhere\.png; copy"):
        ensure_usable(open_tiny(), "stop")


def test_an_images_folder_may_be_a_link_itself(open_tiny, tmp_path):
    (tmp_path / "linked").symlink_to(open_tiny().images)
    dataset = CocoDataset(tmp_path / "linked", open_tiny().annotations)
    assert len(ensure_usable(dataset, "stop")) == 4

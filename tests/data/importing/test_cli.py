"""The command `lad import`: a new COCO folder or one line about what is wrong, and nothing half-written."""

import json
import os
from pathlib import Path

import pytest
from commands import error_line, run
from formats import voc_xml
from PIL import Image

from lad.data.importing import coco_folder


@pytest.fixture
def source(tmp_path) -> Path:
    """Two images in VOC's format: a dog, a cat that reaches outside, and one without area in the image."""
    boxes = {"a": [("dog", (1, 1, 10, 20))], "b": [("cat", (61, 1, 90, 41)), ("cat", (90, 1, 99, 9))]}
    folder = tmp_path / "source"
    folder.mkdir()
    for name, objects in boxes.items():
        Image.new("RGB", (80, 40)).save(folder / f"{name}.png")
        (folder / f"{name}.xml").write_text(voc_xml((80, 40), objects, "<truncated>1</truncated>"))
    return folder


def error_of(words: list[str], capsys: pytest.CaptureFixture) -> str:
    return error_line(capsys, "import", *words)


def test_a_coco_folder_is_written_and_what_it_has_is_printed(source, tmp_path, capsys):
    run("import", source, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]
    dog, cat = content["annotations"]
    assert dog["bbox"] == [0, 0, 10, 20] and dog["area"] == 200 and dog["iscrowd"] == 0 and dog["truncated"] == 1
    assert cat["bbox"] == [60, 0, 20, 40] and (cat["image_id"], cat["category_id"], cat["id"]) == (2, 1, 2)
    assert capsys.readouterr().out.splitlines() == [
        f"boxes without area in their image, left out: 1 (first: {source / 'b.png'})",
        f"boxes that reach outside their image, clipped: 1 (first: {source / 'b.png'})",
        "no images for validation: training holds out a part of the training images",
        f"written to {tmp_path / 'out'}: train 2 images, 2 objects; 2 classes",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(source, tmp_path, copy):
    run("import", source, tmp_path / "out", *["--copy"] * copy)
    image = tmp_path / "out" / "train" / "a.png"
    assert image.samefile(source / "a.png") != copy and image.read_bytes() == (source / "a.png").read_bytes()


def test_images_are_copied_where_links_are_not_possible(source, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    run("import", source, tmp_path / "out")
    assert not (tmp_path / "out" / "train" / "a.png").samefile(source / "a.png")


def test_an_existing_folder_is_never_changed(source, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert "already exists" in error_of([str(source), str(tmp_path / "out")], capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_after_an_error_nothing_is_left(source, tmp_path, capsys, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(coco_folder, "_link_or_copy", fail)
    assert "No space left on device" in error_of([str(source), str(tmp_path / "out")], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_name_that_the_layout_cannot_tell_apart_is_an_error(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / "yolo" / name / "images").mkdir(parents=True)
        (tmp_path / "yolo" / name / "labels").mkdir()
        Image.new("RGB", (80, 40)).save(tmp_path / "yolo" / name / "images" / "a.png")
        (tmp_path / "yolo" / name / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "yolo" / "data.yaml").write_text("names: [cat]\ntrain: [one/images, two/images]")
    line = error_of([str(tmp_path / "yolo"), str(tmp_path / "out")], capsys)
    assert line == "lad import: two images of one split are both named a.png; rename one of them"


def test_a_folder_that_is_missing_or_of_another_format_is_an_error(tmp_path, capsys):
    line = error_of([str(tmp_path / "gone"), str(tmp_path / "out")], capsys)
    assert line.endswith("gone: no such folder; give one, or one of coco2017, coco2017-val")
    (tmp_path / "empty").mkdir()
    assert "is not in a known format" in error_of([str(tmp_path / "empty"), str(tmp_path / "out")], capsys)
    assert "--zero-based is for those of VOC" in error_of(
        [str(tmp_path / "empty"), str(tmp_path / "out"), "--zero-based"], capsys
    )


def test_a_folder_in_both_formats_is_an_error(source, tmp_path, capsys):
    (source / "labels").mkdir()
    assert "has the files of VOC and of YOLO" in error_of([str(source), str(tmp_path / "out")], capsys)


def test_only_coco_has_a_default_folder(source, capsys):
    line = error_line(capsys, "import", source, status=2)
    assert line == "lad import: error: missing argument OUT, the new folder"


def test_hidden_files_of_other_programs_are_not_annotations(source, tmp_path, capsys):
    (source / ".idea").mkdir()
    (source / ".idea" / "workspace.xml").write_text("<project/>")
    Image.new("RGB", (80, 40)).save(source / ".a.png")
    run("import", source, tmp_path / "out")
    assert "train 2 images" in capsys.readouterr().out


def test_an_interruption_is_one_line_and_nothing_is_left(source, tmp_path, capsys, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(coco_folder, "_link_or_copy", interrupt)
    line = error_line(capsys, "import", source, tmp_path / "out", status=130)
    assert "interrupted; run the same command again" in line
    assert [path.name for path in tmp_path.iterdir()] == ["source"]

"""The command `lad validate`: its output, its exit status, and the corrected folder."""

import json
from pathlib import Path

import pytest
from commands import error_line, run
from PIL import Image

from lad.cli import main
from lad.data.annotations import read_annotations
from lad.data.coco import find_split
from lad.data.synthetic.folders import write_shapes
from lad.data.validation.report import MAX_LINES


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a data set of three training and two validation images, annotations in a folder of their own."""
    folder = tmp_path / "shapes"
    write_shapes(folder, "toy", {"train": 3, "val": 2})
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        (folder / f"instances_{split}.json").rename(folder / "annotations" / f"instances_{split}.json")
    return folder


def change(folder: Path, split: str = "train", **changes) -> dict:
    """Change the first annotation and return the document."""
    path = folder / "annotations" / f"instances_{split}.json"
    document = json.loads(path.read_text())
    document["annotations"][0].update(changes)
    path.write_text(json.dumps(document))
    return document


def errors(capsys, *arguments: object) -> list[str]:
    """Return the lines printed by a command that ends with exit status 1."""
    assert main(["validate", *map(str, arguments)]) == 1
    return capsys.readouterr().out.splitlines()


def test_a_valid_data_set_ends_without_error(folder, capsys):
    run("validate", folder)
    *_, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith("shapes: ") and " in 5 images, " in summary and "error" not in summary


def test_errors_come_first_and_end_with_status_1(folder, capsys):
    change(folder, bbox=[-30, -30, 500, 500])
    (folder / "train" / "000001.png").unlink()
    (folder / "val" / "000000.png").write_text("text")
    lines = errors(capsys, folder)
    kinds = [line.rsplit("[")[-1] for line in lines[:-1] if not line.startswith("note")]
    assert kinds == ["missing-file]", "outside-box]", "unreadable-image]"]
    assert lines[0] == f"error: {folder}/train/000001.png: image 2: no such image file [missing-file]"
    assert lines[-1].startswith("shapes: 2 errors, 1 warning")


def test_a_single_split_can_be_checked(folder, capsys):
    (folder / "train" / "000001.png").unlink()
    run("validate", folder, "--split", "val")
    assert " in 2 images, " in capsys.readouterr().out


def test_only_the_first_findings_of_a_kind_are_printed_without_all(folder, capsys):
    document = change(folder)
    document["annotations"] = [{**document["annotations"][0], "id": i, "category_id": 99} for i in range(30)]
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(document))
    lines = [line for line in errors(capsys, folder) if "unknown-category" in line]
    assert len(lines) == MAX_LINES + 1 and lines[-1] == "… and 10 more of unknown-category; --all lists them"
    assert sum("unknown-category" in line for line in errors(capsys, folder, "--all")) == 30


def test_findings_are_printed_as_json(folder, capsys):
    change(folder, category_id=99)
    report = json.loads("\n".join(errors(capsys, folder, "--json")))
    first = report["splits"]["train"]["findings"][0]
    assert (first["severity"], first["kind"], first["image_id"], first["annotation_id"]) == (
        "error", "unknown-category", 1, 1
    )  # fmt: skip
    assert first["path"] == report["splits"]["train"]["annotations"] and first["entry"] == ["annotations", 0]
    assert report["splits"]["val"]["image_count"] == 2


def test_a_missing_folder_is_refused_in_one_line(tmp_path, capsys):
    line = error_line(capsys, "validate", tmp_path / "nowhere")
    assert line.startswith("lad validate: ") and "nowhere: no such folder" in line


def test_the_corrected_folder_can_be_trained_on(folder, tmp_path, capsys):
    change(folder, bbox=[-30, -30, 500, 500])
    (folder / "train" / "000000.png").unlink()
    before = {file: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()}
    run("validate", folder, "--fix", tmp_path / "new" / "corrected")
    assert "written to " in capsys.readouterr().out.splitlines()[-1]
    for split, number in (("train", 2), ("val", 2)):
        images, path = find_split(tmp_path / "new" / "corrected", split)
        assert path.parent.name == "annotations" and images.samefile(folder / split)
        assert len(read_annotations(path).records) == number
    run("validate", tmp_path / "new" / "corrected")
    assert {file: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()} == before


def test_images_are_copied_where_links_are_not_possible(folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (folder / "train" / "000001.png").unlink()
    run("validate", folder, "--fix", tmp_path / "corrected")
    images, _ = find_split(tmp_path / "corrected", "train")
    assert not images.is_symlink() and sorted(file.name for file in images.iterdir()) == ["000000.png", "000002.png"]
    run("validate", tmp_path / "corrected")


def test_errors_that_cannot_be_corrected_end_with_status_1(folder, tmp_path, capsys):
    path = folder / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace('"circle"', '"disc"'))
    lines = errors(capsys, folder, "--fix", tmp_path / "corrected")
    assert any("categories-differ" in line for line in lines) and "1 error" in lines[-1]


def test_a_corrected_folder_never_overwrites_another(folder, tmp_path, capsys):
    for out in (folder, tmp_path):
        assert "already exists" in error_line(capsys, "validate", folder, "--fix", out)


def test_a_corrected_folder_that_cannot_be_written_is_refused_before_the_images_are_read(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("lad.data.validation.report.validate_folder", lambda *_: pytest.fail("read the images"))
    (tmp_path / "file").touch()
    line = error_line(capsys, "validate", folder, "--fix", tmp_path / "file" / "corrected")
    assert line.startswith(f"lad validate: parameter '--fix' = '{tmp_path / 'file'}': cannot be written")


def test_nothing_is_written_if_a_split_cannot_be_corrected(folder, tmp_path, capsys):
    (folder / "annotations" / "instances_val.json").write_text("{")
    assert main(["validate", str(folder), "--fix", str(tmp_path / "corrected")]) == 1
    assert "fixed by hand" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shapes"]


def test_an_unprintable_file_name_is_escaped(folder, capsys):
    document = change(folder)
    document["images"][0]["file_name"] = "\x1b[31m\n\ud800.png"
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(document))
    Image.new("L", (8, 8)).save(folder / "train" / "x.png")
    lines = errors(capsys, folder)
    assert all(line.isprintable() for line in lines) and r"\x1b[31m\n\ud800.png" in lines[0]

"""COCO 2017 is downloaded, verified and unpacked; an interrupted download is resumed. The server is on this machine."""

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import LocalServer, serve
from PIL import Image

from lad.data.coco import find_split
from lad.data.importing import coco2017
from lad.data.importing.cli import import_data_set
from lad.data.validation.checker import validate_folder

PATHS = {
    "annotations": "annotations/annotations_trainval2017.zip",
    "val": "zips/val2017.zip",
    "train": "zips/train2017.zip",
}


def pack(files: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def make_archives() -> dict[str, bytes]:
    """Return archives like COCO's, with one image per split, by their paths."""
    files: dict[str, dict[str, bytes]] = {"annotations": {"annotations/captions_train2017.json": b"{}"}}
    for number, split in enumerate(("train", "val"), start=1):
        image = io.BytesIO()
        Image.new("RGB", (64, 48), (100 * number, 0, 0)).save(image, "png")
        name = f"{number:012}.png"
        files[split] = {f"{split}2017/": b"", f"{split}2017/{name}": image.getvalue() + b"\0" * 2000}
        annotation = {"id": 1, "image_id": number, "category_id": 3, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0}
        content = {
            "images": [{"id": number, "file_name": name, "width": 64, "height": 48}],
            "annotations": [annotation],
            "categories": [{"id": 3, "name": "car"}],
        }
        files["annotations"][f"annotations/instances_{split}2017.json"] = json.dumps(content).encode()
    return {PATHS[name]: pack(content) for name, content in files.items()}


def publish(server: LocalServer, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server send these archives, and the module expect them."""
    server.files = {f"/{path}": content for path, content in archives.items()}

    def expected(archive: coco2017.Archive) -> coco2017.Archive:
        content = archives[archive.path]
        digest = hashlib.sha256(content).hexdigest()
        return dataclasses.replace(archive, sha256=digest, num_bytes=len(content))

    sets = {name: tuple(map(expected, archives)) for name, archives in coco2017.SETS.items()}
    monkeypatch.setattr(coco2017, "SERVER", server.url)
    monkeypatch.setattr(coco2017, "SETS", sets)


@pytest.fixture
def server(monkeypatch) -> Iterator[LocalServer]:
    with serve() as server:
        publish(server, make_archives(), monkeypatch)
        yield server


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "data" / "coco"


def error_line(name: str, out: Path) -> str:
    """Return the line of a failed import, after which there is no folder."""
    with pytest.raises((ValueError, OSError)) as stop:
        import_data_set(name, out)
    assert not out.exists() and "\n" not in str(stop.value)
    return str(stop.value)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def change(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {**make_archives(), PATHS[name]: pack(files)}


def test_all_of_it_is_where_the_profiles_look_and_the_archives_are_gone(server, out):
    import_data_set("coco2017", out)
    jsons = {f"annotations/instances_{split}2017.json" for split in ("train", "val")}
    assert files_in(out) == {*jsons, "train2017/000000000001.png", "val2017/000000000002.png"}
    assert [path.name for path in out.parent.iterdir() if not path.name.startswith(".")] == ["coco"]
    assert find_split(out, "train")[0] == out / "train2017"
    assert not [finding for split in validate_folder(out).values() for finding in split.findings]


def test_the_validation_part_alone(server, out):
    import_data_set("coco2017-val", out)
    assert files_in(out) == {"annotations/instances_val2017.json", "val2017/000000000002.png"}
    assert f"/{PATHS['train']}" not in {path for path, _ in server.requests}


def test_the_default_folder_is_data_coco_of_the_project(server, tmp_path, monkeypatch):
    monkeypatch.setattr("lad.data.importing.cli.project_folder", lambda: tmp_path)
    import_data_set("coco2017-val")
    assert (tmp_path / "data" / "coco" / "val2017").is_dir()


def test_archives_can_be_kept(server, out):
    import_data_set("coco2017-val", out, keep=True)
    assert {path.name for path in (out / "archives").iterdir()} == {"annotations_trainval2017.zip", "val2017.zip"}


def test_an_interrupted_download_is_resumed_by_the_next_call(server, out, capsys):
    size = len(server.files[f"/{PATHS['annotations']}"])
    server.cut = [size, 100, 100, 100]  # the first archive is complete; the second is cut in each of three connections
    assert "the connection was lost 3 times (after 300 of" in error_line("coco2017-val", out)
    server.requests.clear()
    import_data_set("coco2017-val", out)
    assert server.requests == [(f"/{PATHS['val']}", "bytes=300-")]
    assert len(files_in(out)) == 2


def test_an_archive_with_another_checksum_is_deleted(server, out):
    server.files[f"/{PATHS['val']}"] = pack({"val2017/evil.png": b""})
    assert "val2017.zip: its SHA-256 begins with" in error_line("coco2017-val", out)
    assert not list(out.parent.rglob("val2017.zip*[!k]"))


def test_an_archive_put_there_by_hand_is_used_if_it_is_coco_s(server, out):
    folder = out.with_name("coco.unfinished") / "archives"
    folder.mkdir(parents=True)
    (folder / "val2017.zip").write_bytes(b"another file")
    assert "its SHA-256 is not that of COCO's archive" in error_line("coco2017-val", out)
    (folder / "val2017.zip").write_bytes(server.files[f"/{PATHS['val']}"])
    import_data_set("coco2017-val", out)
    assert f"/{PATHS['val']}" not in {path for path, _ in server.requests}


@pytest.mark.parametrize("name", ["val2017/../../../evil", "val2017/..\\..\\evil", "val2017/sub/../../evil"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(server, out, name, monkeypatch, tmp_path):
    publish(server, change("val", {"val2017/a.png": b"", name: b"evil"}), monkeypatch)
    assert "leads out of the folder" in error_line("coco2017-val", out)
    assert (
        not [path for path in tmp_path.rglob("*evil*")] and not (out.with_name("coco.unfinished") / "val2017").exists()
    )


def test_a_corrupted_archive_is_an_error(server, out, monkeypatch):
    content = make_archives()[PATHS["val"]]
    position = content.index(b"\0" * 1000) + 500
    broken = content[:position] + b"\1" + content[position + 1 :]
    publish(server, {**make_archives(), PATHS["val"]: broken}, monkeypatch)
    assert "val2017.zip: is corrupted (Bad CRC-32" in error_line("coco2017-val", out)
    publish(server, {**make_archives(), PATHS["val"]: b"PK"}, monkeypatch)
    shutil.rmtree(out.with_name("coco.unfinished"))
    assert "val2017.zip: is not a zip archive" in error_line("coco2017-val", out)


def test_an_archive_without_the_expected_files_is_an_error(server, out, monkeypatch):
    publish(server, change("val", {"train2017/a.png": b""}), monkeypatch)
    assert "val2017.zip: has no val2017/; it is not COCO's archive" in error_line("coco2017-val", out)


def test_unpacking_that_was_killed_begins_again(server, out):
    unpacking = out.with_name("coco.unfinished") / "unpacking" / "val2017"
    unpacking.mkdir(parents=True)
    (unpacking / "half.png").write_bytes(b"half")
    import_data_set("coco2017-val", out)
    assert "val2017/half.png" not in files_in(out)


def test_space_is_checked_before_anything_is_downloaded(server, out, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 0, 10))
    assert "GB are needed there, and 0.0 GB are free" in error_line("coco2017", out)
    assert server.requests == []


def test_all_of_coco_needs_about_forty_gigabytes(out, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 39e9))
    assert "40.7 GB are needed there, and 39.0 GB are free" in error_line("coco2017", out)


def test_an_existing_folder_is_never_changed(server, out):
    out.mkdir(parents=True)
    with pytest.raises(ValueError, match="already exists"):
        import_data_set("coco2017", out)
    assert server.requests == [] and list(out.iterdir()) == []

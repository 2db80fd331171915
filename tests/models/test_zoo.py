"""Published checkpoints are found by name, downloaded once and verified; anything unknown is one line."""

import dataclasses
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from local_server import LocalServer, serve

import lad
from lad.models import zoo
from lad.models.architecture import build
from lad.models.detector import Configuration, build_detector
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import load_detector, save_detector
from lad.models.zoo import CHECKPOINTS, COCO_CLASSES, checkpoint_file, is_published

DIGITS = r"-[0-9a-f]{8}\.pth"


@pytest.fixture(scope="module")
def content() -> bytes:
    """A small detector of 80 classes as OpenMMLab publishes its files."""
    torch.manual_seed(0)
    detector = build_detector("r18", num_classes=80, width=0.25, channels=64)
    file = io.BytesIO()
    torch.save({"meta": {"mmdet_version": "2.10.0"}, "state_dict": to_openmmlab_state(detector)}, file)
    return file.getvalue()


@pytest.fixture
def sha256(content) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(content, sha256, tmp_path, monkeypatch) -> Iterator[LocalServer]:
    """Serves the detector as paa_r18_1x and as model.pth; torch's cache and the project's checkpoints/ are empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(zoo, "project_folder", lambda: tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    name = f"/paa_r18_fpn_1x_coco-{sha256[:8]}.pth"
    with serve({name: content, "/model.pth": content}) as server:
        entry = dataclasses.replace(CHECKPOINTS["paa_r18_1x"], url=server.url + name)
        monkeypatch.setitem(CHECKPOINTS, "paa_r18_1x", entry)
        yield server


def test_every_entry_has_an_address_whose_file_name_ends_in_digits_of_its_hash():
    for name, entry in CHECKPOINTS.items():
        assert re.search(DIGITS + "$", entry.url), name
        folder, file = entry.url.split("/")[-2:]
        assert file.startswith(folder + ("_20" if entry.url.startswith("https://") else "-")), name
        assert entry.url.startswith(("https://download.openmmlab.com/mmdetection/", zoo.PAPER + "/")), name
    colad = "http://118.69.233.170:60001/open/LAD_WACV22/paa_colad_stdmean_r101cop_r50p3x_ms_2x/"
    assert CHECKPOINTS["colad_r101"].url == f"{colad}paa_colad_stdmean_r101cop_r50p3x_ms_2x-5689838f.pth"
    r50 = "https://download.openmmlab.com/mmdetection/v2.0/paa/paa_r50_fpn_1x_coco/"
    assert CHECKPOINTS["paa_r50_1x"].url == f"{r50}paa_r50_fpn_1x_coco_20200821-936edec3.pth"


@pytest.mark.parametrize(
    ("name", "backbones"),
    [
        ("paa_r18_1x", ["r18"]),
        ("paa_r50_1x", ["r50"]),
        ("paa_r101_2x", ["r101"]),
        ("lad_r101_from_r50_1x", ["r101"]),
        ("paper_lad_r50_from_r101_1x", ["r50", "r101"]),
    ],
)
def test_sizes_are_those_of_the_networks_in_the_file(name, backbones):
    """The paper's own LAD files contain the teacher as well."""
    with torch.device("meta"):
        states = [to_openmmlab_state(build(Configuration(backbone, 80))) for backbone in backbones]
    megabytes = 4e-6 * sum(value.numel() for state in states for value in state.values())
    assert CHECKPOINTS[name].megabytes == round(megabytes)


def test_the_classes_are_cocos():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[11], COCO_CLASSES[-1]) == ("person", "stop sign", "toothbrush")


def test_a_published_name_loads_and_is_downloaded_once(server):
    first, second = lad.load_detector("paa_r18_1x"), load_detector("paa_r18_1x")
    assert torch.equal(first.head.cls.weight, second.head.cls.weight) and len(server.requests) == 1
    assert first.configuration.class_names == COCO_CLASSES and first.configuration.backbone == "r18"


def test_a_head_that_was_trained_without_the_iou_branch_is_loaded_without_it(server, monkeypatch):
    assert load_detector("paa_r18_1x").head.iou is not None
    entry = dataclasses.replace(CHECKPOINTS["paa_r18_1x"], iou_branch=False)
    monkeypatch.setitem(CHECKPOINTS, "paa_r18_1x", entry)
    assert load_detector("paa_r18_1x").head.iou is None
    assert [name for name, entry in CHECKPOINTS.items() if not entry.iou_branch] == [
        "paa_r18_1x", "paper_iop_r18_1x", "paper_cop_r18_1x", "paper_iop_r50_1x", "paper_cop_r50_1x",
    ]  # fmt: skip


def test_a_file_in_the_projects_folder_is_used_without_a_download(server, content, tmp_path):
    name = Path(CHECKPOINTS["paa_r18_1x"].url).name
    (tmp_path / "project" / "checkpoints").mkdir(parents=True)
    (tmp_path / "project" / "checkpoints" / name).write_bytes(content)
    assert checkpoint_file("paa_r18_1x") == tmp_path / "project" / "checkpoints" / name
    assert server.requests == []


def test_a_web_address_with_digits_in_its_name_loads_like_a_name(server):
    url = CHECKPOINTS["paa_r18_1x"].url
    assert checkpoint_file(url) == checkpoint_file("paa_r18_1x") and len(server.requests) == 1
    assert load_detector(url).configuration.class_names == ()  # a web address says nothing of its classes


def test_a_web_address_without_digits_needs_a_hash(server, sha256):
    with pytest.raises(ValueError, match=r"model\.pth': the file's name does not end in digits .*; pass sha256=<8 or"):
        load_detector(f"{server.url}/model.pth")
    assert server.requests == []
    file = checkpoint_file(f"{server.url}/model.pth", sha256)
    assert file.name == f"model-{sha256[:8]}.pth" and load_detector(f"{server.url}/model.pth", sha256=sha256[:10])
    assert len(server.requests) == 1


def test_a_hash_verifies_every_kind_of_checkpoint(server, content, sha256, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    wrong = "0" * 8 + sha256[8:]
    for checkpoint in (tmp_path / "x.pth", "paa_r18_1x", f"{server.url}/model.pth"):
        assert load_detector(checkpoint, sha256=sha256.upper())
        with pytest.raises(ValueError, match=r"its SHA-256 begins with \w+, not with 00000000"):
            load_detector(checkpoint, sha256=wrong)
    with pytest.raises(ValueError, match="sha256 = '123' is not a SHA-256"):
        load_detector(tmp_path / "x.pth", sha256="123")


def test_a_download_that_fails_says_where_to_put_the_file(server, tmp_path):
    server.files.clear()
    with pytest.raises(ValueError) as caught:
        load_detector("paa_r18_1x")
    line, name = str(caught.value), Path(CHECKPOINTS["paa_r18_1x"].url).name
    assert f"put it at {tmp_path / 'torch' / 'hub' / 'checkpoints' / name}" in line and "\n" not in line
    assert f"or in {tmp_path / 'project' / 'checkpoints'}, or pass the path of a copy" in line


def test_a_path_comes_before_a_name(server, tmp_path):
    save_detector(build_detector("r34", 3, 0.25, channels=64), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").rename(tmp_path / "paa_r18_1x")
    assert not is_published("paa_r18_1x") and checkpoint_file("paa_r18_1x") == Path("paa_r18_1x")
    assert is_published("paa_r50_1x") and is_published("https://example.org/a.pth") and is_published("ftp://x/a.pth")
    assert not is_published("model.pth") and not is_published(Path("runs")) and not is_published("C:/model.pth")


def test_the_folder_of_a_run_is_the_weights_in_it(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=r"run': is a folder without model\.safetensors: no finished run"):
        load_detector(tmp_path / "run")
    save_detector(build_detector("r34", 3, 0.25, channels=64), tmp_path / "run" / "model.safetensors")
    assert load_detector(str(tmp_path / "run")).configuration.backbone == "r34"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("paa_r50_1", "; did you mean the published 'paa_r50_1x'?"),
        ("nowhere.pth", ", and no published checkpoint; `lad checkpoints` lists them"),
        ("", ", and no published checkpoint; `lad checkpoints` lists them"),
    ],
)
def test_what_is_neither_a_file_nor_a_name_is_one_line_with_the_nearest_name(server, given, line):
    with pytest.raises(ValueError, match=re.escape(f"checkpoint '{given}': no such file{line}")):
        load_detector(given)


def test_other_addresses_than_web_addresses_are_refused(server):
    with pytest.raises(ValueError, match="not a web address; only https and http"):
        load_detector("ftp://example.org/a-12345678.pth")

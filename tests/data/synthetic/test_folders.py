"""Folders of the embedded data sets: as pycocotools reads them, and written completely or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lad.data.synthetic import folders
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import shapes_folder, write_shapes
from lad.data.synthetic.shapes import Shape, render_shapes


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder("toy", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def three_images(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(DIFFICULTIES["toy"], images={"train": 2, "val": 1})
    monkeypatch.setitem(DIFFICULTIES, "toy", few)


@pytest.mark.parametrize(("split", "count"), [("train", 800), ("val", 200)])
def test_pycocotools_reads_the_data_set(toy: Path, split: str, count: int) -> None:
    coco = COCO(toy / f"instances_{split}.json")
    assert sorted(coco.imgs) == list(range(1, count + 1))
    assert len(list((toy / split).iterdir())) == count
    assert [category["name"] for category in coco.loadCats([1, 2, 3, 4, 5, 6])] == list(DIFFICULTIES["toy"].classes)
    assert all(coco.getImgIds(catIds=[category]) for category in coco.getCatIds())
    assert all(coco.getAnnIds(areaRng=area) for area in ([0, 32**2], [32**2, 96**2], [96**2, 128**2]))


def test_files_hold_the_rendered_images_and_boxes(toy: Path) -> None:
    coco = COCO(toy / "instances_val.json")
    image, visible = render_shapes("toy", "val", 41)
    assert np.array_equal(np.asarray(Image.open(toy / "val" / coco.imgs[42]["file_name"])), image)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[42]))
    for annotation, shape in zip(annotations, visible, strict=True):
        x0, y0, x1, y1 = shape.box
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert (annotation["category_id"], annotation["area"]) == (shape.category + 1, shape.area)


def test_several_processes_write_the_same_files(tmp_path: Path) -> None:
    for processes in (1, 2):
        write_shapes(tmp_path / str(processes), "toy", {"train": 3, "val": 2}, processes)
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*"))}
        for folder in (tmp_path / "1", tmp_path / "2")
    )
    assert len(first) == 7 and first == second


def test_sizes_override_the_number_of_images(tmp_path: Path) -> None:
    write_shapes(tmp_path / "few", "mini", {"train": 2, "val": 1})
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == [
        "few/instances_train.json",
        "few/instances_val.json",
        "few/train/000000.png",
        "few/train/000001.png",
        "few/val/000000.png",
    ]


@pytest.mark.parametrize("sizes", [{"train": 0}, {"test": 3}])
def test_impossible_sizes_are_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sizes="):
        write_shapes(tmp_path / "few", "toy", sizes)


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(difficulty: str, split: str, index: int) -> tuple[np.ndarray, list[Shape]]:
        if split == "val":
            raise KeyboardInterrupt
        return render_shapes(difficulty, split, index)

    monkeypatch.setattr(folders, "render_shapes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / "few", "toy", {"train": 2, "val": 2})
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_writers_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(difficulty: str, split: str, index: int) -> tuple[np.ndarray, list[Shape]]:
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / "theirs").touch()
        return render_shapes(difficulty, split, index)

    monkeypatch.setattr(folders, "render_shapes", overtaken)
    write_shapes(tmp_path / "few", "toy", {"train": 1, "val": 1})
    assert [path.name for path in tmp_path.rglob("*")] == ["few", "theirs"]


@pytest.mark.usefixtures("three_images")
def test_a_complete_data_set_is_reused(tmp_path: Path) -> None:
    folder = shapes_folder("toy", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert shapes_folder("toy", str(tmp_path)) == folder == tmp_path / f"toy-v{folders.VERSION}"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("three_images")
def test_the_environment_variable_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "here"))
    assert shapes_folder("toy").parent == tmp_path / "here"
    assert shapes_folder("toy", tmp_path / "there").parent == tmp_path / "there"
    monkeypatch.delenv("LAD_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert shapes_folder("toy").parent == tmp_path / "home" / ".cache" / "lad"

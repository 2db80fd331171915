"""YOLO's format: its layouts and classes, its lines, and files that are not as they should be."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from lad.data.importing.source_files import image_sizes
from lad.data.importing.yolo import read_yolo

NAMES = ["cat", "dog"]


def add(image: Path, lines: str | None, label: str = "../../labels/train") -> None:
    """Write an image of 80 x 40 pixels and its label file, in a folder relative to the image's."""
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 40)).save(image)
    if lines is not None:
        path = Path(image.parent, label, f"{image.stem}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)


@pytest.fixture
def folder(tmp_path) -> Path:
    """One image with a dog."""
    describe(tmp_path)
    add(tmp_path / "images" / "train" / "a.jpg", "1 0.5 0.5 0.25 0.5\n")
    return tmp_path


def describe(folder: Path, **content: object) -> None:
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": NAMES, **content}))


def set_line(folder: Path, line: str) -> None:
    (folder / "labels" / "train" / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")


def objects(folder: Path) -> list[tuple]:
    return [(item.name, item.box) for item in read_yolo(folder).splits["train"][0].objects]


def file_names(folder: Path) -> dict[str, list[str]]:
    return {split: [image.file_name for image in images] for split, images in read_yolo(folder).splits.items()}


def error_line(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_yolo(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_line_is_a_class_and_the_center_and_size_in_fractions(folder):
    assert objects(folder) == [("dog", (30, 10, 50, 30))]
    assert read_yolo(folder).notes == []


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_fractions_are_of_the_image_as_it_looks(folder, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = folder / "images" / "train" / "a.jpg"
    image.unlink()
    Image.new("RGB", (80, 40)).save(image.with_suffix(suffix), exif=exif)
    assert image_sizes(image.with_suffix(suffix)) == ((80, 40), (40, 80))
    assert read_yolo(folder).splits["train"][0].size == (40, 80)
    assert objects(folder) == [("dog", (15, 20, 25, 60))]


@pytest.mark.parametrize(
    "corners",
    [
        "0.25 0.5 0.5 0.25 0.75 0.5 0.5 0.75",
        "0.25 0.25 0.75 0.25 0.75 0.75",
        "0.25 0.25 0.5 0.25 0.75 0.75 0.5 0.5 0.3 0.3",
    ],
)
def test_polygons_and_rotated_boxes_become_the_boxes_that_enclose_them(folder, corners):
    set_line(folder, f"1 {corners}")
    assert objects(folder)[1] == ("dog", (20, 10, 60, 30))
    (note,) = read_yolo(folder).notes
    assert note.startswith("polygons and rotated boxes that became the boxes that enclose them: 1 (first: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.5 0.5 0.25", "has 4 fields"),
        ("1 0.5 0.5 0.25 0.5 0.9", "has 6 fields"),
        ("1 0.5 0.5 0.25 0.5 0.9 0.5 0.5", "has 8 fields"),
        ("1 0.5 0.5 0.25 half", "has a field that is not a number: 1 0.5 0.5 0.25 half"),
        ("dog 0.5 0.5 0.25 0.5", "has a field that is not a number"),
        ("2 0.5 0.5 0.25 0.5", "class 2 is unknown; data.yaml names the classes 0 … 1"),
        ("-1 0.5 0.5 0.25 0.5", "class -1 is unknown"),
        ("0.5 0.5 0.5 0.25 0.5", "class 0.5 is unknown"),
        ("nan 0.5 0.5 0.25 0.5", "class nan is unknown"),
        ("1 0.5 0.5 0.25 1.1", "coordinates must be fractions of the image, from 0 to 1"),
        ("1 40 20 20 20", "coordinates must be fractions"),
        ("1 0.5 0.5 -0.25 0.5", "coordinates must be fractions"),
        ("1 0.5 nan 0.25 0.5", "coordinates must be fractions"),
        ("1 0.1 0.1 0.5 0.1 0.5 1.5", "coordinates must be fractions"),
    ],
)
def test_a_wrong_line_is_named(folder, line, message):
    set_line(folder, line)
    assert f"labels/train/a.txt, line 3: {message}" in error_line(folder)


def test_the_keypoints_of_a_pose_data_set_are_left_out(folder):
    describe(folder, kpt_shape=[4, 2])
    set_line(folder, "1 0.5 0.5 0.25 0.5 0.1 0.1 0.9 0.1 0.1 0.9 0.9 0.9")
    assert objects(folder)[1] == ("dog", (30, 10, 50, 30)) and read_yolo(folder).notes == []
    describe(folder, kpt_shape=4)
    assert "data.yaml: kpt_shape = 4 must be two numbers, such as [17, 3]" in error_line(folder)


def test_rounding_may_exceed_the_image(folder):
    set_line(folder, "1.0 0.5 0.5 1.0000001 1")
    assert objects(folder)[1][1] == pytest.approx((0, 0, 80, 40), abs=1e-4)


@pytest.mark.parametrize("names", [["zebra", "ant"], {0: "zebra", 1: "ant"}, {1: "ant", 0: "zebra"}])
def test_classes_are_in_the_order_of_data_yaml(folder, names):
    describe(folder, names=names, nc=2)
    assert read_yolo(folder).class_names == ["zebra", "ant"] and objects(folder)[0][0] == "ant"


def test_indices_may_have_gaps(folder):
    describe(folder, names={1: "ant", 7: "bee"})
    assert read_yolo(folder).class_names == ["ant", "bee"] and objects(folder)[0][0] == "ant"


def test_classes_txt_names_a_class_per_line(folder):
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("traffic light\nstop sign\n\n")
    assert read_yolo(folder).class_names == ["traffic light", "stop sign"] and objects(folder)[0][0] == "stop sign"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": "cat"}, "needs 'names'"),
        ({"names": {"a": "cat"}}, "needs 'names'"),
        ({"names": []}, "names no classes"),
        ({"names": ["cat", ""]}, "names an empty class"),
        ({"names": ["cat", "cat"]}, "two classes have the same name"),
        ({"nc": 3}, "nc = 3, but 'names' has 2 classes"),
    ],
)
def test_a_description_without_proper_classes_is_an_error(folder, content, message):
    describe(folder, **content)
    assert f"data.yaml: {message}" in error_line(folder)


@pytest.mark.parametrize("content", ["names: [", "!!python/object/apply:os.getcwd []", "a: 1\n---\nb: 2"])
def test_a_description_that_is_not_plain_yaml_is_an_error(folder, content):
    (folder / "data.yaml").write_text(content)
    assert "data.yaml: is not valid YAML (" in error_line(folder)


def test_text_of_another_encoding_is_an_error(folder):
    (folder / "labels" / "train" / "a.txt").write_bytes(b"\xff\xfe1\0")
    assert error_line(folder).endswith("a.txt: cannot be read (it is not UTF-8 text)")


def test_a_folder_without_classes_is_an_error(folder):
    (folder / "data.yaml").unlink()
    assert "is not in a known format" in error_line(folder)


def test_several_yaml_files_are_an_error(folder):
    (folder / "data.yaml").rename(folder / "one.yaml")
    assert read_yolo(folder).class_names == NAMES
    (folder / "two.yml").write_text("a: 1")
    assert "has several YAML files (one.yaml, two.yml)" in error_line(folder)


def test_images_and_labels_without_the_other_are_counted(folder):
    add(folder / "images" / "train" / "b.jpg", None)
    (folder / "labels" / "train" / "c.txt").write_text("0 0.5 0.5 0.1 0.1")
    imported = read_yolo(folder)
    assert [len(image.objects) for image in imported.splits["train"]] == [1, 0]
    assert imported.notes == [
        f"images without a label file, imported without objects: 1 (first: {folder / 'images/train/b.jpg'})",
        f"label files without an image, not imported: 1 (first: {folder / 'labels/train/c.txt'})",
    ]


def test_images_of_which_none_has_a_label_file_are_an_error(folder):
    (folder / "labels" / "train" / "a.txt").rename(folder / "a.txt")
    assert "no image with a label file, such as" in error_line(folder)


def test_an_empty_label_file_is_an_image_without_objects(folder):
    add(folder / "images" / "train" / "b.jpg", "")
    assert len(read_yolo(folder).splits["train"]) == 2 and read_yolo(folder).notes == []


def test_images_in_subfolders_keep_them_in_their_names(folder):
    add(folder / "images" / "train" / "more" / "a.png", "0 0.5 0.5 0.1 0.1", "../../../labels/train/more")
    assert file_names(folder) == {"train": ["a.jpg", "more/a.png"]}


@pytest.mark.parametrize(
    "content", [{}, {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}]
)
def test_the_folders_of_roboflow_make_the_splits(tmp_path, content):
    describe(tmp_path, **content)
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        add(tmp_path / split / "images" / f"{name}.jpg", "0 0.5 0.5 0.1 0.1", "../labels")
    assert file_names(tmp_path) == {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}


@pytest.mark.parametrize("root", [".", "set", "/somewhere/else"])
def test_data_yaml_names_folders_of_any_name(tmp_path, root):
    base = tmp_path / "set" if root == "set" else tmp_path
    describe(tmp_path, path=root, train=["one/images", "two/images"], val="three/images")
    for name in ("one", "two", "three"):
        add(base / name / "images" / f"{name}.jpg", "0 0.5 0.5 0.1 0.1", "../labels")
    assert file_names(tmp_path) == {"train": ["one.jpg", "two.jpg"], "val": ["three.jpg"]}


def test_data_yaml_cannot_name_folders_elsewhere(folder):
    outside = folder.parent / "outside"
    add(outside / "b.jpg", "0 0.5 0.5 0.1 0.1", ".")
    describe(folder, train=str(outside), val="../../" + outside.name)
    assert file_names(folder) == {"train": ["a.jpg"]}


def test_a_list_of_files_is_not_supported(folder):
    (folder / "train.txt").write_text("images/train/a.jpg\n")
    describe(folder, train="train.txt")
    assert "data.yaml: train is the file train.txt; only folders of images can be imported" in error_line(folder)


@pytest.mark.parametrize("nested", ["images", "."])
def test_without_folders_of_splits_all_images_are_for_training(tmp_path, nested):
    (tmp_path / "classes.txt").write_text("cat\n")
    add(tmp_path / nested / "a.jpg", "0 0.5 0.5 0.1 0.1", "../labels" if nested == "images" else ".")
    assert file_names(tmp_path) == {"train": ["a.jpg"]}

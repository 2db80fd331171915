"""VOC's format: its two layouts, its way to count pixels, and files that are not as they should be."""

from pathlib import Path

import pytest
from formats import voc_xml
from PIL import Image

from lad.data.importing.voc import read_voc

DOG = ("dog", (1, 1, 10, 20))


@pytest.fixture
def flat(tmp_path) -> Path:
    """One image of 80 x 40 pixels, with its XML beside it."""
    add(tmp_path / "a.jpg", voc_xml((80, 40), [DOG]))
    return tmp_path


def add(image: Path, xml: str | None, size: tuple[int, int] = (80, 40), folder: str = ".") -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(image)
    if xml is not None:
        path = image.parent / folder / f"{image.stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml)


def devkit(folder: Path, lists: dict[str, list[str]], names: str = "abc") -> None:
    """Write VOC's own layout, with one image by name."""
    for name in names:
        add(
            folder / "JPEGImages" / f"{name}.jpg",
            voc_xml((80, 40), [(f"class {name}", (2, 3, 4, 5))]),
            folder="../Annotations",
        )
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split, stems in lists.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def file_names(folder: Path) -> dict[str, list[str]]:
    return {split: [image.file_name for image in images] for split, images in read_voc(folder).splits.items()}


def box_of(folder: Path, **options: bool) -> tuple:
    (image,) = read_voc(folder, **options).splits["train"]
    return image.objects[0].box


def error_line(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_voc(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pixels_are_counted_from_1_and_the_last_one_is_inside(flat):
    assert box_of(flat) == (0, 0, 10, 20)


def test_zero_based_coordinates_are_edges(flat):
    (flat / "a.xml").write_text(voc_xml((80, 40), [("dog", (0, 0, 10, 20))]))
    assert box_of(flat, zero_based=True) == (0, 0, 10, 20)
    assert "a.xml: object 1 (dog): begins at 0" in error_line(flat) and "--zero-based" in error_line(flat)


def test_coordinates_may_be_fractions_with_white_space(flat):
    (flat / "a.xml").write_text(voc_xml((80, 40), [("dog", (" 45.7 ", "2", "5e1", "3.5"))]))
    assert box_of(flat) == (44.7, 1, 50, 3.5)


@pytest.mark.parametrize("value", ["left", "", "nan", "inf"])
def test_a_coordinate_that_is_not_a_number_is_named(flat, value):
    (flat / "a.xml").write_text(voc_xml((80, 40), [DOG, ("cat", (1, 1, value, 5))]))
    assert "a.xml: object 2 (cat): <xmax> is " in error_line(flat) and "not a number" in error_line(flat)


def test_a_box_that_ends_before_it_begins_is_an_error(flat):
    (flat / "a.xml").write_text(voc_xml((80, 40), [("dog", (9, 1, 5, 5))]))
    assert "ends before it begins: 9 … 5" in error_line(flat)


def test_an_object_needs_a_name(flat):
    (flat / "a.xml").write_text(voc_xml((80, 40), [(" ", (1, 1, 5, 5))]))
    assert error_line(flat).endswith("a.xml: object 1 has no <name>")


def test_difficult_objects_are_kept_and_counted_and_truncated_ones_kept(flat):
    flags = "<difficult>1</difficult><truncated>1</truncated><pose>Left</pose>"
    add(flat / "b.jpg", voc_xml((80, 40), [DOG, DOG], flags))
    imported = read_voc(flat)
    objects = [item for image in imported.splits["train"] for item in image.objects]
    assert [dict(item.flags) for item in objects] == [{}, *[{"difficult": 1, "truncated": 1}] * 2]
    assert imported.notes == ["objects marked difficult, kept as ordinary objects: 2"]


def test_the_parts_of_an_object_are_not_objects(flat):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    (flat / "a.xml").write_text(voc_xml((80, 40), [DOG], part))
    assert read_voc(flat).class_names == ["dog"] and box_of(flat) == (0, 0, 10, 20)


def test_a_size_that_is_not_that_of_the_image_is_an_error(flat):
    (flat / "a.xml").write_text(voc_xml((160, 80), [DOG]))
    assert "a.xml: is for an image of 160 x 80 pixels, but" in error_line(flat) and "has 80 x 40" in error_line(flat)


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_a_size_that_the_tool_did_not_know_is_that_of_the_image(flat, size):
    (flat / "a.xml").write_text(voc_xml(size, [DOG]))
    assert read_voc(flat).splits["train"][0].size == (80, 40)


@pytest.mark.parametrize("size", [(80, 40), (40, 80)])
def test_a_turned_photograph_is_in_the_orientation_of_its_annotation(flat, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(flat / "a.jpg", exif=exif)
    (flat / "a.xml").write_text(voc_xml(size, [DOG]))
    assert read_voc(flat).splits["train"][0].size == size


@pytest.mark.parametrize(
    "dtd", ['<!DOCTYPE a [<!ENTITY b "c">]>', '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">', "<!DOCTYPE a>"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_xml_file_with_a_dtd_is_refused(flat, dtd, encoding):
    (flat / "a.xml").write_bytes((dtd + voc_xml((80, 40), [DOG])).encode(encoding))
    assert error_line(flat).endswith("a.xml: has a DTD or entities, which VOC's files do not need")


@pytest.mark.parametrize("content", ["", "<annotation>", "{}", "\0", '<?xml version="1.0" encoding="x"?><annotation/>'])
def test_a_file_that_is_not_xml_is_named(flat, content):
    (flat / "a.xml").write_text(content)
    assert "a.xml: cannot be read as XML (" in error_line(flat)


def test_another_kind_of_xml_file_is_an_error(flat):
    (flat / "a.xml").write_text("<html/>")
    assert error_line(flat).endswith("a.xml: is not VOC's: its root is <html>, not <annotation>")


def test_an_image_that_cannot_be_read_is_named(flat):
    (flat / "a.jpg").write_text("text")
    assert "a.jpg: cannot be read as an image" in error_line(flat)


def test_images_and_xml_files_without_the_other_are_counted(flat):
    add(flat / "b.jpg", None)
    (flat / "c.xml").write_text(voc_xml((80, 40), [DOG]))
    imported = read_voc(flat)
    assert [len(image.objects) for image in imported.splits["train"]] == [1, 0]
    assert imported.notes == [
        f"XML files without an image of the same name, not imported: 1 (first: {flat / 'c.xml'})",
        f"images without an XML file, imported without objects: 1 (first: {flat / 'b.jpg'})",
    ]


def test_two_images_of_one_name_are_an_error(flat):
    add(flat / "a.png", None)
    assert "a.xml: several images have its name" in error_line(flat)


def test_two_xml_files_of_one_image_are_an_error(flat):
    (flat / "more").mkdir()
    (flat / "more" / "a.xml").write_text(voc_xml((80, 40), [DOG]))
    assert "more/a.xml: is for the same image as" in error_line(flat)


def test_the_lists_of_voc_make_the_splits(tmp_path):
    devkit(tmp_path / "VOC2012", {"train": ["b"], "val": ["a"], "trainval": ["a", "b"], "dog_train": ["c"]})
    imported = read_voc(tmp_path)
    assert file_names(tmp_path) == {"train": ["b.jpg"], "val": ["a.jpg"]}
    assert imported.class_names == ["class a", "class b"]
    assert imported.notes == [
        "XML files in no list of ImageSets/Main, not imported: 1 "
        f"(first: {tmp_path / 'VOC2012' / 'Annotations' / 'c.xml'})"
    ]


def test_trainval_is_for_training_if_there_is_no_other_list(tmp_path):
    devkit(tmp_path, {"trainval": ["a", "b"], "test": ["c"]})
    assert file_names(tmp_path) == {"train": ["a.jpg", "b.jpg"], "test": ["c.jpg"]}


def test_without_lists_all_images_are_for_training(tmp_path):
    devkit(tmp_path, {})
    assert file_names(tmp_path) == {"train": ["a.jpg", "b.jpg", "c.jpg"]}


@pytest.mark.parametrize("missing", ["JPEGImages/b.jpg", "Annotations/b.xml"])
def test_a_listed_image_or_xml_file_that_is_missing_is_an_error(tmp_path, missing):
    devkit(tmp_path, {"train": ["a", "b"]})
    (tmp_path / missing).unlink()
    kind = "image" if "JPEG" in missing else "XML file"
    assert error_line(tmp_path).endswith(f"train.txt, line 2: 'b' has no {kind}")


def test_of_several_data_sets_one_must_be_named(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        devkit(tmp_path / year, {})
    assert "has several data sets in VOC's format; import one of" in error_line(tmp_path)


def test_the_folders_of_roboflow_make_the_splits(tmp_path):
    for folder, name in (("train", "a"), ("train", "b"), ("valid", "c"), ("test", "d")):
        add(tmp_path / folder / f"{name}.jpg", voc_xml((80, 40), [DOG]))
    assert file_names(tmp_path) == {"train": ["a.jpg", "b.jpg"], "val": ["c.jpg"], "test": ["d.jpg"]}


def test_a_folder_without_pairs_is_an_error(tmp_path):
    (tmp_path / "a.xml").write_text(voc_xml((80, 40), [DOG]))
    assert "no image has an XML file" in error_line(tmp_path)

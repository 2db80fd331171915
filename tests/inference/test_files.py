"""predict_files: files of any kind become pictures with boxes, COCO results and a CSV; memory holds one batch."""

import csv
import errno
import json
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from rectangle_oracle import BLUE_SCORE, RED_SCORE, RectangleOracle, draw_rectangles

import lad.inference.files as files
from lad.evaluation.coco_eval import coco_metrics
from lad.inference.drawing import class_color
from lad.inference.files import predict_files, select_labels

RED_BOX, BLUE_BOX = (10, 20, 40, 50), (50, 10, 90, 30)


@pytest.fixture
def photos(tmp_path) -> Path:
    """A picture with a red and a blue rectangle, another one with a red one, and one without any."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    draw_rectangles(RED_BOX, BLUE_BOX).save(folder / "both.png")
    draw_rectangles(RED_BOX).save(folder / "sub" / "red.jpg", quality=95)
    draw_rectangles(None).save(folder / "empty.bmp")
    return folder


def results_in(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "predictions.json").read_text())


def is_drawn(path: Path, x: int, y: int, label: int, atol: int = 30) -> bool:
    """Return whether a pixel of a picture has the color of a class."""
    pixel = np.asarray(Image.open(path).convert("RGB"))[y, x].astype(int)
    return bool((abs(pixel - class_color(label)) <= atol).all())


def test_a_folder_becomes_pictures_results_and_a_table(photos, tmp_path):
    report = predict_files(RectangleOracle(), photos, tmp_path / "out")
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"both.png", "empty.bmp", "sub/red.jpg", "predictions.json", "predictions.csv"}
    assert (report.num_images, report.problems) == (3, [])
    assert report.objects == {"person": 2, "Straße": 1} == report.images
    red, blue, other = results_in(tmp_path / "out")
    assert [result["file_name"] for result in (red, blue, other)] == ["both.png", "both.png", "sub/red.jpg"]
    assert [result["image_id"] for result in (red, blue, other)] == [1, 1, 3]
    assert [result["category_id"] for result in (red, blue, other)] == [1, 2, 1]
    assert red["bbox"] == pytest.approx([10, 20, 30, 30], abs=1)
    assert blue["bbox"] == pytest.approx([50, 10, 40, 20], abs=1)
    assert (red["score"], blue["score"]) == pytest.approx((RED_SCORE, BLUE_SCORE), abs=1e-3)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open(encoding="utf-8")))
    assert [row["class"] for row in rows] == ["person", "Straße", "person"]


def test_pictures_have_the_size_and_the_format_of_their_files_and_show_the_boxes(photos, tmp_path):
    predict_files(RectangleOracle(), photos, tmp_path / "out")
    for name, image_format in (("both.png", "PNG"), ("sub/red.jpg", "JPEG"), ("empty.bmp", "BMP")):
        picture = Image.open(tmp_path / "out" / name)
        assert (picture.size, picture.format) == ((96, 64), image_format)
    assert is_drawn(tmp_path / "out" / "both.png", 10, 45, label=0)
    assert is_drawn(tmp_path / "out" / "both.png", 89, 25, label=1)
    assert is_drawn(tmp_path / "out" / "sub" / "red.jpg", 10, 45, label=0, atol=60)
    empty = np.asarray(Image.open(tmp_path / "out" / "empty.bmp"))
    assert (empty == 128).all()


def test_the_threshold_and_the_classes_hold_for_every_output(photos, tmp_path):
    for name, options in (("high", {"threshold": 0.6}), ("person", {"classes": ["person"]}), ("0", {"classes": [0]})):
        report = predict_files(RectangleOracle(), photos / "both.png", tmp_path / name, **options)
        assert report.objects == {"person": 1}
        assert [result["category_id"] for result in results_in(tmp_path / name)] == [1]
        assert len((tmp_path / name / "predictions.csv").read_text().splitlines()) == 2
        assert is_drawn(tmp_path / name / "both.png", 10, 45, label=0)
        assert not is_drawn(tmp_path / name / "both.png", 89, 25, label=1)


def test_boxes_do_not_depend_on_the_threshold(photos, tmp_path, monkeypatch):
    thresholds = []
    stream = files.predict_stream
    monkeypatch.setattr(
        files,
        "predict_stream",
        lambda *args, **options: thresholds.append(options["min_score"]) or stream(*args, **options),
    )
    for number, threshold in enumerate((0.9, 0.05, 0.01)):
        predict_files(RectangleOracle(), photos / "both.png", tmp_path / str(number), threshold)
    assert thresholds == [0.05, 0.05, 0.01]


@pytest.mark.parametrize(("suffix", "image_format"), [(".gif", "GIF"), (".png", "PNG"), (".webp", "WEBP")])
def test_every_frame_of_an_animation_is_predicted_and_drawn_with_its_duration(tmp_path, suffix, image_format):
    """The red rectangle moves right by ten pixels a frame."""
    frames = [draw_rectangles((10 + 10 * step, 20, 40 + 10 * step, 50)) for step in range(4)]
    path = tmp_path / f"moving{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 250, 40, 90], loop=2)
    report = predict_files(RectangleOracle(), path, tmp_path / "out", batch_size=3)
    results = results_in(tmp_path / "out")
    assert [(result["image_id"], result["frame"]) for result in results] == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert [result["bbox"][0] for result in results] == pytest.approx([10, 20, 30, 40], abs=1.5)
    assert report.num_images == report.objects["person"] == report.images["person"] == 4
    drawn = Image.open(tmp_path / "out" / path.name)
    assert (drawn.format, drawn.n_frames, drawn.size, drawn.info["loop"]) == (image_format, 4, (96, 64), 2)
    durations = []
    for step in range(4):
        drawn.seek(step)
        drawn.load()
        durations.append(drawn.info["duration"])
        pixel = np.asarray(drawn.convert("RGB"))[45, 10 + 10 * step].astype(int)
        np.testing.assert_allclose(pixel, class_color(0), atol=70)
    assert durations == [100, 250, 40, 90]


def test_a_video_becomes_an_mp4(tmp_path, monkeypatch):
    """With stand-ins for the reader and the writer of videos."""
    from contextlib import contextmanager

    written: list[np.ndarray] = []

    @contextmanager
    def writer(path: Path, size: tuple[int, int], duration: float):
        assert (path.name, size, duration) == ("clip.avi.mp4", (96, 64), 40)
        yield written.append

    frame = np.asarray(draw_rectangles(RED_BOX))
    monkeypatch.setitem(sys.modules, "cv2", object())
    monkeypatch.setattr(files, "read_video", lambda path: iter(3 * [(frame, 40.0)]))
    monkeypatch.setattr(files, "video_writer", writer)
    (tmp_path / "clip.avi").touch()
    predict_files(RectangleOracle(), tmp_path / "clip.avi", tmp_path / "out", batch_size=2)
    assert [result["frame"] for result in results_in(tmp_path / "out")] == [0, 1, 2]
    assert len(written) == 3 and all((picture != frame).any() for picture in written)


def test_a_real_video_is_predicted_frame_by_frame(tmp_path):
    pytest.importorskip("cv2")
    from lad.data.videos import read_video, video_writer

    with video_writer(tmp_path / "clip.mp4", (96, 64), duration=100) as append:
        for step in range(4):
            append(np.asarray(draw_rectangles((10 + 10 * step, 20, 40 + 10 * step, 50))))
    predict_files(RectangleOracle(), tmp_path / "clip.mp4", tmp_path / "out")
    assert [result["frame"] for result in results_in(tmp_path / "out")] == [0, 1, 2, 3]
    assert [duration for _, duration in read_video(tmp_path / "out" / "clip.mp4")] == [100] * 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_images_of_every_mode_are_predicted_and_drawn_in_color(tmp_path, mode):
    name = "a.jpg" if mode == "CMYK" else "a.png"
    draw_rectangles(RED_BOX).convert(mode).save(tmp_path / name)
    predict_files(RectangleOracle(), tmp_path / name, tmp_path / "out")
    picture = Image.open(tmp_path / "out" / name)
    assert (picture.size, picture.mode) == ((96, 64), "RGB")
    assert len(results_in(tmp_path / "out")) == (0 if mode == "L" else 1)


def test_boxes_and_pictures_are_upright_where_the_file_has_an_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees: (x, y) of 64 rows is at (63 - y, x)
    draw_rectangles(RED_BOX).save(tmp_path / "a.jpg", exif=exif, quality=95)
    predict_files(RectangleOracle(), tmp_path / "a.jpg", tmp_path / "out")
    (result,) = results_in(tmp_path / "out")
    assert result["bbox"] == pytest.approx([14, 10, 30, 30], abs=1.5)
    picture = Image.open(tmp_path / "out" / "a.jpg")
    assert picture.size == (64, 96) and not picture.getexif().get(0x0112)


@pytest.mark.parametrize("name", ["photo", "photo.jp2", "photo.PNG"])
def test_the_name_of_a_picture_has_a_suffix_of_a_format_that_can_be_written(tmp_path, name):
    draw_rectangles(RED_BOX).save(tmp_path / name, format="JPEG2000" if name == "photo.jp2" else "PNG")
    predict_files(RectangleOracle(), tmp_path / name, tmp_path / "out")
    expected = name if name == "photo.PNG" else f"{name}.png"
    assert Image.open(tmp_path / "out" / expected).format == "PNG"
    assert results_in(tmp_path / "out")[0]["file_name"] == name


def test_an_animation_with_the_wrong_suffix_gets_that_of_its_format(tmp_path):
    frames = [draw_rectangles((10, 20, 40 + step, 50)) for step in range(2)]
    frames[0].save(tmp_path / "a.jpg", format="GIF", save_all=True, append_images=frames[1:])
    predict_files(RectangleOracle(), tmp_path / "a.jpg", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "a.jpg.gif").n_frames == 2


def test_pycocotools_reads_the_results_and_finds_all_objects(photos, tmp_path):
    objects = [(1, 1, RED_BOX), (1, 2, BLUE_BOX), (3, 1, RED_BOX)]
    annotations = [
        {
            "id": number, "image_id": image, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
        }
        for number, (image, category, (x0, y0, x1, y1)) in enumerate(objects, start=1)
    ]  # fmt: skip
    images = [{"id": number, "file_name": f"{number}", "width": 96, "height": 64} for number in (1, 2, 3)]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "Straße"}]
    truth = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    predict_files(RectangleOracle(), photos, tmp_path / "out")
    loaded = COCO(tmp_path / "truth.json").loadRes(str(tmp_path / "out" / "predictions.json"))
    assert len(loaded.anns) == 3
    assert coco_metrics(tmp_path / "truth.json", results_in(tmp_path / "out"))["AP50"] == pytest.approx(1)


def test_an_unreadable_file_is_one_line_and_the_others_are_predicted(photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no image")
    report = predict_files(RectangleOracle(), photos, tmp_path / "out", batch_size=2)
    (problem,) = report.problems
    assert "broken.png: cannot be read as an image" in problem and problem in capsys.readouterr().out.splitlines()
    assert report.num_images == 3 and not (tmp_path / "out" / "broken.png").exists()
    assert {result["image_id"] for result in results_in(tmp_path / "out")} == {1, 4}  # ids are those of all files


def test_a_picture_that_cannot_be_written_is_one_line_and_the_others_are(photos, tmp_path, capsys):
    long = f"{'x' * 248}.png"  # too long with the suffix of an unfinished file
    draw_rectangles(RED_BOX).save(photos / "a.png")
    (photos / "a.png").rename(photos / long)
    report = predict_files(RectangleOracle(), photos, tmp_path / "out")
    (problem,) = report.problems
    assert "xxx.png: predicted, but not drawn (" in problem and "too long" in problem
    assert report.num_images == 4 and len(results_in(tmp_path / "out")) == 4
    assert (tmp_path / "out" / "both.png").is_file() and (tmp_path / "out" / "sub" / "red.jpg").is_file()


def test_a_full_disk_ends_the_prediction(photos, tmp_path, monkeypatch):
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_picture", fail)
    with pytest.raises(OSError, match="No space left"):
        predict_files(RectangleOracle(), photos, tmp_path / "out")


def test_a_folder_in_the_home_folder_can_be_written_with_a_tilde(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert predict_files(RectangleOracle(), photos, "~/out").folder == tmp_path / "out"


def test_files_of_the_same_name_do_not_overwrite_each_other(tmp_path):
    for folder, box in (("one", RED_BOX), ("two", None)):
        (tmp_path / folder).mkdir()
        draw_rectangles(box).save(tmp_path / folder / "x.png")
    predict_files(RectangleOracle(), [tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert (tmp_path / "out" / "one" / "x.png").is_file() and (tmp_path / "out" / "two" / "x.png").is_file()
    assert [result["file_name"] for result in results_in(tmp_path / "out")] == ["one/x.png"]


def test_two_pictures_that_would_get_the_same_name_are_both_kept(tmp_path):
    draw_rectangles(RED_BOX).save(tmp_path / "x", format="PNG")
    draw_rectangles(None).save(tmp_path / "x.png")
    predict_files(RectangleOracle(), [tmp_path / "x", tmp_path / "x.png"], tmp_path / "out")
    assert is_drawn(tmp_path / "out" / "x.png", 10, 45, label=0)
    assert not is_drawn(tmp_path / "out" / "x-2.png", 10, 45, label=0)


def test_without_pictures_only_the_tables_are_written(photos, tmp_path):
    predict_files(RectangleOracle(), photos, tmp_path / "out", pictures=False)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["predictions.csv", "predictions.json"]
    assert len(results_in(tmp_path / "out")) == 3


def test_an_animation_of_too_many_frames_is_predicted_but_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("lad.data.animations.MAX_ANIMATION_PIXELS", 2 * 96 * 64)
    frames = [draw_rectangles((10, 20, 40 + step, 50)) for step in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    report = predict_files(RectangleOracle(), tmp_path / "a.gif", tmp_path / "out")
    assert len(results_in(tmp_path / "out")) == 3 and not (tmp_path / "out" / "a.gif").exists()
    assert "a.gif: predicted, but 3 frames are too many" in report.problems[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_valid_files_of_what_was_done(photos, tmp_path, monkeypatch, capsys, error):
    calls = []
    draw = files.draw_boxes

    def draw_twice(*args: Any) -> Image.Image:
        calls.append(args)
        if len(calls) == 2:
            raise error
        return draw(*args)

    monkeypatch.setattr(files, "draw_boxes", draw_twice)
    with pytest.raises(error):
        predict_files(RectangleOracle(), photos, tmp_path / "out")
    assert [result["file_name"] for result in results_in(tmp_path / "out")] == ["both.png", "both.png"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"both.png", "predictions.json", "predictions.csv"}
    assert (tmp_path / "out" / "predictions.csv").read_text().endswith("\n")
    line = f"interrupted: {tmp_path / 'out'} has the predictions of the first 2 images\n"
    assert capsys.readouterr().out == (line if error is KeyboardInterrupt else "")


def test_no_more_than_a_batch_of_images_is_in_memory(tmp_path, monkeypatch):
    """Counted when an image is read: those of its batch, and the last of the batch before, which was just drawn."""
    alive: set[str] = set()
    counts = []
    load = files.load_image

    class Counted(np.ndarray):
        pass

    def counted(path: Path) -> np.ndarray:
        counts.append(len(alive))
        pixels = load(path).view(Counted)
        alive.add(path.name)
        weakref.finalize(pixels, alive.discard, path.name)
        return pixels

    monkeypatch.setattr(files, "load_image", counted)
    for number in range(20):
        draw_rectangles(RED_BOX).save(tmp_path / f"{number}.png")
    report = predict_files(RectangleOracle(), f"{tmp_path}/*.png", tmp_path / "out", batch_size=4)
    assert report.num_images == 20 == len(counts) and max(counts) <= 4


def test_a_folder_with_files_or_that_cannot_be_written_is_refused_before_any_work(photos, tmp_path):
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    with pytest.raises(ValueError, match="photos: already holds files; give a new or an empty folder"):
        predict_files(RectangleOracle(), photos, photos)
    with pytest.raises(
        ValueError, match=r"^parameter 'out' = '.*both\.png/out': cannot be written \(Not a directory\)"
    ):
        predict_files(RectangleOracle(), photos, photos / "both.png" / "out")
    with pytest.raises(ValueError, match=r"both\.png': cannot be written \(Not a directory\)"):
        predict_files(RectangleOracle(), photos, photos / "both.png")
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(photos, tmp_path, threshold):
    with pytest.raises(ValueError, match=r"threshold=.* must be a score from 0 to 1"):
        predict_files(RectangleOracle(), photos, tmp_path / "out", threshold)
    assert not (tmp_path / "out").exists()


def test_classes_are_selected_by_name_or_number():
    assert select_labels(["cat", "dog", "cat"], None) is None
    assert select_labels(["cat", "dog", "cat"], ["cat", " dog "]) == {0, 1, 2}
    assert select_labels(["cat", "dog", "7"], [1, "7"]) == {1, 2}
    assert select_labels(["0", "1"], ["1"]) == {1}


@pytest.mark.parametrize(
    ("word", "hint"),
    [("persn", "did you mean 'person'"), ("xyz", "they are person, Straße"), ("2", "they are"), ("-1", "")],
)
def test_an_unknown_class_is_one_line_with_the_nearest(word, hint):
    with pytest.raises(ValueError, match=f"class '{word}' is not one of the detector's 2 classes; {hint}"):
        select_labels(["person", "Straße"], [word])

"""Prediction of files: images, animations and videos → pictures with boxes, COCO results and a CSV in a folder."""

import errno
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from lad.data.animations import Animation, read_animation, read_frames, write_animation
from lad.data.images import load_image
from lad.data.videos import read_video, video_writer
from lad.inference.drawing import draw_boxes
from lad.inference.postprocess import MAX_DETECTIONS, MAX_DETECTIONS_LIMIT, MIN_SCORE
from lad.inference.predictor import predict_stream
from lad.inference.results import class_names_of, open_results
from lad.inference.sources import IMAGE_SUFFIXES, Source, find_sources
from lad.models.detector import Detector
from lad.structures import Detections
from lad.utils.atomic_io import atomic_write
from lad.utils.messages import did_you_mean, format_path, format_value, one_line
from lad.utils.paths import ensure_writable
from lad.utils.progress import log, progress_bar

THRESHOLD = 0.3
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # after which nothing else can be written, either
SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 90}}


class Frame(NamedTuple):
    """An image, or one frame of an animation or a video.

    Attributes:
        source: The file.
        number: Number of the frame from 0; None for an image.
        pixels: [H, W, 3] uint8 RGB, as displayed.
        duration: Milliseconds; 0 for an image.
        animation: The animation of an animated image's frame.
    """

    source: Source
    number: int | None
    pixels: np.ndarray
    duration: float = 0
    animation: Animation | None = None


@dataclass
class PredictionReport:
    """A summary of what `predict_files` predicted.

    Attributes:
        folder: The folder with its files.
        num_images: Number of images and frames that were predicted.
        objects: Number of detections of each class, by name.
        images: Number of images and frames with each class, by name.
        full_images: Number of images with the maximal number of detections, all of at least the threshold.
        problems: A line for each file that could not be read, or not be written as a picture.
    """

    folder: Path
    num_images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    full_images: int = 0
    problems: list[str] = field(default_factory=list)


def predict_files(
    detector: Detector,
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    threshold: float = THRESHOLD,
    classes: Sequence[str | int] | None = None,
    batch_size: int = 8,
    pictures: bool = True,
    max_detections: int = MAX_DETECTIONS,
) -> PredictionReport:
    """Detect the objects in files, and write pictures with boxes and tables of the detections to a folder.

    Pictures, predictions.json, predictions.csv and the report hold the same detections: those of the given classes with
    a score of at least `threshold`. Boxes are in pixels of the image as displayed, with its EXIF rotation.

    * Each picture has the name and the format of its file; ".png" is appended if the format cannot be written. An
      animation remains one, with the same durations; a video becomes an .mp4 without sound.
    * predictions.json: COCO's results format with "file_name" and, for animations and videos, "frame". Image ids are
      those of `find_sources`, category ids those of `category_ids_of`.
    * predictions.csv: file, frame, class, score, x, y, width, height.

    An image that cannot be read is logged and skipped. Memory holds a batch of images, and all frames of an animation
    while its picture is drawn. After Ctrl-C or an error, the files in the folder hold the predictions until then.

    Args:
        detector: The detector; it runs on its own device and is left in eval mode.
        sources: Image and video files, folders and patterns, as of `find_sources`.
        out: A folder that does not exist or is empty.
        threshold: Minimal score, from 0 to 1.
        classes: Names or numbers (labels from 0) of the classes to keep; None keeps all.
        batch_size: Maximal number of images, or frames, that are read, and batched, at once.
        pictures: Whether to draw pictures.
        max_detections: Maximal number of detections of an image, over all classes.

    Raises:
        ValueError: If an argument is invalid, there are no images, or `out` cannot be written or is not empty.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={format_value(threshold)} must be a score from 0 to 1")
    if not 1 <= max_detections <= MAX_DETECTIONS_LIMIT:
        raise ValueError(f"max_detections={max_detections} must be a number from 1 to {MAX_DETECTIONS_LIMIT}")
    found = find_sources(sources)
    names = class_names_of(detector.configuration)
    labels = select_labels(names, classes)
    folder = make_folder(Path(out).expanduser())
    report = PredictionReport(folder)
    min_score = min(MIN_SCORE, threshold)  # candidates below the threshold still vote for boxes
    predictions = _predict_frames(detector, _read_sources(found, report), min_score, max_detections, batch_size)
    try:
        with open_results(folder, names) as add_rows:

            def recorded() -> Iterator[tuple[Frame, Detections]]:
                for frame, candidates in predictions:
                    report.full_images += _is_full(candidates, threshold, max_detections)
                    detections = _keep(candidates, threshold, labels)
                    add_rows(frame.source.name, frame.source.image_id, frame.number, detections)
                    of_image = [names[label] for label in detections.labels.tolist()]
                    report.num_images += 1
                    report.objects.update(of_image)
                    report.images.update(set(of_image))
                    yield frame, detections

            for (source, animation), of_file in groupby(recorded(), lambda pair: (pair[0].source, pair[0].animation)):
                if not pictures:
                    continue  # groupby goes through its frames
                try:
                    _write_picture(source, animation, of_file, names, report)
                except (OSError, ValueError) as error:
                    if isinstance(error, OSError) and error.errno in NO_SPACE:
                        raise
                    reason = getattr(error, "strerror", None) or error
                    _report_problem(report, f"{format_path(source.path)}: predicted, but not drawn ({reason})")
    except KeyboardInterrupt:
        log(one_line(f"interrupted: {folder} has the predictions of the first {report.num_images:,} images"))
        raise
    return report


def make_folder(folder: Path) -> Path:
    """Make the folder for predictions.

    Raises:
        ValueError: It holds files, which would be overwritten, or cannot be written.
    """
    ensure_writable(folder, "out")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(
            f"{format_path(folder)}: already holds files; give a new or an empty folder for the predictions"
        )
    return folder


def select_labels(class_names: Sequence[str], classes: Sequence[str | int] | None) -> set[int] | None:
    """Return the labels of classes that are given by name or number; None, for all, if none are given.

    Raises:
        ValueError: A class is unknown; names the nearest.
    """
    if classes is None:
        return None
    labels = set()
    for given in classes:
        word = str(given).strip()
        if word in class_names:
            labels |= {label for label, name in enumerate(class_names) if name == word}
        elif word.isascii() and word.isdigit() and int(word) < len(class_names):
            labels.add(int(word))
        else:
            hint = did_you_mean(word, class_names) or f"they are {', '.join(class_names)}"
            raise ValueError(
                one_line(f"class {format_value(word)} is not one of the detector's {len(class_names)} classes; {hint}")
            )
    return labels


def _read_sources(sources: Sequence[Source], report: PredictionReport) -> Iterator[Frame]:
    """Yield the frames of all files; a file that cannot be read is logged and skipped."""
    for source in progress_bar(sources, "predicting"):
        try:
            yield from _read(source)
        except ValueError as error:
            _report_problem(report, str(error))


def _read(source: Source) -> Iterator[Frame]:
    animation = None if source.is_video else read_animation(source.path)
    if source.is_video or animation is not None:
        frames = read_video(source.path) if source.is_video else read_frames(source.path)
        for number, (pixels, duration) in enumerate(frames):
            yield Frame(source, number, pixels, duration, animation)
    else:
        yield Frame(source, None, load_image(source.path))


def _predict_frames(
    detector: Detector, frames: Iterable[Frame], min_score: float, max_detections: int, batch_size: int
) -> Iterator[tuple[Frame, Detections]]:
    """Return an iterator over each frame with its detections."""
    waiting: deque[Frame] = deque()  # read, but not yet predicted: at most a batch

    def pixels() -> Iterator[np.ndarray]:
        for frame in frames:
            waiting.append(frame)
            yield frame.pixels

    stream = predict_stream(detector, pixels(), batch_size, min_score=min_score, max_detections=max_detections)
    return ((waiting.popleft(), detections) for detections in stream)


def _is_full(detections: Detections, threshold: float, max_detections: int) -> bool:
    """Return whether the maximal number of detections, and not the threshold, may have cut off others."""
    return len(detections.scores) == max_detections and bool((detections.scores >= threshold).all())


def _keep(detections: Detections, threshold: float, labels: set[int] | None) -> Detections:
    is_kept = detections.scores >= threshold
    if labels is not None:
        is_kept &= torch.isin(detections.labels, torch.tensor(sorted(labels), dtype=torch.int64))
    return Detections(detections.boxes[is_kept], detections.scores[is_kept], detections.labels[is_kept])


def _write_picture(
    source: Source,
    animation: Animation | None,
    predictions: Iterator[tuple[Frame, Detections]],
    names: Sequence[str],
    report: PredictionReport,
) -> None:
    """Draw the frames of one file and write them as a picture, an animation or a video."""
    if animation is not None and not animation.is_writable:
        deque(predictions, maxlen=0)
        _report_problem(
            report,
            f"{format_path(source.path)}: predicted, but {animation.num_frames:,} frames are too many to draw as one "
            "picture; convert it to a video",
        )
        return
    path = _picture_path(report.folder, source, animation)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = ((draw_boxes(frame.pixels, detections, names), frame.duration) for frame, detections in predictions)
    if source.is_video:
        _write_video(path, drawn)
        return
    pictures, durations = zip(*drawn, strict=True)
    with atomic_write(path) as unfinished:
        if animation is not None:
            write_animation(unfinished, pictures, durations, animation)
        else:
            image_format = Image.registered_extensions()[path.suffix.lower()]
            pictures[0].save(unfinished, format=image_format, **SAVE_OPTIONS.get(image_format, {}))


def _write_video(path: Path, drawn: Iterator[tuple[Image.Image, float]]) -> None:
    first, duration = next(drawn)
    with video_writer(path, first.size, duration) as write:
        write(np.asarray(first))
        for picture, _ in drawn:
            write(np.asarray(picture))


def _picture_path(folder: Path, source: Source, animation: Animation | None) -> Path:
    """Return the path of a file's picture, which does not exist: the file's name and, if necessary, a new suffix."""
    name, suffix = source.name, source.path.suffix.lower()
    extensions = Image.registered_extensions()
    if source.is_video:
        name += "" if suffix == ".mp4" else ".mp4"
    elif animation is not None:
        name += "" if extensions.get(suffix) == animation.format else f".{animation.format.lower()}"
    elif suffix not in IMAGE_SUFFIXES or extensions.get(suffix) not in Image.SAVE:
        name += ".png"
    return free_path(folder / name)


def free_path(path: Path) -> Path:
    """Return the path, or with -2, -3 … before its suffix, under which nothing exists."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _report_problem(report: PredictionReport, problem: str) -> None:
    report.problems.append(problem)
    log(problem)

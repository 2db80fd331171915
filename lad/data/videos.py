"""Video files, frame by frame. Needs OpenCV, the extra `lad-suite[video]`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lad.data.images import check_file
from lad.utils.atomic_io import UNFINISHED_SUFFIX
from lad.utils.messages import format_path

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
DEFAULT_RATE = 25.0  # frames per second, of a file that does not say it
MIN_COMPLETE = 0.9  # of the frames that a file should have; it is an estimate in some formats
CODEC = "mp4v"  # in every build of OpenCV


def import_opencv(path: Path) -> Any:
    """Return the module cv2.

    Args:
        path: The video that needs it, for the message.

    Raises:
        ValueError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ValueError(
            f"{format_path(path)}: videos need OpenCV; run: pip install 'lad-suite[video]', or extract the frames to a "
            "folder (ffmpeg -i VIDEO FOLDER/%06d.png) and give the folder"
        ) from None
    return cv2


def read_video(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Yield each frame of a video as [H, W, 3] uint8 RGB, with its duration in milliseconds.

    Raises:
        ValueError: OpenCV is missing or cannot read the file, or, after the frames before it, a frame; one line that
            names it.
    """
    cv2 = import_opencv(path)
    check_file(path)
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        duration = 1000 / (rate if 0 < rate < float("inf") else DEFAULT_RATE)
        is_read, frame = capture.read()
        if not is_read:
            raise ValueError(f"{format_path(path)}: cannot be read as a video")
        expected, count = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0
        while is_read:
            count += 1
            yield np.ascontiguousarray(frame[..., ::-1]), duration  # OpenCV's order is BGR
            is_read, frame = capture.read()
        if count < MIN_COMPLETE * expected:
            raise ValueError(f"{format_path(path)}: frame {count} and those after it cannot be read; is it complete?")
    finally:
        capture.release()


@contextmanager
def video_writer(path: Path, size: tuple[int, int], duration: float) -> Iterator[Any]:
    """Yield a function that appends a frame [H, W, 3] uint8 RGB to an .mp4 file, which is complete after the block.

    Args:
        path: File to write; its name ends with .mp4.
        size: (width, height) of all frames.
        duration: Milliseconds of each frame.

    Raises:
        ValueError: OpenCV is missing.
        OSError: The file cannot be written.
    """
    cv2 = import_opencv(path)
    unfinished = path.with_name(f"{path.stem}{UNFINISHED_SUFFIX}{path.suffix}")  # OpenCV needs the suffix
    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*CODEC), 1000 / duration, size)
    try:
        if not writer.isOpened():
            raise OSError(f"{format_path(path)}: cannot be written as a video")
        written = 0

        def write(frame: np.ndarray) -> None:
            nonlocal written
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
            written += 1

        yield write
        writer.release()
        if _count_frames(cv2, unfinished) < written:  # OpenCV reports no full disk
            raise OSError(f"{format_path(path)}: cannot be written as a video; is the disk full?")
        os.replace(unfinished, path)
    finally:
        writer.release()
        unfinished.unlink(missing_ok=True)


def _count_frames(cv2: Any, path: Path) -> int:
    """Return the number of frames that a video says it has; 0 if it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()

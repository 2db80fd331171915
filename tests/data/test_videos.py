"""Video files: read and written by OpenCV where it is installed, one line where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lad.data.videos import import_opencv, read_video, video_writer


class FakeVideo:
    """A video as a .npy file, instead of OpenCV's reader and writer."""

    CAP_PROP_FPS, CAP_PROP_FRAME_COUNT = 5, 7

    def __init__(self) -> None:
        self.is_writable = True
        self.rate = 10.0
        self.missing = 0  # frames that the file should have, but has not
        self.max_bytes: int | None = None  # of a written file

    @staticmethod
    def VideoWriter_fourcc(*letters: str) -> str:  # noqa: N802 - OpenCV's names
        return "".join(letters)

    def VideoCapture(self, path: str) -> "Capture":  # noqa: N802
        return Capture(path, self.rate, self.missing)

    def VideoWriter(self, path: str, codec: str, rate: float, size: tuple[int, int]) -> "Writer":  # noqa: N802
        return Writer(path, self.is_writable, self.max_bytes)


class Capture:
    def __init__(self, path: str, rate: float, missing: int) -> None:
        content = Path(path).read_bytes()
        self.frames = list(np.frombuffer(content, np.uint8).reshape(-1, 4, 6, 3)) if len(content) >= 72 else []
        self.values = {FakeVideo.CAP_PROP_FPS: rate, FakeVideo.CAP_PROP_FRAME_COUNT: len(self.frames) + missing}

    def get(self, name: int) -> float:
        return self.values[name]

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self) -> None:
        self.frames = []


class Writer:
    def __init__(self, path: str, is_writable: bool, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self.file = Path(path).open("wb") if is_writable else None  # noqa: SIM115 - closed by release

    def isOpened(self) -> bool:  # noqa: N802
        return self.file is not None

    def write(self, frame: np.ndarray) -> None:
        if self.max_bytes is None or self.file.tell() < self.max_bytes:  # OpenCV does not report a full disk
            self.file.write(frame.tobytes())

    def release(self) -> None:
        if self.file is not None:
            self.file.close()


@pytest.fixture
def fake_video(monkeypatch) -> FakeVideo:
    video = FakeVideo()
    monkeypatch.setitem(sys.modules, "cv2", video)
    return video


def red_frames(count: int) -> list[np.ndarray]:
    return [np.full((4, 6, 3), (200, 30, number), dtype=np.uint8) for number in range(count)]


def write(path: Path, frames: list[np.ndarray]) -> None:
    with video_writer(path, (6, 4), duration=100) as append:
        for frame in frames:
            append(frame)


def test_without_opencv_the_message_has_the_extra_and_the_alternative(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for call in (import_opencv, lambda path: list(read_video(path))):
        with pytest.raises(
            ValueError, match=r"clip\.mp4: videos need OpenCV; .*'lad-suite\[video\]', or extract"
        ) as error:
            call(tmp_path / "clip.mp4")
        assert "\n" not in str(error.value)


def test_written_frames_are_read_in_their_colors_and_with_their_duration(fake_video, tmp_path):
    write(tmp_path / "clip.mp4", red_frames(3))
    read = list(read_video(tmp_path / "clip.mp4"))
    assert [duration for _, duration in read] == [100, 100, 100]
    np.testing.assert_array_equal([pixels for pixels, _ in read], red_frames(3))
    assert (tmp_path / "clip.mp4").read_bytes()[:3] == bytes([0, 30, 200])  # OpenCV's order is BGR
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("rate", [0.0, float("nan"), float("inf"), -1.0])
def test_a_video_without_a_rate_has_25_frames_per_second(fake_video, tmp_path, rate):
    write(tmp_path / "clip.mp4", red_frames(1))
    fake_video.rate = rate
    assert [duration for _, duration in read_video(tmp_path / "clip.mp4")] == [40]


def test_what_opencv_cannot_read_or_write_is_one_line(fake_video, tmp_path):
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"clip\.mp4: cannot be read as a video"):
        list(read_video(tmp_path / "clip.mp4"))
    with pytest.raises(ValueError, match=r"none\.mp4: no such image file"):
        list(read_video(tmp_path / "none.mp4"))
    fake_video.is_writable = False
    with pytest.raises(OSError, match=r"new\.mp4: cannot be written as a video"):
        write(tmp_path / "new.mp4", red_frames(1))


def test_a_video_that_ends_early_gives_its_frames_and_then_one_line(fake_video, tmp_path):
    write(tmp_path / "clip.mp4", red_frames(3))
    fake_video.missing = 2
    frames = read_video(tmp_path / "clip.mp4")
    assert len([next(frames) for _ in range(3)]) == 3
    with pytest.raises(ValueError, match=r"clip\.mp4: frame 3 and those after it cannot be read; is it complete\?"):
        next(frames)


def test_a_video_that_the_disk_does_not_hold_is_one_line_and_not_left_behind(fake_video, tmp_path):
    fake_video.max_bytes = 100
    with pytest.raises(OSError, match=r"clip\.mp4: cannot be written as a video; is the disk full\?"):
        write(tmp_path / "clip.mp4", red_frames(3))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_is_not_left_behind(fake_video, tmp_path):
    with pytest.raises(KeyboardInterrupt), video_writer(tmp_path / "clip.mp4", (6, 4), duration=100) as append:
        append(red_frames(1)[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_real_video_is_written_and_read(tmp_path):
    pytest.importorskip("cv2")
    frames = [np.full((48, 64, 3), (200, 30, 20 * number), dtype=np.uint8) for number in range(5)]
    with video_writer(tmp_path / "clip.mp4", (64, 48), duration=100) as append:
        for frame in frames:
            append(frame)
    read = list(read_video(tmp_path / "clip.mp4"))
    assert [duration for _, duration in read] == [100] * 5
    np.testing.assert_allclose([pixels for pixels, _ in read], frames, atol=8)

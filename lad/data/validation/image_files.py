"""Checks of image files, and the check of a whole data set before training, cached for files that passed."""

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from lad.data.coco import CocoDataset
from lad.data.images import check_file, load_image
from lad.data.layouts import data_of
from lad.utils.atomic_io import write_text
from lad.utils.messages import counted, format_path, one_line
from lad.utils.paths import cache_folder
from lad.utils.progress import log, progress_bar

NUM_THREADS = 8
BACKSLASH = "\\"
CHECK_VERSION = 1  # increment to check every cached image again


def ensure_usable(dataset: CocoDataset, bad_images: Literal["stop", "skip"]) -> CocoDataset:
    """Return the data set after checking that each image can be decoded and has its annotated size.

    Images that passed are cached in the user's cache folder, and not read again until their file or the JSON changes.

    Args:
        dataset: Data set to check.
        bad_images: "stop" raises for an unusable image, "skip" returns the data set without such images.

    Raises:
        ValueError: An image is unusable under "stop", or all are; names the first one.
    """
    path = dataset.annotations.path
    if len(dataset) == 0:
        raise ValueError(one_line(f"{path}: lists no images"))
    problems = _unusable_images(dataset)
    if not problems:
        return dataset
    more = f" and {len(problems) - 1} more images" if len(problems) > 1 else ""
    first = f"{next(iter(problems.values()))}{more}"
    hint = f"`lad validate {one_line(shlex.quote(str(data_of(path))))}` lists all problems"
    if bad_images == "stop":
        raise ValueError(f"{first}; repair or remove the file, or set bad_images=skip to train without it; {hint}")
    if len(problems) == len(dataset):
        raise ValueError(f"{first}; none of the images of {path} can be used; {hint}")
    log(f"skipped unusable images: {first}")
    return dataset.subset([index for index in range(len(dataset)) if index not in problems])


def image_file_problems(
    images: Path, files: Sequence[tuple[str, tuple[int, int] | None]], decode: bool = True
) -> Iterator[tuple[str, str] | None]:
    """Yield what is wrong with each image file, as (kind, message) of a finding, or None.

    Args:
        images: Images folder.
        files: File name and required (height, width), None for any, of each image.
        decode: Whether to read the images, rather than only check that the files exist.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        problems = pool.map(lambda file: _image_file_problem(images, file[0], file[1], decode), files)
        for problem, _ in zip(problems, progress_bar(files, "checking images"), strict=True):
            yield problem


def message_without_path(error: Exception, path: Path) -> str:
    """Return the message of an error without the file's name that it starts with."""
    return str(error).removeprefix(f"{format_path(path)}: ").removeprefix(f"{path}: ")


def _image_file_problem(images: Path, name: str, hw: tuple[int, int] | None, decode: bool) -> tuple[str, str] | None:
    file = images / name
    with suppress(ValueError):  # an impossible file name, reported below
        target = Path(os.path.realpath(file))
        if not target.is_relative_to(os.path.realpath(images)):
            return "outside-folder", (
                f"is a link out of the images folder, to {target}; copy the file into it, or link the whole folder"
            )
    try:
        if decode:
            load_image(file, hw)
        else:
            check_file(file)
        return None
    except ValueError as error:
        reason = message_without_path(error, file)
    if not os.path.exists(file):
        hint = f", nor one with / in place of each backslash ({BACKSLASH})" if BACKSLASH in name else ""
        return "missing-file", reason + hint
    try:
        load_image(file)
    except ValueError:
        return "unreadable-image", reason
    return "wrong-size", reason


def _unusable_images(dataset: CocoDataset) -> dict[int, str]:
    """Return index → problem of the images that cannot be used; images that passed before are not read."""
    cache_file = _cache_file(dataset)
    passed = _read_cache(cache_file)
    ids = dataset.annotations.records.image_id.tolist()
    files = [(record.file_name, record.hw) for record in dataset.annotations.records]
    states = [_file_state(dataset.images / name) for name, _ in files]
    unchecked = [i for i, state in enumerate(states) if state is None or passed.get(str(ids[i])) != state]
    problems = {}
    checked = image_file_problems(dataset.images, [files[i] for i in unchecked])
    for i, problem in zip(unchecked, checked, strict=True):
        if problem is None:
            passed[str(ids[i])] = states[i]
        else:
            problems[i] = one_line(f"{format_path(dataset.images / files[i][0])}: {problem[1]}")
    if unchecked:
        log(f"{dataset.annotations.path.name}: checked {counted(len(unchecked), 'image')}")
        with suppress(OSError):  # without a writable cache, all images are checked again next time
            cache_file.parent.mkdir(parents=True, exist_ok=True)
            write_text(cache_file, json.dumps(passed))
    return problems


def _cache_file(dataset: CocoDataset) -> Path:
    """Return the file that caches which images passed, for the content of the JSON and the images folder."""
    with dataset.annotations.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(os.fsencode(os.path.realpath(dataset.images)))
    return cache_folder() / f"checked-v{CHECK_VERSION}" / f"{digest.hexdigest()}.json"


def _read_cache(cache_file: Path) -> dict[str, Any]:
    """Return the file state of the images that passed, by image id; a corrupted cache counts as empty."""
    try:
        content = json.loads(cache_file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _file_state(file: Path) -> list[int] | None:
    """Return the size in bytes and the modification time in ns, None if there is no such file."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]

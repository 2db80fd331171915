"""Everything that is wrong with a COCO-format data set, entry by entry, and whether its images can be used.

An error is what training refuses or would learn wrongly from; a warning is what is mended on reading, or not used; a
note is what may well be meant so.
"""

import filecmp
import hashlib
import json
import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from lad.data.annotations import read_annotations
from lad.data.coco import LOOKED_AT, CocoDataset, find_json, find_split, fullest, image_homes
from lad.data.images import check_file, load_image
from lad.data.validation.entries import category_name, image_size, is_inside, is_whole
from lad.data.validation.rules import SEVERITIES, Finding, about_entry, check_entries, entry_lists, some
from lad.utils.atomic_io import write_text
from lad.utils.messages import format_path, one_line
from lad.utils.paths import cache_folder
from lad.utils.progress import log, progress_bar

THREADS = 8
CHECK_VERSION = 1  # a new number makes every remembered image be checked again


@dataclass(frozen=True)
class CheckedSplit:
    """What a split holds, and its findings, the worst first. file_names: by image id."""

    images: Path
    path: Path
    findings: list[Finding]
    image_count: int = 0
    annotation_count: int = 0
    categories: Mapping[int, str] = field(default_factory=dict)
    file_names: Mapping[int, str] = field(default_factory=dict)


def validate(images: Path, path: Path, decode: bool = True) -> list[Finding]:
    """Everything wrong with an instances JSON and the images that it lists, the worst first. decode: read the images,
    rather than only look whether they are there.

    There is no error among the findings if and only if `read_annotations` reads the JSON and `ensure_usable` accepts
    all its images. Never raises for what is in the files.
    """
    return _check_split(images, path, decode).findings


def validate_folder(
    folder: Path, splits: Sequence[str] = ("train", "val"), decode: bool = True
) -> dict[str, CheckedSplit]:
    """Each split of a data set folder; among its findings is what is wrong between it and those before: categories that
    differ, images that are in both. Raises ValueError if there is no such folder."""
    if not folder.is_dir():
        raise ValueError(one_line(f"{folder}: no such folder; name one with images and a COCO instances JSON"))
    checked: dict[str, CheckedSplit] = {}
    for split in splits:
        try:
            one = _check_split(*_find_split(folder, split), decode)
        except ValueError as error:
            one = CheckedSplit(folder, folder, [Finding("error", "no-split", folder, None, None, str(error))])
        between = [finding for other in checked.values() for finding in _check_between(other, one)]
        checked[split] = replace(one, findings=_sorted([*one.findings, *between]))
    return checked


def read_document(path: Path) -> dict[str, Any]:
    """All that is in an instances JSON. Raises ValueError, one line that names the file, if it is no JSON object."""
    if not path.is_file():  # a named pipe would be waited for
        raise ValueError(one_line(f"{path}: no such file"))
    try:
        content = path.read_bytes()
        try:
            document = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):  # Python's json also reads NaN, and names an error's line
            document = json.loads(content)
    except OSError as error:
        raise ValueError(one_line(f"{path}: cannot be read ({error.strerror})")) from None
    except RecursionError:
        raise ValueError(one_line(f"{path}: is nested too deeply")) from None
    except ValueError as error:
        raise ValueError(one_line(f"{path}: is not valid JSON ({error})")) from None
    if not isinstance(document, dict):
        raise ValueError(one_line(f"{path}: is not a COCO instances JSON, which is an object"))
    return document


def ensure_usable(dataset: CocoDataset, bad_images: Literal["stop", "skip"]) -> CocoDataset:
    """The data set, once each of its images was found whole and of its annotated size. An image that passed is not read
    again while its file and the JSON stay as they are: that is remembered in the user's cache.

    Raises ValueError naming the first image that cannot be used, or leaves such images out under "skip"; under either
    if none can be used.
    """
    path = dataset.annotations.path
    if len(dataset) == 0:
        raise ValueError(one_line(f"{path}: lists no images"))
    problems = _unusable_images(dataset)
    if not problems:
        return dataset
    more = f" and {len(problems) - 1} more images" if len(problems) > 1 else ""
    first = f"{next(iter(problems.values()))}{more}"
    folder = path.parent.parent if path.parent.name == "annotations" else path.parent
    hint = f"`lad validate {one_line(shlex.quote(str(folder)))}` lists all"
    if bad_images == "stop":
        raise ValueError(f"{first}; mend or remove what is wrong, or give bad_images=skip to go on without; {hint}")
    if len(problems) == len(dataset):
        raise ValueError(f"{first}; none of {path}'s images can be used; {hint}")
    log(f"left out: {first}")
    return dataset.subset([index for index in range(len(dataset)) if index not in problems])


def _check_split(images: Path, path: Path, decode: bool) -> CheckedSplit:
    try:
        document = read_document(path)
    except ValueError as error:
        return _check_undecoded(images, path, decode, _reason(error, path))
    lists, findings = entry_lists(path, document)
    findings += check_entries(path, lists)
    if not any(finding.severity == "error" for finding in findings):
        findings += _refusal(path)
    named = [entry for entry in lists["images"] if is_inside(entry[1].get("file_name"))]
    wanted = [(image["file_name"], image_size(image)) for _, image in named]
    for entry, problem in zip(named, _file_problems(images, wanted, decode), strict=True):
        if problem is not None:
            kind, message = problem
            findings.append(about_entry(images / entry[1]["file_name"], "images", entry, "error", kind, message))
    return CheckedSplit(
        images,
        path,
        _sorted(findings),
        len(lists["images"]),
        len(lists["annotations"]),
        {one["id"]: category_name(one) for _, one in lists["categories"] if is_whole(one.get("id"))},
        {image["id"]: image["file_name"] for _, image in named if is_whole(image.get("id"))},
    )


def _check_undecoded(images: Path, path: Path, decode: bool, reason: str) -> CheckedSplit:
    """A JSON that cannot be decoded as a whole; what training reads of it may be fine."""
    if _refusal(path):
        return CheckedSplit(images, path, [Finding("error", "unreadable-json", path, None, None, reason)])
    with _silent("lad.data.annotations"):
        annotations = read_annotations(path)
    message = f"{reason}; training does not read the place, and only what it reads was checked"
    findings = [Finding("warning", "odd-json", path, None, None, message)]
    records = annotations.records
    if not len(records):
        findings.append(Finding("error", "empty-set", path, None, None, "lists no images"))
    wanted = [(record.file_name, record.hw) for record in records]
    for record, problem in zip(records, _file_problems(images, wanted, decode), strict=True):
        if problem is not None:
            kind, message = problem
            findings.append(Finding("error", kind, images / record.file_name, record.image_id, None, message))
    return CheckedSplit(
        images,
        path,
        _sorted(findings),
        len(records),
        len(records.labels),
        dict(zip(annotations.category_ids, annotations.class_names, strict=True)),
        {record.image_id: record.file_name for record in records},
    )


def _file_problems(
    images: Path, wanted: Sequence[tuple[str, tuple[int, int] | None]], decode: bool = True
) -> Iterator[tuple[str, str] | None]:
    """Of each file name, with the (height, width) that it must have or None for any: what is wrong, as kind and
    message, or None."""
    with ThreadPoolExecutor(THREADS) as pool:
        problems = pool.map(lambda one: _file_problem(images, one[0], one[1], decode), wanted)
        for problem, _ in zip(problems, progress_bar(wanted, "checking images"), strict=True):
            yield problem


def _file_problem(images: Path, name: str, hw: tuple[int, int] | None, decode: bool) -> tuple[str, str] | None:
    file = images / name
    with suppress(ValueError):  # no name that a file can have, which is said below
        target = Path(os.path.realpath(file))
        if not target.is_relative_to(os.path.realpath(images)):
            return "outside-folder", (
                f"a link leads out of the images folder, to {target}; copy the file there, or link the whole folder"
            )
    try:
        if decode:
            load_image(file, hw)
        else:
            check_file(file)
        return None
    except ValueError as error:
        reason = _reason(error, file)
    if not os.path.exists(file):
        return "missing-file", reason
    try:
        load_image(file)
    except ValueError:
        return "unreadable-image", reason
    return "wrong-size", reason


def _check_between(first: CheckedSplit, second: CheckedSplit) -> Iterator[Finding]:
    if not (first.categories and second.categories):
        return
    if first.categories != second.categories:
        pairs = ((first.categories, second.categories), (second.categories, first.categories))
        there, here = (some([f"{n} {name}" for n, name in sorted(a.items() - b.items())]) or "none" for a, b in pairs)
        message = f"its categories differ from those of {first.path}; only there: {there}; only here: {here}"
        yield Finding("error", "categories-differ", second.path, None, None, message)
    files = {name: first.images / name for name in first.file_names.values()}
    for image_id, name in second.file_names.items():
        file = second.images / name
        if name in files and _are_one_picture(files[name], file):
            message = f"is listed by {first.path} too, so it is judged after it was learned"
            yield Finding("warning", "in-both-splits", file, image_id, None, message)


def _are_one_picture(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other) or (file.is_file() and filecmp.cmp(file, other, shallow=False))
    except (OSError, ValueError):
        return False


def _find_split(folder: Path, split: str) -> tuple[Path, Path]:
    """As `find_split`, but any image may be missing, and the JSON damaged."""
    try:
        return find_split(folder, split)
    except (ValueError, RecursionError):
        path = find_json(folder, split)
    names: list[str] = []
    with suppress(ValueError):
        lists, _ = entry_lists(path, read_document(path))
        names = [one["file_name"] for _, one in lists["images"][:LOOKED_AT] if is_inside(one.get("file_name"))]
    return fullest(image_homes(folder, path, split), names)[0], path


def _refusal(path: Path) -> list[Finding]:
    """What training says of a JSON: the last word on whether it can be read."""
    try:
        with _silent("lad.data.annotations"):
            read_annotations(path)
    except (ValueError, RecursionError) as error:
        return [Finding("error", "refused", path, None, None, _reason(error, path))]
    return []


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    """Without the warnings of a logger: here they are findings."""

    def refuse(_record: logging.LogRecord) -> bool:
        return False

    logging.getLogger(logger).addFilter(refuse)
    try:
        yield
    finally:
        logging.getLogger(logger).removeFilter(refuse)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    def key(finding: Finding) -> tuple[int, tuple[bool, int], tuple[bool, int]]:
        image, annotation = ((one is not None, one or 0) for one in (finding.image_id, finding.annotation_id))
        return SEVERITIES.index(finding.severity), image, annotation

    return sorted(findings, key=key)


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{format_path(path)}: ").removeprefix(f"{path}: ")


def _unusable_images(dataset: CocoDataset) -> dict[int, str]:
    """Index → what is wrong, for images that cannot be used; those that passed before are not read."""
    memory = _memory(dataset)
    passed = _remembered(memory)
    ids = dataset.annotations.records.image_id.tolist()
    wanted = [(record.file_name, record.hw) for record in dataset.annotations.records]
    states = [_state(dataset.images / name) for name, _ in wanted]
    unknown = [i for i, state in enumerate(states) if state is None or passed.get(str(ids[i])) != state]
    problems = {}
    for i, problem in zip(unknown, _file_problems(dataset.images, [wanted[i] for i in unknown]), strict=True):
        if problem is None:
            passed[str(ids[i])] = states[i]
        else:
            problems[i] = one_line(f"{format_path(dataset.images / wanted[i][0])}: {problem[1]}")
    if unknown:
        log(f"{dataset.annotations.path.name}: checked {len(unknown):,} image{'s' * (len(unknown) > 1)}")
        with suppress(OSError):  # without a place to remember, they are checked again next time
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_text(memory, json.dumps(passed))
    return problems


def _memory(dataset: CocoDataset) -> Path:
    """The file that remembers which images of an instances JSON, in a folder, passed."""
    with dataset.annotations.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(os.fsencode(os.path.realpath(dataset.images)))
    return cache_folder() / f"checked-v{CHECK_VERSION}" / f"{digest.hexdigest()}.json"


def _remembered(memory: Path) -> dict[str, Any]:
    """Size and time of change of the images that passed, by image id."""
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _state(file: Path) -> list[int] | None:
    """Size in bytes and time of change in ns, None if there is no such file."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]

"""The view of one image in the explorer: every network's analysis, cached, and the positives of an assignment."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from lad.analysis.assignment import AssignmentAnalysis, analyze, as_paa, gt_with_most_samples
from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER, Positives, find_positives
from lad.data.collate import collate
from lad.explorer.config import ExplorerConfig
from lad.explorer.photo import DEFAULT_BOX, Photo, UserBox, open_photo, photo_sample, shrink
from lad.explorer.session import ExplorerSession, detector_at_epoch
from lad.structures import Batch

MAX_CACHED_ANALYSES = 64
MAX_PIXELS_SINGLE_THREAD = 320 * 320


@dataclass(frozen=True)
class ExplorerView:
    """Everything that the explorer draws for one image.

    Attributes:
        pixels: [h, w, 3] uint8, the image at a higher resolution than the networks get.
        batch: This one image and its gts.
        class_names: Names of the classes.
        analyses: Assignment analyses of the student and, if there is one, the teacher.
        positives: Positives of the chosen assignment.
        gt: Row of the chosen gt.
        has_user_box: Whether the first gt is the user's box.
    """

    pixels: np.ndarray
    batch: Batch
    class_names: tuple[str, ...]
    analyses: Mapping[str, AssignmentAnalysis]
    positives: Positives
    gt: int
    has_user_box: bool = False


def render_view(
    session: ExplorerSession, config: ExplorerConfig, photo: Photo | None = None, box: UserBox = DEFAULT_BOX
) -> ExplorerView:
    """Analyze one image with the session's networks, through the cache.

    Args:
        session: Networks and images.
        config: Which image, object, epoch and assignment to show.
        photo: The user's own image, in place of a validation image.
        box: First gt of the photo; the student's detections are the others.

    Raises:
        ValueError: The image, object, class, epoch or assignment does not exist.
    """
    _check_epoch(session, config.epoch)
    if photo is None and config.photo is not None:
        photo = open_photo(session, config.photo)
    if not 0 <= box.label < len(session.class_names):
        raise ValueError(f"box of class {box.label}: the class must be 0 … {len(session.class_names) - 1}")
    if photo is not None:
        key: object = (photo, box)
        pixels, batch = photo.pixels, collate([photo_sample(photo, box)])
    else:
        key = config.image
        pixels, batch = _dataset_image(session, config.image)
    analyses = {name: _cached_analysis(session, name, config.epoch, batch, key) for name in session.detectors}
    gt = gt_with_most_samples(analyses) if config.gt is None else config.gt
    if gt >= len(batch.targets.boxes):
        raise ValueError(f"parameter 'gt' = {gt}: must be 0 … {len(batch.targets.boxes) - 1}")
    positives = find_positives(config.assignment, analyses, batch.targets)
    return ExplorerView(pixels, batch, session.class_names, analyses, positives, gt, photo is not None)


def assignments_for(session: ExplorerSession) -> dict[str, str]:
    """Return the assignments that the session's networks allow, with their titles."""
    has_teacher = "teacher" in session.detectors
    return {name: title for name, title in ASSIGNMENTS.items() if has_teacher or name not in NEED_TEACHER}


def gt_names(view: ExplorerView) -> list[str]:
    """Return a name for each gt: "your box" or its class, numbered where several have the same."""
    names = [view.class_names[label] for label in view.batch.targets.labels.tolist()]
    names[:1] = ["your box"] if view.has_user_box else names[:1]
    total, so_far = Counter(names), Counter[str]()
    numbered = []
    for name in names:
        so_far[name] += 1
        numbered.append(name if total[name] == 1 else f"{name} {so_far[name]}")
    return numbered


def _check_epoch(session: ExplorerSession, epoch: int | None) -> None:
    if epoch is None or epoch in session.epochs:
        return
    if session.epochs:
        raise ValueError(f"parameter 'epoch' = {epoch}: the saved epochs are {', '.join(map(str, session.epochs))}")
    reason = "the run was trained without save_epochs" if session.runs else "the network is untrained"
    raise ValueError(f"parameter 'epoch' = {epoch}: no epoch is saved, because {reason}; leave it out")


def _cached_analysis(
    session: ExplorerSession, name: str, epoch: int | None, batch: Batch, image_key: object
) -> AssignmentAnalysis:
    """Return a network's analysis after an epoch; a teacher from a run of its own always has its final weights."""
    follows_epoch = name == "student" or session.runs[name].network == "teacher"
    epoch = epoch if follows_epoch else None
    key = (name, epoch, image_key)
    if key not in session.analysis_cache:
        while len(session.analysis_cache) >= MAX_CACHED_ANALYSES:
            del session.analysis_cache[next(iter(session.analysis_cache))]
        paa = as_paa(session.runs[name].assigner) if name in session.runs else session.paa
        with _single_thread_for_small(batch):
            session.analysis_cache[key] = analyze(detector_at_epoch(session, name, epoch), batch, paa)
    return session.analysis_cache[key]


@contextmanager
def _single_thread_for_small(batch: Batch) -> Iterator[None]:
    """Use one thread for a small image: more do not help and, while another process trains, block for seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if batch.images[0, 0].numel() <= MAX_PIXELS_SINGLE_THREAD else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _dataset_image(session: ExplorerSession, index: int) -> tuple[np.ndarray, Batch]:
    """Return a validation image's pixels to draw and its batch; the last one is cached."""
    if index >= len(session.dataset):
        raise ValueError(f"parameter 'image' = {index}: must be 0 … {len(session.dataset) - 1}")
    if index not in session.image_cache:
        session.image_cache = {index: (shrink(session.dataset.pixels(index)), collate([session.dataset[index]]))}
    return session.image_cache[index]

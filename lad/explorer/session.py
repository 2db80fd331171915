"""What one sees at a config: a picture, what the networks say of it, and who positives what. The networks are loaded once
and what they said is remembered, so that a change of the object or the assignment asks them nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lad.analysis.assignment import AssignmentAnalysis, analyze, clearest_gt
from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER, Positives, find_positives
from lad.config.experiment import make_parameters
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.collate import collate
from lad.data.images import load_image
from lad.data.synthetic.shapes import data_folder
from lad.data.transforms import eval_transform
from lad.experiments.run_store import Run, finished_runs, networks_of, open_run
from lad.experiments.runner import new_detector
from lad.explorer.config import UNTRAINED, ExplorerConfig
from lad.geometry import make_anchors
from lad.inference.postprocess import detect
from lad.models.detector import Detector
from lad.models.safe_load import read_tensors
from lad.structures import Batch, Detections, Sample
from lad.utils.progress import log

MAX_ANALYSES = 64  # remembered
SURE = 0.3  # score from which a detection on one's own picture is an object to config at
MAX_DETECTED = 5
SMALL = 320 * 320  # pixels
LONGEST = 640  # side of a picture to draw, pixels


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture of one's own, read once. picture: [h, w, 3] uint8, to draw. sample: as the network gets it, without
    gts. found: what the student finds on it, in pixels of the sample."""

    picture: np.ndarray
    sample: Sample
    found: Detections


@dataclass(frozen=True)
class Box:
    """A box that a person draws on their own picture: place (x0, y0, x1, y1) as fractions of its width and height, and
    the label of its class."""

    place: tuple[float, float, float, float] = (0.25, 0.25, 0.75, 0.75)
    label: int = 0


@dataclass(frozen=True)
class ExplorerView:
    """What there is to draw. picture: [h, w, 3] uint8, sharper than the network sees it. batch: that one image and its
    gts. analyses: of the student and, if there is one, the teacher. gt: the row of the chosen gt."""

    picture: np.ndarray
    batch: Batch
    class_names: tuple[str, ...]
    analyses: Mapping[str, AssignmentAnalysis]
    positives: Positives
    gt: int
    has_own_box: bool = False  # the first gt is a box that a person drew


@dataclass
class ExplorerSession:
    """The networks and pictures of a config at a run. detectors: student and, if there is one, teacher. runs: those of
    them that are runs. dataset: validation images, all with gts."""

    name: str
    detectors: dict[str, Detector]
    runs: dict[str, Run]
    dataset: CocoDataset
    shown_epoch: dict[str, int | None] = field(default_factory=dict)
    remembered: dict[tuple[object, ...], AssignmentAnalysis] = field(default_factory=dict)
    shown_picture: dict[int, tuple[np.ndarray, Batch]] = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        """Those of which the student's weights were kept."""
        return self.runs["student"].saved_epochs if "student" in self.runs else []

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.annotations.class_names


def open_session(config: ExplorerConfig) -> ExplorerSession:
    """Load the networks and the pictures that a config needs. Raises ValueError for a run or data set that is not there,
    or two networks of different classes."""
    runs = find_runs(config)
    data = config.data or (runs["student"].parameters.data if "student" in runs else "toy")
    images, path = find_split(data_folder(data), "val")
    annotations = read_annotations(path)
    detectors = {name: run.load_detector() for name, run in runs.items()}
    if "student" not in runs:
        parameters = make_parameters({"method": "baseline", "student": "r18", "data": data})
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(0)
            detectors["student"] = new_detector(parameters, annotations.class_names).eval().requires_grad_(False)
    for name, detector in detectors.items():
        if detector.configuration.class_names != annotations.class_names:
            raise ValueError(
                f"{runs[name].folder.name}: knows {len(detector.configuration.class_names)} classes "
                f"({', '.join(detector.configuration.class_names[:3])} …), but {path} lists "
                f"{len(annotations.class_names)} ({', '.join(annotations.class_names[:3])} …); give other data"
            )
    size = detectors["student"].configuration
    dataset = CocoDataset(images, annotations, eval_transform(size.short_side, size.long_side))
    with_gts = [index for index, record in enumerate(annotations.records) if len(record.boxes)]
    if not with_gts:
        raise ValueError(f"{path}: no image with an object to config at")
    name = runs["student"].folder.name if "student" in runs else UNTRAINED
    return ExplorerSession(name, detectors, runs, dataset.subset(with_gts))


def find_runs(config: ExplorerConfig) -> dict[str, Run]:
    """The student's run and, if there is one, the teacher's; empty for an untrained network."""
    if config.run == UNTRAINED:
        found = {}
    elif config.run is None:
        runs = finished_runs(config.out)
        if not runs:
            log(f"no finished run in {config.out}; this network is untrained. `make run` trains some in minutes")
        found = networks_of(runs[-1]) if runs else {}
    else:
        found = networks_of(_run(config, "run"))
    if config.compare_with:
        found["teacher"] = _run(config, "compare_with")
    return found


def render_view(
    session: ExplorerSession, config: ExplorerConfig, photo: Photo | None = None, box: Box = Box()
) -> ExplorerView:
    """What there is to see at this config. photo: one's own picture, in place of the data set's; `box` is its first gt,
    what the student finds on it are the others.

    Raises ValueError for an image, object, class, epoch or assignment that is not there.
    """
    if config.epoch is not None and config.epoch not in session.epochs:
        why_none = "the run was made without save_epochs" if session.runs else "the network is untrained"
        kept = ", ".join(map(str, session.epochs)) or f"none, as {why_none}"
        raise ValueError(f"parameter 'epoch' = {config.epoch}: kept are {kept}")
    if photo is None and config.photo is not None:
        photo = open_photo(session, config.photo)
    if not 0 <= box.label < len(session.class_names):
        raise ValueError(f"a box of class {box.label}: give 0 … {len(session.class_names) - 1}")
    if photo is not None:
        key: object = (photo, box)
        picture, batch = photo.picture, collate([_own_sample(photo, box)])
    else:
        key = config.image
        picture, batch = _data_picture(session, config.image)
    analyses = {name: _opinion(session, name, config.epoch, batch, key) for name in session.detectors}
    gt = clearest_gt(analyses) if config.gt is None else config.gt
    if gt >= len(batch.targets.boxes):
        raise ValueError(f"parameter 'gt' = {gt}: give 0 … {len(batch.targets.boxes) - 1}")
    positives = find_positives(config.assignment, analyses, batch.targets)
    return ExplorerView(picture, batch, session.class_names, analyses, positives, gt, photo is not None)


def open_photo(session: ExplorerSession, source: Path | BinaryIO) -> Photo:
    """Read a picture of one's own, and what the trained student finds on it, whichever epoch is looked at. Raises
    ValueError if it cannot be read as an image."""
    pixels = load_image(source)
    size = session.detectors["student"].configuration
    transform = eval_transform(size.short_side, size.long_side)
    image = transform(tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))).as_subclass(Tensor)
    original_hw = (pixels.shape[0], pixels.shape[1])
    nothing = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, original_hw)
    batch = collate([nothing])
    detector = _as_after(session, "student", None)
    found = detect(detector(batch.images), make_anchors(batch.padded_hw), batch.targets.image_hw, min_score=SURE)[0]
    return Photo(_small(pixels), nothing, found)


def assignments_for(session: ExplorerSession) -> dict[str, str]:
    """Those of `lad.analysis.positives.ASSIGNMENTS` that can be made here, with their titles."""
    has_teacher = "teacher" in session.detectors
    return {name: title for name, title in ASSIGNMENTS.items() if has_teacher or name not in NEED_TEACHER}


def gt_names(view: ExplorerView) -> list[str]:
    """A name for each object, for people: its class, numbered where there are several; "your box" for one's own."""
    names = [view.class_names[label] for label in view.batch.targets.labels.tolist()]
    names[:1] = ["your box"] if view.has_own_box else names[:1]
    return [name if names.count(name) == 1 else f"{name} {names[:i].count(name) + 1}" for i, name in enumerate(names)]


def _run(config: ExplorerConfig, parameter: str) -> Run:
    given = getattr(config, parameter)
    for folder in (config.out / given, Path(given).expanduser()):
        run = open_run(folder) if folder.is_dir() else None
        if run is not None:
            return run
    known = [run.folder.name for run in finished_runs(config.out)]
    there = f"finished there are {', '.join(known)}" if known else "none is finished there"
    raise ValueError(f"parameter '{parameter}' = '{given}': no finished run in {config.out}; {there}")


def _opinion(session: ExplorerSession, name: str, epoch: int | None, batch: Batch, key: object) -> AssignmentAnalysis:
    """A network's opinion after an epoch; a teacher that was not trained beside the student stays as it is."""
    follows = name == "student" or session.runs[name].network == "teacher"
    at = epoch if follows else None
    if (name, at, key) not in session.remembered:
        while len(session.remembered) >= MAX_ANALYSES:
            del session.remembered[next(iter(session.remembered))]
        with _few_threads(batch):
            session.remembered[name, at, key] = analyze(_as_after(session, name, at), batch)
    return session.remembered[name, at, key]


def _as_after(session: ExplorerSession, name: str, epoch: int | None) -> Detector:
    """A network with its weights after an epoch; None: those it ended with."""
    if session.shown_epoch.get(name) != epoch:
        session.detectors[name].load_state_dict(read_tensors(session.runs[name].weights_file(epoch)))
        session.shown_epoch[name] = epoch
    return session.detectors[name]


@contextmanager
def _few_threads(batch: Batch) -> Iterator[None]:
    """One thread for a small picture: several gain nothing and, while another process trains, wait for each other for
    seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if batch.images[0, 0].numel() <= SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _data_picture(session: ExplorerSession, index: int) -> tuple[np.ndarray, Batch]:
    """An image of the data set to draw, and as a batch; the last one is remembered."""
    if index >= len(session.dataset):
        raise ValueError(f"parameter 'image' = {index}: give 0 … {len(session.dataset) - 1}")
    if index not in session.shown_picture:
        session.shown_picture = {index: (_small(session.dataset.pixels(index)), collate([session.dataset[index]]))}
    return session.shown_picture[index]


def _own_sample(photo: Photo, box: Box) -> Sample:
    """With the drawn box and what was found as gts."""
    height, width = photo.sample.image.shape[-2:]
    drawn = torch.tensor([box.place]) * torch.tensor([width, height, width, height])
    boxes = torch.cat([drawn, photo.found.boxes[:MAX_DETECTED]])
    labels = torch.cat([torch.tensor([box.label]), photo.found.labels[:MAX_DETECTED]])
    return replace(photo.sample, boxes=boxes, labels=labels)


def _small(pixels: np.ndarray) -> np.ndarray:
    """Not larger than it is drawn."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST))
    return np.asarray(image)

"""What one sees at a look: a picture, what the networks say of it, and who claims what. The networks are loaded once
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

from lad.data import (
    Batch,
    CocoDataset,
    Sample,
    collate,
    data_folder,
    eval_transform,
    find_split,
    load_image,
    read_annotations,
)
from lad.experiment import new_detector
from lad.explain import Opinion, clearest_gt, opinion
from lad.exploration import ASSIGNMENTS, NEED_TEACHER, Claims, find_claims
from lad.geometry import make_anchors
from lad.look import UNTRAINED, Look
from lad.models import Detector
from lad.models.files import read_tensors
from lad.parameters import make_parameters
from lad.postprocess import Detections, detect
from lad.progress import say
from lad.runs import Run, finished_runs, networks_of, open_run

MOST_OPINIONS = 64  # remembered
SURE = 0.3  # score from which a detection on one's own picture is an object to look at
MOST_DETECTED = 5
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
class Scene:
    """What there is to draw. picture: [h, w, 3] uint8, sharper than the network sees it. batch: that one image and its
    gts. opinions: of the student and, if there is one, the teacher. gt: the row of the chosen gt."""

    picture: np.ndarray
    batch: Batch
    class_names: tuple[str, ...]
    opinions: Mapping[str, Opinion]
    claims: Claims
    gt: int
    has_own_box: bool = False  # the first gt is a box that a person drew


@dataclass
class Stage:
    """The networks and pictures of a look at a run. detectors: student and, if there is one, teacher. runs: those of
    them that are runs. dataset: validation images, all with gts."""

    name: str
    detectors: dict[str, Detector]
    runs: dict[str, Run]
    dataset: CocoDataset
    shown_epoch: dict[str, int | None] = field(default_factory=dict)
    remembered: dict[tuple[object, ...], Opinion] = field(default_factory=dict)
    shown_picture: dict[int, tuple[np.ndarray, Batch]] = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        """Those of which the student's weights were kept."""
        return self.runs["student"].saved_epochs if "student" in self.runs else []

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.annotations.class_names


def open_stage(look: Look) -> Stage:
    """Load the networks and the pictures that a look needs. Raises ValueError for a run or data set that is not there,
    or two networks of different classes."""
    runs = find_runs(look)
    data = look.data or (runs["student"].parameters.data if "student" in runs else "toy")
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
        raise ValueError(f"{path}: no image with an object to look at")
    name = runs["student"].folder.name if "student" in runs else UNTRAINED
    return Stage(name, detectors, runs, dataset.subset(with_gts))


def find_runs(look: Look) -> dict[str, Run]:
    """The student's run and, if there is one, the teacher's; empty for an untrained network."""
    if look.run == UNTRAINED:
        found = {}
    elif look.run is None:
        runs = finished_runs(look.out)
        if not runs:
            say(f"no finished run in {look.out}; this network is untrained. `make run` trains some in minutes")
        found = networks_of(runs[-1]) if runs else {}
    else:
        found = networks_of(_run(look, "run"))
    if look.compare_with:
        found["teacher"] = _run(look, "compare_with")
    return found


def see(stage: Stage, look: Look, photo: Photo | None = None, box: Box = Box()) -> Scene:
    """What there is to see at this look. photo: one's own picture, in place of the data set's; `box` is its first gt,
    what the student finds on it are the others.

    Raises ValueError for an image, object, class, epoch or assignment that is not there.
    """
    if look.epoch is not None and look.epoch not in stage.epochs:
        why_none = "the run was made without save_epochs" if stage.runs else "the network is untrained"
        kept = ", ".join(map(str, stage.epochs)) or f"none, as {why_none}"
        raise ValueError(f"parameter 'epoch' = {look.epoch}: kept are {kept}")
    if photo is None and look.photo is not None:
        photo = open_photo(stage, look.photo)
    if not 0 <= box.label < len(stage.class_names):
        raise ValueError(f"a box of class {box.label}: give 0 … {len(stage.class_names) - 1}")
    if photo is not None:
        key: object = (photo, box)
        picture, batch = photo.picture, collate([_own_sample(photo, box)])
    else:
        key = look.image
        picture, batch = _data_picture(stage, look.image)
    opinions = {name: _opinion(stage, name, look.epoch, batch, key) for name in stage.detectors}
    gt = clearest_gt(opinions) if look.gt is None else look.gt
    if gt >= len(batch.targets.boxes):
        raise ValueError(f"parameter 'gt' = {gt}: give 0 … {len(batch.targets.boxes) - 1}")
    claims = find_claims(look.assignment, opinions, batch.targets)
    return Scene(picture, batch, stage.class_names, opinions, claims, gt, photo is not None)


def open_photo(stage: Stage, source: Path | BinaryIO) -> Photo:
    """Read a picture of one's own, and what the trained student finds on it, whichever epoch is looked at. Raises
    ValueError if it cannot be read as an image."""
    pixels = load_image(source)
    size = stage.detectors["student"].configuration
    transform = eval_transform(size.short_side, size.long_side)
    image = transform(tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))).as_subclass(Tensor)
    original_hw = (pixels.shape[0], pixels.shape[1])
    nothing = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, original_hw)
    batch = collate([nothing])
    detector = _as_after(stage, "student", None)
    found = detect(detector(batch.images), make_anchors(batch.padded_hw), batch.targets.image_hw, min_score=SURE)[0]
    return Photo(_small(pixels), nothing, found)


def assignments_for(stage: Stage) -> dict[str, str]:
    """Those of `lad.exploration.ASSIGNMENTS` that can be made here, with their titles."""
    has_teacher = "teacher" in stage.detectors
    return {name: title for name, title in ASSIGNMENTS.items() if has_teacher or name not in NEED_TEACHER}


def gt_names(scene: Scene) -> list[str]:
    """A name for each object, for people: its class, numbered where there are several; "your box" for one's own."""
    names = [scene.class_names[label] for label in scene.batch.targets.labels.tolist()]
    names[:1] = ["your box"] if scene.has_own_box else names[:1]
    return [name if names.count(name) == 1 else f"{name} {names[:i].count(name) + 1}" for i, name in enumerate(names)]


def _run(look: Look, parameter: str) -> Run:
    given = getattr(look, parameter)
    for folder in (look.out / given, Path(given).expanduser()):
        run = open_run(folder) if folder.is_dir() else None
        if run is not None:
            return run
    known = [run.folder.name for run in finished_runs(look.out)]
    there = f"finished there are {', '.join(known)}" if known else "none is finished there"
    raise ValueError(f"parameter '{parameter}' = '{given}': no finished run in {look.out}; {there}")


def _opinion(stage: Stage, name: str, epoch: int | None, batch: Batch, key: object) -> Opinion:
    """A network's opinion after an epoch; a teacher that was not trained beside the student stays as it is."""
    follows = name == "student" or stage.runs[name].network == "teacher"
    at = epoch if follows else None
    if (name, at, key) not in stage.remembered:
        while len(stage.remembered) >= MOST_OPINIONS:
            del stage.remembered[next(iter(stage.remembered))]
        with _few_threads(batch):
            stage.remembered[name, at, key] = opinion(_as_after(stage, name, at), batch)
    return stage.remembered[name, at, key]


def _as_after(stage: Stage, name: str, epoch: int | None) -> Detector:
    """A network with its weights after an epoch; None: those it ended with."""
    if stage.shown_epoch.get(name) != epoch:
        stage.detectors[name].load_state_dict(read_tensors(stage.runs[name].weights_file(epoch)))
        stage.shown_epoch[name] = epoch
    return stage.detectors[name]


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


def _data_picture(stage: Stage, index: int) -> tuple[np.ndarray, Batch]:
    """An image of the data set to draw, and as a batch; the last one is remembered."""
    if index >= len(stage.dataset):
        raise ValueError(f"parameter 'image' = {index}: give 0 … {len(stage.dataset) - 1}")
    if index not in stage.shown_picture:
        stage.shown_picture = {index: (_small(stage.dataset.pixels(index)), collate([stage.dataset[index]]))}
    return stage.shown_picture[index]


def _own_sample(photo: Photo, box: Box) -> Sample:
    """With the drawn box and what was found as gts."""
    height, width = photo.sample.image.shape[-2:]
    drawn = torch.tensor([box.place]) * torch.tensor([width, height, width, height])
    boxes = torch.cat([drawn, photo.found.boxes[:MOST_DETECTED]])
    labels = torch.cat([torch.tensor([box.label]), photo.found.labels[:MOST_DETECTED]])
    return replace(photo.sample, boxes=boxes, labels=labels)


def _small(pixels: np.ndarray) -> np.ndarray:
    """Not larger than it is drawn."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST))
    return np.asarray(image)

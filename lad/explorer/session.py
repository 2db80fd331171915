"""Explorer session: loads the networks, runs them on one image, and caches their assignments."""

from collections import Counter
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

from lad.analysis.assignment import AssignmentAnalysis, analyze, as_paa, gt_with_most_samples
from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER, Positives, find_positives
from lad.assigners.paa import DEFAULT_ASSIGNER, PAA
from lad.config.experiment import make_parameters
from lad.data.coco import CocoDataset, open_splits
from lad.data.collate import collate
from lad.data.images import load_image
from lad.data.synthetic.shapes import data_folder
from lad.data.transforms import eval_transform
from lad.experiments.run_store import Run, finished_runs, networks_of, open_run
from lad.experiments.setup import new_detector
from lad.explorer.config import UNTRAINED, ExplorerConfig
from lad.geometry import make_anchors
from lad.inference.postprocess import detect
from lad.models.detector import Detector
from lad.models.safe_load import read_tensors
from lad.structures import Batch, Detections, Sample
from lad.utils.progress import log

MAX_CACHED_ANALYSES = 64
SCORE_THRESHOLD = 0.3  # a detection on the user's photo with at least this score is one of its objects
MAX_DETECTIONS = 5  # objects on the user's photo besides the user's box
MAX_PIXELS_SINGLE_THREAD = 320 * 320
MAX_DISPLAY_SIDE = 640  # pixels of the longer side of an image to draw


@dataclass(frozen=True, eq=False)
class Photo:
    """The user's own image and what the student detects on it.

    Attributes:
        pixels: [h, w, 3] uint8, the image to draw.
        sample: The image as the networks get it, without gts.
        detections: The student's detections, in pixels of the sample.
    """

    pixels: np.ndarray
    sample: Sample
    detections: Detections


@dataclass(frozen=True)
class UserBox:
    """A box that the user draws on their photo.

    Attributes:
        corners: x0, y0, x1, y1 as fractions of the photo's width and height.
        label: Class of the box.
    """

    corners: tuple[float, float, float, float] = (0.25, 0.25, 0.75, 0.75)
    label: int = 0


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


@dataclass
class ExplorerSession:
    """The networks and images of an explorer, with their caches.

    Attributes:
        name: Name of the student's run.
        detectors: The student and, if there is one, the teacher.
        runs: Runs of the detectors; an untrained network has none.
        dataset: Validation images that have gts.
        loaded_epochs: Epoch of the weights that each detector holds; None for the final weights.
        analysis_cache: Analyses by network, epoch and image; the oldest are dropped.
        image_cache: Pixels and batch of the last image, by its index.
    """

    name: str
    detectors: dict[str, Detector]
    runs: dict[str, Run]
    dataset: CocoDataset
    loaded_epochs: dict[str, int | None] = field(default_factory=dict)
    analysis_cache: dict[tuple[object, ...], AssignmentAnalysis] = field(default_factory=dict)
    image_cache: dict[int, tuple[np.ndarray, Batch]] = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        """Return the epochs after which the student's weights were saved."""
        return self.runs["student"].saved_epochs if "student" in self.runs else []

    @property
    def paa(self) -> PAA:
        """Return PAA with the options of the student's run."""
        return as_paa(self.runs["student"].assigner) if "student" in self.runs else DEFAULT_ASSIGNER

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.dataset.annotations.class_names


def open_session(config: ExplorerConfig) -> ExplorerSession:
    """Load the networks and the validation set of a configuration.

    Raises:
        ValueError: A run or data set does not exist, no image has an object, or a network's classes are not the data's.
    """
    runs = find_runs(config)
    data = config.data or (runs["student"].parameters.data if "student" in runs else "toy")
    dataset = _validation_set(data, runs.get("student"))
    annotations, path = dataset.annotations, dataset.annotations.path
    if "teacher" in runs and "student" in runs and runs["teacher"].results.get("ignores_classes"):
        log(f"{runs['teacher'].name}: has other classes than the data, and is left out")
        del runs["teacher"]
    detectors = {name: run.load_detector() for name, run in runs.items()}
    if "student" not in runs:
        detectors["student"] = _untrained_detector(data, annotations.class_names)
    for name, detector in detectors.items():
        if detector.configuration.class_names != annotations.class_names:
            raise ValueError(
                f"{runs[name].folder.name}: was trained on {_listed(detector.configuration.class_names)}, but {path} "
                f"has {_listed(annotations.class_names)}; choose data with the same classes"
            )
    size = detectors["student"].configuration
    dataset.transform = eval_transform(size.short_side, size.long_side)
    with_gts = [index for index, record in enumerate(annotations.records) if len(record.boxes)]
    if not with_gts:
        raise ValueError(f"{path}: no image has an object, so there is nothing to explore")
    name = runs["student"].folder.name if "student" in runs else UNTRAINED
    return ExplorerSession(name, detectors, runs, dataset.subset(with_gts))


def _validation_set(data: str, run: Run | None) -> CocoDataset:
    """Open the validation images of a data set: those of the run, if it was trained on the same data."""
    is_of_run = run is not None and run.parameters.data == data
    images, val_share = (run.parameters.images, run.parameters.val_share) if run and is_of_run else (None, None)
    (dataset,) = open_splits(data_folder(data), ("val",), images, val_share)
    return dataset


def find_runs(config: ExplorerConfig) -> dict[str, Run]:
    """Return the student's run and, if there is one, the teacher's; no student's run for an untrained network.

    Raises:
        ValueError: `run` or `compare_with` is not a finished run.
    """
    runs: dict[str, Run] = {}
    if config.run is None:
        finished = [run for run in finished_runs(config.out) if run.parameters.epochs]
        if finished:
            runs = networks_of(finished[-1])
        else:
            log(f"no finished run in {config.out}: showing an untrained network; `make run` trains some in minutes")
    elif config.run != UNTRAINED:
        runs = networks_of(_open_named_run(config, "run"))
    if config.compare_with:
        runs["teacher"] = _open_named_run(config, "compare_with")
    return runs


def render_view(
    session: ExplorerSession, config: ExplorerConfig, photo: Photo | None = None, box: UserBox = UserBox()
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
        pixels, batch = photo.pixels, collate([_photo_sample(photo, box)])
    else:
        key = config.image
        pixels, batch = _dataset_image(session, config.image)
    analyses = {name: _cached_analysis(session, name, config.epoch, batch, key) for name in session.detectors}
    gt = gt_with_most_samples(analyses) if config.gt is None else config.gt
    if gt >= len(batch.targets.boxes):
        raise ValueError(f"parameter 'gt' = {gt}: must be 0 … {len(batch.targets.boxes) - 1}")
    positives = find_positives(config.assignment, analyses, batch.targets)
    return ExplorerView(pixels, batch, session.class_names, analyses, positives, gt, photo is not None)


def open_photo(session: ExplorerSession, source: Path | BinaryIO) -> Photo:
    """Read the user's image and run the student with its final weights on it.

    Raises:
        ValueError: The file cannot be read as an image.
    """
    pixels = load_image(source)
    size = session.detectors["student"].configuration
    transform = eval_transform(size.short_side, size.long_side)
    image = transform(tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))).as_subclass(Tensor)
    original_hw = (pixels.shape[0], pixels.shape[1])
    sample = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, original_hw)
    batch = collate([sample])
    outputs = _detector_at_epoch(session, "student", None)(batch.images)
    anchors = make_anchors(batch.padded_hw)
    (detections,) = detect(outputs, anchors, batch.targets.image_hw, min_score=SCORE_THRESHOLD)
    return Photo(_shrink(pixels), sample, detections)


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


def _untrained_detector(data: str, class_names: tuple[str, ...]) -> Detector:
    """Return the same randomly initialized network every time, without a change of the global generator."""
    parameters = make_parameters({"method": "baseline", "student": "r18", "data": data})
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        return new_detector(parameters, class_names).eval().requires_grad_(False)


def _listed(class_names: tuple[str, ...]) -> str:
    """Return the number of classes and the first of them, for messages."""
    return f"{len(class_names)} classes ({', '.join(class_names[:3])} …)"


def _open_named_run(config: ExplorerConfig, parameter: str) -> Run:
    """Return the run that a parameter gives by its name in `out` or by its folder."""
    given = getattr(config, parameter)
    for folder in (config.out / given, Path(given).expanduser()):
        run = open_run(folder) if folder.is_dir() else None
        if run is not None:
            return run
    names = [run.folder.name for run in finished_runs(config.out)]
    hint = f"choose one of {', '.join(names)}" if names else "the folder has none; `make run` trains some"
    raise ValueError(f"parameter '{parameter}' = '{given}': no finished run in {config.out}; {hint}")


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
            session.analysis_cache[key] = analyze(_detector_at_epoch(session, name, epoch), batch, paa)
    return session.analysis_cache[key]


def _detector_at_epoch(session: ExplorerSession, name: str, epoch: int | None) -> Detector:
    """Return a network with its weights after an epoch; None for the final weights."""
    if session.loaded_epochs.get(name) != epoch:
        session.detectors[name].load_state_dict(read_tensors(session.runs[name].weights_file(epoch)))
        session.loaded_epochs[name] = epoch
    return session.detectors[name]


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
        session.image_cache = {index: (_shrink(session.dataset.pixels(index)), collate([session.dataset[index]]))}
    return session.image_cache[index]


def _photo_sample(photo: Photo, box: UserBox) -> Sample:
    """Return the photo's sample with the user's box and the student's detections as gts."""
    height, width = photo.sample.image.shape[-2:]
    user_box = torch.tensor([box.corners]) * torch.tensor([width, height, width, height])
    boxes = torch.cat([user_box, photo.detections.boxes[:MAX_DETECTIONS]])
    labels = torch.cat([torch.tensor([box.label]), photo.detections.labels[:MAX_DETECTIONS]])
    return replace(photo.sample, boxes=boxes, labels=labels)


def _shrink(pixels: np.ndarray) -> np.ndarray:
    """Return an image of at most `MAX_DISPLAY_SIDE` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_DISPLAY_SIDE, MAX_DISPLAY_SIDE))
    return np.asarray(image)

"""Set-up of a run: its data sets and its networks, new or from a checkpoint."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lad.config.checkpoints import NETWORK_FIELDS
from lad.config.experiment import Parameters
from lad.data.augmentation import augmented_transform
from lad.data.coco import CocoDataset, open_splits
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import data_folder
from lad.data.transforms import eval_transform, train_transform
from lad.data.validation.image_files import ensure_usable
from lad.distillation.methods import METHODS
from lad.distillation.terms import features_of_terms
from lad.experiments.run_store import find_run
from lad.models.adapter import AdaptedStudent
from lad.models.detector import Detector, build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.models.openmmlab import CLASSIFIER
from lad.models.parts import Part
from lad.models.serialization import load_detector, weights_digest
from lad.models.student_teacher import StudentTeacherPair, TrainedNetwork
from lad.models.transfer import has_classes, list_names, load_matching, with_classes
from lad.utils.atomic_io import write_text
from lad.utils.progress import log


def open_data(parameters: Parameters) -> tuple[CocoDataset, CocoDataset]:
    """Open the training and the validation set, after checking that every image can be decoded.

    With bad_images="skip", images that cannot be read are left out. Images that passed before are not checked again.

    Raises:
        ValueError: An image cannot be read; names the first.
    """
    folder = data_folder(parameters.data)
    train_set, val_set = open_splits(folder, ("train", "val"), parameters.images, parameters.val_share)
    sizes_and_flip = parameters.short_sides, parameters.long_side, parameters.flip
    if parameters.augment:
        train_set.transform = augmented_transform(parameters.augment, *sizes_and_flip)
    else:
        train_set.transform = train_transform(*sizes_and_flip)
    val_set.transform = eval_transform(parameters.test_short_side, parameters.long_side)
    if parameters.train_images is not None:
        train_set = train_set.subset(range(min(parameters.train_images, len(train_set))))
    if parameters.epochs and not len(train_set.annotations.records.labels):
        raise ValueError(
            f"{train_set.annotations.path}: its images have no gts, so nothing can be learned; annotate them, or give "
            "another training set"
        )
    if not len(val_set.annotations.records.labels):
        log(f"{val_set.annotations.path}: has no gts, so AP cannot be computed and tables show –")
    if parameters.data in DIFFICULTIES:  # generated, so there is nothing to check
        return train_set, val_set
    return ensure_usable(train_set, parameters.bad_images), ensure_usable(val_set, parameters.bad_images)


def write_split(val_share: float, file: Path, train_set: CocoDataset, val_set: CocoDataset) -> None:
    """Write which images are for training and which for validation, of data without a validation part, and log it."""
    names = {part: of.annotations.records.file_names() for part, of in (("train", train_set), ("val", val_set))}
    path = str(val_set.annotations.path)
    content = {"annotations": path, "val_share": val_share, **names}
    write_text(file, json.dumps(content, indent=2) + "\n")  # escaped: names need not be valid Unicode
    log(
        f"{path}: has no validation part; val_share {val_share:g} leaves {len(train_set):,} images for training and "
        f"{len(val_set):,} for validation, listed in {file.parent.name}/{file.name}"
    )


def build_networks(
    parameters: Parameters,
    class_names: Sequence[str],
    trained_teacher: Detector | None,
    device: torch.device,
    is_resumed: bool = False,
) -> tuple[TrainedNetwork, Detector | None]:
    """Build the networks of a run.

    Args:
        parameters: Parameters of the run.
        class_names: Class names of the data set.
        trained_teacher: The detector of the teacher's own run, if the method needs one.
        device: Device of the frozen teacher.
        is_resumed: Whether all weights will be loaded from a checkpoint of the run, so that `init` need not be read.

    Returns:
        The network to train, with its initial weights: a detector, a detector with adapters if a distillation term
        reads features of which the teacher has another number of channels, or the pair of co-learning; and the frozen
        teacher on the device, None in co-learning and without a teacher.
    """
    torch.manual_seed(parameters.seed)
    detector = (new_detector if is_resumed else initial_detector)(parameters, class_names)
    if METHODS[parameters.method].trains_teacher:
        of_teacher = parameters.of_teacher()
        if parameters.teacher_checkpoint is not None:  # its run only evaluates it; here it is trained
            frozen = {"frozen_stages": parameters.frozen_stages, "norm_eval": parameters.norm_eval}
            of_teacher = of_teacher.model_copy(update=frozen)
        pair = StudentTeacherPair(detector, new_detector(of_teacher, class_names))
        if trained_teacher is not None:  # with teacher_epochs, co-learning starts from a trained teacher
            pair.teacher.load_state_dict(trained_teacher.state_dict())
        return pair, None
    if trained_teacher is None:
        return detector, None
    features, channels = features_of_terms(parameters.distill), trained_teacher.configuration.channels
    network: TrainedNetwork = detector
    if features and channels != detector.configuration.channels:
        network = AdaptedStudent(detector, features, channels)
    return network, frozen_teacher(trained_teacher, device)


def frozen_teacher(detector: Detector, device: torch.device) -> Detector:
    """Return a trained detector as a frozen teacher on the device, with BatchNorm fused into its convolutions."""
    return fuse_batchnorm(detector).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def initial_detector(parameters: Parameters, class_names: Sequence[str]) -> Detector:
    """Return the network of these parameters with its initial weights, from `init` if that is given.

    A run of no epochs gets the detector of `init` with its own classes if they do not include those of the data.

    Raises:
        ValueError: The detector of `init` cannot be read, has changed, or does not fit.
    """
    if parameters.init is None:
        return new_detector(parameters, class_names)
    title = f"init '{parameters.init}'"
    source = load_known(parameters.init, parameters.init_part, parameters.init_sha256, title)
    if not source.configuration.class_names and has_classes(source.configuration, class_names):
        log(f"{title} has no class names: its classes are taken for the {len(class_names)} of the data, in their order")
    if parameters.epochs == 0:
        with contextlib.suppress(ValueError):
            source = with_classes(source, class_names)
        source.configuration = replace(
            source.configuration, short_side=parameters.test_short_side, long_side=parameters.long_side
        )
        return source.requires_grad_(True)
    detector = new_detector(parameters, class_names)
    problems = load_matching(detector, source)
    others = [name for name in problems if name not in CLASSIFIER]
    if others and not parameters.init_partial:
        raise ValueError(
            f"{title} does not fit the network of this run; leave out student, {', '.join(NETWORK_FIELDS)} to take "
            f"them from it, or give init_partial=true to load only what fits (not: {list_names(others)})"
        )
    if problems:
        note = f" (classifier of {list_names(source.configuration.class_names) or 'unnamed classes'})"
        log(f"{title}: not loaded: {list_names(problems)}{'' if others else note}")
    return detector


def load_known(checkpoint: str, part: Part, digest: str | None, title: str) -> Detector:
    """Load a detector whose hash the parameters hold.

    Raises:
        ValueError: It has another hash: the file has changed.
    """
    detector = load_detector(checkpoint, part)
    found = weights_digest(detector)
    if found != digest:
        raise ValueError(f"{title}: its weights have the hash {found}, not {digest} as when the parameters were made")
    return detector


def check_teacher_classes(parameters: Parameters, class_names: Sequence[str]) -> None:
    """Raise ValueError, before any training, if a teacher's checkpoint lacks classes that the method needs."""
    if parameters.teacher is None or parameters.teacher_cost == "box":
        return
    for evaluation in parameters.of_teachers():
        if evaluation.init is not None and not evaluation.epochs:
            _check_classes(parameters, evaluation, class_names)


def _check_classes(parameters: Parameters, evaluation: Parameters, class_names: Sequence[str]) -> None:
    evaluated = find_run(evaluation)
    if evaluated is not None and tuple(evaluated.class_names) == tuple(class_names):  # the file is not needed any more
        return
    title = f"teacher_checkpoint '{evaluation.init}'"
    teacher = load_known(str(evaluation.init), evaluation.init_part, evaluation.init_sha256, title)
    try:
        with_classes(teacher, class_names)
    except ValueError as error:
        remedy = ", or teacher_cost=box to learn from its boxes alone" if parameters.method == "lad" else ""
        raise ValueError(f"{title} {error}; give a teacher of the classes of the data{remedy}") from None


def new_detector(parameters: Parameters, class_names: Sequence[str]) -> Detector:
    """Build the network of these parameters, initialized by torch's global generator and the backbone's weights."""
    detector = build_detector(
        parameters.student,
        len(class_names),
        parameters.width,
        parameters.head,
        iou_branch=parameters.iou_branch,
        channels=parameters.channels,
        weights=parameters.weights,
        frozen_stages=parameters.frozen_stages,
        norm_eval=parameters.norm_eval,
    )
    detector.configuration = replace(
        detector.configuration,
        class_names=tuple(class_names),
        short_side=parameters.test_short_side,
        long_side=parameters.long_side,
    )
    return detector

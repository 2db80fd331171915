"""Set-up of a run: its data sets and its networks."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from lad.config.experiment import Parameters
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import DIFFICULTIES, data_folder
from lad.data.transforms import eval_transform, train_transform
from lad.data.validation.image_files import ensure_usable
from lad.distillation.methods import METHODS
from lad.models.detector import Detector, build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.models.student_teacher import StudentTeacherPair


def open_data(parameters: Parameters) -> tuple[CocoDataset, CocoDataset]:
    """Open the training and the validation set, after checking that every image can be decoded.

    With bad_images="skip", images that cannot be read are left out. Images that passed before are not checked again.

    Raises:
        ValueError: An image cannot be read; names the first.
    """
    folder = data_folder(parameters.data)
    images, path = find_split(folder, "train")
    annotations = read_annotations(path)
    train_set = CocoDataset(
        images, annotations, train_transform(parameters.short_sides, parameters.long_side, parameters.flip)
    )
    images, path = find_split(folder, "val")
    val_set = CocoDataset(
        images,
        read_annotations(path, like=annotations),
        eval_transform(parameters.test_short_side, parameters.long_side),
    )
    if parameters.train_images is not None:
        train_set = train_set.subset(range(min(parameters.train_images, len(train_set))))
    if parameters.data in DIFFICULTIES:  # generated, so there is nothing to check
        return train_set, val_set
    return ensure_usable(train_set, parameters.bad_images), ensure_usable(val_set, parameters.bad_images)


def build_networks(
    parameters: Parameters, class_names: Sequence[str], trained_teacher: Detector | None, device: torch.device
) -> tuple[Detector | StudentTeacherPair, Detector | None]:
    """Build the networks of a run.

    Args:
        parameters: Parameters of the run.
        class_names: Class names of the data set.
        trained_teacher: The detector of the teacher's own run, if the method needs one.
        device: Device of the frozen teacher.

    Returns:
        The network to train, with its initial weights: a detector or, in co-learning, a pair; and the frozen teacher on
        the device, None in co-learning and without a teacher.
    """
    torch.manual_seed(parameters.seed)
    detector = new_detector(parameters, class_names)
    if METHODS[parameters.method].trains_teacher:
        pair = StudentTeacherPair(detector, new_detector(parameters.of_teacher(), class_names))
        if trained_teacher is not None:  # with teacher_epochs, co-learning starts from a trained teacher
            pair.teacher.load_state_dict(trained_teacher.state_dict())
        return pair, None
    if trained_teacher is None:
        return detector, None
    teacher = fuse_batchnorm(trained_teacher)
    return detector, teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


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

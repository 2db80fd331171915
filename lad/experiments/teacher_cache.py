"""The cache of a teacher's assignments: when a run has one, and what its content depends on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.data.collate import padded_hw
from lad.data.transforms import resized_hw, transform_cache_key
from lad.distillation.assignment_cache import AssignmentCache
from lad.experiments.fingerprint import Fingerprint
from lad.experiments.run_store import Run
from lad.utils.download import sha256_of
from lad.utils.progress import log


def open_cache(
    parameters: Parameters,
    teachers: Sequence[Run],
    train_set: CocoDataset,
    code: Fingerprint,
    folder: Path,
    fabric: Fabric,
) -> AssignmentCache | None:
    """Return the cache of the teachers' assignments in the run's folder; None if they are not cached.

    With `cache_teacher: auto`, the log says which.
    """
    is_logged = fabric.is_global_zero and parameters.cache_teacher == "auto"
    if teachers and uses_cache(parameters, train_set):
        if is_logged:
            log(f"{folder.name}: caches the teacher's assignments: all images have one size, so no number changes")
        return AssignmentCache(folder, _cache_key(parameters, teachers, train_set, code), fabric.global_rank)
    if is_logged and parameters.method == "lad" and parameters.augment:
        log(f"{folder.name}: does not cache the teacher's assignments: augment changes the images in every epoch")
    return None


def uses_cache(parameters: Parameters, train_set: CocoDataset) -> bool:
    """Return whether the teacher's assignments are cached: as given, or with "auto" if that changes no number.

    It changes none if all training images are resized deterministically and padded to one size: then a batch has the
    same padding as the one whose assignments were cached.
    """
    if parameters.cache_teacher != "auto":
        return parameters.cache_teacher
    if parameters.method != "lad" or parameters.distill or len(parameters.short_sides) > 1 or parameters.augment:
        return False
    hw = train_set.annotations.records.hw.unique(dim=0).tolist()
    sizes = {padded_hw(resized_hw(image_hw, parameters.short_sides[0], parameters.long_side)) for image_hw in hw}
    return len(sizes) == 1


def _cache_key(
    parameters: Parameters, teachers: Sequence[Run], train_set: CocoDataset, code: Fingerprint
) -> dict[str, Any]:
    """Return everything that a teacher's assignments depend on, besides the image and its flip."""
    return {
        "assigner": parameters.assigner,
        "assigner_options": json.dumps(parameters.assigner_options, sort_keys=True),
        "precision": parameters.precision,
        "transform": transform_cache_key(train_set.transform),
        "teacher": " ".join(teacher.results["weights_sha256"] for teacher in teachers),
        "annotations": sha256_of(train_set.annotations.path),
        "code": code.digest,
    }

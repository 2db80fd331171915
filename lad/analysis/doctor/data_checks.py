"""Checks of the objects and classes of the data, and of what the network makes of them."""

import math
from collections.abc import Mapping

from lad.analysis.doctor.evidence import ClassRow, Evidence, Finding, ObjectSizes
from lad.assigners.candidates import MIN_IOU
from lad.experiments.teacher import NEAR_ZERO_AP
from lad.geometry import ANCHOR_SCALE, STRIDES
from lad.models.transfer import list_names

SMALL_SHARE = 0.2  # of the training objects; 7 % of COCO's match no anchor at short side 800, 0.2 % in the toy data
TINY_SIDE = 2 * STRIDES[0]  # pixels: two cells of the finest feature map
MATCHED_SIDE = ANCHOR_SCALE * STRIDES[0] * math.sqrt(MIN_IOU)  # 20 pixels: a square in the middle of a finest anchor
TILE_FACTOR = 3  # a larger factor on the image's sides costs ten times the time: cut images into tiles instead
MIN_POSITIVES = 2.0  # positives per object; sound runs have 6 to 7
MIN_EVALUATED = 5  # objects of a class: with fewer, AP 0 can be chance
OVERFITTED_GAP, OVERFITTED_SHARE = 0.2, 0.6  # AP on training images far above that on validation images, in both terms


def objects_match_no_anchor(run: Evidence) -> Finding | None:
    """Check that training objects are large enough for the anchors of the finest level, for PAA."""
    sizes, min_iou = run.sizes, run.parameters.assigner_options.get("min_iou")
    if sizes is None or not len(sizes.side) or min_iou is None:
        return None
    is_unmatched = sizes.best_iou < min_iou
    share = is_unmatched.float().mean().item()
    if share <= SMALL_SHARE:
        return None
    of_unmatched = sizes.candidates[is_unmatched]
    missed = (of_unmatched == 0).float().mean().item()
    return Finding(
        "warning",
        f"{share:.0%} of {len(sizes.side):,} training objects have no anchor of IoU {min_iou:g} or more at short side "
        f"{sizes.short_side} (median side of all {sizes.side.median().item():.0f} px, {_tiny_share(sizes):.0%} below "
        f"{TINY_SIDE} px)",
        f"the smallest anchors have a side of {ANCHOR_SCALE * STRIDES[0]} px, so that these objects get only their "
        f"nearest anchors as candidates (median {of_unmatched.median().item()}; {missed:.0%} have none, as a neighbor "
        "has them), and a teacher has little to choose",
        _larger_images(run, sizes),
    )


def objects_are_tiny(run: Evidence) -> Finding | None:
    """Check that not too many training objects are tiny, for assigners that choose by distance."""
    sizes = run.sizes
    if sizes is None or not len(sizes.side) or "min_iou" in run.parameters.assigner_options:
        return None
    if _tiny_share(sizes) <= SMALL_SHARE:
        return None
    return Finding(
        "warning",
        f"{_tiny_share(sizes):.0%} of {len(sizes.side):,} training objects are below {TINY_SIDE} px at short side "
        f"{sizes.short_side} (median {sizes.side.median().item():.0f} px)",
        f"they cover less than two by two cells of the finest feature map (stride {STRIDES[0]})",
        _larger_images(run, sizes),
    )


def _tiny_share(sizes: ObjectSizes) -> float:
    return (sizes.side < TINY_SIDE).float().mean().item()


def _larger_images(run: Evidence, sizes: ObjectSizes) -> str:
    """Return the image size at which most objects reach `MATCHED_SIDE`."""
    factor = MATCHED_SIDE / max(sizes.side.quantile(SMALL_SHARE / 2).item(), 1e-3)
    if factor > TILE_FACTOR:
        return f"cut the images into tiles, as most objects would need images {factor:.0f} times as large"
    factor = max(factor, 1.25)  # elongated objects: their area is large enough
    short, test, long = (
        math.ceil(side * factor / 32) * 32
        for side in (sizes.short_side, run.parameters.test_short_side, run.parameters.long_side)
    )
    return f"train on larger images: short_sides=[{short}], test_short_side={test}, long_side={long}"


def positives_are_few(run: Evidence) -> Finding | None:
    """Check that objects have several positives."""
    value = run.last("positives_per_gt")
    if value is None or value >= MIN_POSITIVES:
        return None
    return Finding(
        "warning",
        f"an object has {value:.1f} positive locations on average",
        "few positives train slowly, and leave a teacher little to choose",
        "train on larger images (short_sides), or give the assigner more candidates (paa: topk in assigner_options)",
    )


def validation_has_no_objects(run: Evidence) -> Finding | None:
    """Check that there are objects to evaluate on."""
    if not run.classes or any(row.val for row in run.classes.values()):
        return None
    seen, why = "the validation set has no objects (0)", "no AP can be computed"
    return Finding("error", seen, why, "annotate validation images (lad validate shows what is read)")


def classes_are_not_trained(run: Evidence) -> Finding | None:
    """Check that every class of the validation set is in the training set."""
    rows = {name: row for name, row in run.classes.items() if row.val and not row.train}
    if not rows:
        return None
    evaluated = sum(row.val > 0 for row in run.classes.values())
    return Finding(
        "error",
        f"{_count_classes(rows)} in the validation set but not in the training set: "
        f"{_list_classes({name: row.val for name, row in rows.items()})} validation objects",
        f"the AP of such a class is 0, and AP is the mean over {evaluated} classes",
        "split the images again so that both sets have every class, or leave the class out of both",
    )


def classes_are_not_detected(run: Evidence) -> Finding | None:
    """Check that every trained class is detected, if the network detects anything."""
    rows = {
        name: row
        for name, row in run.classes.items()
        if row.ap is not None and row.ap <= 0 and row.train and row.evaluated >= MIN_EVALUATED
    }
    if not rows or run.ap is None or run.ap < NEAR_ZERO_AP:
        return None
    return Finding(
        "warning",
        f"{_count_classes(rows)} never detected (AP 0): "
        f"{_list_classes({name: row.train for name, row in rows.items()})} training objects",
        "the AP of the run is the mean over its classes",
        "add training images of these classes, or train longer; check that their names mean the same in both sets",
    )


def network_overfits(run: Evidence) -> Finding | None:
    """Check that AP on training images is not far above that on validation images, and that one is above 0."""
    train, val = run.train_ap, run.val_ap
    if train is None or val is None:
        return None
    if max(train, val) < NEAR_ZERO_AP:
        return Finding(
            "error",
            f"AP is {train:.3f} on training images and {val:.3f} on validation images",
            "the network has not even learned the images that it was trained on",
            "train longer (epochs), check lr, and see whether the boxes are right (lad validate, the explorer)",
        )
    if train - val < OVERFITTED_GAP or val > OVERFITTED_SHARE * train:
        return None
    images = "" if run.num_images is None else f" (now {run.num_images:,})"
    return Finding(
        "warning",
        f"AP is {train:.3f} on training images and {val:.3f} on validation images",
        "the network has learned its training images by heart, or the two sets differ in kind",
        f"add training images{images}, start from a trained detector (init), or train fewer epochs",
    )


def _count_classes(rows: Mapping[str, ClassRow]) -> str:
    return "1 class is" if len(rows) == 1 else f"{len(rows)} classes are"


def _list_classes(counts: Mapping[str, int]) -> str:
    return list_names([f"{name} ({count:,})" for name, count in counts.items()])


DATA_CHECKS = (
    validation_has_no_objects,
    classes_are_not_trained,
    network_overfits,
    objects_match_no_anchor,
    objects_are_tiny,
    positives_are_few,
    classes_are_not_detected,
)

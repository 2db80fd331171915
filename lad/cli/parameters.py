"""The parameters that people change most, for the help of `lad run` and `lad evaluate`, and for shell completion.

They are a copy, so that help does not load torch; a test compares names and defaults with `lad.config`.
"""

from collections.abc import Callable, Iterable, Mapping

RUN_PARAMETERS = {
    "data": ("profile's", "a folder in COCO format, or toy or mini, the generated data sets"),
    "method": ("lad", "baseline, lad, soft_label, solad or colad: docs/methods.md"),
    "distill": ("[]", "further distillation terms, such as [pkd]"),
    "assigner": ("paa", "paa, tal, simota, atss or fixed_iou: docs/assigners.md"),
    "student": ("r50", "backbone, r18 … swin_t: docs/backbones.md"),
    "teacher": ("r101", "backbone of the teacher, if the method has one"),
    "init": ("–", "detector to start from: a file, a run's folder, or a published name"),
    "teacher_checkpoint": ("–", "a trained teacher instead, given like init"),
    "epochs": ("profile's", "passes over the training images"),
    "teacher_epochs": ("profile's", "the same for the teacher"),
    "train_images": ("all", "number of training images to use, the first ones"),
    "batch_size": ("profile's", "images per step, over all devices"),
    "lr": ("profile's", "maximum learning rate"),
    "seed": ("0", "of initialization, image order and flips"),
    "short_sides": ("profile's", "sizes of training images: a list, in pixels"),
    "test_short_side": ("profile's", "size of validation images, in pixels"),
    "long_side": ("profile's", "maximal longer side of images, in pixels"),
    "accelerator": ("auto", "auto, cpu or cuda"),
    "devices": ("1", "number of devices"),
    "threads": ("profile's", "CPU threads; 0 for one per core"),
    "out": ("runs/", "folder of the runs"),
}
EVALUATION_PARAMETERS = {
    "split": ("val", "val, train or test-dev"),
    "part": ("student", "student, teacher or ema: which network of a published checkpoint"),
    "iou_branch": ("true", "false for heads trained without it; a published name implies it"),
    "views": ("one", "test-time augmentation: one (none), flip, multi_scale or strongest"),
    "vote": ("true", "score voting of boxes"),
    "short_side": ("checkpoint's", "size of the images, in pixels"),
    "long_side": ("checkpoint's", "maximal longer side of the images, in pixels"),
    "max_detections": ("100", "maximal number of detections of an image"),
    "max_images": ("all", "number of images, the first ones"),
    "min_score": ("0.5", "of detections in the error analysis, from 0 to 1"),
    "expected_ap": ("–", "published AP in percent, to compare with"),
    "sha256": ("–", "first digits of the checkpoint's SHA-256"),
    "batch_size": ("8", "images at a time"),
    "accelerator": ("auto", "auto, cpu or cuda"),
    "evaluator": ("pycocotools", "or faster_coco_eval: the same numbers, faster"),
    "out": ("runs/evaluations/", "folder of the evaluations"),
}
PROFILES = ("toy", "mini", "coco_1x", "coco_2x_ms")
TABLES = (
    "table2_soft_label_vs_lad", "table3_small_teacher", "co_learning", "sota_r101_x101", "swin_teacher",
    "auxiliary_heads", "distillation_methods", "assigners", "teacher_quality",
)  # fmt: skip


def parameters_help(parameters: Mapping[str, tuple[str, str]], note: str) -> str:
    """Return the end of a command's help: a line for each parameter, and a note."""
    width, default_width = (max(map(len, column)) for column in (parameters, [d for d, _ in parameters.values()]))
    lines = [f"{name:<{width}}  {default:<{default_width}}  {text}" for name, (default, text) in parameters.items()]
    return "\b\n" + "\n".join([f"Parameters for -p, with defaults; {note}:", *(f"  {line}" for line in lines)])


def names_starting(parameters: Mapping[str, tuple[str, str]]) -> Callable[[str], list[str]]:
    """Return the completion of a parameter's name."""

    def complete(incomplete: str) -> list[str]:
        return [f"{name}=" for name in parameters if name.startswith(incomplete)]

    return complete


def starting(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the completion of one of some names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]

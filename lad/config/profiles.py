"""Profiles: the defaults of all parameters for a data set size and a purpose."""

from typing import Any

from lad.models.backbones.registry import BACKBONES

SLIM = {"width": 0.25, "channels": 64}

FROM_SCRATCH = {"weights": "none", "frozen_stages": -1, "norm_eval": False}

PRETRAINED = {"weights": "imagenet", "frozen_stages": 1, "norm_eval": True}

ADAMW = {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup": 50, "clip_grad": 10.0}

SGD = {"optimizer": "sgd", "lr": 0.01, "weight_decay": 1e-4, "schedule": "step", "warmup": 500, "clip_grad": 0.0}

COCO_SIZE = {"test_short_side": 800, "long_side": 1333}

PROFILES: dict[str, dict[str, Any]] = {
    "toy": {
        **SLIM, **FROM_SCRATCH, **ADAMW, "data": "toy", "epochs": 7, "teacher_epochs": 8, "batch_size": 8,
        "eval_every": 2, "short_sides": [128], "test_short_side": 128, "long_side": 128,
        "precision": "32-true", "workers": 0, "save_epochs": True,
        "threads": 1,  # more would wait for each other at every small operation, for long beside other processes
    },
    "mini": {
        **FROM_SCRATCH, **ADAMW, "data": "mini", "epochs": 24, "batch_size": 16, "eval_every": 4, "lr": 1e-3,
        "warmup": 500, "width": 1.0, "channels": 256, "short_sides": [256], "test_short_side": 256, "long_side": 256,
        "precision": "bf16-mixed", "workers": 4,
    },
    "coco_1x": {
        **PRETRAINED, **SGD, **COCO_SIZE, "data": "data/coco", "epochs": 12, "batch_size": 16, "eval_every": 1,
        "width": 1.0, "channels": 256, "short_sides": [800], "precision": "16-mixed", "workers": 4,
    },
    "coco_2x_ms": {
        **PRETRAINED, **SGD, **COCO_SIZE, "data": "data/coco", "epochs": 24, "batch_size": 16, "eval_every": 1,
        "width": 1.0, "channels": 256, "short_sides": list(range(640, 801)), "precision": "16-mixed", "workers": 4,
    },
}  # fmt: skip

# The learning rates of these profiles are for their batch size; for another they scale with it (Goyal et al., 2017).
SCALED_LR = ("coco_1x", "coco_2x_ms")

# Factor on the learning rate of a run that starts from a trained detector, if the profile starts from an ImageNet
# backbone: about that of OpenMMLab's and detectron2's guides. Stem, first stage and BatchNorm are frozen in any case.
# Profiles that train small networks from scratch keep their values: in few steps, a lower rate learns much less.
FINE_TUNING_LR = 0.1

# Image sizes for the user's own data under the small profiles: photographs are larger than the embedded images.
OWN_DATA_SIZES = {
    "toy": {"short_sides": [240], "test_short_side": 240, "long_side": 320},
    "mini": {"short_sides": [480], "test_short_side": 480, "long_side": 640},
}


def default_values(
    profile: str, backbone: str, batch_size: int | None = None, fine_tuning: bool = False
) -> dict[str, Any]:
    """Return a profile's defaults for a run; the backbone's own recipe, if any, replaces SGD settings.

    Args:
        profile: A key of `PROFILES`.
        backbone: A key of `BACKBONES`; for any other text the profile's own defaults are returned.
        batch_size: Images per step, for the learning rate of the profiles `SCALED_LR`; None is the profile's.
        fine_tuning: Whether the run starts from a trained detector.
    """
    values = dict(PROFILES[profile])
    if backbone in BACKBONES and values["optimizer"] == "sgd":
        values |= BACKBONES[backbone].recipe
    if fine_tuning and values["weights"] != "none":
        values |= {"weights": "none", "lr": values["lr"] * FINE_TUNING_LR}
    if batch_size is not None and profile in SCALED_LR:
        values["lr"] *= batch_size / values["batch_size"]
    return values

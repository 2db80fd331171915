"""The parameters of an experiment in groups: network, teacher, method, data, optimization and runtime.

`lad.config.experiment.Parameters` is all of them together. A function that needs one group can name it as the type of
its argument: the parameters of a whole experiment are also that.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationInfo, field_validator

from lad.evaluation.coco_eval import Evaluator
from lad.models.heads.paa import MIN_CHANNELS, NORM_GROUPS


class Group(BaseModel):
    """What all groups share: no unknown names, no changes after validation, finite numbers, and true is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse true and false where a field is not a switch; numbers may come as text."""
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[str(field.field_name)].annotation):
            raise ValueError(f"parameter '{field.field_name}' = {value}: cannot be true or false")
        return value


class NetworkParameters(Group):
    """The network that the run trains.

    Attributes:
        student: Backbone, one of `lad.models.BACKBONES`; in a baseline's or a teacher's own run it is simply the model.
        head: One of `lad.models.HEADS`.
        iou_branch: Whether the head predicts the IoU of its boxes.
        width: Factor on the backbone's channels.
        channels: Of the feature pyramid and the head.
        weights: Of the backbone: "none", "imagenet", or a file.
        frozen_stages: −1 none, 0 the stem, 1 … 4 also that many stages.
        norm_eval: Whether BatchNorm keeps its stored statistics in training.
    """

    student: str = "r50"
    head: str = "paa"
    iou_branch: StrictBool = True
    width: float = Field(gt=0, le=4)
    channels: int = Field(ge=MIN_CHANNELS, le=4096, multiple_of=NORM_GROUPS)
    weights: str
    frozen_stages: int = Field(ge=-1, le=4)
    norm_eval: StrictBool


class TeacherParameters(Group):
    """The teacher of a method that has one; None takes the student's value.

    Attributes:
        teacher: Backbone of the teacher: a baseline run of its own or, in co-learning, the network trained beside.
        teacher_width: Factor on its backbone's channels.
        teacher_head: Its head.
        teacher_iou_branch: Whether its head predicts the IoU of its boxes.
        teacher_epochs: Of its own run. In co-learning: of a run whose weights it starts from; None starts from scratch.
        cache_teacher: Whether to cache its assignment of each (image, flip); for LAD and a single image size.
    """

    teacher: str | None = None
    teacher_width: float | None = Field(default=None, gt=0, le=4)
    teacher_head: str | None = None
    teacher_iou_branch: StrictBool | None = None
    teacher_epochs: int | None = Field(default=None, ge=1, le=10_000)
    cache_teacher: StrictBool = False


class MethodParameters(Group):
    """What the student learns from.

    Attributes:
        method: One of `lad.distillation.METHODS`.
        method_options: Its hyper-parameters by name, for instance {"cls_weight": 5}.
        assigner: One of `lad.assigners.ASSIGNERS`.
        assigner_options: Its hyper-parameters by name, for instance {"topk": 13}.
        cost_selection: In co-learning, whose costs make the assignment; one of `COST_SELECTIONS`.
    """

    method: str = "lad"
    method_options: dict[str, Any] = Field(default_factory=dict)
    assigner: str = "paa"
    assigner_options: dict[str, Any] = Field(default_factory=dict)
    cost_selection: str = "std_mean"


class DataParameters(Group):
    """The data set and its transforms.

    Attributes:
        data: "toy" or "mini", the embedded sets, or a folder in COCO format.
        short_sides: Short sides of training images in pixels, one of them drawn for each.
        test_short_side: Short side of validation images in pixels.
        long_side: Longest side of any image in pixels.
        flip: Probability of a horizontal flip.
        train_images: Train on the first so many images only.
        bad_images: What to do about an image file that cannot be read: "stop" or "skip".
    """

    data: str = Field(min_length=1)
    short_sides: list[int] = Field(min_length=1)
    test_short_side: int = Field(ge=32, le=10_000)
    long_side: int = Field(ge=32, le=10_000)
    flip: float = Field(default=0.5, ge=0, le=1)
    train_images: int | None = Field(default=None, ge=1)
    bad_images: Literal["stop", "skip"] = "stop"


class OptimizationParameters(Group):
    """How the weights are trained.

    Attributes:
        seed: Of initialization, order and flips.
        epochs: Passes over the training images.
        batch_size: Images per step over all devices.
        optimizer: "sgd" (momentum .9) or "adamw".
        lr: Highest learning rate.
        weight_decay: Of the optimizer.
        schedule: "step" (÷ 10 after 2/3 and 11/12 of the epochs) or "cosine".
        warmup: Steps of linear warm-up from lr × .001, at most half the run.
        clip_grad: Largest gradient norm; 0 does not clip.
        precision: Of forward and backward.
        compile: Whether the networks that train are compiled by torch.compile, a teacher's own run included.
    """

    seed: int = Field(default=0, ge=0, lt=2**31)
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=4096)
    optimizer: Literal["sgd", "adamw"]
    lr: float = Field(gt=0, le=10)
    weight_decay: float = Field(ge=0, le=1)
    schedule: Literal["step", "cosine"]
    warmup: int = Field(ge=0, le=10**9)
    clip_grad: float = Field(ge=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: StrictBool = False


class RuntimeParameters(Group):
    """Where a run happens, what it keeps, and when it is evaluated.

    Attributes:
        eval_every: Epochs between evaluations; the last epoch always has one.
        evaluator: "pycocotools", or "faster_coco_eval" for the same numbers sooner.
        checkpoint_every: Steps between checkpoints within an epoch; one is also written at its end.
        save_epochs: Whether to keep the weights of every epoch, for the explorer.
        out: Folder of the runs.
        rerun: When a finished run is trained again: "stale", if another version of the code made it; "never"; "always".
        devices: Number of devices.
        accelerator: "auto", "cpu" or "cuda"; the mixture needs float64, which Apple's mps lacks.
        workers: Processes that load images, per device.
    """

    eval_every: int = Field(ge=1, le=10_000)
    evaluator: Evaluator = "pycocotools"
    checkpoint_every: int = Field(default=500, ge=1, le=10**9)
    save_epochs: StrictBool = False
    out: str = "runs"
    rerun: Literal["stale", "never", "always"] = "stale"
    devices: int = Field(default=1, ge=1, le=1024)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(ge=0, le=256)

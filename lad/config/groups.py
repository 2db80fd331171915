"""The parameters of an experiment in groups: network, teacher, method, data, optimization and runtime.

`lad.config.experiment.Parameters` combines all groups. A function that needs only one group names it as the type of its
argument: it accepts the parameters of a whole experiment, too.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationInfo, field_validator

from lad.evaluation.coco_eval import Evaluator
from lad.inference.postprocess import MAX_DETECTIONS, MAX_DETECTIONS_LIMIT
from lad.models.heads.paa import MIN_CHANNELS, NORM_GROUPS
from lad.models.parts import Part
from lad.utils.loggers import LoggerName


class Group(BaseModel):
    """Base of all groups: no unknown names, no changes after validation, finite numbers, and true is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, field: ValidationInfo) -> Any:
        """Reject true and false for fields that are not switches; pydantic would read them as 1 and 0."""
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[str(field.field_name)].annotation):
            raise ValueError(f"parameter '{field.field_name}' = {value}: cannot be true or false")
        return value


class NetworkParameters(Group):
    """The network that the run trains.

    Attributes:
        student: Backbone, one of `lad.models.BACKBONES`; in a baseline's or a teacher's own run it is simply the model.
        head: One of `lad.models.HEADS`.
        iou_branch: Whether the head predicts the IoU of its boxes.
        width: Factor on the backbone's numbers of channels.
        channels: Number of channels of the feature pyramid and the head.
        weights: Initial weights of the backbone: "none", "imagenet", or a file.
        frozen_stages: Parts of the backbone that are not trained: −1 none, 0 the stem, 1 … 4 also that many stages.
        norm_eval: Whether BatchNorm keeps its stored statistics in training.
        init: Detector to start from, a file or a published name; it also gives the values of this group that are not
            given. A classifier of other classes keeps its random initialization.
        init_part: Network of an OpenMMLab checkpoint: "student", "teacher" or "ema".
        init_partial: Whether other weights may also not fit.
        init_sha256: Hash of the detector of `init`, filled in from it.
    """

    student: str = "r50"
    head: str = "paa"
    iou_branch: StrictBool = True
    width: float = Field(gt=0, le=4)
    channels: int = Field(ge=MIN_CHANNELS, le=4096, multiple_of=NORM_GROUPS)
    weights: str
    frozen_stages: int = Field(ge=-1, le=4)
    norm_eval: StrictBool
    init: str | None = None
    init_part: Part = "student"
    init_partial: StrictBool = False
    init_sha256: str | None = None


class TeacherParameters(Group):
    """The teacher of a method that has one; None takes the student's value.

    Attributes:
        teacher: Backbone of the teacher: of a baseline run of its own or, in co-learning, of the second network.
        teacher_width: Factor on the teacher's numbers of backbone channels.
        teacher_head: Head of the teacher.
        teacher_iou_branch: Whether the teacher's head predicts the IoU of its boxes.
        teacher_channels: Number of channels of the teacher's pyramid and head.
        teacher_epochs: Epochs of the teacher's own run. In co-learning, epochs of a run from whose weights the teacher
            starts; None starts from scratch.
        teacher_checkpoint: Trained teacher, a file or a published name, instead of a run of its own; it determines the
            parameters above. In co-learning, the second network starts from it.
        teacher_part: Network of an OpenMMLab checkpoint: "student" (the default), "teacher" or "ema".
        teacher_sha256: Hash of the detector of `teacher_checkpoint`, filled in from it.
        other_teachers: Further teachers, whose costs are averaged with the teacher's: backbones, each of a run like the
            teacher's, or trained detectors. A list given as `teacher_checkpoint` is a teacher and the others.
        other_teachers_sha256: Hashes of the detectors among them, filled in; empty text for a backbone.
        teacher_cost: "full", or "box": the assignment depends on the teacher's boxes alone, and its classes may differ
            from those of the data.
        cache_teacher: Whether to cache the teacher's assignment of each (image, flip), in LAD; "auto" does if all
            training images are padded to one size and not augmented, so that the numbers stay the same.
    """

    teacher: str | None = None
    teacher_width: float | None = Field(default=None, gt=0, le=4)
    teacher_head: str | None = None
    teacher_iou_branch: StrictBool | None = None
    teacher_channels: int | None = Field(default=None, ge=MIN_CHANNELS, le=4096, multiple_of=NORM_GROUPS)
    teacher_epochs: int | None = Field(default=None, ge=1, le=10_000)
    teacher_checkpoint: str | None = None
    teacher_part: Part | None = None
    teacher_sha256: str | None = None
    other_teachers: list[str] = Field(default_factory=list, max_length=8)
    other_teachers_sha256: list[str] = Field(default_factory=list)
    teacher_cost: Literal["full", "box"] = "full"
    cache_teacher: StrictBool | Literal["auto"] = "auto"


class MethodParameters(Group):
    """The method and the assigner, with their options.

    Attributes:
        method: One of `lad.distillation.METHODS`.
        method_options: Hyper-parameters of the method and of its distillation terms by name, for instance
            {"cls_weight": 5} or {"pkd_weight": 2}.
        distill: Distillation terms beside the losses of baseline or LAD, some of `lad.distillation.TERMS`.
        teach_until: Share of the epochs in which the teacher makes the assignment, in LAD; in those that begin later,
            the student does, as in the baseline.
        assigner: One of `lad.assigners.ASSIGNERS`.
        assigner_options: Hyper-parameters of the assigner by name, for instance {"topk": 13}.
        cost_selection: Rule that selects whose costs make the assignment in co-learning; one of `COST_SELECTIONS`.
    """

    method: str = "lad"
    method_options: dict[str, Any] = Field(default_factory=dict)
    distill: list[str] = Field(default_factory=list)
    teach_until: float = Field(default=1.0, ge=0, le=1)
    assigner: str = "paa"
    assigner_options: dict[str, Any] = Field(default_factory=dict)
    cost_selection: str = "std_mean"


class DataParameters(Group):
    """The data set and its transforms.

    Attributes:
        data: "toy" or "mini", the embedded sets, a folder in one of `lad.data.layouts.LAYOUTS`, or a JSON file.
        images: Folder of the images of a JSON file given as data; None looks beside it.
        val_share: Share of the images that are for validation, of data with one JSON for both parts; None for data with
            a validation part of its own, and 0.2 by default for others.
        short_sides: Short sides of training images in pixels; one is drawn at random for each image.
        test_short_side: Short side of validation images in pixels.
        long_side: Longest side of any image in pixels.
        flip: Probability of a horizontal flip.
        augment: Augmentations of training images, some of `lad.data.augmentation.AUGMENTATIONS`: a list of names, or a
            mapping from names to options, for instance {"zoom_out": {"p": 0.3}}.
        train_images: Number of images to train on, the first ones; None uses all.
        bad_images: "stop" or "skip", for an image file that cannot be read.
    """

    data: str = Field(min_length=1)
    images: str | None = Field(default=None, min_length=1)
    val_share: float | None = Field(default=None, gt=0, lt=1)
    short_sides: list[int] = Field(min_length=1)
    test_short_side: int = Field(ge=32, le=10_000)
    long_side: int = Field(ge=32, le=10_000)
    flip: float = Field(default=0.5, ge=0, le=1)
    augment: dict[str, dict[str, float]] = Field(default_factory=dict)
    train_images: int | None = Field(default=None, ge=1)
    bad_images: Literal["stop", "skip"] = "stop"


class OptimizationParameters(Group):
    """Optimizer, schedule, precision and length of the training.

    Attributes:
        seed: Seed of initialization, image order and flips.
        epochs: Passes over the training images; with 0, a run only evaluates the detector of `init`.
        batch_size: Images per step over all devices.
        accumulate: Parts into which each device divides its images of a step, to save memory; their gradients add up.
        ema: Decay of a moving average of the weights, which is then evaluated and saved, beside the weights themselves.
        optimizer: "sgd" (momentum .9) or "adamw".
        lr: Highest learning rate.
        weight_decay: Weight decay of the optimizer.
        schedule: "step" (÷ 10 after 2/3 and 11/12 of the epochs) or "cosine".
        warmup: Steps of linear warm-up from lr × .001, at most half the run.
        clip_grad: Largest gradient norm; 0 does not clip.
        precision: Precision of forward and backward.
        compile: Whether torch.compile compiles the networks in training, also in the teacher's own run.
    """

    seed: int = Field(default=0, ge=0, lt=2**31)
    epochs: int = Field(ge=0, le=10_000)
    batch_size: int = Field(ge=1, le=4096)
    accumulate: int = Field(default=1, ge=1, le=4096)
    ema: float | None = Field(default=None, gt=0, lt=1)
    optimizer: Literal["sgd", "adamw"]
    lr: float = Field(gt=0, le=10)
    weight_decay: float = Field(ge=0, le=1)
    schedule: Literal["step", "cosine"]
    warmup: int = Field(ge=0, le=10**9)
    clip_grad: float = Field(ge=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: StrictBool = False


class RuntimeParameters(Group):
    """Devices, folders, checkpoints and evaluations of a run.

    Attributes:
        eval_every: Epochs between evaluations; the last epoch always has one.
        max_detections: Maximal number of detections of an image in evaluations; COCO's is 100.
        evaluator: "pycocotools", or "faster_coco_eval", which computes the same numbers faster.
        checkpoint_every: Steps between checkpoints within an epoch; one is also written at its end.
        save_epochs: Whether to save the weights of every epoch, for the explorer.
        logger: Tracker that gets the numbers of every epoch: "tensorboard", "csv", "wandb" or "mlflow"; "none" leaves
            them in metrics.jsonl alone.
        out: Folder of the runs.
        rerun: When to train a finished run again: "stale" (if other code made it), "never" or "always".
        devices: Number of devices.
        accelerator: "auto", "cpu" or "cuda"; not Apple's mps, which lacks the float64 that the mixture needs.
        workers: Processes that load images, per device.
        threads: CPU threads of the run; 0 leaves PyTorch's number, which is one per core.
    """

    eval_every: int = Field(ge=1, le=10_000)
    max_detections: int = Field(default=MAX_DETECTIONS, ge=1, le=MAX_DETECTIONS_LIMIT)
    evaluator: Evaluator = "pycocotools"
    checkpoint_every: int = Field(default=500, ge=1, le=10**9)
    save_epochs: StrictBool = False
    logger: LoggerName = "none"
    out: str = "runs"
    rerun: Literal["stale", "never", "always"] = "stale"
    devices: int = Field(default=1, ge=1, le=1024)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(ge=0, le=256)
    threads: int = Field(default=0, ge=0, le=1024)


class ExperimentParameters(
    RuntimeParameters, OptimizationParameters, DataParameters, MethodParameters, TeacherParameters, NetworkParameters
):
    """All groups together.

    Attributes:
        profile: Source of the defaults, one of `PROFILES`.
    """

    profile: str = "toy"

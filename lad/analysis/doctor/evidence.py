"""The evidence about a run that the checks read, and the finding that a check returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from lad.config.experiment import Parameters

SEVERITIES = ("error", "warning", "note")
Severity = Literal["error", "warning", "note"]

CHANCE_AP = 0.02  # two seeds of a small run differ by a point or two


@dataclass(frozen=True)
class Finding:
    """One thing that is likely wrong with a run.

    Attributes:
        severity: "error" if it alone can explain a useless result, "warning" if it costs AP, "note" for what one needs
            to know to read the numbers.
        seen: What was seen, with the number.
        why: Why it matters.
        remedy: What to do.
    """

    severity: Severity
    seen: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.seen}; {self.why}; {self.remedy}"


@dataclass(frozen=True)
class Teacher:
    """The teacher of a run: the frozen one, or the second network of co-learning.

    Attributes:
        title: Its name for messages.
        ap: Its AP on the validation set; None if unknown.
        ignores_classes: Whether this AP ignores classes, since the teacher has others than the data.
        epochs: Epochs that it was trained; None if unknown or from a checkpoint.
        class_names: Names of its classes; empty if unknown.
    """

    title: str
    ap: float | None
    ignores_classes: bool = False
    epochs: int | None = None
    class_names: Sequence[str] = ()


@dataclass(frozen=True)
class ObjectSizes:
    """Sizes of T training objects after the resize.

    Attributes:
        side: [T] square root of the area, in pixels.
        best_iou: [T] highest IoU with any anchor.
        candidates: [T] int64, number of PAA's candidates.
        short_side: Short side of the resized images in pixels; the median of `short_sides`.
    """

    side: Tensor
    best_iou: Tensor
    candidates: Tensor
    short_side: int


@dataclass(frozen=True)
class ClassRow:
    """One class of the data: its numbers of training and validation objects, and its AP where that was measured."""

    train: int
    val: int
    evaluated: int = 0
    ap: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that the checks read; None and empty values stand for what a run does not have.

    Attributes:
        parameters: Parameters of the run.
        epochs: One mapping per finished epoch, as in metrics.jsonl; None for values that are not finite.
        is_finished: Whether the run has results.
        ap: AP on the validation set, of the last evaluation.
        ignores_classes: Whether this AP ignores classes.
        has_failed_step: Whether a loss or a gradient was not finite.
        num_images: Number of training images.
        teacher: The teacher.
        plain: Name and AP of a run of the same network on the same data without a teacher.
        sizes: Sizes of the training objects.
        classes: The classes of the data by name.
        class_names: Names of the classes of the data, or of the network if the data cannot be read.
        train_ap: AP on a sample of the training images.
        val_ap: AP on a sample of the validation images, as many.
    """

    parameters: Parameters
    epochs: Sequence[Mapping[str, float | None]] = ()
    is_finished: bool = True
    ap: float | None = None
    ignores_classes: bool = False
    has_failed_step: bool = False
    num_images: int | None = None
    teacher: Teacher | None = None
    plain: tuple[str, float] | None = None
    sizes: ObjectSizes | None = None
    classes: Mapping[str, ClassRow] = field(default_factory=dict)
    class_names: Sequence[str] = ()
    train_ap: float | None = None
    val_ap: float | None = None

    @property
    def steps_per_epoch(self) -> int | None:
        """Return the number of optimizer steps in an epoch."""
        if self.num_images is None:
            return None
        devices, batch_size = self.parameters.devices, self.parameters.batch_size
        return max(1, -(-self.num_images // devices) // (batch_size // devices))

    def last(self, name: str) -> float | None:
        """Return a metric of the last finished epoch; None if it is missing."""
        return self.epochs[-1].get(name) if self.epochs else None

    def history(self, name: str) -> list[tuple[int, float]]:
        """Return the (epoch, value) of a metric in the epochs that have it."""
        values = ((number, line.get(name)) for number, line in enumerate(self.epochs, start=1))
        return [(number, value) for number, value in values if value is not None]

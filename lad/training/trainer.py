"""One training run, from the data loader to the weights: epochs, evaluations, checkpoints."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import METHODS
from lad.models.student_teacher import TrainedNetwork
from lad.structures import Batch
from lad.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lad.training.ema import start_average, update_average
from lad.training.evaluation import evaluate_networks
from lad.training.failed_step import FailedStep, save_failed_step
from lad.training.interrupt import Interrupt, defer_signals, stop_on_interrupt
from lad.training.loaders import evaluation_batches, load_batches, training_sampler
from lad.training.metrics_file import append_metrics, drop_metrics_after, read_metrics
from lad.training.optimizer import build_optimizer, learning_rate
from lad.training.saved_weights import save_best, save_epoch
from lad.training.step import accumulate_gradients, mean_terms, merge_outputs, optimizer_step
from lad.utils.memory import keep_freed_memory
from lad.utils.progress import format_duration, log, progress_bar

STATISTICS_EVERY = 10  # steps
ESTIMATE_AFTER = 5  # steps; the first ones are slower
STATISTIC = "statistic "  # prefix of the sums of statistics; the sum under the prefix itself counts them
COUNTS = ("overflows",)  # sums over an epoch, not means


@dataclass
class Trainer:
    """Networks, optimizer and settings that all epochs and steps of a run share.

    Attributes:
        parameters: Parameters of the run.
        network: The network in training, or the pair of co-learning; its weights are evaluated and saved.
        model: The network wrapped by Fabric, which the training steps call.
        optimizer: Optimizer of its weights.
        fabric: Devices and precision.
        folder: Folder of the run.
        steps_per_epoch: Number of steps on each device.
        teacher: The frozen teacher, if the method has one.
        cache: Cache of the teacher's assignments.
        average: The moving average of the network's weights, with `ema`; it is evaluated and saved in their place.
        code: Digest of the code that decides numbers, stored in checkpoints.
        other_teachers: Further frozen teachers, whose costs are averaged with the teacher's.
        has_estimate: Whether the time that the run takes has been logged.
    """

    parameters: Parameters
    network: TrainedNetwork
    model: nn.Module
    optimizer: Optimizer
    fabric: Fabric
    folder: Path
    steps_per_epoch: int
    teacher: nn.Module | None = None
    cache: AssignmentCache | None = None
    average: TrainedNetwork | None = None
    code: str = ""
    other_teachers: Sequence[nn.Module] = ()
    has_estimate: bool = False

    @property
    def evaluated(self) -> TrainedNetwork:
        """Return the network that is evaluated and saved: the average, if there is one, else the network itself."""
        return self.average or self.network

    def save_checkpoint(self, progress: Progress) -> None:
        """Write a checkpoint, from the first of several processes."""
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.folder, self.model, self.optimizer, self.fabric, progress, self.code, average=self.average
            )

    def learning_rate(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.parameters, epoch, step, self.steps_per_epoch)


def train(
    parameters: Parameters,
    network: TrainedNetwork,
    teacher: nn.Module | None,
    train_set: CocoDataset,
    val_set: CocoDataset,
    fabric: Fabric,
    folder: Path,
    cache: AssignmentCache | None = None,
    code: str = "",
    other_teachers: Sequence[nn.Module] = (),
) -> tuple[TrainedNetwork, dict[str, float]]:
    """Train a network in place, from the last checkpoint in `folder` if there is one.

    Appends a line to metrics.jsonl after every epoch and, with `save_epochs`, saves its weights; the weights of the
    epoch with the highest AP so far are kept in `BEST_FILES`. A checkpoint is written after every epoch, before its
    evaluation, every `checkpoint_every` steps, and on an interrupt. The same parameters give the same weights on the
    same machine, interrupted or not: the random numbers of a step depend only on the seed and the step. After each
    epoch's checkpoint, the method `on_epoch_end` of Fabric's callbacks gets the `Trainer`.

    Args:
        parameters: Parameters of the run.
        network: The network in training, or the pair of co-learning.
        teacher: The frozen teacher on the device, if the method has one.
        train_set: Training images, with the training transforms.
        val_set: Validation images, with the evaluation transforms.
        fabric: Devices and precision.
        folder: Folder of the run.
        cache: Cache of the teacher's assignments.
        code: Digest of the code that decides numbers; a checkpoint with another digest is not loaded.
        other_teachers: Further frozen teachers on the device, whose costs are averaged with the teacher's.

    Returns:
        The network that was evaluated, which is the average of the weights with `ema`, and its COCO metrics; those of a
        pair's teacher start with `teacher_`.

    Raises:
        ValueError: A loss or gradient is not finite.
        OSError: The disk is full.
    """
    keep_freed_memory()
    network.to(memory_format=torch.channels_last)
    average = None if parameters.ema is None else start_average(network).to(fabric.device)
    if parameters.compile:
        torch.compiler.reset()  # graphs of earlier networks in this process count against a limit
        network.compile()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(network, build_optimizer(parameters, trainable))
    sampler = training_sampler(train_set, parameters, fabric)
    train_batches = load_batches(train_set, sampler, parameters, fabric)
    val_batches = load_batches(val_set, evaluation_batches(val_set, parameters, fabric), parameters, fabric)
    trainer = Trainer(
        parameters, network, model, optimizer, fabric, folder, sampler.batches_per_epoch, teacher, cache, average, code,
        other_teachers,
    )  # fmt: skip
    progress = load_checkpoint(folder, network, optimizer, fabric, code, average)
    if fabric.is_global_zero:
        drop_metrics_after(folder, progress.epoch)
        if parameters.save_epochs and parameters.epochs and progress == Progress():
            save_epoch(folder, trainer.evaluated, 0)

    metrics: dict[str, float] = {}
    while progress.epoch < parameters.epochs:
        with defer_signals() as interrupt:
            started = time.perf_counter()
            epoch, sampler.epoch, sampler.first_batch = progress.epoch, progress.epoch, progress.step
            if cache is not None:
                cache.refresh()
            title = f"{parameters.student} {parameters.method_name} · epoch {epoch + 1}/{parameters.epochs}"
            line: dict[str, Any] = {"epoch": epoch + 1, "lr": trainer.learning_rate(epoch, 0)}
            progress = train_epoch(trainer, progress_bar(train_batches, title), progress, interrupt)
            is_evaluated = epoch + 1 == parameters.epochs or (epoch + 1) % parameters.eval_every == 0
            if is_evaluated or interrupt.number is not None:
                trainer.save_checkpoint(progress)
            if interrupt.number is not None:
                break  # the signal takes effect when the block ends
            line |= _epoch_means(progress.sums, trainer.steps_per_epoch)
            line["train_seconds"] = time.perf_counter() - started
            if is_evaluated:
                batches = partial(_batches_until_interrupt, val_batches, f"{title} · evaluation", interrupt)
                metrics = evaluate_networks(trainer.evaluated, batches, val_set, fabric, parameters)
                line |= metrics
            line["seconds"] = time.perf_counter() - started
            progress = Progress(epoch + 1)
            if fabric.is_global_zero:
                save_best(folder, trainer.evaluated, metrics if is_evaluated else {})
                append_metrics(folder, line)
                if parameters.save_epochs:
                    save_epoch(folder, trainer.evaluated, epoch + 1)
                ap = f" · AP {line['AP']:.3f}" if "AP" in line else ""
                left = f" · {format_duration(rest)} left" if (rest := _seconds_left(parameters, folder)) else ""
                log(f"{title} · loss {line['loss']:.3f}{ap} · {line['seconds']:.0f} s{left}")
            trainer.save_checkpoint(progress)
            fabric.call("on_epoch_end", trainer)
            fabric.barrier()
    metrics = metrics or evaluate_networks(trainer.evaluated, lambda: val_batches, val_set, fabric, parameters)
    return trainer.evaluated, metrics


def train_epoch(trainer: Trainer, batches: Iterable[Batch], progress: Progress, interrupt: Interrupt) -> Progress:
    """Train the rest of an epoch.

    Args:
        trainer: The run's trainer.
        batches: The remaining batches of the epoch, on the host.
        progress: The progress at which the epoch starts or resumes.
        interrupt: Ends the epoch after the current step.

    Returns:
        The progress at the end of the epoch or at the interrupt. It holds sums over the steps: the losses, the gradient
        norm, the numbers of positives and gts and, from every tenth step, the assignment's statistics.
    """
    sums, epoch = dict(progress.sums), progress.epoch
    parameters, fabric = trainer.parameters.in_epoch(epoch), trainer.fabric
    cache = trainer.cache if parameters.method == trainer.parameters.method else None  # the student assigns for itself
    trainer.model.train()
    first_step, started = progress.step, time.perf_counter()
    for step, batch in enumerate(batches, start=progress.step):
        if step == first_step + ESTIMATE_AFTER and fabric.is_global_zero and not trainer.has_estimate:
            trainer.has_estimate = True
            log(_estimate(trainer, epoch, step, (time.perf_counter() - started) / ESTIMATE_AFTER))
        torch.manual_seed(_step_seed(parameters.seed, epoch, step, fabric.global_rank))
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.learning_rate(epoch, step)
        results = accumulate_gradients(
            parameters, trainer.model, batch, fabric, trainer.teacher, cache, step % STATISTICS_EVERY == 0,
            trainer.other_teachers if METHODS[parameters.method].averages_costs else (),
        )  # fmt: skip
        losses = {"loss": torch.stack([result.total() for result in results]).mean(), **mean_terms(results)}
        try:
            grad_norm, overflowed = optimizer_step(parameters, trainer.optimizer, losses["loss"], fabric)
        except FloatingPointError as error:
            failed = FailedStep(trainer.parameters, epoch, step, batch, mean_terms(results), merge_outputs(results))
            path = save_failed_step(trainer.folder, fabric.global_rank, trainer.model, failed)
            raise ValueError(
                f"{error} in epoch {epoch + 1}, step {step + 1} (images {batch.image_id.tolist()}); lower lr (now "
                f"{parameters.lr}), or see where it starts: lad replay {path}"
            ) from None
        if trainer.average is not None and parameters.ema is not None:
            update_average(trainer.average, trainer.network, parameters.ema, epoch * trainer.steps_per_epoch + step)
        positives = torch.stack([(result.loss.gt_index >= 0).sum() for result in results]).sum()
        counts = {"positives": positives, "gts": torch.tensor(len(batch.targets.boxes))}
        _add(sums, {**losses, "grad_norm": grad_norm, **counts})
        if parameters.precision == "16-mixed":
            _add(sums, {"overflows": torch.tensor(int(overflowed))})
        if results[0].statistics is not None:
            named = {STATISTIC + name: value for name, value in results[0].statistics.items()}
            _add(sums, {STATISTIC: torch.tensor(1), **named})
        progress = Progress(epoch, step + 1, sums)
        if interrupt.agreed(fabric, step):
            break
        if (step + 1) % parameters.checkpoint_every == 0 and step + 1 < trainer.steps_per_epoch:
            trainer.save_checkpoint(progress)
    return progress


def _estimate(trainer: Trainer, epoch: int, step: int, seconds_per_step: float) -> str:
    """Return a line with the time that the rest of the run takes, without its evaluations."""
    parameters = trainer.parameters
    steps = (parameters.epochs - epoch) * trainer.steps_per_epoch - step
    return (
        f"{parameters.student} {parameters.method_name}: {parameters.epochs} epochs of {trainer.steps_per_epoch} "
        f"steps, about {format_duration(steps * seconds_per_step)} left"
    )


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Return the seed of stochastic layers at this step, so that a resumed run draws the same numbers."""
    return ((seed * 100_003 + epoch) * 1_000_003 + step) * 1_009 + rank & (2**63 - 1)


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0) + value.detach()


def _seconds_left(parameters: Parameters, folder: Path) -> float:
    """Return the time that the remaining epochs take if they are as fast as the finished ones, on average."""
    lines = read_metrics(folder)
    return (parameters.epochs - len(lines)) * sum(line["seconds"] for line in lines) / max(len(lines), 1)


def _epoch_means(sums: Mapping[str, Tensor], steps: int) -> dict[str, float]:
    """Return an epoch's line of metrics from its sums: means over the steps, and counts."""
    total = {name: float(value) for name, value in sums.items()}
    num_statistics = total.pop(STATISTIC)
    counts = {name: total.pop(name) for name in COUNTS if name in total}
    per_gt = total.pop("positives") / max(total.pop("gts"), 1)
    statistics = {name: total.pop(name) / num_statistics for name in list(total) if name.startswith(STATISTIC)}
    return {
        **{name: value / steps for name, value in total.items()},
        "positives_per_gt": per_gt,
        **{name.removeprefix(STATISTIC): value for name, value in statistics.items()},
        **counts,
    }


def _batches_until_interrupt(batches: Iterable[Batch], title: str, interrupt: Interrupt) -> Iterable[Batch]:
    return stop_on_interrupt(progress_bar(batches, title), interrupt)

"""One training run: optimizer, schedule, epochs, checkpoints. A straight line from the data loader to the weights."""

import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.data.collate import batches_of_one_size, collate
from lad.data.samplers import AspectRatioBatchSampler
from lad.data.transforms import resized_hw
from lad.distillation.assignment_cache import AssignmentCache
from lad.evaluation.coco_eval import Evaluator, evaluate
from lad.models.detector import Detector
from lad.models.serialization import save_detector
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch
from lad.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lad.training.failed_step import save_failed_step
from lad.training.interrupt import StopRequest, defer_signals, unless_asked
from lad.training.optimizer import build_optimizer, learning_rate
from lad.training.step import optimizer_step, training_step
from lad.utils.atomic_io import write_text
from lad.utils.progress import log, progress_bar

OBSERVE_EVERY = 10  # steps
OBSERVED = "observed "  # begins the names of their sums; alone, it counts them
COUNTS = ("overflows",)  # of steps, not means
METRICS_FILE, EPOCHS_FOLDER = "metrics.jsonl", "epochs"


def train(
    parameters: Parameters,
    network: Detector | StudentTeacherPair,
    teacher: nn.Module | None,
    train_set: CocoDataset,
    val_set: CocoDataset,
    fabric: Fabric,
    folder: Path,
    cache: AssignmentCache | None = None,
) -> dict[str, float]:
    """Train `network` in progress, from `folder`'s last checkpoint if there is one, and return its COCO numbers; those of
    a pair's second detector start with teacher_. cache: of the teacher's assignments.

    Writes a line to metrics.jsonl after every epoch and, with `save_epochs`, keeps its weights. A checkpoint is written
    after every epoch, before it is judged, every `checkpoint_every` steps, and when the process is asked to stop. The
    same parameters give the same weights on the same machine, interrupted or not: what is random in a step follows from
    the seed and the step alone.
    Raises ValueError when a loss or gradient is no longer finite, OSError when the disk is full.
    """
    network.to(memory_format=torch.channels_last)
    if parameters.compile:
        torch.compiler.reset()  # of what other networks of this process left: it counts against a limit
        network.compile()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(network, build_optimizer(parameters, trainable))
    order = training_sampler(train_set, parameters, fabric)
    train_batches = load_batches(train_set, order, parameters, fabric)
    val_batches = load_batches(val_set, evaluation_batches(val_set, parameters, fabric), parameters, fabric)
    steps_per_epoch = order.batches_per_epoch
    progress = load_checkpoint(folder, network, optimizer, fabric)
    if fabric.is_global_zero:
        _keep_metrics(folder, progress.epoch)
        if parameters.save_epochs and progress == Progress():
            save_epoch(folder, network, 0)

    metrics: dict[str, float] = {}
    while progress.epoch < parameters.epochs:
        with defer_signals() as request:
            started = time.perf_counter()
            epoch, order.epoch, order.first = progress.epoch, progress.epoch, progress.step
            if cache is not None:
                cache.refresh()
            title = f"{parameters.student} {parameters.method} · epoch {epoch + 1}/{parameters.epochs}"
            line: dict[str, Any] = {"epoch": epoch + 1, "lr": learning_rate(parameters, epoch, 0, steps_per_epoch)}
            batches = progress_bar(train_batches, title)
            progress = train_epoch(
                parameters,
                model,
                optimizer,
                teacher,
                cache,
                batches,
                fabric,
                progress,
                steps_per_epoch,
                folder,
                request,
            )
            is_evaluated = epoch + 1 == parameters.epochs or (epoch + 1) % parameters.eval_every == 0
            if is_evaluated or request.number is not None:
                _save(folder, model, optimizer, fabric, progress)
            if request.number is not None:
                break  # and the signal does what it does
            line |= _means(progress.sums, steps_per_epoch)
            line["train_seconds"] = time.perf_counter() - started
            if is_evaluated:
                judged = unless_asked(progress_bar(val_batches, f"{title} · evaluation"), request)
                metrics = _judge(network, judged, val_set, fabric, parameters.evaluator)
                line |= metrics
            line["seconds"] = time.perf_counter() - started
            progress = Progress(epoch + 1)
            if fabric.is_global_zero:
                append_metrics(folder, line)
                if parameters.save_epochs:
                    save_epoch(folder, network, epoch + 1)
                told = f" · AP {line['AP']:.3f}" if "AP" in line else ""
                log(f"{title} · loss {line['loss']:.3f}{told} · {line['seconds']:.0f} s")
            _save(folder, model, optimizer, fabric, progress)
            fabric.barrier()
    return metrics or _judge(network, val_batches, val_set, fabric, parameters.evaluator)


def train_epoch(
    parameters: Parameters,
    model: nn.Module,
    optimizer: Optimizer,
    teacher: nn.Module | None,
    cache: AssignmentCache | None,
    batches: Iterable[Batch],
    fabric: Fabric,
    progress: Progress,
    steps_per_epoch: int,
    folder: Path,
    request: StopRequest,
) -> Progress:
    """What is left of an epoch from a progress within it: `batches`. Returns the progress at its end, or where someone asked
    to stop; its sums are of the losses, the gradient norm, the positives, the gts and, from every tenth step, of what
    `observe` sees."""
    model.train()
    sums, epoch = dict(progress.sums), progress.epoch
    for step, batch in enumerate(batches, start=progress.step):
        torch.manual_seed(_seed_of_step(parameters.seed, epoch, step, fabric.global_rank))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(parameters, epoch, step, steps_per_epoch)
        is_observed = step % OBSERVE_EVERY == 0
        learned, outputs, seen = training_step(parameters, model, teacher, cache, batch, fabric, is_observed)
        loss = torch.stack(list(learned.terms.values())).sum()
        try:
            grad_norm, overflowed = optimizer_step(parameters, model, optimizer, loss, fabric)
        except FloatingPointError as error:
            kept = save_failed_step(
                folder, fabric.global_rank, parameters, model, batch, learned.terms, outputs, epoch, step
            )
            raise ValueError(
                f"{error} in epoch {epoch + 1}, step {step + 1} (images {batch.image_id.tolist()}); lower lr (now "
                f"{parameters.lr}), or see where it begins: lad replay {kept}"
            ) from None
        counts = {"positives": (learned.gt_index >= 0).sum(), "gts": torch.tensor(len(batch.targets.boxes))}
        _add(sums, {"loss": loss, **learned.terms, "grad_norm": grad_norm, **counts})
        if parameters.precision == "16-mixed":
            _add(sums, {"overflows": torch.tensor(int(overflowed))})
        if seen is not None:
            _add(sums, {OBSERVED: torch.tensor(1), **{OBSERVED + name: value for name, value in seen.items()}})
        progress = Progress(epoch, step + 1, sums)
        if request.agreed(fabric, step):
            break
        if (step + 1) % parameters.checkpoint_every == 0 and step + 1 < steps_per_epoch:
            _save(folder, model, optimizer, fabric, progress)
    return progress


def _save(folder: Path, model: nn.Module, optimizer: Optimizer, fabric: Fabric, progress: Progress) -> None:
    if fabric.is_global_zero:
        save_checkpoint(folder, model, optimizer, fabric, progress)


def _seed_of_step(seed: int, epoch: int, step: int, rank: int) -> int:
    """Of what is random in the networks: a run that goes on within an epoch finds it again."""
    return ((seed * 100_003 + epoch) * 1_000_003 + step) * 1_009 + rank & (2**63 - 1)


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0) + value.detach()


def _means(sums: Mapping[str, Tensor], steps: int) -> dict[str, float]:
    """What a line of metrics tells of an epoch's sums."""
    total = {name: float(value) for name, value in sums.items()}
    observations = total.pop(OBSERVED)
    counts = {name: total.pop(name) for name in COUNTS if name in total}
    per_gt = total.pop("positives") / max(total.pop("gts"), 1)
    seen = {name: total.pop(name) / observations for name in list(total) if name.startswith(OBSERVED)}
    return {
        **{name: value / steps for name, value in total.items()},
        "positives_per_gt": per_gt,
        **{name.removeprefix(OBSERVED): value for name, value in seen.items()},
        **counts,
    }


def _judge(
    network: Detector | StudentTeacherPair,
    batches: Iterable[Batch],
    val_set: CocoDataset,
    fabric: Fabric,
    evaluator: Evaluator,
) -> dict[str, float]:
    """The COCO numbers of the network, or of both, on every device."""
    if fabric.world_size > 1:
        for buffer in network.buffers():  # each device has BatchNorm statistics of its own since the last step
            dist.broadcast(buffer, src=0)
    if not isinstance(network, StudentTeacherPair):
        return evaluate(network, batches, val_set.annotations, fabric, evaluator)
    student = evaluate(network.student, batches, val_set.annotations, fabric, evaluator)
    teacher = evaluate(network.teacher, batches, val_set.annotations, fabric, evaluator)
    return student | {f"teacher_{name}": value for name, value in teacher.items()}


def save_epoch(folder: Path, network: Detector | StudentTeacherPair, epochs_done: int) -> None:
    """Keep the weights of a run, of both networks in co-learning, as they are after so many epochs."""
    (folder / EPOCHS_FOLDER).mkdir(exist_ok=True)
    if isinstance(network, StudentTeacherPair):
        save_detector(network.teacher, epoch_file(folder, epochs_done, "teacher"))
        network = network.student
    save_detector(network, epoch_file(folder, epochs_done))


def epoch_file(folder: Path, epochs_done: int, network: str = "student") -> Path:
    """Where `save_epoch` keeps a network of the run in this folder."""
    second = "" if network == "student" else f".{network}"
    return folder / EPOCHS_FOLDER / f"{epochs_done:04}{second}.safetensors"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, one per finished epoch."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError):
        raise ValueError(f"{path}: damaged; take the broken lines out, or remove the run's folder") from None


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """Add one epoch's line; a number that is not finite becomes null, which JSON has."""
    line = {name: value if math.isfinite(value) else None for name, value in line.items()}
    _write_metrics(folder, [*read_metrics(folder), line])


def training_sampler(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> AspectRatioBatchSampler:
    """Shuffled batches, shared out over the devices."""
    batch_size = parameters.batch_size // fabric.world_size
    hw = dataset.annotations.records.hw
    return AspectRatioBatchSampler(hw, batch_size, parameters.seed, fabric.global_rank, fabric.world_size)


def evaluation_batches(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> list[list[int]]:
    """The images of this device, each on one device only, in batches without more padding than each image alone has, so
    that AP depends neither on the batch size nor on the number of devices."""
    sizes = [
        resized_hw((height, width), parameters.test_short_side, parameters.long_side)
        for height, width in dataset.annotations.records.hw.tolist()
    ]
    batches = batches_of_one_size(sizes, parameters.batch_size // fabric.world_size)
    return batches[fabric.global_rank :: fabric.world_size]


def load_batches(
    dataset: CocoDataset, batches: AspectRatioBatchSampler | list[list[int]], parameters: Parameters, fabric: Fabric
) -> DataLoader[Batch]:
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=parameters.workers,
        multiprocessing_context=_worker_context() if parameters.workers else None,
        persistent_workers=parameters.workers > 0 and isinstance(batches, AspectRatioBatchSampler),
        pin_memory=fabric.device.type == "cuda",
    )


def _worker_context() -> str | None:
    """How loading processes are started: as Python does by default, but not by a forkserver. They end with their
    parent, and that would be the server, which lives as long as they do: a killed run would leave both behind."""
    return "fork" if multiprocessing.get_start_method() == "forkserver" else None


def _keep_metrics(folder: Path, epochs_done: int) -> None:
    """Drop the line of an epoch whose checkpoint was not written any more: it will be run again."""
    _write_metrics(folder, [line for line in read_metrics(folder) if line["epoch"] <= epochs_done])


def _write_metrics(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    """All at once: half a line would be no JSON."""
    write_text(folder / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in lines))

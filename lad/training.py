"""One training run: optimizer, schedule, epochs, checkpoints. A straight line from the data loader to the weights."""

import json
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from lad.assignment_cache import AssignmentCache
from lad.data import Batch, CocoDataset, TrainingOrder, batches_of_one_size, collate
from lad.data.transforms import resized_hw
from lad.evaluation import Evaluator, evaluate
from lad.models import Detector, Pair, save_detector
from lad.optimization import build_optimizer, learning_rate
from lad.parameters import Parameters
from lad.progress import bar, say
from lad.step import descend, learn

OBSERVE_EVERY = 10  # steps
METRICS_FILE, CHECKPOINT_FILE, EPOCHS_FOLDER = "metrics.jsonl", "last.pt", "epochs"


def train(
    parameters: Parameters,
    network: Detector | Pair,
    teacher: nn.Module | None,
    train_set: CocoDataset,
    val_set: CocoDataset,
    fabric: Fabric,
    folder: Path,
    cache: AssignmentCache | None = None,
) -> dict[str, float]:
    """Train `network` in place, from `folder`'s last checkpoint if there is one, and return its COCO numbers; those of
    a pair's second detector start with teacher_. cache: of the teacher's assignments.

    Writes a line to metrics.jsonl and a checkpoint after every epoch and, with `save_epochs`, keeps its weights. The
    same parameters give the same weights on the same machine, interrupted or not: what is random in an epoch follows
    from the seed and the epoch's number alone.
    Raises ValueError when the loss is no longer finite.
    """
    network.to(memory_format=torch.channels_last)
    if parameters.compile:
        torch.compiler.reset()  # of what other networks of this process left: it counts against a limit
        network.compile()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(network, build_optimizer(parameters, trainable))
    order = training_order(train_set, parameters, fabric)
    train_batches = load_batches(train_set, order, parameters, fabric)
    val_batches = load_batches(val_set, evaluation_order(val_set, parameters, fabric), parameters, fabric)
    steps_per_epoch = len(train_batches)
    first_epoch = load_checkpoint(folder, network, optimizer)
    if fabric.is_global_zero:
        _keep_metrics(folder, first_epoch)
        if parameters.save_epochs and first_epoch == 0:
            save_epoch(folder, network, 0)

    metrics: dict[str, float] = {}
    for epoch in range(first_epoch, parameters.epochs):
        started = time.perf_counter()
        torch.manual_seed((parameters.seed * 100_003 + epoch) * 1_009 + fabric.global_rank)
        order.epoch = epoch
        if cache is not None:
            cache.refresh()
        title = f"{parameters.student} {parameters.method} · epoch {epoch + 1}/{parameters.epochs}"
        line: dict[str, Any] = {"epoch": epoch + 1, "lr": learning_rate(parameters, epoch, 0, steps_per_epoch)}
        batches = bar(train_batches, title)
        line |= train_epoch(parameters, model, optimizer, teacher, cache, batches, fabric, epoch, steps_per_epoch)
        line["train_seconds"] = time.perf_counter() - started
        is_last = epoch + 1 == parameters.epochs
        if is_last or (epoch + 1) % parameters.eval_every == 0:
            metrics = _judge(network, bar(val_batches, f"{title} · evaluation"), val_set, fabric, parameters.evaluator)
            line |= metrics
        line["seconds"] = time.perf_counter() - started
        if fabric.is_global_zero:
            append_metrics(folder, line)
            if parameters.save_epochs:
                save_epoch(folder, network, epoch + 1)
            save_checkpoint(folder, network, optimizer, epoch + 1)
            judged = f" · AP {line['AP']:.3f}" if "AP" in line else ""
            say(f"{title} · loss {line['loss']:.3f}{judged} · {line['seconds']:.0f} s")
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
    epoch: int,
    steps_per_epoch: int,
) -> dict[str, float]:
    """One pass over `batches`; returns the means of the losses, the gradient norm, the positives per gt and, from every
    tenth step, of what `observe` sees."""
    model.train()
    total: dict[str, Tensor] = {}
    observed: list[dict[str, Tensor]] = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(parameters, epoch, step, steps_per_epoch)
        learned, seen = learn(parameters, model, teacher, cache, batch, fabric, observed=step % OBSERVE_EVERY == 0)
        observed += [seen] if seen is not None else []
        loss = torch.stack(list(learned.terms.values())).sum()
        grad_norm = descend(parameters, model, optimizer, loss, fabric)
        # Sums stay on the device: nothing here waits for it.
        positives = (learned.gt_index >= 0).sum()
        values = {"loss": loss, **learned.terms, "grad_norm": grad_norm, "positives": positives}
        for name, value in values.items():
            total[name] = total.get(name, 0) + torch.as_tensor(value).detach()
        total["gts"] = total.get("gts", torch.zeros(())) + len(batch.targets.boxes)
    sums = {name: float(value) for name, value in total.items()}
    if not math.isfinite(sums["loss"]):
        raise ValueError(f"the loss is no longer finite in epoch {epoch + 1}; lower lr (now {parameters.lr})")
    per_gt = sums.pop("positives") / max(sums.pop("gts"), 1)
    means = {name: float(torch.stack([one[name] for one in observed]).mean()) for name in observed[0]}
    return {**{name: value / steps_per_epoch for name, value in sums.items()}, "positives_per_gt": per_gt, **means}


def _judge(
    network: Detector | Pair, batches: Iterable[Batch], val_set: CocoDataset, fabric: Fabric, evaluator: Evaluator
) -> dict[str, float]:
    """The COCO numbers of the network, or of both."""
    if not isinstance(network, Pair):
        return evaluate(network, batches, val_set.annotations, fabric, evaluator)
    student = evaluate(network.student, batches, val_set.annotations, fabric, evaluator)
    teacher = evaluate(network.teacher, batches, val_set.annotations, fabric, evaluator)
    return student | {f"teacher_{name}": value for name, value in teacher.items()}


def save_checkpoint(folder: Path, detector: nn.Module, optimizer: Optimizer, epochs_done: int) -> None:
    """Write weights, optimizer and the number of finished epochs; an interrupted write leaves the old checkpoint."""
    state = {"model": detector.state_dict(), "optimizer": optimizer.state_dict(), "epochs_done": epochs_done}
    unfinished = folder / f"{CHECKPOINT_FILE}.unfinished"
    torch.save(state, unfinished)
    os.replace(unfinished, folder / CHECKPOINT_FILE)


def save_epoch(folder: Path, network: Detector | Pair, epochs_done: int) -> None:
    """Keep the weights of a run, of both networks in co-learning, as they are after so many epochs."""
    (folder / EPOCHS_FOLDER).mkdir(exist_ok=True)
    if isinstance(network, Pair):
        save_detector(network.teacher, epoch_file(folder, epochs_done, "teacher"))
        network = network.student
    save_detector(network, epoch_file(folder, epochs_done))


def epoch_file(folder: Path, epochs_done: int, network: str = "student") -> Path:
    """Where `save_epoch` keeps a network of the run in this folder."""
    second = "" if network == "student" else f".{network}"
    return folder / EPOCHS_FOLDER / f"{epochs_done:04}{second}.safetensors"


def load_checkpoint(folder: Path, detector: nn.Module, optimizer: Optimizer) -> int:
    """Load the last checkpoint in place and return how many epochs it has behind it; 0 if there is none. Raises
    ValueError naming a file that cannot be read."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file fails in every way there is
        raise ValueError(f"{path}: damaged; remove it, and this run begins anew") from None
    detector.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epochs_done"])


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, one per finished epoch."""
    path = folder / METRICS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """Add one epoch's line; a number that is not finite becomes null, which JSON has."""
    line = {name: value if math.isfinite(value) else None for name, value in line.items()}
    with (folder / METRICS_FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def training_order(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> TrainingOrder:
    """Shuffled batches, shared out over the devices."""
    batch_size = parameters.batch_size // fabric.world_size
    hw = dataset.annotations.records.hw
    return TrainingOrder(hw, batch_size, parameters.seed, fabric.global_rank, fabric.world_size)


def evaluation_order(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> list[list[int]]:
    """All images on each device, in batches without more padding than each image alone has, so that AP does not depend
    on the batch size."""
    sizes = [
        resized_hw((height, width), parameters.test_short_side, parameters.long_side)
        for height, width in dataset.annotations.records.hw.tolist()
    ]
    return batches_of_one_size(sizes, parameters.batch_size // fabric.world_size)


def load_batches(
    dataset: CocoDataset, batches: TrainingOrder | list[list[int]], parameters: Parameters, fabric: Fabric
) -> DataLoader[Batch]:
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=parameters.workers,
        persistent_workers=parameters.workers > 0 and isinstance(batches, TrainingOrder),
        pin_memory=fabric.device.type == "cuda",
    )


def _keep_metrics(folder: Path, epochs_done: int) -> None:
    """Drop the line of an epoch whose checkpoint was not written any more: it will be run again."""
    lines = [json.dumps(line) + "\n" for line in read_metrics(folder) if line["epoch"] <= epochs_done]
    unfinished = folder / f"{METRICS_FILE}.unfinished"
    unfinished.write_text("".join(lines))
    os.replace(unfinished, folder / METRICS_FILE)

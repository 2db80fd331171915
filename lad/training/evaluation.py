"""The evaluation of the networks in training, on all devices."""

from collections.abc import Callable, Iterable
from functools import partial

import torch.distributed as dist
from lightning_fabric import Fabric

from lad.config.groups import RuntimeParameters
from lad.data.coco import CocoDataset
from lad.evaluation.evaluate import evaluate
from lad.models.student_teacher import TrainedNetwork, detectors_of
from lad.models.transfer import has_classes
from lad.structures import Batch


def evaluate_networks(
    network: TrainedNetwork,
    batches: Callable[[], Iterable[Batch]],
    val_set: CocoDataset,
    fabric: Fabric,
    parameters: RuntimeParameters,
) -> dict[str, float]:
    """Compute the COCO metrics of the network, or of both networks of a pair; every device gets them.

    Classes are ignored if the network has others than the data. `batches` is called for each network: an iterator would
    be empty for the second one.
    """
    if fabric.world_size > 1:
        for buffer in network.buffers():  # BatchNorm statistics differ between devices since the last step
            dist.broadcast(buffer, src=0)
    compute = partial(
        evaluate,
        annotations=val_set.annotations,
        fabric=fabric,
        evaluator=parameters.evaluator,
        max_detections=parameters.max_detections,
    )
    metrics: dict[str, float] = {}
    for name, detector in detectors_of(network).items():
        is_foreign = not has_classes(detector.configuration, val_set.annotations.class_names)
        prefix = "" if name == "student" else f"{name}_"
        metrics |= {
            f"{prefix}{metric}": value
            for metric, value in compute(detector, batches(), class_agnostic=is_foreign).items()
        }
    return metrics

"""Loaders of a run: its batches of training and validation images, for each device."""

import multiprocessing

from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.data.collate import batches_of_one_size, collate
from lad.data.samplers import AspectRatioBatchSampler
from lad.data.transforms import resized_hw
from lad.structures import Batch


def training_sampler(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> AspectRatioBatchSampler:
    """Return the sampler of shuffled training batches for this device."""
    batch_size = parameters.batch_size // fabric.world_size
    hw = dataset.annotations.records.hw
    return AspectRatioBatchSampler(hw, batch_size, parameters.seed, fabric.global_rank, fabric.world_size)


def evaluation_batches(dataset: CocoDataset, parameters: Parameters, fabric: Fabric) -> list[list[int]]:
    """Return the validation batches of this device, each image on one device only.

    An image is padded no more than in a batch of its own, so AP depends neither on the batch size nor on the number
    of devices.
    """
    sizes = [
        resized_hw((height, width), parameters.test_short_side, parameters.long_side)
        for height, width in dataset.annotations.records.hw.tolist()
    ]
    batches = batches_of_one_size(sizes, parameters.batch_size // (fabric.world_size * parameters.accumulate))
    return batches[fabric.global_rank :: fabric.world_size]


def load_batches(
    dataset: CocoDataset, batches: AspectRatioBatchSampler | list[list[int]], parameters: Parameters, fabric: Fabric
) -> DataLoader[Batch]:
    """Return a loader of these batches with the run's number of worker processes."""
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
    """Return the start method of worker processes: Python's default, but never "forkserver".

    Workers exit with their parent process. A fork server would be their parent, and would survive a killed run together
    with them.
    """
    return "fork" if multiprocessing.get_start_method() == "forkserver" else None

"""The order of training images: shuffled every epoch, landscape and portrait images in separate batches."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler


@dataclass(frozen=True)
class SampleKey:
    """One image of an epoch.

    Attributes:
        index: Index of the image in the data set.
        seed: Seed of its random transforms.
    """

    index: int
    seed: int


class AspectRatioBatchSampler(Sampler[list[SampleKey]]):
    """Yield the batches of an epoch for one of `world_size` devices, as lists of `SampleKey`.

    The order and the seeds of the random transforms depend on `seed` and `epoch` alone, not on the number of workers or
    on interruptions. A batch holds only landscape or only portrait images, which saves padding; the last batches of an
    epoch mix what remains of both. All batches are full, since BatchNorm needs more than one image: surplus images are
    dropped from the epoch, different ones each time. A data set smaller than a batch makes one batch. Every device gets
    the same number of images; some images are repeated to fill up.

    Source: the grouping of OpenMMLab's AspectRatioBatchSampler.

    Args:
        image_hw: [I, 2] (height, width) of the images.
        batch_size: Images in a batch of one device.
        seed: Seed of the run.
        rank: Index of this device.
        world_size: Number of devices.

    Attributes:
        epoch: Epoch to iterate over.
        first_batch: Index of the batch to start from; a resumed epoch skips the batches before it.
    """

    def __init__(self, image_hw: Tensor, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.is_wide = image_hw[:, 1] >= image_hw[:, 0]
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.first_batch = 0

    def __len__(self) -> int:
        return self.batches_per_epoch - self.first_batch

    @property
    def batches_per_epoch(self) -> int:
        """Return the number of batches of a whole epoch on this device."""
        per_device = -(-len(self.is_wide) // self.world_size)
        return max(1, per_device // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return itertools.islice(self._batches(), self.first_batch, None)

    def _batches(self) -> Iterator[list[SampleKey]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        num_images = len(self.is_wide)
        order = torch.randperm(num_images, generator=generator)
        seeds = torch.randint(2**62, (num_images,), generator=generator).tolist()
        places = torch.arange(-(-num_images // self.world_size) * self.world_size) % num_images  # equal shares
        of_device = order[places[self.rank :: self.world_size]][: self.batches_per_epoch * self.batch_size].tolist()

        is_wide = self.is_wide.tolist()
        groups: dict[bool, list[SampleKey]] = {True: [], False: []}
        for index in of_device:
            group = groups[is_wide[index]]
            group.append(SampleKey(index, seeds[index]))
            if len(group) == self.batch_size:
                yield list(group)
                group.clear()
        rest = groups[True] + groups[False]
        for start in range(0, len(rest), self.batch_size):
            yield rest[start : start + self.batch_size]

"""In which order a training run sees its images: shuffled anew each epoch, landscape and portrait in batches apart."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler


@dataclass(frozen=True)
class SampleKey:
    """One image of an epoch. index: its place in the data set. seed: of its random transforms."""

    index: int
    seed: int


class AspectRatioBatchSampler(Sampler[list[SampleKey]]):
    """The batches of an epoch for one of `world_size` devices, a function of the seed and of `epoch` alone: neither the
    number of worker processes nor an interruption changes which images come when, and how they are transformed.

    image_hw: [I, 2] (height, width) of the images. Batches hold images that are all at least as wide as high, or all
    higher than wide, which saves padding; what is left of both at the end makes the last ones. All batches are full,
    since a lone image would upset BatchNorm: the images that are one too many sit out the epoch, others in each. Fewer
    images than a batch are one batch. Every device gets as many images, some of them a second time.

    Source: the grouping of OpenMMLab's AspectRatioBatchSampler.
    """

    def __init__(self, image_hw: Tensor, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.is_wide = image_hw[:, 1] >= image_hw[:, 0]
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.first = 0  # batch: those before it were seen before an interruption

    def __len__(self) -> int:
        return self.batches_per_epoch - self.first

    @property
    def batches_per_epoch(self) -> int:
        per_device = -(-len(self.is_wide) // self.world_size)
        return max(1, per_device // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return itertools.islice(self._batches(), self.first, None)

    def _batches(self) -> Iterator[list[SampleKey]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        number = len(self.is_wide)
        order = torch.randperm(number, generator=generator)
        seeds = torch.randint(2**62, (number,), generator=generator).tolist()
        rounds = torch.arange(-(-number // self.world_size) * self.world_size) % number
        mine = order[rounds[self.rank :: self.world_size]][: self.batches_per_epoch * self.batch_size].tolist()

        is_wide = self.is_wide.tolist()
        waiting: dict[bool, list[SampleKey]] = {True: [], False: []}
        for index in mine:
            group = waiting[is_wide[index]]
            group.append(SampleKey(index, seeds[index]))
            if len(group) == self.batch_size:
                yield list(group)
                group.clear()
        left = waiting[True] + waiting[False]
        for first in range(0, len(left), self.batch_size):
            yield left[first : first + self.batch_size]

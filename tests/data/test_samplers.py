"""The order of training images: the batches of an epoch, which depend on seed and epoch alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lad.data.samplers import AspectRatioBatchSampler

WIDE, HIGH = (480, 640), (640, 480)


def sizes(wide: int, high: int) -> torch.Tensor:
    return torch.tensor([WIDE] * wide + [HIGH] * high)


def epoch(sampler: AspectRatioBatchSampler, number: int) -> list[list[int]]:
    sampler.epoch = number
    return [[key.index for key in batch] for batch in sampler]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_has_full_batches_of_different_images(wide, high, batch_size, number):
    if wide + high == 0:
        return
    sampler = AspectRatioBatchSampler(sizes(wide, high), batch_size, seed=3)
    batches = epoch(sampler, number)
    indices = [index for batch in batches for index in batch]
    assert len(batches) == len(sampler) and len(indices) == len(set(indices))
    if wide + high < batch_size:
        assert sorted(indices) == list(range(wide + high))
    else:
        assert {len(batch) for batch in batches} == {batch_size}
        assert len(indices) > wide + high - batch_size


@pytest.mark.parametrize(("wide", "high", "batch_size"), [(100, 3, 4), (3, 50, 4), (16, 2, 16), (40, 7, 8), (5, 0, 4)])
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_image_is_in_some_epoch(wide, high, batch_size, world_size):
    """Even of the rarer orientation, whose images alone do not fill a batch."""
    shares = [AspectRatioBatchSampler(sizes(wide, high), batch_size, 0, rank, world_size) for rank in range(world_size)]
    indices = {index for number in range(60) for share in shares for batch in epoch(share, number) for index in batch}
    assert indices == set(range(wide + high))


def test_only_the_last_batch_mixes_landscape_and_portrait():
    sampler = AspectRatioBatchSampler(sizes(30, 18), batch_size=4, seed=0)
    mixed = [batch for batch in epoch(sampler, 0) if len({index < 30 for index in batch}) > 1]
    assert len(mixed) <= 1


def test_order_and_sample_seeds_are_a_function_of_seed_and_epoch():
    sampler = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=0)
    sampler.epoch = 1
    first = list(sampler)
    assert list(sampler) == first
    again = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=0)
    again.epoch = 1
    assert list(again) == first
    again.epoch = 2
    assert list(again) != first
    other = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=1)
    other.epoch = 1
    assert list(other) != first
    seeds = {key.seed for batch in first for key in batch}
    assert len(seeds) == 20


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_an_epoch_in_equal_numbers_of_batches(world_size):
    shares = [
        AspectRatioBatchSampler(sizes(13, 9), 2, seed=0, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    batches = [epoch(share, 4) for share in shares]
    assert len({len(of_device) for of_device in batches} | {len(share) for share in shares}) == 1
    indices = [index for of_device in batches for batch in of_device for index in batch]
    assert len(set(indices)) >= len(indices) - world_size + 1  # repeated to equalize the shares
    seeds = {key.index: key.seed for share in shares for batch in share for key in batch}
    alone = AspectRatioBatchSampler(sizes(13, 9), 2, seed=0)
    alone.epoch = 4
    assert all(seeds[key.index] == key.seed for batch in alone for key in batch if key.index in seeds)

"""The order of a training run: what an epoch holds, and that nothing but seed and epoch decides it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lad.data.samplers import AspectRatioBatchSampler

WIDE, HIGH = (480, 640), (640, 480)


def sizes(wide: int, high: int) -> torch.Tensor:
    return torch.tensor([WIDE] * wide + [HIGH] * high)


def epoch(order: AspectRatioBatchSampler, number: int) -> list[list[int]]:
    order.epoch = number
    return [[draw.index for draw in batch] for batch in order]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_has_whole_batches_of_images_each_seen_once(wide, high, batch_size, number):
    if wide + high == 0:
        return
    order = AspectRatioBatchSampler(sizes(wide, high), batch_size, seed=3)
    batches = epoch(order, number)
    seen = [index for batch in batches for index in batch]
    assert len(batches) == len(order) and len(seen) == len(set(seen))
    if wide + high < batch_size:
        assert sorted(seen) == list(range(wide + high))
    else:
        assert {len(batch) for batch in batches} == {batch_size}
        assert len(seen) > wide + high - batch_size


@pytest.mark.parametrize(("wide", "high", "batch_size"), [(100, 3, 4), (3, 50, 4), (16, 2, 16), (40, 7, 8), (5, 0, 4)])
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_image_is_seen_in_some_epoch(wide, high, batch_size, world_size):
    """Also of the rarer orientation, whose images alone do not fill a batch."""
    shares = [AspectRatioBatchSampler(sizes(wide, high), batch_size, 0, rank, world_size) for rank in range(world_size)]
    seen = {index for number in range(60) for share in shares for batch in epoch(share, number) for index in batch}
    assert seen == set(range(wide + high))


def test_landscape_and_portrait_come_apart_but_for_what_is_left_over():
    order = AspectRatioBatchSampler(sizes(30, 18), batch_size=4, seed=0)
    mixed = [batch for batch in epoch(order, 0) if len({index < 30 for index in batch}) > 1]
    assert len(mixed) <= 1


def test_every_epoch_and_seed_has_an_order_and_draws_of_its_own_and_always_the_same():
    order = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=0)
    order.epoch = 1
    first = list(order)
    assert list(order) == first
    again = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=0)
    again.epoch = 1
    assert list(again) == first
    again.epoch = 2
    assert list(again) != first
    other = AspectRatioBatchSampler(sizes(20, 0), batch_size=4, seed=1)
    other.epoch = 1
    assert list(other) != first
    seeds = {draw.seed for batch in first for draw in batch}
    assert len(seeds) == 20


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_an_epoch_and_have_as_many_batches(world_size):
    shares = [
        AspectRatioBatchSampler(sizes(13, 9), 2, seed=0, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    batches = [epoch(share, 4) for share in shares]
    assert len({len(one) for one in batches} | {len(share) for share in shares}) == 1
    seen = [index for one in batches for batch in one for index in batch]
    assert len(set(seen)) >= len(seen) - world_size + 1  # some twice, so that all have as many
    draws = {draw.index: draw.seed for share in shares for batch in share for draw in batch}
    alone = AspectRatioBatchSampler(sizes(13, 9), 2, seed=0)
    alone.epoch = 4
    assert all(draws[draw.index] == draw.seed for batch in alone for draw in batch if draw.index in draws)

"""Collating of samples: padding, concatenation of gts, and transfer of batches to a device."""

import dataclasses

import pytest
import torch

from lad.data.collate import collate
from lad.structures import Sample, to_device


def sample(height: int, width: int, gts: int, image_id: int) -> Sample:
    boxes = torch.arange(gts * 4, dtype=torch.float32).view(gts, 4) + image_id
    return Sample(torch.ones(3, height, width), boxes, torch.full((gts,), image_id), image_id, (height * 2, width * 2))


def test_images_are_padded_right_and_bottom_with_zeros_to_multiples_of_32():
    batch = collate([sample(40, 70, 1, 5), sample(64, 33, 0, 6)])
    assert batch.images.shape == (2, 3, 64, 96) and batch.padded_hw == (64, 96)
    assert batch.images[0, :, :40, :70].eq(1).all() and batch.images[0].sum() == 3 * 40 * 70
    assert batch.targets.image_hw.tolist() == [[40, 70], [64, 33]]
    assert batch.original_hw.tolist() == [[80, 140], [128, 66]] and batch.image_id.tolist() == [5, 6]


def test_gts_are_concatenated_with_their_image():
    targets = collate([sample(32, 32, 2, 5), sample(32, 32, 0, 6), sample(32, 32, 1, 7)]).targets
    assert targets.image.tolist() == [0, 0, 2] and targets.labels.tolist() == [5, 5, 7]
    assert targets.boxes.shape == (3, 4)


def test_a_batch_without_gts_keeps_its_shapes():
    targets = collate([sample(32, 32, 0, 1), sample(32, 32, 0, 2)]).targets
    assert targets.boxes.shape == (0, 4) and targets.labels.shape == (0,) and targets.image.dtype == torch.int64


def tensors(batch) -> list[torch.Tensor]:
    values = (getattr(part, field.name) for part in (batch, batch.targets) for field in dataclasses.fields(part))
    return [value for value in values if isinstance(value, torch.Tensor)]


def test_all_tensors_of_a_batch_move_to_a_device():
    batch = collate([sample(32, 32, 2, 5)]).to("meta")
    assert {tensor.device.type for tensor in tensors(batch)} == {"meta"} and len(tensors(batch)) == 8


def test_all_tensors_of_a_batch_are_pinned(monkeypatch):
    """The data loader calls the method by this name; the test replaces pinning, which needs a CUDA device."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.to("meta"))
    pinned = collate([sample(32, 32, 2, 5)]).pin_memory()
    assert {tensor.device.type for tensor in tensors(pinned)} == {"meta"}


@pytest.mark.parametrize("is_pinned", [False, True])
def test_transfers_to_a_cuda_device_are_asynchronous_from_pinned_memory(monkeypatch, is_pinned):
    """Recorded calls stand in for a CUDA device."""
    calls = []
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: is_pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: (calls.append("pinned"), tensor)[1])
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, **options: (calls.append(options), tensor)[1])
    to_device(torch.zeros(2), "cuda:1")
    assert calls == [*([] if is_pinned else ["pinned"]), {"non_blocking": True}]
    calls.clear()
    to_device(torch.zeros(2), "cpu")
    assert calls == [{"non_blocking": False}]


def test_a_selection_of_a_batch_keeps_its_padding():
    samples = [sample(40, 70, 1, 5), sample(64, 33, 0, 6), sample(32, 32, 3, 7), sample(33, 33, 2, 8)]
    taken = collate(samples).take([0, 2, 3])
    alone = collate([samples[0], samples[2], samples[3]])
    assert taken.images.shape == (3, 3, 64, 96) and alone.images.shape == (3, 3, 64, 96)
    assert all(torch.equal(tensor, other) for tensor, other in zip(tensors(taken), tensors(alone), strict=True))


def test_an_empty_selection_is_an_empty_batch():
    taken = collate([sample(40, 70, 1, 5), sample(64, 33, 2, 6)]).take([])
    assert taken.images.shape == (0, 3, 64, 96) and taken.targets.boxes.shape == (0, 4)
    assert taken.targets.image_hw.shape == (0, 2) and taken.targets.image.dtype == torch.int64

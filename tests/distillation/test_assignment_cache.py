"""A teacher's assignments on disk: what comes back is what was made, whatever happens to the file."""

import pytest
import torch

from lad.assigners.base import PAA, own_assignment
from lad.data.collate import collate
from lad.distillation.assignment_cache import RECORD, AssignmentCache
from lad.geometry import make_anchors
from lad.structures import HeadOutputs, Sample

KEY = {"teacher": "abc", "short_sides": "[96]"}


def sample(image_id: int, gts: int, hw=(96, 128), is_flipped: bool = False) -> Sample:
    generator = torch.Generator().manual_seed(image_id)
    low = torch.rand(gts, 2, generator=generator) * 60
    boxes = torch.cat([low, low + 8 + torch.rand(gts, 2, generator=generator) * 40], dim=1)
    return Sample(torch.zeros(3, *hw), boxes, torch.zeros(gts, dtype=torch.int64), image_id, hw, is_flipped)


def batch_of(*samples: Sample):
    batch = collate(samples)
    return batch, make_anchors(batch.padded_hw)


class Teacher:
    """Assigns by outputs that depend on the image alone; remembers which ones it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, batch) -> torch.Tensor:
        ids = batch.image_id.tolist()
        self.asked += ids
        anchors = make_anchors(batch.padded_hw)
        parts = [torch.Generator().manual_seed(one) for one in ids]
        shapes = ((len(anchors.boxes), 1), (len(anchors.boxes), 4))
        logits, deltas = (torch.stack([torch.randn(shape, generator=one) for one in parts]) for shape in shapes)
        return own_assignment(PAA, HeadOutputs(logits, deltas / 4, None), anchors, batch.targets)


def test_what_is_recalled_is_what_the_teacher_said_and_it_is_asked_once(tmp_path):
    teacher, cache = Teacher(), AssignmentCache(tmp_path, KEY)
    batch, anchors = batch_of(sample(5, 3), sample(2**40, 0), sample(7, 12, hw=(60, 90)))
    expected = Teacher()(batch)
    assert (expected >= 0).sum() > 20 and (expected == -2).any()
    for _ in range(2):
        assert torch.equal(cache.get(batch, anchors, teacher), expected)
    assert teacher.asked == [5, 2**40, 7] and len(cache) == 3


def test_only_new_images_are_asked_about_and_a_flipped_one_is_new(tmp_path):
    teacher, cache = Teacher(), AssignmentCache(tmp_path, KEY)
    cache.get(*batch_of(sample(1, 2), sample(2, 2)), teacher)
    batch, anchors = batch_of(sample(3, 4), sample(1, 2, is_flipped=True), sample(2, 2), sample(1, 2))
    assert torch.equal(cache.get(batch, anchors, teacher), Teacher()(batch))
    assert teacher.asked == [1, 2, 3, 1]


def test_an_image_in_a_batch_with_more_padding_keeps_its_positives_in_their_places(tmp_path):
    cache = AssignmentCache(tmp_path, KEY)
    small, anchors = batch_of(sample(1, 3))
    first = cache.get(small, anchors, Teacher())
    large, more_anchors = batch_of(sample(9, 2, hw=(200, 300)), sample(1, 3))
    again = cache.get(large, more_anchors, Teacher())[1]
    gts_before = len(large.targets.boxes) - 3

    def places(gt_index, anchors) -> set:
        (found,) = (gt_index >= 0).nonzero(as_tuple=True)
        boxes = anchors.boxes[found].tolist()
        return {(*box, gt) for box, gt in zip(boxes, gt_index[found].tolist(), strict=True)}

    expected = {(*place[:4], place[4] + gts_before) for place in places(first[0], anchors)}
    assert places(again, more_anchors) == expected and len(expected) > 5
    assert (again == -2).sum() > 0


def test_a_new_process_takes_up_what_was_written(tmp_path):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected) and teacher.asked == []


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_what_a_killed_process_left_half_written_is_made_again(tmp_path, lost):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    path = tmp_path / "assignments.0.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected)
    assert teacher.asked == [2] and path.read_bytes() == whole


def test_a_changed_byte_is_noticed(tmp_path):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    path = tmp_path / "assignments.0.bin"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected) and teacher.asked == [2]


def test_processes_read_each_others_files_between_epochs(tmp_path):
    first, second = (AssignmentCache(tmp_path, KEY, rank) for rank in (0, 1))
    batch, anchors = batch_of(sample(1, 3))
    expected = first.get(batch, anchors, Teacher())
    second.refresh()
    teacher = Teacher()
    assert torch.equal(second.get(batch, anchors, teacher), expected) and teacher.asked == []
    second.get(*batch_of(sample(2, 3)), teacher)
    first.refresh()
    assert len(first) == 2
    assert len(AssignmentCache(tmp_path, KEY)) == 2  # one process goes on where there were two


def test_of_an_image_that_two_processes_saw_at_once_each_keeps_its_own_first_sight(tmp_path):
    """As the devices may in an epoch that does not divide; a restarted process reads the same as before."""
    first, second = (AssignmentCache(tmp_path, KEY, rank) for rank in (0, 1))
    batch, anchors = batch_of(sample(1, 3))

    def nothing(batch):
        return torch.full((1, len(anchors.boxes)), -1)

    kept = first.get(batch, anchors, Teacher())
    assert (second.get(batch, anchors, nothing) >= 0).sum() == 0
    for cache in (first, AssignmentCache(tmp_path, KEY, 0)):
        cache.refresh()
        assert torch.equal(cache.get(batch, anchors, pytest.fail), kept)
    for cache in (second, AssignmentCache(tmp_path, KEY, 1)):
        cache.refresh()
        assert (cache.get(batch, anchors, pytest.fail) >= 0).sum() == 0


@pytest.mark.parametrize("changed", KEY)
def test_another_key_is_refused_and_named(tmp_path, changed):
    AssignmentCache(tmp_path, KEY)
    with pytest.raises(ValueError, match=rf"assignments\.0\.bin: holds assignments made with {changed}=.*has 'new'"):
        AssignmentCache(tmp_path, {**KEY, changed: "new"})
    for content in (b"\x80nonsense", b"[1, 2]\n", b""):
        (tmp_path / "assignments.0.bin").write_bytes(content)
        with pytest.raises(ValueError, match=r"assignments\.0\.bin: damaged"):
            AssignmentCache(tmp_path, KEY)


def test_it_is_compact(tmp_path):
    """A few dozen small integers for an image."""
    cache = AssignmentCache(tmp_path, KEY)
    samples = [sample(number, 7) for number in range(8)]
    batch, anchors = batch_of(*samples)
    positives = (cache.get(batch, anchors, Teacher()) >= 0).sum().item()
    header = len((tmp_path / "assignments.0.bin").read_bytes().split(b"\n")[0]) + 1
    assert (tmp_path / "assignments.0.bin").stat().st_size == header + 8 * 17 + 9 * positives


def test_a_record_of_more_positives_than_the_file_holds_is_none(tmp_path):
    """Cut short, or made so: memory for it is never asked for."""
    AssignmentCache(tmp_path, {})
    path = tmp_path / "assignments.0.bin"
    whole = path.read_bytes()
    path.write_bytes(whole + RECORD.pack(7, False, 2**32 - 1, 0))
    assert len(AssignmentCache(tmp_path, {})) == 0
    assert path.read_bytes() == whole

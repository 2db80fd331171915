"""The cache of a teacher's assignments returns what the teacher made, whatever happens to its files."""

import pytest
import torch

from lad.assigners import PAA, assign_by_predictions
from lad.assigners.paa import DEFAULT_ASSIGNER
from lad.data.collate import collate
from lad.distillation.assignment_cache import RECORD, AssignmentCache
from lad.geometry import inside_images, make_anchors
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
    """Assigns by outputs that depend on the image alone; records the images that it was called with."""

    def __init__(self, assigner: PAA = DEFAULT_ASSIGNER) -> None:
        self.images: list[int] = []
        self.assigner = assigner

    def __call__(self, batch) -> torch.Tensor:
        ids = batch.image_id.tolist()
        self.images += ids
        anchors = make_anchors(batch.padded_hw)
        generators = [torch.Generator().manual_seed(image_id) for image_id in ids]
        shapes = ((len(anchors.boxes), 1), (len(anchors.boxes), 4))
        logits, deltas = (
            torch.stack([torch.randn(shape, generator=generator) for generator in generators]) for shape in shapes
        )
        return assign_by_predictions(self.assigner, HeadOutputs(logits, deltas / 4, None), anchors, batch.targets)


def test_a_cached_assignment_is_the_teachers_and_the_teacher_runs_once(tmp_path):
    teacher, cache = Teacher(), AssignmentCache(tmp_path, KEY)
    batch, anchors = batch_of(sample(5, 3), sample(2**40, 0), sample(7, 12, hw=(60, 90)))
    expected = Teacher()(batch)
    assert (expected >= 0).sum() > 20 and (expected == -2).any()
    for _ in range(2):
        assert torch.equal(cache.get(batch, anchors, teacher), expected)
    assert teacher.images == [5, 2**40, 7] and len(cache) == 3


@pytest.mark.parametrize("separation", "bd")
def test_anchors_that_the_teacher_ignores_are_cached_too(tmp_path, separation):
    assigner = PAA(separation=separation)
    cache = AssignmentCache(tmp_path, KEY)
    batch, anchors = batch_of(sample(5, 12), sample(6, 0), sample(7, 12, hw=(60, 90)))
    expected = Teacher(assigner)(batch)
    ignored = (expected == -2) & inside_images(anchors, batch.targets.image_hw)
    assert ignored.any(dim=1).tolist() == [True, False, True]
    assert torch.equal(cache.get(batch, anchors, Teacher(assigner)), expected)
    reopened, teacher = AssignmentCache(tmp_path, KEY), Teacher(assigner)
    assert torch.equal(reopened.get(batch, anchors, teacher), expected) and teacher.images == []


def test_the_teacher_runs_on_new_images_only_and_a_flipped_one_is_new(tmp_path):
    teacher, cache = Teacher(), AssignmentCache(tmp_path, KEY)
    cache.get(*batch_of(sample(1, 2), sample(2, 2)), teacher)
    batch, anchors = batch_of(sample(3, 4), sample(1, 2, is_flipped=True), sample(2, 2), sample(1, 2))
    assert torch.equal(cache.get(batch, anchors, teacher), Teacher()(batch))
    assert teacher.images == [1, 2, 3, 1]


def test_with_more_padding_an_image_keeps_its_positives_at_the_same_anchors(tmp_path):
    cache = AssignmentCache(tmp_path, KEY)
    small, anchors = batch_of(sample(1, 3))
    first = cache.get(small, anchors, Teacher())[0]
    large, larger_anchors = batch_of(sample(9, 2, hw=(200, 300)), sample(1, 3))
    second = cache.get(large, larger_anchors, Teacher())[1]
    gts_before = len(large.targets.boxes) - 3

    def positives(gt_index, anchors, first_gt: int = 0) -> set:
        (rows,) = (gt_index >= 0).nonzero(as_tuple=True)
        boxes, gts = anchors.boxes[rows].tolist(), (gt_index[rows] - first_gt).tolist()
        return {(*box, gt) for box, gt in zip(boxes, gts, strict=True)}

    expected = positives(first, anchors)
    assert positives(second, larger_anchors, gts_before) == expected and len(expected) > 5
    assert (second == -2).sum() > 0


def test_a_new_process_reads_the_records_of_an_earlier_one(tmp_path):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected) and teacher.images == []


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_record_that_a_killed_process_left_incomplete_is_made_again(tmp_path, lost):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    path = tmp_path / "assignments.0.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected)
    assert teacher.images == [2] and path.read_bytes() == whole


def test_a_record_with_a_changed_byte_is_made_again(tmp_path):
    batch, anchors = batch_of(sample(1, 3), sample(2, 5))
    expected = AssignmentCache(tmp_path, KEY).get(batch, anchors, Teacher())
    path = tmp_path / "assignments.0.bin"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    cache, teacher = AssignmentCache(tmp_path, KEY), Teacher()
    assert torch.equal(cache.get(batch, anchors, teacher), expected) and teacher.images == [2]


def test_processes_read_each_others_records_between_epochs(tmp_path):
    first, second = (AssignmentCache(tmp_path, KEY, rank) for rank in (0, 1))
    batch, anchors = batch_of(sample(1, 3))
    expected = first.get(batch, anchors, Teacher())
    second.refresh()
    teacher = Teacher()
    assert torch.equal(second.get(batch, anchors, teacher), expected) and teacher.images == []
    second.get(*batch_of(sample(2, 3)), teacher)
    first.refresh()
    assert len(first) == 2
    assert len(AssignmentCache(tmp_path, KEY)) == 2  # one process resumes a run of two


def test_each_process_keeps_its_own_record_of_an_image_that_two_processes_cached(tmp_path):
    """Two devices may get the same image where an epoch does not divide; a restarted process reads the same record."""
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
def test_a_file_of_another_key_or_without_one_is_refused_by_name(tmp_path, changed):
    AssignmentCache(tmp_path, KEY)
    with pytest.raises(ValueError, match=rf"assignments\.0\.bin: holds assignments made with {changed}=.*has 'new'"):
        AssignmentCache(tmp_path, {**KEY, changed: "new"})
    for content in (b"\x80nonsense", b"[1, 2]\n", b""):
        (tmp_path / "assignments.0.bin").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"assignments\.0\.bin: corrupted; delete it to compute the assignments again"
        ):
            AssignmentCache(tmp_path, KEY)


def test_a_record_takes_17_bytes_and_9_for_each_positive(tmp_path):
    cache = AssignmentCache(tmp_path, KEY)
    samples = [sample(number, 7) for number in range(8)]
    batch, anchors = batch_of(*samples)
    positives = (cache.get(batch, anchors, Teacher()) >= 0).sum().item()
    header = len((tmp_path / "assignments.0.bin").read_bytes().split(b"\n")[0]) + 1
    assert (tmp_path / "assignments.0.bin").stat().st_size == header + 8 * 17 + 9 * positives


def test_a_record_of_more_positives_than_the_file_holds_is_dropped(tmp_path):
    """No memory is allocated for its positives, whether the file was truncated or made to look so."""
    AssignmentCache(tmp_path, {})
    path = tmp_path / "assignments.0.bin"
    whole = path.read_bytes()
    path.write_bytes(whole + RECORD.pack(7, False, 2**32 - 1, 0))
    assert len(AssignmentCache(tmp_path, {})) == 0
    assert path.read_bytes() == whole

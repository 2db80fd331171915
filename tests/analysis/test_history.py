"""The history of an assignment over the epochs of a run."""

from dataclasses import replace

import pytest
import torch

from lad.analysis.assignment import analyze
from lad.analysis.history import assignment_history
from lad.analysis.positives import BOTH, STUDENT_ONLY, TEACHER_ONLY
from lad.data.collate import collate
from lad.experiments.setup import open_data


@pytest.fixture(scope="module")
def trained(trained_runs):
    """A run of two epochs, and one validation image."""
    run = trained_runs["plain"]
    return run, collate([open_data(run.parameters)[1][0]])


def test_a_history_has_the_assignment_of_every_saved_epoch_by_its_own_weights(trained):
    run, batch = trained
    history = assignment_history(run, batch)
    assert list(history) == ["untrained", "epoch 1", "epoch 2"]
    for epoch, positives in enumerate(history.values()):
        own = analyze(run.load_detector(epoch), batch).gt_index[0]
        assert torch.equal(positives.anchor, (own >= 0).nonzero().flatten())
        assert torch.equal(positives.gt, own[positives.anchor])
        assert (positives.source == STUDENT_ONLY).all()


def test_the_network_is_built_once(trained, monkeypatch):
    run, batch = trained
    built = []
    load = type(run).load_detector
    monkeypatch.setattr(type(run), "load_detector", lambda self, *epoch: built.append(epoch) or load(self, *epoch))
    assignment_history(run, batch)
    assert built == [()]


def test_with_a_teacher_the_source_of_shared_positives_is_both(trained):
    run, batch = trained
    teacher = analyze(run.load_detector(), batch)  # its own last epoch: there they agree
    history = assignment_history(run, batch, teacher)
    assert (history["epoch 2"].source == BOTH).all()
    each = assignment_history(run, batch, teacher, "each", epochs=[0])
    assert list(each) == ["untrained"]
    own, teacher_index = history["untrained"], teacher.gt_index[0]
    only = int((teacher_index >= 0).sum()) - int((own.source == BOTH).sum())
    assert int((each["untrained"].source == TEACHER_ONLY).sum()) == only


def test_an_epoch_without_saved_weights_is_named(trained):
    run, batch = trained
    with pytest.raises(ValueError, match=r"has no weights of epoch 7; saved epochs: 0, 1, 2$"):
        assignment_history(run, batch, epochs=[7, 0])


def test_a_run_without_saved_weights_says_how_to_save_them(trained, monkeypatch):
    run, batch = trained
    monkeypatch.setattr(type(run), "saved_epochs", [])
    with pytest.raises(ValueError, match="has no weights of single epochs; train it again with save_epochs=True"):
        assignment_history(run, batch)


def test_a_history_needs_a_batch_of_one_image(trained):
    run, batch = trained
    two = replace(batch, images=batch.images.repeat(2, 1, 1, 1))
    with pytest.raises(ValueError, match="of one image, but this one has 2"):
        assignment_history(run, two)

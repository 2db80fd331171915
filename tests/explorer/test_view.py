"""The view of one image: which epoch, image and object a configuration shows, and what is an error."""

import numpy as np
import pytest
import torch

from lad.analysis.assignment import analyze
from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER
from lad.experiments.runner import run_experiment
from lad.explorer import view as view_module
from lad.explorer.config import make_explorer_config
from lad.explorer.session import open_session
from lad.explorer.view import MAX_CACHED_ANALYSES, assignments_for, gt_names, render_view


def same_analysis(first, second) -> bool:
    """Return whether outputs agree up to the order in which threads add."""
    return torch.allclose(first.outputs.cls_logits, second.outputs.cls_logits, atol=1e-4) and torch.allclose(
        first.outputs.box_deltas, second.outputs.box_deltas, atol=1e-4
    )


# Which epoch


def test_an_epoch_is_analyzed_with_its_own_weights_whatever_was_shown_before(plain, runs, config_for):
    batch = render_view(plain, config_for()).batch
    expected = {epoch: analyze(runs["plain"].load_detector(epoch), batch) for epoch in (None, 0, 1, 2)}
    assert not same_analysis(expected[0], expected[2]) and not same_analysis(expected[1], expected[2])
    for image in (0, 1, 0):  # the other image in between, so that weights must be loaded again
        for epoch in (2, 0, None, 1, 0, 2):
            analysis = render_view(plain, config_for(epoch=epoch, image=image)).analyses["student"]
            assert image or same_analysis(analysis, expected[epoch])


def test_without_an_epoch_the_final_weights_are_used(plain, config_for):
    last, final = (render_view(plain, config_for(epoch=epoch)).analyses["student"] for epoch in (2, None))
    assert same_analysis(last, final)


def test_a_teacher_with_a_run_of_its_own_always_has_its_final_weights(session, config_for):
    first, last = (render_view(session, config_for(epoch=epoch)).analyses for epoch in (0, 1))
    assert same_analysis(first["teacher"], last["teacher"])
    assert not same_analysis(first["student"], last["student"])


def test_the_second_network_of_co_learning_follows_the_epoch(runs, config_for, tmp_path):
    parameters = runs["plain"].parameters.model_copy(
        update={"method": "colad", "teacher": "r18", "epochs": 1, "out": str(tmp_path)}
    )
    run = run_experiment(parameters)
    together = open_session(make_explorer_config({"out": tmp_path}))
    assert together.runs["teacher"] == run.teacher_network()
    batch = render_view(together, make_explorer_config({"out": tmp_path})).batch
    for epoch in (1, 0, 1):
        analyses = render_view(together, make_explorer_config({"out": tmp_path, "epoch": epoch})).analyses
        assert same_analysis(analyses["teacher"], analyze(run.teacher_network().load_detector(epoch), batch))
        assert same_analysis(analyses["student"], analyze(run.load_detector(epoch), batch))


def test_an_epoch_that_was_not_saved_is_an_error(plain, config_for):
    with pytest.raises(ValueError, match=r"^parameter 'epoch' = 7: the saved epochs are 0, 1, 2$"):
        render_view(plain, config_for(epoch=7))


def test_an_epoch_of_a_run_without_saved_epochs_is_an_error_with_the_reason(runs, config_for):
    config = config_for(run=runs["without epochs"].folder.name)
    assert open_session(config).epochs == []
    with pytest.raises(
        ValueError,
        match=r"'epoch' = 1: no epoch is saved, because the run was trained without save_epochs; leave it out$",
    ):
        render_view(open_session(config), config.model_copy(update={"epoch": 1}))


def test_an_epoch_of_an_untrained_network_is_an_error_with_the_reason(runs, config_for):
    config = config_for(run="untrained", data=runs["plain"].parameters.data, epoch=0)
    with pytest.raises(
        ValueError, match=r"'epoch' = 0: no epoch is saved, because the network is untrained; leave it out$"
    ):
        render_view(open_session(config), config)


def test_analyses_are_cached_up_to_a_limit(plain, config_for, monkeypatch):
    calls = []
    analyze_image = view_module.analyze
    monkeypatch.setattr(view_module, "analyze", lambda *given: calls.append(1) or analyze_image(*given))
    plain.analysis_cache.clear()
    for gt in (0, None):
        for assignment in ("student", "atss"):
            render_view(plain, config_for(gt=gt, assignment=assignment))
    assert len(calls) == 1
    plain.analysis_cache.update({("student", None, -number): None for number in range(1, 2 * MAX_CACHED_ANALYSES)})
    render_view(plain, config_for(image=1))
    assert len(calls) == 2 and len(plain.analysis_cache) == MAX_CACHED_ANALYSES


# Which image and object


def test_the_image_and_its_gts_are_those_of_the_validation_set(plain, config_for):
    for image in range(len(plain.dataset)):
        view = render_view(plain, config_for(image=image))
        assert np.array_equal(view.pixels, plain.dataset.pixels(image))
        assert torch.equal(view.batch.targets.boxes, plain.dataset[image].boxes)
        assert 0 <= view.gt < len(view.batch.targets.boxes)


def test_an_image_index_out_of_range_is_an_error(plain, config_for):
    with pytest.raises(ValueError, match=r"^parameter 'image' = 6: must be 0 … 5$"):
        render_view(plain, config_for(image=6))


def test_an_object_index_out_of_range_is_an_error(plain, config_for):
    last = len(render_view(plain, config_for()).batch.targets.boxes) - 1
    assert render_view(plain, config_for(gt=last)).gt == last
    with pytest.raises(ValueError, match=f"^parameter 'gt' = {last + 1}: must be 0 … {last}$"):
        render_view(plain, config_for(gt=last + 1))


def test_an_assignment_without_its_teacher_is_not_offered_and_an_error(plain, session, config_for):
    assert list(assignments_for(session)) == list(ASSIGNMENTS)
    assert set(ASSIGNMENTS) - set(assignments_for(plain)) == set(NEED_TEACHER)
    with pytest.raises(ValueError, match="assignment 'teacher' needs a teacher"):
        render_view(plain, config_for(assignment="teacher"))


def test_objects_of_one_class_are_numbered(plain, config_for):
    view = render_view(plain, config_for(photo=None))
    targets = view.batch.targets
    several = type(targets)(targets.boxes[:1].repeat(3, 1), torch.tensor([2, 0, 2]), torch.zeros(3).long(), None)
    batch = type(view.batch)(view.batch.images, several, *[None] * 3)
    named = type(view)(view.pixels, batch, view.class_names, view.analyses, view.positives, 0)
    assert gt_names(named) == ["triangle 1", "circle", "triangle 2"]

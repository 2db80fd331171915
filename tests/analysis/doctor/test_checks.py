"""The doctor's checks on made evidence: each finds its own fault, and none finds anything in a sound run."""

from dataclasses import replace

import pytest
import torch

from lad.analysis.doctor.evidence import ClassRow, Evidence, ObjectSizes, Teacher
from lad.analysis.doctor.report import CHECKS, run_checks
from lad.config.experiment import make_parameters

LOSSES = (1.35, 0.95, 0.77, 0.67, 0.59, 0.53, 0.50)
APS = (None, 0.345, None, 0.587, None, 0.669, 0.669)


def sized(side: torch.Tensor, best_iou: float) -> ObjectSizes:
    """Return the sizes of objects with one best IoU at short side 128."""
    return ObjectSizes(side, torch.full_like(side, best_iou), torch.full((len(side),), 12), 128)


def sound(**given) -> Evidence:
    """Return the evidence of the toy LAD run of the README, with other parameters if given."""
    parameters = make_parameters({"profile": "toy", "method": "lad", "teacher": "r101", **given})
    epochs = [
        {"loss": loss, "grad_norm": 2.0, "positives_per_gt": 6.5, "agreement": 0.7, "AP": ap}
        for loss, ap in zip(LOSSES, APS, strict=True)
    ]
    return Evidence(
        parameters,
        epochs,
        ap=0.669,
        num_images=800,
        teacher=Teacher("r101", 0.655, epochs=8),
        plain=("plain", 0.634),
        sizes=sized(torch.linspace(24, 100, 101), 0.4),
        classes={"cat": ClassRow(90, 20, 20, 0.7), "dog": ClassRow(80, 20, 20, 0.6)},
        class_names=("cat", "dog"),
        train_ap=0.72,
        val_ap=0.66,
    )


def with_epochs(**series) -> list[dict]:
    """Return the epochs of a run, as many as each of the series has values."""
    return [dict(zip(series, values, strict=True)) for values in zip(*series.values(), strict=True)]


def test_a_sound_run_has_no_findings():
    assert run_checks(sound()) == {}


def test_a_run_of_which_nothing_is_known_has_no_findings():
    assert run_checks(Evidence(sound().parameters)) == {}


BOX = {"teacher_cost": "box"}
FAULTS = {
    "teacher_finds_nothing": ({"teacher": Teacher("r101", 0.004, epochs=1)}, {}, ("0.004", "teacher_epochs (now 1)")),
    "teacher_has_other_classes": (
        {"teacher": Teacher("coco", 0.7, ignores_classes=True, class_names=("sun", "sea"))}, BOX,
        ("sun, sea", "cat, dog", "0.700"),
    ),
    "teacher_is_worse": ({"teacher": Teacher("r101", 0.55)}, {}, ("0.550", "0.634")),
    "student_is_not_better": ({"ap": 0.6}, {}, ("0.600", "0.634")),
    "assignments_agree_too_much": (
        {"epochs": with_epochs(loss=LOSSES, agreement=[0.99] * 7)}, {}, ("99%", "a teacher that differs"),
    ),
    "run_ignores_classes": ({"ignores_classes": True}, {}, ("0.669",)),
    "failed": ({"epochs": with_epochs(loss=(1.3, None))}, {}, ("epoch 2", "lower lr (now 0.002)")),
    "learning_rate_is_too_high": ({"epochs": with_epochs(loss=(1.3, 1.9))}, {}, ("1.3", "1.9", "lr (now 0.002)")),
    "loss_is_flat": ({"epochs": with_epochs(loss=(1.3, 1.31, 1.3))}, {}, ("1.3",)),
    "steps_are_few": ({"num_images": 160, "train_ap": 0.3}, {}, ("140 optimizer steps", "(now 7) to 15")),
    "warmup_is_too_long": ({}, {"warmup": 400}, ("350 of 700 steps", "warmup=400", "about 70")),
    "gradients_are_always_clipped": ({}, {"clip_grad": 0.5}, ("7 of 7 epochs", "clip_grad (0.5)")),
    "ap_is_rising": ({"epochs": with_epochs(AP=(0.2, 0.3))}, {}, ("0.200", "0.300", "epochs (now 7)")),
    "validation_has_no_objects": ({"classes": {"cat": ClassRow(5, 0)}}, {}, ("(0)",)),
    "classes_are_not_trained": (
        {"classes": {"cat": ClassRow(9, 9), "eel": ClassRow(0, 3)}}, {}, ("1 class is", "eel (3)", "2 classes"),
    ),
    "network_overfits": ({"train_ap": 0.9, "val_ap": 0.1}, {}, ("0.900", "0.100", "(now 800)")),
    "objects_match_no_anchor": (
        {"sizes": sized(torch.full((50,), 15.0), 0.06)}, {},
        ("100% of 50", "15 px", "(median 12; 0% have none", "short_sides=[192]"),
    ),
    "objects_are_tiny": (
        {"sizes": sized(torch.full((50,), 15.0), 0.06)}, {"assigner": "simota"}, ("100% of 50", "below 16"),
    ),
    "positives_are_few": ({"epochs": with_epochs(positives_per_gt=(1.2,))}, {}, ("1.2 positive",)),
    "classes_are_not_detected": (
        {"classes": {"cat": ClassRow(9, 9, 9, 0.5), "eel": ClassRow(3, 8, 8, 0.0)}}, {}, ("1 class is", "eel (3)"),
    ),
}  # fmt: skip


def test_every_check_has_a_fault_here():
    assert FAULTS.keys() == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_check_alone_and_with_its_numbers(name):
    changes, given, texts = FAULTS[name]
    findings = run_checks(replace(sound(**given), **changes))
    assert list(findings) == [name]
    missing = [text for text in texts if text not in str(findings[name])]
    assert not missing, str(findings[name])


def test_the_worst_comes_first():
    run = replace(sound(), teacher=Teacher("r101", 0.001), ap=0.63, train_ap=0.9, val_ap=0.2)
    severities = [finding.severity for finding in run_checks(run).values()]
    assert severities == ["error", "warning", "note"]


def test_a_teacher_without_a_plain_student_is_compared_with_its_student():
    run = replace(sound(), plain=None)
    assert run_checks(run) == {}, "a student may exceed a sound teacher by a little"
    (finding,) = run_checks(replace(run, teacher=Teacher("r101", 0.3))).values()
    assert finding.severity == "error" and "its student (AP 0.669)" in finding.seen


def test_an_ap_without_classes_is_not_compared():
    foreign = Teacher("coco", 0.1, ignores_classes=True)
    assert "teacher_is_worse" not in run_checks(replace(sound(**BOX), teacher=foreign))


def test_an_unrelated_assignment_is_found_once_the_student_has_learned_something():
    first = replace(sound(), epochs=with_epochs(agreement=(0.05,)))
    assert run_checks(first) == {}
    assert "5%" in str(run_checks(replace(first, epochs=with_epochs(agreement=(0.2, 0.05)))))


def test_the_own_assignment_of_a_baseline_is_no_finding():
    run = replace(
        sound(), parameters=make_parameters({"profile": "toy", "method": "baseline"}), teacher=None, plain=None
    )
    assert run_checks(replace(run, epochs=with_epochs(agreement=(1.0, 1.0)))) == {}


@pytest.mark.parametrize(
    ("given", "is_unusual"),
    [
        ({"lr": 0.2}, True),
        ({"lr": 0.01}, False),
        ({"lr": 0.05, "optimizer": "sgd"}, False),
        ({"lr": 1.0, "optimizer": "sgd"}, True),
        ({"lr": 1.0, "optimizer": "sgd", "batch_size": 256}, False),  # scaled linearly, it is 0.16
    ],
)
def test_an_unusual_learning_rate_is_found_without_symptoms(given, is_unusual):
    run = replace(sound(**given), num_images=100_000)
    assert list(run_checks(run)) == (["learning_rate_is_too_high"] if is_unusual else [])


def test_large_gradients_without_detections_and_a_spike_show_a_high_learning_rate():
    for norms in ((60.0, 70.0), (17.0, 0.45)):
        run = replace(sound(), epochs=with_epochs(loss=(1.3, 1.0), grad_norm=norms), ap=0.0, plain=None)
        assert run_checks(run)["learning_rate_is_too_high"].severity == "error"


def test_few_steps_that_sufficed_for_the_training_images_are_no_finding():
    assert "steps_are_few" not in run_checks(replace(sound(), num_images=80, train_ap=0.9))


def test_a_start_from_a_detector_needs_fewer_steps(trained_runs):
    start = {"method": "baseline", "teacher": None, "init": str(trained_runs["plain"].weights_file())}
    run = replace(sound(**start, warmup=5), num_images=80, teacher=None, train_ap=0.3)
    assert "steps_are_few" not in run_checks(run)
    assert "steps_are_few" in run_checks(replace(run, num_images=8))


def test_a_failed_step_matters_until_the_run_is_finished():
    run = replace(sound(), has_failed_step=True)
    assert run_checks(run) == {}
    assert list(run_checks(replace(run, is_finished=False))) == ["failed"]


def test_objects_that_need_far_larger_images_call_for_tiles():
    sizes = sized(torch.full((9,), 4.0), 0.01)
    assert "5 times as large" in str(run_checks(replace(sound(), sizes=sizes)))


def test_a_network_that_knows_not_even_its_training_images_has_learned_nothing():
    findings = run_checks(replace(sound(), train_ap=0.0, val_ap=0.0))
    assert "not even learned" in findings["network_overfits"].why


def test_epochs_in_which_the_student_assigns_for_itself_are_no_sign_of_agreement():
    agreement = [0.6] * 3 + [1.0] * 4
    run = replace(sound(teach_until=0.4, epochs=7), epochs=with_epochs(loss=LOSSES, agreement=agreement))
    assert "assignments_agree_too_much" not in run_checks(run)
    run = replace(run, epochs=with_epochs(loss=LOSSES, agreement=[0.99] * 7))
    assert "99%" in run_checks(run)["assignments_agree_too_much"].seen

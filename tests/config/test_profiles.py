"""A profile's defaults depend on the backbone through its recipe alone."""

import dataclasses

import pytest

from lad.config.experiment import make_parameters
from lad.config.profiles import PROFILES, profile_of
from lad.models.backbones.registry import BACKBONES


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_recipe_replaces_sgd_and_nothing_else(profile, backbone):
    defaults, recipe = PROFILES[profile], BACKBONES[backbone].recipe
    assert recipe.keys() <= defaults.keys()
    assert profile_of(profile, backbone) == (defaults | recipe if defaults["optimizer"] == "sgd" else defaults)


def test_a_swin_is_trained_by_adamw_and_its_student_by_sgd():
    parameters = make_parameters({"profile": "coco_1x", "student": "r50", "teacher": "swin_b", "method": "lad"})
    names = ("optimizer", "lr", "weight_decay", "warmup")
    assert [getattr(parameters, name) for name in names] == ["sgd", 0.01, 1e-4, 500]
    assert [getattr(parameters.of_teacher(), name) for name in names] == ["adamw", 1e-4, 0.05, 1000]


def test_parameters_that_are_set_by_hand_are_kept_for_the_teacher():
    given = {"profile": "coco_1x", "student": "swin_t", "teacher": "r50", "method": "lad", "lr": 0.3}
    teacher = make_parameters(given).of_teacher()
    assert (teacher.optimizer, teacher.lr, teacher.warmup) == ("sgd", 0.3, 500)


def test_the_recipe_of_a_new_backbone_is_used(monkeypatch):
    entry = dataclasses.replace(BACKBONES["r50"], recipe={"lr": 0.02, "schedule": "cosine"})
    monkeypatch.setitem(BACKBONES, "r50_cosine", entry)
    given = {"profile": "coco_1x", "student": "r18", "teacher": "r50_cosine", "method": "lad"}
    teacher = make_parameters(given).of_teacher()
    assert (teacher.optimizer, teacher.lr, teacher.schedule) == ("sgd", 0.02, "cosine")

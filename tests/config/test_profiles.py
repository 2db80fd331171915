"""Profiles complete every parameter, and a file of parameters may hold exceptions for some of them."""

import pytest

from lad.config.experiment import Parameters, make_parameters
from lad.config.profiles import PROFILES, default_values
from lad.distillation.methods import METHODS
from lad.models.backbones.registry import BACKBONES


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", METHODS)
def test_every_profile_is_complete_for_every_method(profile, method):
    parameters = make_parameters({"profile": profile, "method": method})
    assert parameters.profile == profile and parameters.method == method
    assert (parameters.teacher is not None) == METHODS[method].needs_teacher
    teacher = parameters.of_teacher() if parameters.teacher else parameters
    assert teacher.method == "baseline" or method == "baseline"


def test_profiles_hold_parameters_only():
    for profile, defaults in PROFILES.items():
        assert set(defaults) <= set(Parameters.model_fields), profile


def test_a_backbones_recipe_replaces_sgd_settings_and_no_others():
    with_recipe = [name for name, entry in BACKBONES.items() if entry.recipe]
    assert with_recipe
    for name in with_recipe:
        assert default_values("coco_1x", name) == {**PROFILES["coco_1x"], **BACKBONES[name].recipe}
        assert default_values("toy", name) == PROFILES["toy"]
    assert default_values("coco_1x", "r50") == default_values("coco_1x", "no backbone") == PROFILES["coco_1x"]


def test_a_file_of_parameters_holds_exceptions_by_profile_that_given_values_override():
    row = {"method": "baseline", "student": "r101", "profiles": {"toy": {"epochs": 14}, "mini": {"epochs": 48}}}
    assert make_parameters(row).epochs == 14
    assert make_parameters({**row, "profile": "mini"}).epochs == 48
    assert make_parameters({**row, "profile": "coco_1x"}).epochs == 12  # the profile's own
    assert make_parameters({**row, "profile": "mini", "epochs": 3}).epochs == 3
    assert make_parameters({**row, "epochs": None}).epochs == 14  # a notebook's None means "not given"


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"toi": {"epochs": 1}}, "parameter 'profiles' = 'toi' is not one of toy, mini, coco_1x, coco_2x_ms"),
        ({"coco_1x": {"epoch": 1}}, "profiles, coco_1x: parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ({"toy": 12}, "parameter 'profiles' = {'toy': 12} must map profiles to parameters, as in {toy: {epochs: 12}}"),
        ([], "parameter 'profiles' = [] must map profiles to parameters"),
        ({"toy": {"epochs": 0}}, "epochs=0 only evaluates the detector of init"),
    ],
)
def test_invalid_exceptions_of_profiles_raise_one_line(profiles, message):
    with pytest.raises(ValueError) as caught:
        make_parameters({"profiles": profiles})
    assert message in str(caught.value) and "\n" not in str(caught.value)

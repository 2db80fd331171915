"""The parameter groups together are the parameters of an experiment."""

import inspect
from collections import Counter

import pytest

from lad.config import groups
from lad.config.experiment import Parameters, make_parameters
from lad.config.groups import ExperimentParameters, Group, OptimizationParameters, RuntimeParameters

GROUPS = [
    value
    for value in vars(groups).values()
    if inspect.isclass(value) and issubclass(value, Group) and value not in (Group, ExperimentParameters)
]


def test_every_parameter_but_the_profile_is_in_exactly_one_group():
    times = Counter(name for group in GROUPS for name in group.model_fields)
    assert set(times.values()) == {1}
    assert set(times) | {"profile"} == set(Parameters.model_fields)
    assert all(issubclass(Parameters, group) for group in GROUPS)


def test_every_group_documents_its_parameters():
    for group in GROUPS:
        for name in group.model_fields:
            assert f"\n    {name}: " in inspect.getdoc(group), f"{group.__name__} does not document {name}"


def test_the_parameters_of_an_experiment_are_also_those_of_a_group():
    parameters = make_parameters({})
    assert isinstance(parameters, OptimizationParameters) and isinstance(parameters, RuntimeParameters)


def test_parameters_cannot_be_changed_and_a_group_refuses_unknown_names():
    with pytest.raises(ValueError, match="frozen"):
        make_parameters({}).epochs = 3
    with pytest.raises(ValueError, match="epochz"):
        OptimizationParameters(epochz=3)

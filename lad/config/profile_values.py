"""Given parameters, completed by the values that a parameter file has for their profile."""

from collections.abc import Mapping
from typing import Any

from lad.config.groups import ExperimentParameters
from lad.config.profiles import PROFILES
from lad.utils.messages import format_value, given_values, invalid_choice_message

RENAMED = {"criterion": "cost_selection"}  # parameters of earlier versions


def merge_profile_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values, completed by those under `profiles` for the given profile.

    A file in params/ is for all profiles; values of a single profile are in a mapping such as
    `profiles: {toy: {epochs: 12}}`. A value given outside it takes precedence.

    Raises:
        ValueError: `profile` or a key of `profiles` is not a profile, or a name is not a parameter.
    """
    refuse_renamed(given)
    known = given_values({name: value for name, value in given.items() if name != "profiles"}, ExperimentParameters)
    profile = known.setdefault("profile", "toy")
    if not isinstance(profile, str):
        raise ValueError(f"parameter 'profile' = {format_value(profile)}: input should be a valid string")
    if profile not in PROFILES:
        raise ValueError(invalid_choice_message("profile", profile, PROFILES))
    profiles = {} if given.get("profiles") is None else given["profiles"]
    if not isinstance(profiles, Mapping) or not all(isinstance(values, Mapping) for values in profiles.values()):
        hint = "must map profiles to parameters, as in {toy: {epochs: 12}}"
        raise ValueError(f"parameter 'profiles' = {format_value(profiles)} {hint}")
    for name, values in profiles.items():
        if name not in PROFILES:
            raise ValueError(invalid_choice_message("profiles", name, PROFILES))
        try:
            given_values(values, ExperimentParameters)
        except ValueError as error:
            raise ValueError(f"profiles, {name}: {error}") from None
    return {**given_values(profiles.get(profile, {}), ExperimentParameters), **known}


def refuse_renamed(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a parameter that has another name now; the message gives it."""
    for old, new in RENAMED.items():
        if old in given:
            raise ValueError(f"parameter '{old}' is now called '{new}'; give {new}={format_value(given[old])}")

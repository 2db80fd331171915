"""Backbones: one file each, registered in `registry.BACKBONES` under the names that users type."""

import importlib
import pkgutil

from lad.models.backbones.registry import BACKBONES, Backbone, BackboneEntry, register_backbone

for module in pkgutil.iter_modules(__path__):  # importing a backbone's module registers it
    importlib.import_module(f"{__name__}.{module.name}")

__all__ = ["BACKBONES", "Backbone", "BackboneEntry", "register_backbone"]

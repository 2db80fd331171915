"""Detection heads: PAA's, alone or with an auxiliary objectness prediction, registered in `registry.HEADS`."""

import importlib
import pkgutil

from lad.models.heads.registry import HEADS, HeadEntry, register_head

for module in pkgutil.iter_modules(__path__):  # importing a head's module registers it
    importlib.import_module(f"{__name__}.{module.name}")

__all__ = ["HEADS", "HeadEntry", "register_head"]

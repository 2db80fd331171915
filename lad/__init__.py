"""Label Assignment Distillation: the PAA detectors, the assignment, and the paper's methods, with their pictures."""

__version__ = "0.1.0"

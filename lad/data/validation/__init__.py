"""Validation of data sets: what is wrong with a COCO-format folder, and a repaired copy."""

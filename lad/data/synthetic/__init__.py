"""Embedded data sets: generated images of colored shapes."""

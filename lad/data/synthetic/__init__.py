"""The embedded data sets: generated images of shapes."""

"""Experiments: runs on disk, which are trained once and reused, their tables and evaluations."""

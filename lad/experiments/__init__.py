"""Experiments: runs on disk, trained once and found again, their tables and evaluations."""

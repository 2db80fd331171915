"""Evaluation: COCO metrics, error analysis, and submissions to COCO's server."""

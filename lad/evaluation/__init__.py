"""Evaluation: COCO metrics, error analysis, and submissions to the COCO evaluation server."""

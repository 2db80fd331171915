"""Validation of COCO-format data sets: findings, checks before training, and corrected copies."""

"""Utilities: atomic file writes, progress output and messages."""

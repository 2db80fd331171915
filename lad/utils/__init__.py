"""Utilities: atomic file writes, options, paths, progress output and messages."""

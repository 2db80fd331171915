"""The interactive explorer of one image's label assignment."""

"""Checkpoints split into files that other programs read as they are, with an index."""

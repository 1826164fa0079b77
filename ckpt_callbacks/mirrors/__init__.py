"""Copies of a run's checkpoints elsewhere."""

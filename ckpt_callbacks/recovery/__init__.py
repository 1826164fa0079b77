"""Run directories after a crash."""

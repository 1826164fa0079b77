"""One training run in one run directory, for any framework."""

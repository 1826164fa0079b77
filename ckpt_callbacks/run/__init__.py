"""One training in one run directory, for any framework."""

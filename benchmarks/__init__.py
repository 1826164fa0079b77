"""Benchmarks of the callbacks against the frameworks' own, other libraries, and the limits of the machine."""

"""Benchmarks that compare the callbacks with the frameworks' own, other libraries, and the limits of the machine."""

"""The process that trains: clocks, threads, signals, ranks, environment."""

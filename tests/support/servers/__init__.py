"""Real servers on loopback, and stand-ins for those that nobody can run."""

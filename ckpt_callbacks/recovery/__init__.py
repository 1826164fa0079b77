"""Recovery of run directories after a crash."""

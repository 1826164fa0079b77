"""Host memory for snapshots."""

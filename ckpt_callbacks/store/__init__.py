"""A run directory on disk: locks, digests, the manifest, commits and aliases."""

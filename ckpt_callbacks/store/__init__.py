"""Everything that touches the disk, for any framework: locks, digests, the manifest, commits and aliases."""

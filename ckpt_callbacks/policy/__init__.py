"""The pure policy engine: standard library only."""

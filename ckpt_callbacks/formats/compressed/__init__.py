"""Compressed checkpoints: files that wrap a native one byte for byte."""

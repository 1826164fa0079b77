"""Torch without Lightning."""

"""Torch's `.ckpt` files."""

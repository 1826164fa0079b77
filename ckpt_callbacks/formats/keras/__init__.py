"""Keras' `.keras`, `.weights.h5` and `.h5` files."""

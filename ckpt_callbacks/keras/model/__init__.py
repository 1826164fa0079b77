"""Keras models: walked, copied and loaded."""

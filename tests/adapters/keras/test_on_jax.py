"""The tests of this folder on JAX."""

from tests.adapters.keras.backends import run_on


def test_everything_passes_on_jax():
    run_on("jax")

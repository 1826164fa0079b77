"""The tests of this folder on JAX."""

import pytest

from tests.adapters.keras.backends import run_on


@pytest.mark.slow
def test_everything_passes_on_jax():
    run_on("jax")

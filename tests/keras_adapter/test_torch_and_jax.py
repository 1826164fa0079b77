"""What the other files of this folder ask of TensorFlow, the other backends do too."""

import pytest
from keras_adapter.conftest import OTHERS


@pytest.mark.parametrize("backend", OTHERS)
def test_it_is_the_same_on(backend, other_backends):
    process = other_backends[backend]
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output

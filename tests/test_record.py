"""The facts of attempts."""

import pytest

from ckpt_callbacks.record import Attempt, attempt_framework


@pytest.mark.parametrize(
    ("facts", "framework"),
    [
        ({"framework": "lightning", "holder": "MyCheckpoint"}, "lightning"),
        ({"framework": "keras"}, "keras"),
        ({"holder": "LightningCheckpoint"}, "lightning"),  # journals of earlier versions
        ({"holder": "KerasCheckpoint"}, "keras"),
        ({"holder": "machine"}, None),
        ({"rebuilt": True}, None),
        ({}, None),
    ],
)
def test_an_attempt_names_its_framework(facts, framework):
    assert attempt_framework(Attempt("r1", 1, None, 0.0, facts)) == framework

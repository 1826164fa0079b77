"""Checks for the tests of both frameworks."""

import signal

import pytest


@pytest.fixture
def handlers():
    """Nothing stays installed after a fit."""
    watched = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in watched]
    yield
    assert [signal.getsignal(number) for number in watched] == before

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


@pytest.fixture(
    params=[
        {"optimizer": False},  # the same command would begin with a new optimizer again
        pytest.param({"step": False}, marks=pytest.mark.slow),
        pytest.param("never", marks=pytest.mark.slow),
    ]
)
def resumes_less(request):
    """A value of ``resume`` with which the same command would not continue an interrupted run as it was."""
    return request.param

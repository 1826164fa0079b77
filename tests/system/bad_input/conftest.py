"""Finished runs of each kind, for the tests that damage them."""

import pytest

from tests.system.bad_input.runs import KINDS, RESUMABLE, copied, fit


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """Return two finished runs of each kind, of three epochs, which no test may change."""
    base = tmp_path_factory.mktemp("trained")
    for kind in KINDS:
        for name in ("run", "other"):
            fit(kind, base / kind / name, 3)
    return base


@pytest.fixture(params=RESUMABLE)
def run(request, trained, tmp_path):
    """Return the kind, and a copy of a finished run."""
    return request.param, copied(trained / request.param / "run", tmp_path / "run")

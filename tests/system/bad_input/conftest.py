"""Finished runs of each kind, for the tests that spoil them."""

import pytest

from tests.system.bad_input.runs import KINDS, RESUMABLE, copied, fit


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """Two finished runs of each kind, of three epochs; not to be changed."""
    base = tmp_path_factory.mktemp("trained")
    for kind in KINDS:
        for name in ("run", "other"):
            fit(kind, base / kind / name, 3)
    return base


@pytest.fixture(params=RESUMABLE)
def run(request, trained, tmp_path):
    """The kind, and a copy of a finished run."""
    return request.param, copied(trained / request.param / "run", tmp_path / "run")

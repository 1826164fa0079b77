"""Run directories whose checkpoints are exported."""

import pytest

from tests.export.models import Net, train


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """The run of an MLP of other than the default width. No test changes it."""
    return train(tmp_path_factory.mktemp("exported") / "run", Net(width=5, tied=True))

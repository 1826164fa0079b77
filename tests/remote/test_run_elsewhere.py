"""Runs whose directory is a bucket, and the example of a mirror, against a local server of S3."""

import shutil

import pytest

from ckpt_callbacks.mirrors.reading import read_catalog
from tests.support.forks import forks_of
from tests.support.processes import ROOT
from tests.support.servers.seaweed import KEY, SECRET

pytestmark = pytest.mark.mirrors


@pytest.fixture
def bucket(clouds, tmp_path):
    """A place in a bucket, and what runs a script with the credentials for it in the environment."""
    place = clouds.place("s3", tmp_path)
    forks = forks_of(
        AWS_ENDPOINT_URL=place.endpoint,
        AWS_ACCESS_KEY_ID=KEY,
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_REGION="us-east-1",
        CKPT_CALLBACKS_CACHE=str(tmp_path / "cache"),
    )
    return place, forks


def test_the_example_of_a_mirror_continues_on_an_empty_machine(bucket, tmp_path):
    place, forks = bucket

    def run(name, epochs):
        script = ROOT / "examples" / "mirror.py"
        return forks.run(script, tmp_path / name, f"{place.url}/{name}", epochs).splitlines()[-1]

    whole = run("whole", 4)
    run("lost", 2)
    shutil.rmtree(tmp_path / "lost")
    assert run("lost", 4) == whole and whole.startswith("weights ")


@pytest.mark.parametrize("script", ["train_lightning.py", "train_keras.py"])
def test_a_run_directory_may_be_a_bucket(bucket, tmp_path, script):
    place, forks = bucket
    forks.run(ROOT / "examples" / script, place.url, "2")
    catalog, _ = read_catalog(place.open())
    first = {entry.record.id for entry in catalog.entries}
    assert max(entry.record.epoch for entry in catalog.entries) == 2
    shutil.rmtree(tmp_path / "cache")
    forks.run(ROOT / "examples" / script, place.url, "4")
    catalog, _ = read_catalog(place.open())
    assert max(entry.record.epoch for entry in catalog.entries) == 4
    assert [attempt.number for attempt in catalog.attempts] == [1, 2]
    assert catalog.attempts[-1].parent in first

"""Uploads that are killed with -9: nothing half-sent is ever seen, and the next process continues.

``make kills`` kills 100 uploads of each store, and writes the figures into docs/mirrors.md.
"""

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from ckpt_callbacks.remote.url import open_store
from tests.support.forks import forks_of
from tests.support.interrupted import wait_for
from tests.system.mirrors import kills

STORES = ("s3", "gcs", "azure")
SEED, EPOCHS = 19, 20  # so many epochs that no start comes to the end before it is killed
HERE = Path(__file__).parent


def killed(place, folder, count):
    return kills.kill_uploads(place, folder, count, SEED)


def require(found):
    assert not found.partial, "\n".join(found.partial)
    assert max(found.twice) <= 1, found.twice
    assert not found.left, "\n".join(found.left)


@pytest.mark.mirrors
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_some_kills(place, tmp_path):
    found = killed(place, tmp_path, 8)
    assert found.kills == 8
    require(found)


@pytest.mark.mirrors
@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_training_that_is_killed_and_loses_its_disk_ends_as_any_other(place, train, tmp_path):
    expected = train("lightning", tmp_path / "alone", [], EPOCHS)[-1]
    dirpath, draw, store = tmp_path / "run", random.Random(SEED), open_store(place.url, place.options)
    with kills.proxied(place) as proxy:
        proxy.rate = 300_000
        mirrors = json.dumps([place.through(proxy.port).mirror])
        for turn in range(6):
            child = forks_of().start(HERE / "train.py", "lightning", dirpath, mirrors, EPOCHS, 0.05)
            wait_for(child, "step")
            time.sleep(draw.uniform(0.2, 1.5))
            child.kill()
            child.wait()
            found = kills.Kills(place.name)
            kills.look(store, found, set(), tmp_path)
            assert not found.partial, "\n".join(found.partial)
            if turn % 2:
                shutil.rmtree(dirpath)
    assert train("lightning", dirpath, [place.mirror], EPOCHS)[-1] == expected


@pytest.fixture(scope="session")
def results():
    """Return the figures by store, and write them to the document once all stores have run."""
    found = {}
    yield found
    if len(found) == len(STORES):
        kills.write([found[name] for name in STORES])


@pytest.mark.soak
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_hundred_kills(place, tmp_path, results, capsys):
    found = killed(place, tmp_path, 100)
    results[found.store] = found
    with capsys.disabled():
        print(("\n" + kills.HEAD if len(results) == 1 else "") + found.line(), end="", flush=True)
    assert found.kills == 100
    require(found)

"""Training that loses its directory, and continues from a mirror as if nothing had happened."""

import shutil
from pathlib import Path

import pytest

from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.wanted import newest_first
from ckpt_callbacks.remote.url import open_store
from ckpt_callbacks.store.manifest import Manifest
from tests.system.mirrors.places import PLACES
from tests.system.soak.digest import digest

FRAMEWORKS = ("lightning", "keras")
LAST = {"lightning": 40, "keras": 16}  # the step at which four epochs end
FAR = "s3"
pytestmark = pytest.mark.mirrors


def restored_from(lines):
    """Return the places from which checkpoints came back."""
    return [line.partition("restored from ")[2].partition(" (step")[0] for line in lines if "restored from" in line]


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """Return a function that returns the SHA-256 of an uninterrupted run without mirrors."""
    found = {}

    def result(train, framework):
        if framework not in found:
            found[framework] = train(framework, tmp_path_factory.mktemp("whole") / "run", [], 4)[-1]
            assert found[framework].startswith("trained ")
        return found[framework]

    return result


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_run_continues_exactly_after_the_loss_of_its_directory(place, framework, train, uninterrupted, tmp_path):
    expected = uninterrupted(train, framework)
    dirpath = tmp_path / "run"
    train(framework, dirpath, [place.mirror], 2)
    shutil.rmtree(dirpath)
    lines = train(framework, dirpath, [place.mirror], 4)
    assert restored_from(lines)
    assert lines[-1] == expected
    shutil.rmtree(dirpath)
    again = train(framework, dirpath, [place.mirror], 4)  # what the second process sent
    assert restored_from(again) and again[-1] == expected


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("lost", ["the run directory", "the near mirror as well"])
def test_the_nearest_of_two_mirrors_is_enough_and_so_is_the_other(
    framework, lost, opened_places, train, uninterrupted, tmp_path
):
    near, far = (opened_places(name).at(tmp_path.name) for name in ("folder", FAR))
    mirrors = [near.mirror, {**far.mirror, "every": "1 h"}]
    dirpath = tmp_path / "run"
    train(framework, dirpath, mirrors, 2)
    shutil.rmtree(dirpath)
    source = near
    if lost != "the run directory":
        shutil.rmtree(near.url.removeprefix("file://"))
        source = far
    lines = train(framework, dirpath, mirrors, 4)
    assert set(restored_from(lines)) == {open_store(source.url, source.options).url}
    assert lines[-1] == uninterrupted(train, framework)
    for place in (near, far):  # both have the end of the run
        catalog, _ = read_catalog(open_store(place.url, place.options))
        assert newest_first(catalog)[0].record.step == LAST[framework]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_mirror_of_weights_holds_the_weights_of_the_run_and_nothing_else(framework, opened_places, train, tmp_path):
    full, small = (opened_places(name).at(tmp_path.name) for name in (FAR, "folder"))
    dirpath = tmp_path / "run"
    train(framework, dirpath, [{**small.mirror, "contents": "weights"}, full.mirror], 1)
    shutil.rmtree(dirpath)
    catalog, _ = read_catalog(open_store(small.url, small.options))
    kept = max(catalog.entries, key=lambda entry: entry.record.id)
    assert not kept.record.resumable and kept.record.contents == "weights"
    lines = train(framework, dirpath, [{**small.mirror, "contents": "weights"}, full.mirror], 1)
    assert set(restored_from(lines)) == {open_store(full.url, full.options).url}
    restored = next(record for record in Manifest.read(dirpath).live() if record.id == kept.record.id)
    (part,) = kept.parts
    path = Path(small.url.removeprefix("file://"), part.key)
    assert path.stat().st_size < restored.path.stat().st_size
    assert weights_of(path) == weights_of(restored.path)


def weights_of(path):
    """Return the SHA-256 of the weights of a checkpoint."""
    if path.suffix == ".ckpt":
        import torch

        return digest(torch.load(path, weights_only=True)["state_dict"])
    import keras

    return digest(keras.saving.load_model(path).get_weights())


def test_training_of_several_fits_sends_the_checkpoints_of_all(opened_places, tmp_path):
    from tests.adapters.keras.task import checkpoint, fit, quick

    place = opened_places("folder").at(tmp_path.name)
    model, callback = quick(), checkpoint(tmp_path / "run", mirrors=[place.mirror])
    for epochs in (1, 2):
        fit(model, callback, epochs=epochs, initial_epoch=epochs - 1)
        catalog, _ = read_catalog(open_store(place.url))
        assert newest_first(catalog)[0].record.epoch == epochs


def test_workers_that_are_forked_while_a_mirror_sends_do_no_harm(opened_places, train, tmp_path):
    place = opened_places(FAR).at(tmp_path.name)
    train("lightning", tmp_path / "run", [place.mirror], 4, 0.02, 2)
    catalog, _ = read_catalog(open_store(place.url, place.options))
    assert newest_first(catalog)[0].record.step == LAST["lightning"]

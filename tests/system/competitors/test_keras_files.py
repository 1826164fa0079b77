"""Failures of Keras' own callbacks with files, none of which this package has (docs/peer-failures.md)."""

import signal
import time

import keras
import pytest

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.errors import MetricError
from ckpt_callbacks.store.digest import digest, verify
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import EACH_EPOCH, VAL, checkpoint, epochs_of, fit, quick
from tests.system.competitors.competitor import fails, faulty
from tests.system.faults.inject import interposed


def loads(path):
    try:
        return bool(keras.saving.load_model(path).weights)
    except (ValueError, OSError):
        return False


@pytest.mark.slow
def test_k2_a_kill_during_a_save_leaves_the_one_before(tmp_path):
    """ModelCheckpoint with a fixed name empties the old file first, so a kill leaves only a torn file."""
    ended = faulty("keras_faults.py", tmp_path)
    assert ended["ours"] == -signal.SIGXFSZ, "killed while it wrote the second one"
    [staged] = (tmp_path / "ours" / ".run" / "staging").iterdir()
    assert not loads(staged)
    [record] = Manifest.read(tmp_path / "ours").live()
    verify(record)
    assert record.epoch == 1 and loads(record.path) and loads(tmp_path / "ours" / "last.keras")
    assert checkpoint(tmp_path / "ours", EACH_EPOCH).resume_path() == str(record.path)
    fails("keras", ended["theirs"] != 0 and not loads(tmp_path / "theirs" / "model.keras"))


@pytest.mark.slow
def test_k3_a_full_disk_ends_no_fit_and_truncates_nothing(tmp_path, small_disk):
    """ModelCheckpoint: `fit` fails (with HDF5, the process crashes), and the file that it was writing is torn."""
    ended = faulty("keras_faults.py", tmp_path, small_disk)
    assert ended["ours"] == 0, "trained to the end"
    records = Manifest.read(small_disk / "ours").live()
    assert [record.epoch for record in records][:2] == [1, 2]
    for record in records:
        verify(record)
        assert loads(record.path)
    assert checkpoint(small_disk / "ours", EACH_EPOCH).resume_path() == str(records[-1].path)
    fails("keras", ended["{epoch}.keras"] > 0 and ended["{epoch}.weights.h5"] != 0, ended)


@pytest.mark.slow
def test_k8_steps_and_a_monitor_go_together_and_a_missing_one_is_an_error(tmp_path):
    """Keras 16734: ``save_best_only`` with an int ``save_freq`` raises TypeError.

    If the monitor is missing, ModelCheckpoint saves nevertheless, and overwrites the best file.
    """
    both = Policy(Every(steps=3) | Improves(VAL), KeepBest(1, by=VAL) | KeepLast(2))
    ours = checkpoint(tmp_path / "ours", both)
    history = fit(quick(), ours, epochs=3).history
    assert ours.best().metrics["val_loss"] == min(history["val_loss"])
    assert {record.step % 4 == 0 for record in ours.records() if VAL.score(record) is not None} == {True}

    before = [(record.path, digest(record.path)) for record in ours.records()]
    missing = checkpoint(tmp_path / "ours", Policy(Improves(Metric("vall_loss", mode="min")), KeepBest(1, by=VAL)))
    with pytest.raises(MetricError, match=r"'vall_loss' was never logged; logged names: .*loss.*val_loss") as caught:
        fit(quick(), missing, epochs=4)
    assert "\n" not in str(caught.value)
    assert [(path, digest(path)) for path, _ in before] == before

    path = tmp_path / "best.keras"
    theirs = dict(monitor="val_loss", mode="min", save_best_only=True)
    try:
        fit(quick(), keras.callbacks.ModelCheckpoint(path, save_freq=2, **theirs), epochs=1)
        raised = False
    except TypeError:
        raised = True
    fails("keras", raised or path.exists(), "it would have to wait for the monitor")
    fit(quick(), keras.callbacks.ModelCheckpoint(path, **theirs), epochs=1)
    best = path.read_bytes()
    fit(quick(), keras.callbacks.ModelCheckpoint(path, **{**theirs, "monitor": "vall_loss"}), epochs=1)
    fails("keras", path.read_bytes() != best)


@pytest.mark.slow
def test_k10_the_last_and_the_best_k_are_kept(tmp_path):
    """Keras 5404: ModelCheckpoint keeps one file, or all of them."""
    ours = checkpoint(tmp_path, Policy(Every(epochs=1), KeepLast(2) | KeepBest(2, by=VAL)))
    history = fit(quick(), ours, epochs=6).history["val_loss"]
    ranking = sorted(range(1, 7), key=lambda epoch: history[epoch - 1])
    expected = {5, 6, *ranking[:2]}
    assert {record.epoch for record in ours.records()} == expected
    assert {path.name for path in tmp_path.glob("digits*.keras")} == {record.file for record in ours.records()}


@pytest.mark.slow
def test_k12_a_failed_save_never_touches_an_earlier_file(tmp_path):
    """A failed save is nevertheless copied to the remote storage, over the good file.

    There is no remote storage yet. This tests the same on the local disk; a test of mirrors will come with them.
    """
    first = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll()))
    fit(quick(), first, epochs=2)
    before = [(record.path, digest(record.path), record.path.stat().st_ino) for record in first.records()]

    def fail(call):
        if call.name == "create" and call.path.endswith(".keras"):
            raise OSError(5, "Input/output error", call.path)

    second = checkpoint(tmp_path, Policy(Every(epochs=1), KeepLast(1)))
    with interposed(tmp_path, fail):
        assert epochs_of(quick(), second, epochs=4) == [2, 3], "training goes on"
    assert [(path, digest(path), path.stat().st_ino) for path, _, _ in before] == before
    failed = [record for record in Manifest.read(tmp_path).records.values() if record.error]
    assert failed and all("Input/output error" in record.error for record in failed)
    assert second.last().epoch == 2 and (tmp_path / "last.keras").resolve() == before[-1][0].resolve()


@pytest.mark.slow
def test_k16_a_clock_that_starts_in_1970_ends_no_fit(tmp_path, monkeypatch):
    """A zip archive holds no date before 1980, so ModelCheckpoint raises ValueError after the first epoch."""
    now, began = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: 3600 + now() - began)
    ours = checkpoint(tmp_path / "ours", EACH_EPOCH)
    fit(quick(), ours, epochs=2)
    assert loads(ours.last().path) and ours.last().epoch == 2

    try:
        fit(quick(), keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"), epochs=2)
        raised = ""
    except ValueError as error:
        raised = str(error)
    fails("keras", "1980" in raised, raised)

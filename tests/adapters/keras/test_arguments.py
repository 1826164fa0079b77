"""Arguments of `KerasCheckpoint`."""

import inspect
import os
import subprocess
import sys

import pytest

from ckpt_callbacks import OnPreempt, Policy
from ckpt_callbacks.errors import DirectoryInUse, PolicyError
from ckpt_callbacks.keras import KerasCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import (
    EACH_EPOCH,
    ONCE,
    checkpoint,
    fit,
    quick,
)


@ONCE
def test_two_callbacks_on_one_directory_are_refused(tmp_path):
    two = r": KerasCheckpoint .saves: every 1 epoch. and KerasCheckpoint .saves: preemption. in this process both write"
    with pytest.raises(DirectoryInUse, match=two):
        fit(quick(), checkpoint(tmp_path), checkpoint(tmp_path, Policy(OnPreempt())))
    fit(quick(), checkpoint(tmp_path), epochs=1)


@ONCE
@pytest.mark.parametrize(
    "settings, text",
    [
        (dict(format="zip"), "format is 'zip'; expected 'keras' or 'h5'"),
        (dict(contents="weights", format="keras"), "contents='weights' is written as .weights.h5"),
        (dict(contents="model"), "contents is 'model'; expected one of full, weights"),
        (dict(resume=3), "resume is 3; expected 'auto', 'never' or a checkpoint's path"),
        (
            dict(resume={"optimiser": False}),
            "resume is {'optimiser': False}; expected True or False for the optimizer",
        ),
        (dict(resume={"weights": False}), "resume is {'weights': False}; expected True or False for the optimizer"),
        (dict(resume={"step": 0}), "resume is {'step': 0}; expected True or False for the optimizer and the step"),
        (dict(mirrors={"url": "/a", "evry": 1}), "mirrors: got an unknown argument 'evry'; did you mean 'every'"),
        (dict(mirrors="runs/a/b"), "mirrors: '.*/runs/a/b' is in the run directory, .*/runs/a; expected another place"),
        (dict(dirpath=None), "dirpath is missing"),
        (
            dict(restore_best_weights=True),
            "restore_best_weights is True, but the policy has no best; expected a rule",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(settings, text):
    with pytest.raises(PolicyError, match=text) as caught:
        KerasCheckpoint(**{"dirpath": "runs/a", "policy": EACH_EPOCH, **settings})
    assert "\n" not in str(caught.value)


@ONCE
def test_a_misspelt_argument_is_corrected():
    with pytest.raises(TypeError, match="KerasCheckpoint: got an unknown argument 'moniter'; did you mean 'monitor'"):
        KerasCheckpoint("runs/a", moniter="val_loss")


@ONCE
def test_one_callback_given_twice_is_one_line(tmp_path):
    callback = checkpoint(tmp_path)
    with pytest.raises(PolicyError, match="this callback was passed to fit\\(\\) more than once; expected once"):
        fit(quick(), callback, callback, epochs=1)
    fit(quick(), callback, epochs=1)


@ONCE
def test_a_name_may_be_typed_with_its_suffix(tmp_path):
    callback = checkpoint(tmp_path, filename="digits-{epoch:02d}.keras")
    fit(quick(), callback, epochs=1)
    assert [record.file for record in callback.records()] == ["digits-01.keras"]


@ONCE
def test_a_yaml_file_describes_the_callback(tmp_path):
    file = tmp_path / "ckpt.yaml"
    lines = ["version: 1", "dirpath: nowhere", "save: [{every: {epochs: 1}}]", "keep: [{last: 1}]", "contents: weights"]
    file.write_text("\n".join(lines))
    callback = KerasCheckpoint.from_yaml(file, dirpath=tmp_path / "run")
    fit(quick(), callback, epochs=2)
    assert [record.file for record in callback.records()] == ["digits-002-8.weights.h5"]
    assert [r.status.value for r in Manifest.read(callback.dirpath).records.values()] == ["deleted", "verified"]


@ONCE
def test_a_missing_framework_is_named_with_the_command_that_installs_it():
    code = "import sys; sys.modules['keras'] = None; import ckpt_callbacks.keras"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert 'keras is not installed: run `pip install "ckpt-callbacks[keras]"`' in done.stderr


@ONCE
def test_the_callback_of_the_other_framework_is_refused_in_one_line(tmp_path):
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.demos.boring_classes import BoringModel

    from ckpt_callbacks.lightning import LightningCheckpoint

    with pytest.raises(PolicyError, match=r"^LightningCheckpoint: got fit\(\) of Keras; expected .*KerasCheckpoint$"):
        fit(quick(), LightningCheckpoint(tmp_path, EACH_EPOCH), epochs=1)
    trainer = lightning.Trainer(callbacks=[checkpoint(tmp_path)], logger=False, accelerator="cpu", max_epochs=1)
    with pytest.raises(PolicyError, match=r"^KerasCheckpoint: got a Trainer of Lightning; .*LightningCheckpoint$"):
        trainer.fit(BoringModel())
    for callback in (LightningCheckpoint(tmp_path / "a", EACH_EPOCH), checkpoint(tmp_path / "b")):
        assert dict(inspect.getmembers(callback))["dirpath"] == callback.dirpath, "it can be inspected"


@ONCE
def test_auto_is_a_mode_that_the_name_says(tmp_path):
    fit(quick(), ours := checkpoint(tmp_path, None, monitor="val_accuracy", mode="auto"), epochs=1, batch_size=64)
    assert ours.best().metrics["val_accuracy"] > 0
    with pytest.raises(
        PolicyError, match=r"^KerasCheckpoint: monitor: 'val_reward' does not say .*; expected mode='min'"
    ):
        checkpoint(tmp_path, None, monitor="val_reward", mode="auto")

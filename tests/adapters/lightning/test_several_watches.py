"""Signals to a process in which several callbacks have `OnPreempt`."""

import os
import shutil
import signal

import pytest
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import CommitError, Every, KeepAll, OnException, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import Model, fit, loaders, trainer

WATCHES = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
SAVES_ALWAYS = Policy(Every(epochs=1) | OnPreempt() | OnException(), KeepAll())
SAVES_EPOCHS = Policy(Every(epochs=1), KeepAll())


class Terminates(Callback):
    """Sends a signal to this process in a hook, at a step."""

    def __init__(self, hook, step, number=signal.SIGTERM):
        self.step, self.number, self.sent = step, number, False
        setattr(self, hook, self._act)

    def _act(self, trainer, *_):
        if trainer.global_step == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


def last(dirpath):
    record = Manifest.read(dirpath).live()[-1]
    return record.step, record.reasons


@pytest.mark.parametrize(
    "policies, hook, number",
    [
        ([WATCHES, WATCHES], "on_train_batch_start", signal.SIGTERM),
        pytest.param([WATCHES] * 3, "on_train_batch_start", signal.SIGUSR1, marks=pytest.mark.slow),
        pytest.param([SAVES_ALWAYS] * 2, "on_train_batch_start", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param([WATCHES, SAVES_EPOCHS, WATCHES], "on_train_batch_start", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_validation_batch_start", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_train_batch_start", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_train_end", signal.SIGUSR1, marks=pytest.mark.slow),
    ],
    ids=["two", "three", "that save on exceptions too", "not all", "in a validation", "Ctrl-C", "at the end"],
)
def test_each_callback_saves_before_the_process_ends(tmp_path, handlers, policies, hook, number):
    step = {"on_validation_batch_start": 10, "on_train_end": 20}.get(hook, 13)
    callbacks = [LightningCheckpoint(tmp_path / str(n), policy) for n, policy in enumerate(policies)]
    with pytest.raises(SystemExit) as end:
        trainer(Terminates(hook, step, number), *callbacks, max_epochs=2, num_sanity_val_steps=0).fit(
            Model(), *loaders()
        )
    assert end.value.code == (1 if number == signal.SIGINT else 128 + number)
    for n, policy in enumerate(policies):
        saved = step + (hook == "on_train_batch_start")
        found = last(tmp_path / str(n))
        if not policy.saves_on_preempt:
            assert found[0] == 10
        elif hook == "on_train_end":
            assert found[0] == 20
        else:
            assert found == (saved, ("preemption",)), "each has saved once, for the signal alone"
        fit(tmp_path / str(n), policy, resume=True, max_epochs=2)  # and the directory is free


@pytest.mark.parametrize("failing", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_save_that_fails_and_raises_leaves_the_others_their_own(tmp_path, handlers, failing):
    callbacks = [LightningCheckpoint(tmp_path / str(n), WATCHES, on_error="raise", background=False) for n in range(2)]
    blocked = tmp_path / str(failing) / ".run" / "staging"

    class Blocks(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 13:
                shutil.rmtree(blocked)
                blocked.touch()

    extra = [Blocks(), Terminates("on_train_batch_start", 13)]
    with pytest.raises(CommitError, match="step 14 was not saved"):
        trainer(*extra, *callbacks, max_epochs=2, num_sanity_val_steps=0).fit(Model(), *loaders())
    assert last(tmp_path / str(failing))[0] == 10
    assert last(tmp_path / str(1 - failing)) == (14, ("preemption",))
    failures = [r.step for r in Manifest.read(blocked.parent.parent).records.values() if r.status.value == "failed"]
    assert failures == [14]


def test_a_signal_between_two_callbacks_is_answered_by_both(tmp_path, handlers):
    class Late(LightningCheckpoint):
        def on_train_batch_end(self, trainer, *rest):
            if trainer.global_step == 13:
                os.kill(os.getpid(), signal.SIGUSR1)
            super().on_train_batch_end(trainer, *rest)

    with pytest.raises(SystemExit):
        trainer(LightningCheckpoint(tmp_path / "a", WATCHES), Late(tmp_path / "b", WATCHES)).fit(Model(), *loaders())
    # The first one may look once more at step 13: its saves wait for the hooks of the module.
    assert last(tmp_path / "a")[0] in (13, 14) and last(tmp_path / "b")[0] == 13, "each at its next safe point"


@pytest.mark.slow
def test_a_fit_within_another_ends_both_and_both_have_saved(tmp_path, handlers):
    class Nested(Callback):
        def __init__(self, *inner):
            self.inner = inner

        def on_train_epoch_end(self, outer, *_):
            if outer.current_epoch == 1:
                inner = trainer(*self.inner, max_epochs=1, num_sanity_val_steps=0)
                inner.fit(Model(), *loaders())

    inner = LightningCheckpoint(tmp_path / "inner", WATCHES)
    with pytest.raises(SystemExit) as end:
        fit(tmp_path / "outer", WATCHES, extra=[Nested(Terminates("on_train_batch_start", 3), inner)])
    assert end.value.code == 128 + signal.SIGTERM
    assert last(tmp_path / "inner") == (4, ("preemption",)) and last(tmp_path / "outer") == (20, ("preemption",))
    _, again, _ = fit(tmp_path / "outer", WATCHES, resume=True)
    assert again.global_step == 30


@pytest.mark.slow
def test_a_fit_after_another_is_the_only_one_that_answers(tmp_path, handlers):
    first = LightningCheckpoint(tmp_path / "first", WATCHES)
    trainer(first, max_epochs=1).fit(Model(), *loaders())
    with pytest.raises(SystemExit):
        fit(tmp_path / "second", WATCHES, extra=[Terminates("on_train_batch_start", 3)])
    assert last(tmp_path / "first")[0] == 10 and last(tmp_path / "second") == (4, ("preemption",))

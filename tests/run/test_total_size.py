"""The budget of a run: room is made before a save is written, and what must stay stays."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ckpt_callbacks import EventKind, Every, Improves, KeepAll, KeepBest, KeepLast, Metric, Policy, PolicyError, Status
from ckpt_callbacks.policy.budget import protected, removal_order
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.support.training import StartedRun, new_run, report, start

SIZE = 1000
VAL = Metric("val_loss", mode="min")
ALL = Policy(Every(epochs=1), KeepAll())
MANY = Policy(Every(epochs=1), KeepLast(9) | KeepBest(9, by=VAL))


class Training(StartedRun):
    """A run that saves at the end of each epoch, and notes what is there when the save is written."""

    def __init__(self, dirpath, max_total_size, policy=ALL):
        self.dirpath, self.before = Path(dirpath), []
        super().__init__(
            new_run(dirpath, policy, max_total_size=max_total_size, background=False, filename="{epoch:02d}")
        )

    def epoch(self, number, size=SIZE, **metrics):
        training = self

        class Writer(FakeWriter):
            def write(self, path):
                training.before.append(training.files)
                return super().write(path)

        report(self.run, EventKind.EPOCH_END, step=number, epoch=number, complete=True, metrics=metrics,
               stage=Writer(os.urandom(size)))  # fmt: skip
        return self.files

    @property
    def files(self):
        return [path.name[:2] for path in sorted(self.dirpath.glob("[0-9]*.raw"))]


def test_room_is_made_before_a_save_is_written(tmp_path, caplog):
    with Training(tmp_path, 3 * SIZE + 500) as training:
        assert [training.epoch(number) for number in range(1, 6)][2:] == [["01", "02", "03"], ["02", "03", "04"],
                                                                         ["03", "04", "05"]]  # fmt: skip
        assert training.before[3:] == [["02", "03"], ["03", "04"]]
    assert not [message for message in caplog.messages if "max_total_size" in message], "85 % is not worth a word"


def test_a_larger_save_makes_more_room_afterwards(tmp_path):
    with Training(tmp_path, 4 * SIZE) as training:
        for number in range(1, 5):
            training.epoch(number)
        assert training.epoch(5, 3 * SIZE) == ["04", "05"]
        assert training.epoch(6, 2 * SIZE) == ["06"], "5 and 6 together would exceed it"


def test_the_best_and_pinned_ones_stay_and_the_worst_ranked_goes_first(tmp_path):
    with Training(tmp_path, 4 * SIZE, MANY) as training:
        for number, loss in enumerate((0.1, 0.5, 0.3, 0.4), start=1):
            training.epoch(number, val_loss=loss)
        assert training.epoch(5, val_loss=0.2) == ["01", "03", "04", "05"], "2 is the worst"
        training.run.directory.manifest.change(4, pinned=True)
        assert training.epoch(6, val_loss=0.9) == ["01", "04", "05", "06"]
        assert training.epoch(7, val_loss=0.95) == ["01", "04", "06", "07"], "while 7 is written, a run resumes from 6"
        assert training.before[-1] == ["01", "04", "06"]


@pytest.mark.parametrize("size", [SIZE, 3 * SIZE])
def test_a_budget_that_cannot_hold_what_must_stay_is_said_once_and_nothing_is_lost(tmp_path, caplog, size):
    with Training(tmp_path, 2 * SIZE, MANY) as training:
        for number, loss in enumerate((0.1, 0.5, 0.3, 0.4), start=1):
            training.epoch(number, size, val_loss=loss)
        assert training.files == ["01", "04"], "the best and the last"
    (message,) = [message for message in caplog.messages if "nothing else is kept" in message]
    assert message.startswith(f"{tmp_path}: max_total_size is 2.0 kB, but ")


def test_a_budget_that_is_nearly_used_up_is_said_once_with_what_goes_next(tmp_path, caplog):
    with Training(tmp_path, 3 * SIZE + 100) as training:
        for number in range(1, 6):
            training.epoch(number)
    (message,) = [message for message in caplog.messages if "max_total_size" in message]
    assert "take 3.0 kB of max_total_size=3.1 kB; the next one to go is 01.raw;" in message
    assert f"`ckpt du {tmp_path} --what-next`" in message


def test_a_budget_below_one_checkpoint_is_refused_before_training_and_changes_nothing(tmp_path):
    with Training(tmp_path, None) as training:
        training.epoch(1)
    before = sorted(path for path in tmp_path.rglob("*"))
    run = new_run(tmp_path, ALL, max_total_size=SIZE - 1)
    with pytest.raises(PolicyError) as caught:
        run.open()
    assert str(caught.value).startswith(f"test: max_total_size is {SIZE - 1} bytes, and {tmp_path / '01.raw'} alone ")
    assert not run.is_open and sorted(path for path in tmp_path.rglob("*")) == before
    with Training(tmp_path, SIZE):  # the lock is free
        pass


def test_nothing_is_deleted_while_a_metric_may_be_misspelt(tmp_path):
    policy = Policy(Every(epochs=1) | Improves(VAL), KeepBest(2, by=VAL))
    with Training(tmp_path, 2 * SIZE, policy) as training:
        for number in range(1, 5):
            training.epoch(number, loss=0.1)
        assert training.files == ["01", "02", "03", "04"]


def test_a_final_save_that_turns_out_to_be_the_last_one_costs_no_checkpoint(tmp_path):
    with Training(tmp_path, 3 * SIZE + 500) as training:
        for number in range(1, 5):
            training.epoch(number)
        same = FakeWriter(training.run.view.last().path.read_bytes())
        report(training.run, EventKind.END, step=4, epoch=4, stage=same)
        assert training.files[-3:] == training.files and "04" in training.files


def test_the_log_says_why_a_checkpoint_is_deleted(tmp_path, caplog):
    caplog.set_level("INFO", "ckpt_callbacks")
    with Training(tmp_path, 2 * SIZE, Policy(Every(epochs=1), KeepLast(3))) as training:
        for number in range(1, 4):
            training.epoch(number)
    assert "deleted 01.raw: to stay within max_total_size=2000" in caplog.messages


class Budget(RuleBasedStateMachine):
    """Saves, pins, tags and resumes in one run directory, with the disk compared after each of them."""

    @initialize(limit=st.integers(2, 9), keep=st.sampled_from([ALL, MANY, Policy(Every(epochs=1), KeepLast(3))]))
    def begin(self, limit, keep):
        self.folder = tempfile.TemporaryDirectory()
        self.limit, self.policy, self.number = limit * SIZE, keep, 0
        self.run = new_run(self.folder.name, keep, max_total_size=self.limit, background=False, filename="{epoch:03d}")
        self.run.open()
        start(self.run)
        self.is_fitted = True

    @rule(size=st.integers(1, 3 * SIZE), loss=st.floats(0, 1))
    def save(self, size, loss):
        self.number += 1
        before = self.records
        writer = FakeWriter(os.urandom(size))
        report(self.run, EventKind.EPOCH_END, step=self.number, epoch=self.number, complete=True,
               metrics={"val_loss": loss}, stage=writer)  # fmt: skip
        self.is_fitted, self.embedded = True, writer.embedded
        new = Manifest.read(Path(self.folder.name)).records[self.number]
        self._check_order([*before, new])

    def _check_order(self, candidates):
        """What the budget alone took is the beginning of the documented order."""
        kept = plan(self.policy.keep, candidates, best=self.policy.best_metric).keep
        gone = {record.id for record in kept} - {record.id for record in self.records}
        # Room for the new save was made before it was there.
        old = plan(self.policy.keep, candidates[:-1], best=self.policy.best_metric).keep
        earlier = [record.id for record in removal_order(self.policy.keep, old, self.policy.best_metric)]
        later = [record.id for record in removal_order(self.policy.keep, kept, self.policy.best_metric)]
        assert gone <= set(earlier) | set(later)

    @precondition(lambda self: self.number)
    @rule(data=st.data(), pinned=st.booleans())
    def pin(self, data, pinned):
        record = data.draw(st.sampled_from(self.records))
        self.run.directory.manifest.change(record.id, pinned=pinned, tags=("release",) if pinned else ())
        self.is_fitted = False

    @precondition(lambda self: self.number)
    @rule()
    def restart(self):
        self.run.close()
        self.run = new_run(
            self.folder.name, self.policy, max_total_size=self.limit, background=False, filename="{epoch:03d}"
        )
        try:
            self.run.open()
        except PolicyError:  # the last checkpoint is larger than the budget
            assert self.records[-1].size > self.limit
            self.run = new_run(self.folder.name, self.policy, background=False, filename="{epoch:03d}")
            self.run.open()
            self.limit = 10**9
        self.run.restore(self.embedded.run)
        start(self.run, step=self.number, epoch=self.number)

    @property
    def records(self):
        return Manifest.read(Path(self.folder.name)).live()

    @invariant()
    def fits(self):
        if not hasattr(self, "folder"):
            return
        records, best = self.records, self.policy.best_metric
        on_disk = sorted(path.name for path in Path(self.folder.name).glob("[0-9]*.raw"))
        assert on_disk == sorted(record.file for record in records)
        assert all(record.status is Status.VERIFIED for record in records)
        total = sum(record.size for record in records)
        stay = protected(records, best)
        assert total <= self.limit or all(record.id in stay for record in records) or not self.is_fitted

    def teardown(self):
        if hasattr(self, "folder"):
            self.run.close()
            self.folder.cleanup()


Budget.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestBudget = Budget.TestCase

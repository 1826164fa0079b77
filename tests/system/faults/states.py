"""A run directory under any order of events, beside a model of what must survive."""

import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ckpt_callbacks import EventKind, Every, Improves, KeepBest, KeepLast, KeepTagged, Policy, VerifyError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.support.training import compacted_often, new_run, report, start, worker_of
from tests.system.faults.checks import check_foreign, check_links, plant
from tests.system.faults.inject import in_child, interposed, kill_before
from tests.system.faults.writer import FILE, FOLDER, VAL, Stage, read, weights

POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL) | KeepTagged("release"))


class Training(RuleBasedStateMachine):
    """One directory. The model holds each acknowledged step, its branch, and what was done to it since.

    Attributes:
        tried: How often each kind of event occurred in all examples of a test, which sets it.
    """

    tried: ClassVar[Counter]

    @initialize(kind=st.sampled_from([FILE, FOLDER]))
    def begin(self, kind):
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.dirpath = self.folder / "run"
        self.dirpath.mkdir()
        plant(self.dirpath)
        self.step = 0  # of the model in training
        self.saved = {}  # step: value, of the current branch, in order
        self.tagged, self.damaged = set(), set()  # steps of that line
        self.bad = set()  # ids of all damaged records
        self.there = set()  # steps that were found intact after the last rule
        self.pruned = set()  # steps that retention has deleted when it could; a later resume does not bring them back
        self.was_damaged = False
        self.taken = {}  # foreign files in the place of a future checkpoint
        self.unsure = None  # the step whose save a crash cut off
        self.went_back_to = 0  # the step to resume from after damage; older ones may be gone
        self.run = None
        self.resume()

    def open_run(self):
        return compacted_often(new_run(self.dirpath, POLICY, suffix=".bin" if self.kind == FILE else ".dir"))

    def resume(self):
        self.run = self.open_run()
        self.run.open()
        newest = next(self.run.view.verified_resumable(), None)
        begin = 0
        if newest is not None:
            snapshot, data = read(newest.path)
            assert data == weights(newest.step)
            self.run.restore(snapshot)
            begin = newest.step
        whole = [step for step in self.saved if step not in self.damaged and step in self.there]
        allowed = {*whole[-1:], self.unsure} if whole else {0, self.unsure}
        assert begin in allowed, f"resumed at {begin}; expected one of {allowed}"
        if begin == self.unsure:
            self.saved[begin] = self.value
        if any(step > begin for step in self.saved):
            self.went_back_to = begin
        # Steps after the resumed one are trained again, so they no longer count.
        self.saved = {step: value for step, value in self.saved.items() if step <= begin}
        self.damaged, self.tagged, self.pruned = (
            {s for s in steps if s <= begin} for steps in (self.damaged, self.tagged, self.pruned)
        )
        self.unsure, self.step = None, begin
        start(self.run, step=begin, epoch=begin)

    def save(self, value):
        step = self.step + 1
        facts = {"step": step, "epoch": step, "metrics": {"val": value}, "complete": True}
        report(self.run, EventKind.EPOCH_END, stage=lambda embedded: Stage(step, embedded, self.kind), **facts)
        self.run.wait()
        return self.run.view.last() is not None and self.run.view.last().step == step

    @rule(value=st.integers(0, 9))
    def train(self, value):
        self.tried["saves"] += 1
        assert self.save(float(value))
        self.step += 1
        self.saved[self.step] = float(value)

    @rule(value=st.integers(0, 9), at=st.integers(1, 130), torn=st.booleans())
    def crash(self, value, at, torn):
        """Save, and die at some call of the save or right after it; the model notes whether it was acknowledged."""
        self.tried["crashes"] += 1
        said = self.folder / "said"
        said.unlink(missing_ok=True)

        def work():
            # The lock of the parent is not the child's; both would write.
            with interposed(self.dirpath, kill_before(at, torn)):
                if self.save(float(value)):
                    said.touch()

        self.run.directory._lock._lock.release()  # as a killed process would
        worker_of(self.run).close()  # its thread would be missing in the child
        in_child(work)
        self.run.close()
        self.value = float(value)
        if said.exists():
            self.saved[self.step + 1] = float(value)
            self.there.add(self.step + 1)
        else:
            self.unsure = self.step + 1
        self.resume()

    @rule(at=st.integers(1, 60))
    def crash_while_opening(self, at):
        """Die while the directory is opened again."""
        self.tried["crashes"] += 1
        self.run.close()

        def work():
            with interposed(self.dirpath, kill_before(at)):
                self.open_run().open()

        in_child(work)
        self.resume()

    @rule()
    def reopen(self):
        self.run.close()
        self.resume()

    @rule()
    def prune(self):
        self.run.directory.prune()

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def tag(self, data):
        """Tag a checkpoint from another process' view of the manifest."""
        records = Manifest.read(self.dirpath).live()
        record = records[data.draw(st.integers(0, 9)) % len(records)] if records else None
        if record is not None and record.step in self.saved and not record.superseded:
            Manifest.read(self.dirpath).change(record.id, tags=("release",))
            self.run.view.refresh()
            self.tagged.add(record.step)

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), how=st.sampled_from(["flip", "truncate", "delete"]), seed=st.integers(0, 999))
    def damage(self, data, how, seed):
        """Damage a checkpoint while nothing is training, and start the training run again."""
        records = Manifest.read(self.dirpath).live()
        record = records[data.draw(st.integers(0, 9)) % len(records)] if records else None
        if record is None or record.step not in self.saved or record.id in self.bad or record.superseded:
            return
        self.tried["damaged checkpoints"] += 1
        path = record.path / "shards" / "1.bin" if record.path.is_dir() else record.path
        if how == "delete":
            shutil.rmtree(record.path) if record.path.is_dir() else record.path.unlink()
        else:
            content = bytearray(path.read_bytes())
            if how == "flip":
                content[random.Random(seed).randrange(len(content))] ^= 1 << seed % 8
            path.write_bytes(content if how == "flip" else content[: len(content) // 2])
        self.damaged.add(record.step)
        self.bad.add(record.id)
        self.was_damaged = True
        self.run.close()
        self.resume()

    @rule(value=st.integers(0, 9), content=st.binary(max_size=8))
    def save_under_a_taken_name(self, value, content):
        """Put a foreign file under the name that the next checkpoint would get."""
        step = self.step + 1
        name = f"model-{step:03d}-{step}{self.run.suffix}"
        if not os.path.lexists(self.dirpath / name):
            self.tried["taken names"] += 1
            (self.dirpath / name).write_bytes(content)
            self.taken[name] = content
        self.train(value)
        assert self.run.view.last().file not in self.taken

    def lose(self):
        """Remove from the model what no file holds, because the manifest is lost, or its end."""
        self.tried["lost or cut manifests"] += 1
        self.run.close()
        self.tagged = set()

    def find_again(self):
        self.resume()
        self.bad &= Manifest.read(self.dirpath).records.keys()  # the ids of others may be given again

    @rule()
    def lose_everything_of_ours(self):
        self.lose()
        shutil.rmtree(self.dirpath / ".run")
        self.find_again()

    @rule(at=st.integers(1, 90), torn=st.booleans())
    def crash_while_rebuilding(self, at, torn):
        """Lose the manifest, and die in the next process while it is rebuilt."""
        self.lose()
        self.tried["crashes"] += 1
        shutil.rmtree(self.dirpath / ".run")

        def work():
            with interposed(self.dirpath, kill_before(at, torn)):
                self.open_run().open()

        in_child(work)
        self.find_again()

    @rule(share=st.floats(0, 1))
    def cut_the_manifest(self, share):
        """Cut the manifest's end at any byte."""
        self.lose()
        journal = self.dirpath / ".run" / "manifest.jsonl"
        os.truncate(journal, int(journal.stat().st_size * share))
        self.find_again()

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "run"):
            return
        steps = list(self.saved)
        # Checkpoints after the one that a damaged checkpoint made the run go back to do not count among the last ones.
        must = {*(step for step in steps[-2:] if step >= self.went_back_to), *self.tagged.intersection(steps)}
        unpruned = [step for step in steps if step not in self.pruned]
        if unpruned:
            must.add(min(unpruned, key=lambda step: self.saved[step]))
        there = set()
        for record in Manifest.read(self.dirpath).live():
            try:
                verify(record)
                assert read(record.path)[1] == weights(record.step)
                there.add(record.step)
            except VerifyError:
                assert record.id in self.bad
        self.there = there
        assert must - self.damaged <= there, f"{must - self.damaged - there} are lost; there are {there}"
        self.pruned |= set(steps) - must - there - self.damaged
        check_foreign(self.dirpath)
        for name, content in self.taken.items():
            assert (self.dirpath / name).read_bytes() == content
        if not self.was_damaged:
            check_links(self.dirpath)

    def teardown(self):
        if hasattr(self, "run"):
            self.run.close()
            shutil.rmtree(self.folder, ignore_errors=True)

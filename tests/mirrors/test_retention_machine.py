"""A mirror's retention, whatever order saves, uploads, failures, crashes and resumes come in."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ckpt_callbacks.errors import MirrorConflict, MirrorUnreachable
from ckpt_callbacks.mirrors.keys import user_key
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.restoring import bring_back, find
from ckpt_callbacks.store.digest import digest
from tests.mirrors.runs import LOSS, SmallRun
from tests.support.memory_store import Failing, MemoryStore

FOREIGN = ("notes.txt", "checkpoints/readme", "mirror-of-mine/catalog.json")
# What the policy keeps: two newest, the best one and the best that counts, the last, the final, the newest resumable.
MOST = 7


def newest(records):
    """Return the records that the policy keeps in any case."""
    return [record for record in records if not record.superseded][-1:]


class Mirrored(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.store = MemoryStore()
        for key in FOREIGN:
            self.store.put(key, b"somebody else's")
        self.run = SmallRun(self.folder / "run")
        self.mirror = self.run.mirror(self.store)
        self.protected = set()  # ids that are at the mirror, and must stay there
        self.here = set()  # of these, those whose tag may not have arrived there
        self.parent = set()  # the id from which the run has continued last

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def at_mirror(self):
        catalog, _ = read_catalog(MemoryStore(self.store.objects))
        return {} if catalog is None else {entry.record.id: entry for entry in catalog.entries}

    def choose(self, ids, seed):
        return random.Random(seed).choice(sorted(ids))

    @rule(loss=st.floats(0, 1), resumable=st.booleans())
    def save(self, loss, resumable):
        self.run.save(loss, resumable=resumable)

    @precondition(lambda self: self.run.records())
    @rule(seed=st.integers())
    def delete_here(self, seed):
        self.run.delete(self.choose({record.id for record in self.run.records()}, seed))

    @rule(losses=st.lists(st.floats(0, 1), min_size=1, max_size=4))
    def save_and_synchronise(self, losses):
        for loss in losses:
            self.run.save(loss)
            self.mirror._synchronise()
        self.has_all()

    @rule()
    def synchronise(self):
        self.mirror._synchronise()
        self.has_all()

    @rule(at=st.integers(1, 12), when=st.sampled_from(["before", "after"]), crashes=st.booleans())
    def fail_to_synchronise(self, at, when, crashes):
        self.store.fails = Failing(at, when)
        try:
            self.mirror._synchronise()
        except MirrorUnreachable:
            if crashes:
                self.mirror = self.run.mirror(self.store)
        finally:
            self.store.fails = lambda *_: None
        self.note_tags()

    def has_all(self):
        """Check what a mirror holds after nothing has failed."""
        there = self.at_mirror()
        assert {r.id for r in newest(self.run.records()) if r.id > max(there, default=0)} <= there.keys()
        assert len(there) <= MOST + len(self.protected | self.parent | self.here | self.tagged())
        self.note_tags()

    def note_tags(self):
        there = self.at_mirror()
        self.here |= self.tagged() & there.keys()
        self.protected |= {id_ for id_, entry in there.items() if entry.record.tags or entry.record.pinned}

    def tagged(self):
        return {record.id for record in self.run.records() if record.tags or record.pinned}

    @precondition(lambda self: self.run.records())
    @rule(seed=st.integers(), pin=st.booleans())
    def protect(self, seed, pin):
        id_ = self.choose({record.id for record in self.run.records()}, seed)
        self.run.manifest.change(id_, **({"pinned": True} if pin else {"tags": ("mine",)}))
        self.note_tags()

    @precondition(lambda self: self.at_mirror())
    @rule(seed=st.integers())
    def continue_elsewhere(self, seed):
        id_ = self.choose(self.at_mirror(), seed)
        self.store.put(user_key(id_, "other"), b"{}")
        self.protected.add(id_)

    @precondition(lambda self: any(entry.record.resumable for entry in self.at_mirror().values()))
    @rule(seed=st.integers())
    def resume_on_an_empty_machine(self, seed):
        there, self.here = self.at_mirror(), set()
        shutil.rmtree(self.folder / "run")
        manifest = SmallRun(self.folder / "run").manifest
        shutil.rmtree(self.folder / "run")
        manifest = type(manifest)(self.folder / "run")
        record = bring_back(find([self.store]), manifest, LOSS)
        usable = [e.record for e in there.values() if e.record.resumable and not e.record.superseded]
        assert (record is None) == (not usable)
        if record is None:
            self.run, self.parent = SmallRun(self.folder / "run", parent=None), set()
        else:
            assert record.id == max(r.id for r in usable)
            assert digest(record.path)[0] == there[record.id].record.digest
            self.run = SmallRun(self.folder / "run", parent=record.id)
            assert self.run.manifest.next_id > max(there)
            self.parent = {record.id}
        self.mirror = self.run.mirror(self.store)

    @rule()
    def another_run_takes_nothing(self):
        before = dict(self.store.objects)
        other = SmallRun(self.folder / "other", run="another")
        other.save()
        if self.at_mirror():
            try:
                other.mirror(self.store)._synchronise()
            except MirrorConflict as error:
                assert "another run" in str(error) and "\n" not in str(error)
            else:
                raise AssertionError("it has taken the place")
            assert self.store.objects == before
        shutil.rmtree(self.folder / "other")

    @invariant()
    def what_counts_is_whole(self):
        if not hasattr(self, "store"):
            return
        for entry in self.at_mirror().values():
            (part,) = entry.parts
            data, _ = self.store.objects[part.key]
            path = self.folder / "copy"
            path.write_bytes(data)
            assert digest(path) == (entry.record.digest, entry.record.size)

    @invariant()
    def the_protected_ones_are_there(self):
        if hasattr(self, "store"):
            assert self.protected | self.parent | self.here <= self.at_mirror().keys()
            assert all(self.store.objects[key][0] == b"somebody else's" for key in FOREIGN)


Mirrored.TestCase.settings = settings(Mirrored.TestCase.settings, stateful_step_count=25, max_examples=50)
TestMirrored = Mirrored.TestCase

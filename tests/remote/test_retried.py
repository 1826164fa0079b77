"""A store whose requests are tried again, and counted."""

import random
import time

import pytest

from ckpt_callbacks.errors import MirrorUnreachable
from ckpt_callbacks.remote.counted import Counted
from ckpt_callbacks.remote.object_store import ObjectFacts
from ckpt_callbacks.remote.retried import Retried
from tests.support.memory_store import MemoryStore

from .sent_file import PART, SentFile

PATIENCE = 0.03  # seconds


class Slow(MemoryStore):
    """A store of which each attempt at an upload takes longer than the patience.

    Args:
        kept: Parts that arrive in one attempt.
        continues: Whether they are still there in the next one.
    """

    def __init__(self, kept, continues):
        super().__init__()
        self.kept, self.continues, self.attempts = kept, continues, 0

    def upload(self, upload):
        self.attempts += 1
        first = upload.state.get("done", 0) if self.continues else 0
        for number in range(first, min(first + self.kept, upload.count)):
            upload.progress(upload.length(number))
            upload.note({"done": number + 1})
        if self.continues and upload.state.get("done") == upload.count:
            return super().upload(upload)
        time.sleep(2 * PATIENCE)
        raise MirrorUnreachable("memory://a: does not answer")


def test_an_upload_goes_on_as_long_as_its_parts_arrive(tmp_path):
    file, store = SentFile(tmp_path / "sent", 6 * PART), Slow(1, continues=True)
    Retried(store, PATIENCE).upload(file.upload())
    assert store.objects["data/a.ckpt"][0] == file.data and store.attempts == 6


@pytest.mark.parametrize(("kept", "attempts"), [(0, 1), (2, 5), (4, 3)])
def test_an_upload_that_begins_again_and_again_ends(tmp_path, kept, attempts):
    file, store = SentFile(tmp_path / "sent", 4 * PART), Slow(kept, continues=False)
    with pytest.raises(MirrorUnreachable):
        Retried(store, PATIENCE).upload(file.upload())
    assert store.attempts == attempts


@pytest.mark.parametrize(("count", "lists", "deletions"), [(0, 1, 0), (1, 1, 1), (1000, 1, 1), (1001, 2, 2)])
def test_lists_and_deletions_are_counted_by_page(count, lists, deletions):
    bare = MemoryStore({f"{number}": (b"", "1") for number in range(count)})
    store = Counted(bare)
    assert len(list(store.list())) == count and store.taken() == (lists, 0)
    store.delete(ObjectFacts(f"{number}") for number in range(count))
    assert store.taken() == (deletions, 0) and not bare.objects


def test_the_failure_of_the_last_attempt_is_known_until_the_store_answers():
    bare = MemoryStore()
    store, error, left = Retried(bare, 5.0), MirrorUnreachable("memory://a: 503"), [2]
    seen = []

    def fail(when, name, key):
        if when == "before":
            seen.append(store.failure)
            left[0] -= 1
            if left[0] >= 0:
                raise error

    bare.fails = fail
    store.put("a", b"")
    assert seen == [None, error, error] and store.failure is None


def test_the_waits_draw_nothing_from_the_generator_of_the_training_script(monkeypatch):
    store, before = MemoryStore(), random.getstate()
    failures = iter([MirrorUnreachable("memory://a: does not answer")] * 2)
    put = store.put

    def failing(*arguments, **more):
        for failure in failures:
            raise failure
        return put(*arguments, **more)

    monkeypatch.setattr(store, "put", failing)
    Retried(store, 10.0).put("a", b"1")
    assert store.objects["a"][0] == b"1" and random.getstate() == before

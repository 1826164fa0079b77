"""The thread that keeps a mirror up to date."""

import logging
import shutil
import socket
import threading
import time

import pytest

from ckpt_callbacks.errors import MirrorDamaged, MirrorError, MirrorUnreachable
from ckpt_callbacks.mirrors.catalog import Catalog, Entry
from ckpt_callbacks.mirrors.check import Compared, compare, litter
from ckpt_callbacks.mirrors.keys import CATALOG, entry_key
from ckpt_callbacks.mirrors.mirrors import Mirrors
from ckpt_callbacks.mirrors.notes import Notes
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.mirrors.survey import survey
from ckpt_callbacks.mirrors.wanted import Wishes, records_now, to_remove, to_send
from ckpt_callbacks.policy.contents import Contents
from ckpt_callbacks.policy.mirror import Mirror
from ckpt_callbacks.policy.retention import KeepAll, KeepBest, KeepLast
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import LOSS, SmallRun
from tests.support.memory_store import MemoryStore


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run")


@pytest.fixture
def store():
    return MemoryStore()


def there(store):
    """Return the ids of the checkpoints at a mirror."""
    catalog, _ = read_catalog(MemoryStore(store.objects))
    return [] if catalog is None else [entry.record.id for entry in catalog.entries]


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def refusing(error, while_=lambda: True):
    """Return a failure of every request while a condition holds."""

    def fail(when, name, key):
        if when == "before" and while_():
            raise error

    return fail


def sent(store, run, **arguments):
    """Send what is there, and return the mirror."""
    mirror = run.mirror(store, **arguments)
    mirror.start()
    assert mirror.finish(5)
    return mirror


def test_checkpoints_are_sent_newest_first(run, store):
    ids = [run.save(loss).id for loss in (3, 2, 1)]
    sent(store, run, keep=KeepAll())
    assert there(store) == ids[::-1]


def test_a_later_save_is_sent_when_the_thread_is_wakened(run, store):
    mirror = run.mirror(store)
    mirror.start()
    record = run.save()
    mirror.wake()
    deadline = time.monotonic() + 5
    while record.id not in there(store) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there(store) == [record.id]
    assert mirror.finish(5)


def test_a_mirror_that_is_slower_than_the_saves_gets_the_best_one_and_keeps_no_more_than_its_rules_say(run, store):
    most, seen = [], []
    best = run.save(0.1)

    def save_meanwhile(when, name, key):
        if (when, name) == ("before", "upload") and len(seen) < 12:
            seen.append(run.save(1.0).id)
            mirror.wake()
            most.append(len(there(store)))

    store.fails = save_meanwhile
    run.save(1.0)
    mirror = run.mirror(store, keep=KeepLast(1) | KeepBest(1, by=LOSS))
    mirror.start()
    deadline = time.monotonic() + 20
    while len(seen) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mirror.finish(20)
    assert there(store) == [best.id, seen[-1]] and max(most) <= 3


def test_what_is_superseded_meanwhile_is_not_sent(run, store):
    is_down = threading.Event()
    is_down.set()
    store.fails = refusing(MirrorUnreachable("memory://a: is down"), is_down.is_set)
    mirror = run.mirror(store, keep=KeepLast(1))
    mirror.start()
    ids = [run.save(1.0 - n / 10).id for n in range(5)]
    mirror.wake()
    time.sleep(0.1)
    is_down.clear()
    assert mirror.finish(20)
    assert there(store) == ids[-1:]
    assert [name for name, key in store.requests].count("upload") == 1


def test_an_outage_gets_one_line_and_its_end_another(run, store, caplog):
    left = [6]

    def is_down():
        left[0] -= 1
        return left[0] > 0

    store.fails = refusing(MirrorUnreachable("memory://a: does not answer"), is_down)
    run.save()
    sent(store, run)
    assert lines(caplog) == [
        "memory://a: does not answer; checkpoints stay here, and are sent later",
        "memory://a: answers again; all checkpoints that it is to hold are there",
    ]


@pytest.mark.slow
def test_attempts_of_one_request_are_not_told_one_by_one(run, store, caplog):
    left = [3]

    def is_down():
        left[0] -= 1
        return left[0] > 0

    store.fails = refusing(MirrorUnreachable("memory://a: does not answer"), is_down)
    run.save()
    sent(store, run, patience=10)
    assert left[0] <= 0 and lines(caplog) == []


def test_an_outage_that_shows_in_several_ways_gets_one_line(run, store, caplog):
    left = [3]

    def fail(when, name, key):
        left[0] -= 1
        if left[0] > 0:
            raise MirrorUnreachable(f"memory://a: failure {left[0]}")

    store.fails = fail
    run.save()
    sent(store, run)
    assert lines(caplog) == [
        "memory://a: failure 2; checkpoints stay here, and are sent later",
        "memory://a: answers again; all checkpoints that it is to hold are there",
    ]


def test_a_store_that_hangs_delays_nobody(run, store):
    release, begun = threading.Event(), threading.Event()

    def hang(when, name, key):
        begun.set()
        release.wait(20)

    store.fails = hang
    run.save()
    mirror = run.mirror(store)
    mirror.start()
    assert begun.wait(30)
    begin = time.monotonic()
    mirror.wake()
    run.save()
    assert not mirror.finish(patience=0.3)
    assert time.monotonic() - begin < 15
    assert there(store) == []
    assert mirror.finish(patience=20)  # at once, because it was said
    assert time.monotonic() - begin < 15
    release.set()


@pytest.mark.slow
def test_the_end_of_the_run_waits_as_long_as_bytes_arrive(run, store):
    run.save(size=50 << 20)
    mirror = run.mirror(store, max_upload_rate=20 << 20)
    mirror.start()
    assert mirror.finish(patience=1.2)
    assert len(there(store)) == 1


def test_the_end_does_not_wait_for_an_upload_whose_end_fails_again_and_again(run, store):
    """All bytes arrive each time, which is no progress."""
    store.fails = lambda when, name, key: fail() if name == "upload" else None

    def fail():
        raise MirrorUnreachable("memory://a: does not answer")

    run.save()
    mirror = run.mirror(store)
    mirror.start()
    begin = time.monotonic()
    assert not mirror.finish(patience=0.7)
    assert time.monotonic() - begin < 30
    assert [name for name, _ in store.requests].count("upload") > 3


def test_bytes_that_have_changed_on_their_way_are_sent_again_at_the_end(run, store, caplog):
    left = [2]

    def damage(when, name, key):
        if name == "upload" and left[0]:
            left[0] -= 1
            raise MirrorDamaged("memory://a/1.ckpt: has received other bytes")

    store.fails = damage
    record = run.save()
    sent(store, run)
    assert there(store) == [record.id]
    assert [line.split(": ")[1] for line in lines(caplog)] == [
        "has received other bytes", "answers again; all checkpoints that it is to hold are there",
    ]  # fmt: skip


def test_the_end_does_not_wait_for_a_store_that_damages_all(run, store):
    store.fails = lambda when, name, key: damage() if name == "upload" else None

    def damage():
        raise MirrorDamaged("memory://a/1.ckpt: has received other bytes")

    run.save()
    begin, mirror = time.monotonic(), run.mirror(store)
    mirror.start()
    assert not mirror.finish(60)
    assert time.monotonic() - begin < 30 and there(store) == []


@pytest.mark.slow
def test_several_mirrors_that_hang_are_waited_for_together(run):
    pytest.importorskip("webdav4")
    run.save()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = [Mirror(f"webdav://127.0.0.1:{silent.getsockname()[1]}/{name}") for name in "abc"]
        mirrors = Mirrors(places, MirroredRun(run.manifest, run.records, run.policy, "lightning"), "Test")
        mirrors.start()
        begin = time.monotonic()
        mirrors.finish(patience=4.0)
        assert 3.9 < time.monotonic() - begin < 11


def test_a_run_that_begins_again_finds_its_thread_although_it_was_ended_late(run, store):
    release, begun = threading.Event(), threading.Event()

    def hang(when, name, key):
        begun.set()
        release.wait(20)

    store.fails = hang
    run.save()
    mirror = run.mirror(store)
    mirror.start()
    assert begun.wait(30) and not mirror.finish(patience=0.1)
    mirror.start()  # the thread still hangs
    store.fails = lambda *_: None
    release.set()
    record = run.save()
    mirror.wake()
    assert mirror.finish(5)
    assert record.id in there(store)


def test_refused_credentials_get_one_line_and_another_try_at_the_next_save(run, store, caplog):
    store.fails = refusing(MirrorError("memory://a: the key is refused; expected AWS_SECRET_ACCESS_KEY"))
    run.save()
    mirror = run.mirror(store)
    mirror.start()
    assert not mirror.finish(5) and mirror.finish(5)
    assert lines(caplog) == ["memory://a: the key is refused; expected AWS_SECRET_ACCESS_KEY"]
    store.fails = lambda *_: None
    record = run.save()
    mirror.start()
    assert mirror.finish(5) and record.id in there(store)


def test_a_damaged_checkpoint_is_not_sent_and_the_others_are(run, store, caplog):
    records = [run.save(loss) for loss in (3, 2, 1)]
    records[1].path.write_bytes(b"0" * records[1].size)
    sent(store, run, keep=KeepAll())
    assert there(store) == [records[2].id, records[0].id]
    assert len(lines(caplog)) == 1 and "2.ckpt: is not sent to memory://a: " in lines(caplog)[0]


def test_a_checkpoint_that_is_deleted_meanwhile_is_no_failure(run, store, caplog):
    records = [run.save(loss) for loss in (3, 2)]

    def delete(when, name, key):
        if (when, name) == ("before", "stat") and run.manifest.counts(records[0].id):
            run.delete(records[0].id)

    store.fails = delete
    sent(store, run, keep=KeepAll())
    assert there(store) == [records[1].id] and lines(caplog) == []


def test_another_run_is_told_in_one_line_and_trains_on(run, store, caplog, tmp_path):
    run.save()
    sent(store, run)
    before = dict(store.objects)
    other = SmallRun(tmp_path / "other", run="other")
    other.save()
    mirror = sent(store, other)
    mirror.start()
    mirror.wake()
    assert mirror.finish(5)
    assert store.objects == before
    (line,) = lines(caplog)
    assert line.startswith("memory://a: holds the checkpoints of another run, run of ") and "\n" not in line


def test_of_two_that_continue_a_run_the_later_one_wins(run, store, caplog):
    run.save()
    first = sent(store, run)
    second = sent(store, run)
    caplog.clear()
    record = run.save()
    first.start()
    assert first.finish(5)
    assert record.id not in there(store)
    assert len(lines(caplog)) == 1 and "another process" in lines(caplog)[0]
    second.start()
    assert second.finish(5) and record.id in there(store)


def test_two_new_runs_at_once_have_one_winner(store, caplog, tmp_path):
    runs = [SmallRun(tmp_path / name, run=name) for name in ("a", "b")]
    mirrors = [run.mirror(store) for run in runs]
    for run, mirror in zip(runs, mirrors, strict=True):
        run.save()
        mirror.start()
    assert all(mirror.finish(5) for mirror in mirrors)
    catalog, _ = read_catalog(store)
    assert len(catalog.entries) == 1 and len(catalog.runs) == 1
    assert len(lines(caplog)) == 1


def test_uploads_have_a_distance_and_the_end_sends_the_last_one(run, store):
    mirror = run.mirror(store, every=1000, keep=KeepAll())
    mirror.start()
    first = run.save()
    mirror.wake()
    deadline = time.monotonic() + 5
    while there(store) != [first.id] and time.monotonic() < deadline:
        time.sleep(0.01)
    second = run.save()
    mirror.wake()
    time.sleep(0.2)
    assert there(store) == [first.id]
    assert mirror.finish(5)
    assert there(store) == [first.id, second.id]


def test_a_tag_that_is_given_later_arrives(run, store):
    record = run.save()
    mirror = sent(store, run)
    run.manifest.change(record.id, tags=("paper",))
    mirror.start()
    assert mirror.finish(5)
    catalog, _ = read_catalog(store)
    assert catalog.entry_of(record.id).record.tags == ("paper",)


def test_nothing_is_asked_of_the_store_when_nothing_is_new(run, store):
    run.save()
    mirror = sent(store, run)
    store.requests.clear()
    mirror.start()
    assert mirror.finish(5)
    assert store.requests == []


def test_the_notes_of_a_mirror_belong_to_the_user_alone(run, store):
    run.save()
    sent(store, run)
    (path,) = (run.manifest.layout.private / "mirrors").iterdir()
    assert path.stat().st_mode & 0o077 == 0 and CATALOG not in path.read_text()


def test_a_start_asks_again_before_it_gives_up(run, tmp_path, monkeypatch):
    """A connection that is reset at this moment would end the training before it begins."""
    store, left = MemoryStore(), [2]
    run.save()
    sent(store, run)

    def reset(when, name, key):
        left[0] -= 1
        if left[0] >= 0:
            raise MirrorUnreachable("memory://a: reset")

    store.fails = reset
    monkeypatch.setattr("ckpt_callbacks.mirrors.mirrors.open_store", lambda url, options: store)
    empty = Manifest(tmp_path / "empty")
    source = MirroredRun(empty, list, run.policy, "lightning")
    record = Mirrors([Mirror("s3://bucket/run")], source, "Test").bring_back()
    assert record.path.exists() and left[0] < 0


def test_once_an_upload_is_due_all_that_is_wanted_is_sent(run, store):
    for loss in (5.0, 0.1, 3.0, 4.0):
        run.save(loss)
    run.mirror(store, every=1000)._synchronise()
    assert sorted(there(store)) == [2, 3, 4]  # the best one as well, not only the newest


def test_nothing_is_deleted_while_a_metric_may_be_misspelt(run, store):
    may_delete = [False]
    mirror = run.mirror(store, keep=KeepLast(1), may_delete=lambda: may_delete[0])
    for loss in (3.0, 2.0, 1.0):
        run.save(loss)
        mirror._synchronise()
    assert there(store) == [1, 2, 3]
    may_delete[0] = True
    mirror._synchronise()
    assert there(store) == [3]


def test_the_rules_apply_to_each_run_and_earlier_runs_stay(run, store):
    for loss in (3.0, 1.0, 2.0):
        run.save(loss)
    mirror = run.mirror(store, keep=KeepLast(1))
    mirror._synchronise()
    assert sorted(there(store)) == [2, 3]  # the best one, and the last
    run.run = "next"  # such as that of the next fold
    run.begin()
    for loss in (0.5, 0.6):
        run.save(loss)
        mirror._synchronise()
    assert sorted(there(store)) == [2, 3, 4, 5]


def test_a_directory_that_was_left_behind_takes_nothing_over(run, store, caplog, tmp_path):
    for loss in (3.0, 2.0):
        run.save(loss)
    sent(store, run)
    shutil.copytree(run.manifest.layout.dirpath, tmp_path / "copy")
    elsewhere = SmallRun(tmp_path / "copy", parent=2)
    elsewhere.save(1.0)
    elsewhere.mirror(store)._synchronise()
    before = dict(store.objects)
    run.begin(parent=2)
    run.save(0.5)
    late = run.mirror(store)
    late.start()
    assert late.finish(5)
    assert store.objects == before
    (line,) = lines(caplog)
    assert "the run was continued on another host since (start 2), which this directory does not know" in line


def test_a_mirror_of_weights_does_not_ask_for_older_ones_to_resume_from():
    records = [
        Record(id_, f"{id_}.ckpt", step=id_, digest=f"x:{id_}", status=Status.VERIFIED, run="run") for id_ in (1, 2, 3)
    ]
    there = Entry(1, records[2].replace(contents="weights", resumable=False), (), "w")
    catalog = Catalog("w", attempts=(Attempt("run", 1, None, 0.0),)).with_entries([there])
    for contents, wanted in ((Contents("weights"), []), (None, [2])):
        wishes = Wishes(KeepLast(1), contents=contents)
        now = records_now(catalog, records)
        assert [record.id for record, _ in to_send(wishes, catalog, records, now)] == wanted
        assert to_remove(wishes, catalog, now) == []


def test_a_run_that_died_before_its_first_upload_keeps_nobody_out(run, store, caplog, tmp_path):
    run.mirror(store)._synchronise()
    assert CATALOG in store.objects and there(store) == []
    other = SmallRun(tmp_path / "other", run="other")
    record = other.save()
    sent(store, other)
    assert there(store) == [record.id] and lines(caplog) == []
    run.save()
    sent(store, run)
    assert there(store) == [record.id] and "another run" in lines(caplog)[0]


def key_of(store, id_):
    """Return the key of the object that holds a checkpoint."""
    catalog, _ = read_catalog(MemoryStore(store.objects))
    return catalog.entry_of(id_).parts[0].key


def lose(store, id_):
    del store.objects[key_of(store, id_)]


def shorten(store, id_):
    store.objects[key_of(store, id_)] = b"short", "other"


def lose_entry(store, id_):
    catalog, _ = read_catalog(MemoryStore(store.objects))
    del store.objects[entry_key(catalog.entry_of(id_).number)]


@pytest.mark.parametrize("harm", [lose, shorten, lose_entry])
def test_what_a_mirror_has_lost_is_sent_again_by_the_next_start(run, store, caplog, harm):
    records = [run.save(loss) for loss in (3, 2, 1)]
    sent(store, run, keep=KeepAll())
    harm(store, 2)
    sent(store, run, keep=KeepAll())
    assert sorted(there(store)) == [1, 2, 3]
    assert store.objects[key_of(store, 2)][0] == records[1].path.read_bytes()
    assert lines(caplog) == ["memory://a: has lost 2.ckpt; what is to be there is sent again"]
    assert not [*compare(store, survey(store), Compared())] and not [*litter(survey(store))]
    caplog.clear()
    sent(store, run, keep=KeepAll())
    assert lines(caplog) == []


def test_a_lost_checkpoint_that_no_rule_wants_there_goes_and_deletes_nothing_else(run, store):
    for loss in (1, 2, 3):
        run.save(loss)
    sent(store, run, keep=KeepAll())
    lose(store, 2)
    lose(store, 3)
    run.records()[2].path.write_bytes(b"0" * 100)  # the copy here is damaged as well
    sent(store, run, keep=KeepLast(1))
    assert 2 not in there(store) and 1 in there(store)


def test_an_entry_whose_checkpoint_is_gone_everywhere_stays(run, store):
    """A resume skips it, and `ckpt mirror check` names it; nobody can send it."""
    for loss in (3, 2):
        run.save(loss)
    sent(store, run, keep=KeepAll())
    lose(store, 1)
    run.delete(1)
    sent(store, run, keep=KeepAll())
    assert sorted(there(store)) == [1, 2]


def test_an_outage_while_a_mirror_is_asked_what_it_has_lost_is_one_like_any_other(run, store):
    run.save()
    sent(store, run)
    lose(store, 1)
    left = [2]

    def fail(when, name, key):
        left[0] -= name == "stat"
        if name == "stat" and left[0] >= 0:
            raise MirrorUnreachable("memory://a: does not answer")

    store.fails = fail
    sent(store, run)
    assert key_of(store, 1) in store.objects


def test_the_end_says_why_a_mirror_has_not_received_all(run, store, caplog, monkeypatch):
    """The requests are still tried again then, so nothing has been said so far."""
    store.fails = refusing(MirrorUnreachable("memory://a: 503 Service Unavailable"))
    run.save()
    monkeypatch.setattr("ckpt_callbacks.mirrors.mirrors.open_store", lambda url, options: store)
    mirrors = Mirrors([Mirror("/a")], MirroredRun(run.manifest, run.records, run.policy, "lightning"), "Test")
    mirrors.start()
    mirrors.finish(patience=0.5)
    (line,) = lines(caplog)
    assert line.startswith("memory://a: has not received all checkpoints yet (503 Service Unavailable); the next start")
    assert Notes(run.manifest.layout.private, store.url).status["error"] == "memory://a: 503 Service Unavailable"

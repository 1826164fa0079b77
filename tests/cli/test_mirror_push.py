"""``ckpt push`` and ``ckpt sync``: checkpoints of a run directory are sent to a mirror by hand."""

import json
import os

import pytest

from ckpt_callbacks.mirrors.notes import Notes
from ckpt_callbacks.mirrors.pushing import Pushing
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.wanted import Wishes
from ckpt_callbacks.policy.mirror import Mirror
from ckpt_callbacks.policy.retention import KeepAll, KeepLast
from ckpt_callbacks.record import Status
from ckpt_callbacks.remote.folder_store import FolderStore
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, mirrored, part_of, there
from tests.mirrors.runs import LOSS


@pytest.fixture
def run(tmp_path):
    """A run whose policy keeps the newest two checkpoints and the best one, which is the second of five."""
    return RecordedRun(tmp_path / "run", losses=(3.0, 1.0, 2.0, 2.0, 2.0))


@pytest.fixture
def store(tmp_path):
    return FolderStore(str(tmp_path / "mirror"))


def directory(run):
    return run.manifest.layout.dirpath


def test_what_the_rules_keep_is_sent_newest_first(run, store):
    code, out, err = ckpt("push", directory(run), store.url)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        *(f"{directory(run)}/{id_}.ckpt: sent to {store.url} (100 bytes)" for id_ in (5, 4, 2)),
        f"{directory(run)}: 3 checkpoints, 300 bytes sent to {store.url}",
    ]
    assert there(store) == [2, 4, 5]
    catalog, _ = read_catalog(store)
    assert catalog.framework == "lightning" and [(a.run, a.number) for a in catalog.attempts] == [("run", 1)]


def test_nothing_is_sent_twice_and_nothing_is_deleted(run, store):
    ckpt("push", directory(run), store.url)
    before = (store._folder.path / "mirror" / "catalog.json").read_bytes()
    code, out, _ = ckpt("push", directory(run), store.url)
    assert (code, out) == (0, f"{directory(run)}: nothing to send: {store.url} has all\n")
    assert (store._folder.path / "mirror" / "catalog.json").read_bytes() == before
    run.save()
    ckpt("push", directory(run), store.url)
    assert there(store) == [2, 4, 5, 6]


def test_all_of_them_or_one_can_be_asked_for(run, store):
    assert ckpt("push", directory(run), store.url, "--record", "1")[0] == 0
    assert there(store) == [1]
    out = ckpt("push", directory(run), store.url, "--record", "1")[1]
    assert out == f"{directory(run)}/1.ckpt: is at {store.url} already\n"
    assert ckpt("push", directory(run), store.url, "--all")[0] == 0
    assert there(store) == [1, 2, 3, 4, 5]


def test_a_tag_that_is_given_later_arrives(run, store):
    ckpt("push", directory(run), store.url)
    run.manifest.change(5, tags=("paper",))
    assert "its facts are up to date now" in ckpt("push", directory(run), store.url)[1]
    assert read_catalog(store)[0].entry_of(5).record.tags == ("paper",)


def test_the_rules_of_the_mirror_count_before_those_of_the_policy(tmp_path, store):
    run = RecordedRun(tmp_path / "run", mirrors=[store.url], mirror_rules=[{"url": store.url, "keep": [{"last": 1}]}])
    for _ in range(3):
        run.save()
    ckpt("push", directory(run), store.url)
    assert there(store) == [1, 3]  # the first one is the best, which a rule keeps in any case


def test_a_damaged_checkpoint_is_named_and_the_others_are_sent(run, store):
    path = run.manifest.records[4].path
    path.write_bytes(b"0" * 100)
    code, _out, err = ckpt("push", directory(run), store.url)
    assert code == 1 and f"Warning: {path}: is not sent: " in err and there(store) == [2, 5]


@pytest.mark.parametrize("name", ["5.ckpt", "5.ckpt.cz"])
def test_a_checkpoint_that_training_rewrites_meanwhile_is_sent_as_it_is_then(run, store, monkeypatch, name):
    open_ = Pushing._opened

    def rewritten(self):
        monkeypatch.setattr(Pushing, "_opened", open_)
        os.unlink(directory(run) / "5.ckpt")
        (directory(run) / name).write_bytes(b"smaller")
        found, size = digest(directory(run) / name)
        Manifest(directory(run)).change(5, file=name, digest=found, size=size)
        return open_(self)

    monkeypatch.setattr(Pushing, "_opened", rewritten)
    code, _, err = ckpt("push", directory(run), store.url)
    assert (code, err) == (0, "")
    assert there(store) == [2, 4, 5] and part_of(store, 5).read_bytes() == b"smaller"


def test_a_checkpoint_that_training_deletes_meanwhile_is_left_out(run, store, monkeypatch):
    open_ = Pushing._opened

    def deleted(self):
        monkeypatch.setattr(Pushing, "_opened", open_)
        os.unlink(directory(run) / "5.ckpt")
        Manifest(directory(run)).change(5, status=Status.DELETED)
        return open_(self)

    monkeypatch.setattr(Pushing, "_opened", deleted)
    code, out, err = ckpt("push", directory(run), store.url)
    assert code == 0 and "5.ckpt: was deleted meanwhile, and is not sent" in out + err and there(store) == [2, 4]


def live(run):
    layout = run.manifest.layout
    lock = TrainingLock(layout.training_lock, layout.owner, "LightningCheckpoint")
    lock.acquire()
    return lock


@pytest.mark.parametrize("command", ["push", "sync"])
def test_a_training_that_sends_there_itself_is_left_alone(tmp_path, store, command):
    run = RecordedRun(tmp_path / "run", mirrors=[store.url])
    run.save()
    (tmp_path / "plan").touch()
    lock, more = live(run), ["--apply", tmp_path / "plan"] if command == "sync" else []
    try:
        code, out, err = ckpt(command, directory(run), store.url, *more)
    finally:
        lock.release()
    assert (code, err) == (0, "") and out == (
        f"{directory(run)}: training is running here, and sends its checkpoints to {store.url} itself; "
        "nothing is done\n"
    )
    assert not os.path.exists(store.url)


def test_a_training_that_sends_elsewhere_does_not_matter(run, store):
    lock = live(run)
    try:
        assert ckpt("push", directory(run), store.url)[0] == 0
    finally:
        lock.release()
    assert there(store) == [2, 4, 5]


@pytest.mark.parametrize("command", ["push", "sync"])
def test_another_run_is_refused(run, tmp_path, command):
    other = RecordedRun(tmp_path / "other", run="other")
    other.save()
    store = mirrored(other, tmp_path / "mirror")
    code, out, err = ckpt(command, directory(run), store.url)
    assert (code, out) == (2, "") and "holds the checkpoints of another run, other of " in err
    assert there(store) == [1]


def test_a_run_that_was_continued_elsewhere_is_refused(run, tmp_path):
    mirrored(run, tmp_path / "mirror", keep=KeepLast(1))
    ckpt("pull", tmp_path / "mirror", tmp_path / "elsewhere")
    later = RecordedRun(tmp_path / "elsewhere")
    later.save()
    store = mirrored(later, tmp_path / "mirror")
    before = there(store)
    run.save()
    code, out, err = ckpt("push", directory(run), store.url)
    assert (code, out) == (2, "") and "the run was continued on here since (start 2)" in err and there(store) == before
    assert ckpt("push", directory(run), store.url, "--all", "--force")[0] == 0


def test_a_place_inside_the_run_directory_is_refused(run):
    code, _, err = ckpt("push", directory(run), directory(run) / "mirror")
    assert code == 2 and "is in the run directory" in err


@pytest.mark.parametrize("command", ["push", "sync"])
def test_the_directory_of_another_run_is_refused(run, tmp_path, command):
    other = directory(RecordedRun(tmp_path / "other"))
    code, out, err = ckpt(command, directory(run), other)
    assert (code, out) == (2, "") and not (other / "mirror").exists()
    assert err == (
        f"Error: {command}: mirrors: {str(other)!r} is a run directory itself; expected another place, such as "
        "an empty folder\n"
    )


def test_without_a_policy_it_is_not_known_what_to_send(tmp_path, store):
    run = RecordedRun(tmp_path / "run", policy=None)
    run.save()
    code, _, err = ckpt("push", directory(run), store.url)
    assert code == 2 and "the manifest does not hold the policy; expected --config with its YAML file, or --all" in err
    assert ckpt("push", directory(run), store.url, "--all")[0] == 0 and there(store) == [1]


def test_an_upload_that_was_interrupted_goes_on(tmp_path, store):
    run, moved = RecordedRun(tmp_path / "run"), []
    run.save(size=112 << 20)

    def interrupt(count):
        raise KeyboardInterrupt

    def pushing(moved):
        work = Pushing(store, run.manifest, run.records(), Wishes(KeepAll(), LOSS), patience=0.1)
        work.moved = moved
        return work

    work = pushing(interrupt)
    with pytest.raises(KeyboardInterrupt):
        work.send(work.wanted()[0])
    assert there(store) == []
    work = pushing(moved.append)
    work.send(work.wanted()[0])
    assert there(store) == [1] and 0 < sum(moved) < 112 << 20
    assert Notes(run.manifest.layout.private, store.url).uploads == set()


def lose(store, id_):
    os.unlink(part_of(store, id_))


def shorten(store, id_):
    part_of(store, id_).write_bytes(b"short")


@pytest.mark.parametrize("harm", [lose, shorten])
@pytest.mark.parametrize("more", [(), ("--record", "4"), ("--all",)])
def test_what_a_mirror_has_lost_is_sent_again(run, store, harm, more):
    ckpt("push", directory(run), store.url, "--all")
    harm(store, 4)
    status = json.loads(ckpt("mirror", "status", directory(run), "--json")[1])
    assert (status["records"], status["missing"]) == (4, 1)
    code, out, err = ckpt("push", directory(run), store.url, *more)
    assert code == 0 and err == f"Warning: {store.url}: has lost 4.ckpt; what is to be there is sent again\n"
    assert f"{directory(run)}/4.ckpt: sent to {store.url} (100 bytes)" in out
    assert part_of(store, 4).read_bytes() == run.manifest.records[4].path.read_bytes()
    assert ckpt("mirror", "check", store.url)[0] == 0 and there(store) == [1, 2, 3, 4, 5]
    assert ckpt("push", directory(run), store.url, *more)[2] == ""
    assert json.loads(ckpt("mirror", "status", directory(run), "--json")[1])["missing"] == 0


def test_sync_sends_what_is_lost_and_deletes_nothing_for_it(run, store, tmp_path):
    ckpt("push", directory(run), store.url)
    lose(store, 5)
    plan, steps = plan_of(run, store, tmp_path)
    assert [(step["action"], step["id"]) for step in steps] == [("send", 5)]
    assert ckpt("sync", directory(run), store.url, "--apply", plan)[0] == 0
    assert ckpt("mirror", "check", store.url)[0] == 0 and there(store) == [2, 4, 5]


# -- sync --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outdated(run, tmp_path):
    """A mirror that holds the first three checkpoints of five."""
    for id_ in (4, 5):
        run.manifest.change(id_, pinned=False)
    store = FolderStore(str(tmp_path / "mirror"))
    work = Pushing(store, run.manifest, run.records()[:3], Wishes(KeepAll(), LOSS))
    for due in work.wanted():
        work.send(due)
    return store


def plan_of(run, store, tmp_path):
    plan = tmp_path / "plan.jsonl"
    code, _out, err = ckpt("sync", directory(run), store.url, "--plan", plan)
    assert (code, err) == (0, "")
    return plan, [json.loads(line) for line in plan.read_text().splitlines()]


def test_sync_lists_what_it_would_do_and_does_nothing(run, outdated):
    code, out, err = ckpt("sync", directory(run), outdated.url)
    assert (code, err) == (0, "") and there(outdated) == [1, 2, 3]
    assert out.splitlines() == [
        *(f"{directory(run)}/{id_}.ckpt: would be sent to {outdated.url} (100 bytes)" for id_ in (5, 4)),
        *(f"{outdated.url}: {id_}.ckpt: would be deleted (100 bytes)" for id_ in (3, 1)),
        f"{directory(run)}: 2 checkpoints to send, 2 to delete",
    ]


def test_a_plan_is_carried_out(run, outdated, tmp_path):
    plan, steps = plan_of(run, outdated, tmp_path)
    assert [(step["action"], step["id"]) for step in steps] == [
        ("send", 5), ("send", 4), ("delete", 3), ("delete", 1)
    ]  # fmt: skip
    code, out, err = ckpt("sync", directory(run), outdated.url, "--apply", plan)
    assert (code, err) == (0, "") and there(outdated) == [2, 4, 5]
    assert f"{outdated.url}: 2 checkpoints, 200 bytes freed" in out
    assert len(list((tmp_path / "mirror" / "checkpoints").iterdir())) == 3
    assert ckpt("sync", directory(run), outdated.url)[1] == (
        f"{directory(run)}: nothing to do: {outdated.url} holds what its rules keep\n"
    )


def pinned(run):
    run.manifest.change(3, pinned=True)


def deleted(run):
    run.delete(5)


@pytest.mark.parametrize(("change", "message"), [
    (pinned, "line 3: 3.ckpt is not to be deleted there any more; plan again"),
    (deleted, "line 1: 5.ckpt is not to be sent any more; plan again"),
])  # fmt: skip
def test_a_plan_that_no_longer_fits_is_refused(run, outdated, tmp_path, change, message):
    plan, _ = plan_of(run, outdated, tmp_path)
    change(run)
    code, out, err = ckpt("sync", directory(run), outdated.url, "--apply", plan)
    assert (code, out) == (2, "") and message in err and there(outdated) == [1, 2, 3]


def test_nothing_is_deleted_for_a_checkpoint_that_is_not_sent(run, outdated, tmp_path):
    plan, _ = plan_of(run, outdated, tmp_path)
    plan.write_text("".join(line + "\n" for line in plan.read_text().splitlines() if '"delete"' in line))
    code, out, err = ckpt("sync", directory(run), outdated.url, "--apply", plan)
    assert (code, out) == (2, "") and "is not to be deleted there any more" in err and there(outdated) == [1, 2, 3]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"version": 1, "action": "explode"}', '{"version": 2}'])
def test_a_file_that_is_no_plan_is_refused(run, outdated, tmp_path, line):
    (tmp_path / "plan").write_text(f"\n{line}\n")
    code, out, err = ckpt("sync", directory(run), outdated.url, "--apply", tmp_path / "plan")
    assert (code, out) == (2, "") and f"{tmp_path}/plan, line 2: is no step; expected a line that" in err


def test_a_damaged_checkpoint_keeps_the_older_ones(run, outdated, tmp_path):
    plan, _ = plan_of(run, outdated, tmp_path)
    for id_ in (4, 5):
        run.manifest.records[id_].path.write_bytes(b"0" * 100)
    code, out, _err = ckpt("sync", directory(run), outdated.url, "--apply", plan)
    assert code == 1 and there(outdated) == [2, 3] and "3.ckpt: stays: something keeps it now" in out


def test_a_lost_run_directory_deletes_nothing_elsewhere(run, outdated, tmp_path):
    for record in run.records():
        os.unlink(record.path)
    out = ckpt("sync", directory(run), outdated.url)[1]
    assert "3.ckpt: would be deleted" not in out and "2.ckpt: would be deleted" not in out


def test_both_ways_at_once_are_refused(run, store):
    assert ckpt("sync", directory(run), store.url, "--plan", "a", "--apply", "b")[0] == 2
    assert ckpt("push", directory(run), store.url, "--all", "--record", "last")[0] == 2


def test_the_rate_is_limited(run, store):
    assert ckpt("push", directory(run), store.url, "--max-upload-rate", "nothing")[0] == 2
    assert ckpt("push", directory(run), store.url, "--max-upload-rate", "1GB/s")[0] == 0
    assert Mirror(store.url, max_upload_rate="1GB/s").max_upload_rate == 10**9


def test_an_empty_plan_says_that_nothing_is_to_be_done(run, store, tmp_path):
    ckpt("push", directory(run), store.url)
    plan, steps = plan_of(run, store, tmp_path)
    assert steps == []
    assert ckpt("sync", directory(run), store.url, "--apply", plan) == (
        0, f"{directory(run)}: nothing to do: {plan} lists nothing\n", ""
    )  # fmt: skip

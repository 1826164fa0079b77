"""Checkpoints that are split into shards: a folder takes the file's place, and every command knows it."""

import json
import os
import re

import pytest

import ckpt_callbacks
from ckpt_callbacks import (
    Contents,
    Every,
    KeepAll,
    KeepBest,
    KeepLast,
    Policy,
    Status,
    StoreError,
    VerifyError,
    open_run,
)
from ckpt_callbacks.formats.packed.native import Native
from ckpt_callbacks.formats.sharded.packing import Sharding
from ckpt_callbacks.policy.shards import Shards
from ckpt_callbacks.run.repacking import Repacking
from ckpt_callbacks.run.rewriting import Rewriting
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import SUFFIX, VAL, WEIGHTS, read, train, weights
from tests.support import full_staging
from tests.support.command import ckpt
from tests.support.training import new_run

MOST = 1000  # bytes; there are 3000 of weights, and some facts
SPLIT = Contents("weights", shards={"max_size": MOST})
ALL = Policy(Every(epochs=1), KeepAll())
RULES = Policy(Every(epochs=1), KeepLast(2) | KeepBest(2, by=VAL, contents=SPLIT))


def names(dirpath):
    return sorted(path.name for path in dirpath.iterdir() if not path.is_symlink() and path.name != ".run")


def repack(dirpath, id_, packing=None):
    manifest = Manifest.read(dirpath)
    return Repacking(manifest, manifest.records[id_], packing or Sharding(Shards(MOST))).carry_out()


@pytest.fixture
def trained(tmp_path):
    """A run of three epochs, of which the second one is the best; the first two are reduced to their weights."""
    train(tmp_path, 3, ALL)
    manifest = Manifest.read(tmp_path)
    for id_ in (1, 2):
        Rewriting(manifest, manifest.records[id_]).carry_out()
    return tmp_path


def is_fine(dirpath):
    return ckpt("verify", dirpath).exit_code == ckpt("doctor", dirpath, "--dry-run").exit_code == 0


def test_a_folder_takes_the_files_place(trained):
    native, before = (trained / f"1{SUFFIX}").read_bytes(), Manifest.read(trained).records[1]
    now = repack(trained, 1)
    assert names(trained) == [f"1{SUFFIX}.shards", f"2{SUFFIX}", f"3{SUFFIX}"]
    assert now == Manifest.read(trained).records[1]
    assert (now.file, now.status, now.contents) == (f"1{SUFFIX}.shards", Status.THINNED, "weights")
    assert now.shards == {"max_size": MOST, "digest": before.digest, "size": before.size} and not now.compressed
    assert now.size == sum(file.stat().st_size for file in now.path.iterdir()) and not now.replacement
    with ckpt_callbacks.open(now.path) as file:
        assert file.read() == native
    verify(now)
    assert is_fine(trained) and not any((trained / ".run" / "staging").iterdir())


def test_every_command_knows_it(trained, tmp_path_factory):
    native = (trained / f"2{SUFFIX}").read_bytes()
    now, elsewhere = repack(trained, 2), tmp_path_factory.mktemp("elsewhere")
    assert "weights, shards of 1 kB" in ckpt("ls", trained).stdout
    assert "weights, shards of 1 kB" in ckpt("du", trained).stdout
    assert json.loads(ckpt("show", now.path, "--json").stdout)["shards"]["max_size"] == MOST
    assert ckpt("path", trained, "2").stdout.strip() == str(now.path)
    assert ckpt("export", now.path, "--plain", "--to", elsewhere).exit_code == 0
    assert (elsewhere / f"2{SUFFIX}").read_bytes() == native
    assert ckpt("tag", now.path, "release").exit_code == ckpt("pin", trained, "release").exit_code == 0
    assert Manifest.read(trained).records[2].pinned
    assert ckpt("unpin", trained, "2").exit_code == ckpt("untag", trained, "2", "release").exit_code == 0


def test_it_is_deleted_as_one(trained):
    now = repack(trained, 1)
    assert ckpt("rm", now.path, "--force").exit_code == 0
    assert names(trained) == [f"2{SUFFIX}", f"3{SUFFIX}"] and not any((trained / ".run" / "staging").iterdir())


@pytest.mark.parametrize("lost", ["shard", "bit", "more"])
def test_damage_to_any_file_is_damage_to_the_checkpoint(trained, lost):
    path = repack(trained, 1).path / "part-1"
    if lost == "shard":
        path.unlink()
    elif lost == "bit":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    else:
        (path.parent / "more").write_text("x")
    with pytest.raises(VerifyError):
        verify(Manifest.read(trained).records[1])
    assert ckpt("verify", trained).exit_code == 1
    ckpt("doctor", trained)
    assert Manifest.read(trained).records[1].status is Status.FAILED


def test_links_lead_to_the_folder_and_follow(trained):
    train(trained, 3, RULES)
    repack(trained, 2)
    assert os.readlink(trained / f"best{SUFFIX}.shards") == f"2{SUFFIX}.shards"
    assert not (trained / f"best{SUFFIX}").is_symlink()
    with ckpt_callbacks.native_path(trained / f"best{SUFFIX}.shards") as native:
        assert read(native)[1] == weights(2)
    assert open_run(trained).best().file == f"2{SUFFIX}.shards"
    repack(trained, 2, Native())
    assert os.readlink(trained / f"best{SUFFIX}") == f"2{SUFFIX}"
    assert not (trained / f"best{SUFFIX}.shards").is_symlink() and is_fine(trained)


def test_a_split_one_can_be_joined_and_reduced(trained):
    native = (trained / f"1{SUFFIX}").read_bytes()
    repack(trained, 1)
    now = repack(trained, 1, Native())
    assert now.file == f"1{SUFFIX}" and now.path.read_bytes() == native and not now.shards
    record = repack(trained, 1)
    now = Rewriting(manifest := Manifest.read(trained), manifest.records[1], Contents("weights", "bf16")).carry_out()
    assert record.file == f"1{SUFFIX}.shards" and now.file == f"1{SUFFIX}" and now.reduced == {"dtype": "bf16"}
    assert read(now.path)[1] == weights(1)[::2][: WEIGHTS // 2] and is_fine(trained)
    with pytest.raises(StoreError, match="is not in shards; only these can be joined to one file"):
        repack(trained, 1, Native())


def test_only_a_native_file_is_split(trained):
    repack(trained, 1)
    with pytest.raises(StoreError, match="is not a native file; only these can be split"):
        repack(trained, 1)


def test_a_lost_manifest_is_rebuilt_with_split_ones(trained):
    now = repack(trained, 1)
    (trained / ".run" / "manifest.jsonl").unlink()
    assert ckpt("doctor", trained).exit_code == 0
    found = Manifest.read(trained).records[1]
    same = ("file", "digest", "size", "contents", "shards", "step")
    assert [getattr(found, name) for name in same] == [getattr(now, name) for name in same]


def test_another_file_of_the_name_stays(trained):
    (trained / f"1{SUFFIX}.shards").write_text("mine")
    assert repack(trained, 1).file == f"1-v1{SUFFIX}.shards"
    assert (trained / f"1{SUFFIX}.shards").read_text() == "mine"


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_full_disk_leaves_the_native_one(trained, monkeypatch, call):
    full_staging.fill(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        repack(trained, 1)
    monkeypatch.undo()
    assert names(trained) == [f"{epoch}{SUFFIX}" for epoch in (1, 2, 3)]
    assert not Manifest.read(trained).records[1].replacement and not any((trained / ".run" / "staging").iterdir())
    assert repack(trained, 1).file == f"1{SUFFIX}.shards"


@pytest.mark.parametrize("found", ["missing", "damaged"])
def test_the_file_is_the_checkpoint_again_if_the_folder_is_lost(trained, monkeypatch, found):
    """Its deletion was announced, and not done, as in a copy of a live run."""

    def killed(*_):
        raise KeyboardInterrupt

    before = Manifest.read(trained).records[2]
    monkeypatch.setattr("ckpt_callbacks.run.repacking.finish", killed)
    monkeypatch.setattr("ckpt_callbacks.run.repacking.settle", killed)
    with pytest.raises(KeyboardInterrupt):
        repack(trained, 2)
    monkeypatch.undo()
    new = Manifest.read(trained).records[2]
    assert new.file == f"2{SUFFIX}.shards"
    if found == "damaged":
        (new.path / "part-2").unlink()
    else:
        os.rename(new.path, trained.parent / "gone")
    said = ckpt("doctor", trained).stdout
    assert "the folder of shards is not whole, and the native file is still there" in said
    assert Manifest.read(trained).records[2] == before
    verify(before)


def test_an_older_version_keeps_what_it_does_not_know(trained):
    """It drops facts that it does not know from a journal that it writes anew."""
    now = repack(trained, 1)
    Manifest.read(trained).put(now.replace(shards={}))
    found = Manifest.read(trained).records[1]
    assert is_fine(trained) and found.digest == now.digest
    assert ckpt("export", found.path, "--plain", "--to", trained.parent / "plain.parts").exit_code == 0
    train(trained, 4, Policy(Every(epochs=1), KeepAll(contents=SPLIT)))
    assert Manifest.read(trained).records[1].file == f"1{SUFFIX}.shards"
    assert repack(trained, 1, Native()).digest == now.shards["digest"]


def held_in(dirpath):
    return {r.epoch: (r.file, r.contents, r.status) for r in Manifest.read(dirpath).live()}


@pytest.mark.parametrize("background", [True, False])
def test_rules_split_the_weights_of_the_best(tmp_path, background):
    run = train(tmp_path, policy=RULES, background=background)
    assert held_in(tmp_path) == {
        2: (f"2{SUFFIX}.shards", "weights", Status.THINNED),
        4: (f"4{SUFFIX}.shards", "weights", Status.THINNED),
        5: (f"5{SUFFIX}", "full", Status.VERIFIED),
        6: (f"6{SUFFIX}", "full", Status.VERIFIED),
    }
    assert "best 2 by val_loss (#2): weights, shards of 1 kB" in run.view.plan().reasons[4]
    assert is_fine(tmp_path) and not any((tmp_path / ".run" / "staging").iterdir())
    run = new_run(tmp_path, RULES, suffix=SUFFIX)
    run.open()
    run.close()
    assert next(run.view.verified_resumable()).file == f"6{SUFFIX}"


@pytest.mark.parametrize("background", [False, True])
def test_the_budget_holds_for_shards_that_take_more_than_their_file(tmp_path, caplog, background):
    tiny = Contents("weights", shards={"max_size": 20})
    policy = Policy(Every(epochs=1), KeepLast(1) | KeepAll(contents=tiny))
    train(tmp_path / "a", 5, policy, background=background)
    first, *_, last = open_run(tmp_path / "a").records()
    assert first.shards and first.size > 2 * first.shards["size"]
    most = last.size + 2 * first.size - 1
    train(tmp_path / "b", 5, policy, background=background, max_total_size=most)
    kept = open_run(tmp_path / "b").records()
    assert len(kept) > 1 and sum(record.size for record in kept) <= most and kept[-1].epoch == 5
    assert "nothing else is kept" not in caplog.text
    best = Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL, contents=tiny))
    train(tmp_path / "c", 3, best, background=background, max_total_size=3 * last.size - 1)
    assert [record.epoch for record in open_run(tmp_path / "c").records()] == [2, 3]
    assert re.search(r"2 checkpoints that must stay \(3\d\.\d kB\) take more; nothing else is kept", caplog.text)
    assert all(is_fine(tmp_path / name) for name in "abc")


def test_what_is_small_stays_one_file(tmp_path):
    whole = Contents("weights", shards={"max_size": 10_000})
    train(tmp_path, 3, Policy(Every(epochs=1), KeepLast(1) | KeepAll(contents=whole)))
    assert names(tmp_path) == [f"{epoch}{SUFFIX}" for epoch in (1, 2, 3)]
    assert "stays one file" in ckpt("thin", tmp_path, "1", "--shards", "10kB").stdout


def test_thin_splits_by_hand_and_as_rules_say(trained):
    refused = ckpt("thin", trained, "last", "--shards", "1 kB")
    assert "a run would resume from it" in refused.stderr
    done = ckpt("thin", trained, "1", "--shards", "1kB").stdout
    assert done.startswith(f"{trained / f'1{SUFFIX}.shards'}: split, ") and done.rstrip().endswith("files")
    assert "is split already" in ckpt("thin", trained, "1", "--shards", "1kB").stderr
    assert "max_size is 'much'" in ckpt("thin", trained, "2", "--shards", "much").stderr
    path = trained / "policy.yaml"
    path.write_text("save: {every: {epochs: 1}}\nkeep: all\ncontents: {kind: weights, shards: {max_size: 1 kB}}\n")
    assert ckpt("thin", trained, "--config", path).stdout.count(": split, ") == 1
    assert [found[0] for found in held_in(trained).values()] == [f"1{SUFFIX}.shards", f"2{SUFFIX}.shards", f"3{SUFFIX}"]

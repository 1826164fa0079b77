"""Checkpoints that are compressed: they get another name, and every command knows them."""

import os
import random
import sys
import threading

import pytest

import ckpt_callbacks
from ckpt_callbacks import (
    Contents,
    Every,
    KeepAll,
    KeepBest,
    KeepLast,
    Metric,
    MissingDependency,
    Policy,
    Status,
    StoreError,
    VerifyError,
    open_run,
)
from ckpt_callbacks.formats.compressed import writer
from ckpt_callbacks.formats.compressed.packing import Compression
from ckpt_callbacks.run.leftovers import Leftovers
from ckpt_callbacks.run.pruning import delete
from ckpt_callbacks.run.repacking import Repacking
from ckpt_callbacks.run.rewriting import Rewriting
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.store.replacement import verify_now
from ckpt_callbacks.store.succession import announced
from tests.run.thinned import SUFFIX, VAL, read, train, weights
from tests.support import full_staging
from tests.support.command import ckpt
from tests.support.training import new_run

HIGHEST = Metric("val_loss", mode="max")
ALL = Policy(Every(epochs=1), KeepAll())


def files(dirpath):
    return sorted(path.name for path in dirpath.iterdir() if path.is_file() and not path.is_symlink())


def compress(dirpath, id_, **how):
    manifest = Manifest.read(dirpath)
    return Repacking(manifest, manifest.records[id_], Compression(**how)).carry_out()


@pytest.fixture
def trained(tmp_path):
    """A run of three epochs, of which the second one is the best."""
    train(tmp_path, 3, ALL)
    return tmp_path


def test_a_compressed_one_holds_the_same_bytes_under_a_name_of_its_own(trained):
    native = (trained / f"1{SUFFIX}").read_bytes()
    before, now = Manifest.read(trained).records[1], compress(trained, 1)
    assert files(trained) == [f"1{SUFFIX}.cz", f"2{SUFFIX}", f"3{SUFFIX}"]
    assert now == Manifest.read(trained).records[1]
    assert (now.file, now.status, now.resumable) == (f"1{SUFFIX}.cz", Status.VERIFIED, True)
    assert now.compressed == {"codec": "zstd", "digest": before.digest, "size": before.size}
    assert now.size == now.path.stat().st_size < before.size and not now.replacement
    with ckpt_callbacks.open(now.path) as file:
        assert file.read() == native
    verify(now)
    assert not any((trained / ".run" / "staging").iterdir())
    assert ckpt("verify", trained).exit_code == ckpt("doctor", trained, "--dry-run").exit_code == 0
    assert f"1{SUFFIX}.cz" in ckpt("ls", trained).stdout


def test_links_follow_and_are_right_after_the_next_save(trained):
    train(trained, 3, policy := Policy(Every(epochs=1), KeepAll() | KeepBest(1, by=VAL)))
    assert os.readlink(trained / f"best{SUFFIX}") == f"2{SUFFIX}"
    compress(trained, 2)
    assert os.readlink(trained / f"best{SUFFIX}.cz") == f"2{SUFFIX}.cz" and not (trained / f"best{SUFFIX}").is_symlink()
    assert open_run(trained).best().file == f"2{SUFFIX}.cz"
    train(trained, 5, policy)
    assert os.readlink(trained / f"best{SUFFIX}.cz") == f"2{SUFFIX}.cz"
    train(trained, 6, Policy(Every(epochs=1), KeepAll() | KeepBest(1, by=HIGHEST)))
    assert os.readlink(trained / f"best{SUFFIX}") == f"6{SUFFIX}" and not (trained / f"best{SUFFIX}.cz").is_symlink()


def test_a_compressed_one_can_be_reduced(trained):
    compress(trained, 1)
    manifest = Manifest.read(trained)
    now = Rewriting(manifest, manifest.records[1]).carry_out()
    assert (now.file, now.status, now.contents) == (f"1{SUFFIX}.cz", Status.THINNED, "weights")
    with ckpt_callbacks.native_path(now.path) as native:
        embedded, found, optimizer = read(native)
        assert (found, optimizer, embedded["record"]["contents"]) == (weights(1), b"", "weights")
        assert now.compressed["size"] == native.stat().st_size
    assert ckpt("verify", trained).exit_code == ckpt("doctor", trained, "--dry-run").exit_code == 0


def test_a_lost_manifest_is_rebuilt_with_compressed_ones(trained):
    now = compress(trained, 1)
    (trained / ".run" / "manifest.jsonl").unlink()
    assert ckpt("doctor", trained).exit_code == 0
    found = Manifest.read(trained).records[1]
    same = ("file", "digest", "size", "contents", "resumable", "compressed", "step", "status")
    assert [getattr(found, name) for name in same] == [getattr(now, name) for name in same]


def test_retention_and_rm_delete_compressed_ones(trained):
    before = Manifest.read(trained).records[1]
    for id_ in (1, 2):
        compress(trained, id_)
    leftovers = Leftovers(trained / ".run" / "staging")
    assert delete(Manifest.read(trained), before, lambda now: True, leftovers, "")  # with what was known earlier
    assert ckpt("rm", trained, "2", "--force").exit_code == 0
    assert files(trained) == [f"3{SUFFIX}"]


def test_what_gains_little_stays_native_and_is_not_tried_again(trained, monkeypatch):
    data = random.Random(0).randbytes(90_000)
    monkeypatch.setattr("tests.run.thinned.OPTIMIZER", 1)
    monkeypatch.setattr("tests.run.thinned.weights", lambda epoch: data)
    train(trained, 4, ALL)
    now = compress(trained, 4)
    assert now.file == f"4{SUFFIX}" and now.compressed["gain"] < 0.05
    assert files(trained) == [f"{epoch}{SUFFIX}" for epoch in range(1, 5)]
    assert compress(trained, 4, least=-1).file == f"4{SUFFIX}.cz"


def test_a_damaged_one_is_not_compressed(trained):
    path = trained / f"1{SUFFIX}"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError, match="its bytes changed"):
        compress(trained, 1)
    assert files(trained) == [f"{epoch}{SUFFIX}" for epoch in (1, 2, 3)]


def test_only_a_native_file_is_compressed(trained):
    compress(trained, 1)
    with pytest.raises(StoreError, match="is not a native file"):
        compress(trained, 1)


@pytest.mark.parametrize("call", ["rename", "fsync", "unlink"])
def test_a_full_disk_leaves_the_native_one(trained, monkeypatch, call):
    full_staging.fill(monkeypatch, call)
    if call == "unlink":  # only what is left in the staging folder cannot be removed
        compress(trained, 1)
        return
    with pytest.raises(OSError, match="No space left"):
        compress(trained, 1)
    monkeypatch.undo()
    assert files(trained) == [f"{epoch}{SUFFIX}" for epoch in (1, 2, 3)]
    assert not Manifest.read(trained).records[1].replacement
    assert compress(trained, 1).file == f"1{SUFFIX}.cz"


@pytest.mark.parametrize("least", [-1, 1], ids=["compressed", "gains too little"])
@pytest.mark.parametrize("change", [{"pinned": True}, {"tags": ("release",)}])
def test_one_that_is_pinned_or_tagged_meanwhile_stays_native(trained, change, least):
    record, changed = Manifest.read(trained).records[1], []

    def meanwhile():
        if not changed:
            changed.append(Manifest.read(trained).change(1, **change))
        return True

    assert Repacking(Manifest.read(trained), record, Compression(least)).carry_out(meanwhile) is None
    assert files(trained) == [f"{epoch}{SUFFIX}" for epoch in (1, 2, 3)]


def test_another_file_of_the_name_stays(trained):
    (trained / f"1{SUFFIX}.cz").write_text("mine")
    assert compress(trained, 1).file == f"1-v1{SUFFIX}.cz"
    assert (trained / f"1{SUFFIX}.cz").read_text() == "mine"


def test_what_another_process_has_announced_is_left_to_it(trained):
    manifest = Manifest.read(trained)
    before = manifest.amend(1, lambda now: announced("1.cz", "xxh3_128:0", 1, {}))
    assert Repacking(manifest, before, Compression()).carry_out() is None
    assert Manifest.read(trained).records[1] == before


@pytest.mark.parametrize("moment", ["in place", "obsolete"])
def test_an_interrupted_one_is_finished_before_it_is_reduced(trained, monkeypatch, moment):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ckpt_callbacks.run.repacking.settle", killed)
    monkeypatch.setattr(f"ckpt_callbacks.run.repacking.{'succeeded' if moment == 'in place' else 'finish'}", killed)
    with pytest.raises(KeyboardInterrupt):
        compress(trained, 1)
    monkeypatch.undo()
    assert files(trained) == [f"1{SUFFIX}", f"1{SUFFIX}.cz", f"2{SUFFIX}", f"3{SUFFIX}"]
    manifest = Manifest.read(trained)
    now = Rewriting(manifest, manifest.records[1]).carry_out()
    assert (now.file, now.contents) == (f"1{SUFFIX}.cz", "weights")
    assert files(trained) == [f"1{SUFFIX}.cz", f"2{SUFFIX}", f"3{SUFFIX}"]
    verify(now)


@pytest.mark.parametrize("way", ["start", "doctor"])
@pytest.mark.parametrize("found", ["missing", "damaged", "both missing"])
def test_the_native_file_is_the_checkpoint_again_if_the_compressed_one_is_lost(trained, monkeypatch, way, found):
    """Its deletion was announced, and not done, as in a copy of a live run."""

    def killed(*_):
        raise KeyboardInterrupt

    before = Manifest.read(trained).records[3]
    monkeypatch.setattr("ckpt_callbacks.run.repacking.finish", killed)
    monkeypatch.setattr("ckpt_callbacks.run.repacking.settle", killed)
    with pytest.raises(KeyboardInterrupt):
        compress(trained, 3)
    monkeypatch.undo()
    new = Manifest.read(trained).records[3]
    assert new.file == f"3{SUFFIX}.cz"
    if found == "damaged":
        new.path.write_bytes(new.path.read_bytes()[:-1])
    else:
        new.path.unlink()
    if found == "both missing":
        before.path.unlink()
    if way == "doctor":
        ckpt("doctor", trained)
    else:
        run = new_run(trained, ALL, suffix=SUFFIX)
        run.open()
        run.close()
    now = Manifest.read(trained)
    if found == "both missing":
        assert now.records[3].file == new.file and open_run(trained).last().id == 2
        return
    assert now.records[3] == before
    verify(now.records[3])
    assert open_run(trained).last().id == 3 and (trained / f"last{SUFFIX}").resolve() == before.path.resolve()


def test_readers_with_an_older_manifest_find_it_under_its_new_name(trained, caplog):
    run, manifest = open_run(trained), Manifest.read(trained)
    before = manifest.records[3]
    compress(trained, 3)
    verify_now(manifest, before)
    assert run.last().file == f"3{SUFFIX}.cz" and not caplog.messages
    assert ckpt_callbacks.run.view.missing_ids(Manifest.read(trained)) == set()


PACKED = Contents(compression="auto")
BEST_WEIGHTS = KeepBest(2, by=VAL, contents=Contents("weights", compression="zstd"))
RULES = Policy(
    Every(epochs=1),
    KeepLast(3, contents=PACKED) | KeepBest(2, by=VAL, contents=Contents("weights", compression="zstd")),
)


def held_in(dirpath):
    return {r.epoch: (r.file, r.contents, r.resumable, r.status) for r in Manifest.read(dirpath).live()}


@pytest.mark.parametrize("background", [True, False])
def test_rules_compress_all_when_a_run_has_ended(tmp_path, background):
    run = train(tmp_path, policy=RULES, background=background)
    assert held_in(tmp_path) == {
        2: (f"2{SUFFIX}.cz", "weights", False, Status.THINNED),
        4: (f"4{SUFFIX}.cz", "full", True, Status.VERIFIED),  # the larger contents win
        5: (f"5{SUFFIX}.cz", "full", True, Status.VERIFIED),
        6: (f"6{SUFFIX}.cz", "full", True, Status.VERIFIED),  # no run that was interrupted waits for it
    }
    assert "best 2 by val_loss (#2): weights, compression zstd" in run.view.plan().reasons[4]
    assert run.view.best().epoch == 2 and os.readlink(tmp_path / f"best{SUFFIX}.cz") == f"2{SUFFIX}.cz"
    assert next(run.view.verified_resumable()).file == f"6{SUFFIX}.cz"
    assert ckpt("verify", tmp_path).exit_code == ckpt("doctor", tmp_path, "--dry-run").exit_code == 0
    assert not any((tmp_path / ".run" / "staging").iterdir())
    train(tmp_path, 7, RULES)
    assert held_in(tmp_path)[7][0] == f"7{SUFFIX}.cz"
    assert held_in(tmp_path)[4] == (f"4{SUFFIX}.cz", "weights", False, Status.THINNED)


def test_what_an_interrupted_run_would_resume_from_stays_native(tmp_path):
    with pytest.raises(IndexError):  # there is no loss of epoch 8
        train(tmp_path, 8, RULES)
    assert {epoch: found[0] for epoch, found in held_in(tmp_path).items() if epoch > 5} == {
        6: f"6{SUFFIX}.cz", 7: f"7{SUFFIX}",
    }  # fmt: skip


def test_auto_leaves_native_what_gains_little_and_says_so_once(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    data = random.Random(0).randbytes(90_000)
    monkeypatch.setattr("tests.run.thinned.weights", lambda epoch: data)
    monkeypatch.setattr("tests.run.thinned.OPTIMIZER", 1)
    train(tmp_path, 3, policy := Policy(Every(epochs=1), KeepAll(contents=PACKED)))
    train(tmp_path, 4, policy)
    assert files(tmp_path) == [f"{epoch}{SUFFIX}" for epoch in range(1, 5)]
    assert [m.partition(":")[0] for m in caplog.messages if "stays native" in m] == [
        f"{epoch}{SUFFIX} stays native" for epoch in (1, 2, 3, 4)
    ]


def test_a_missing_library_is_named_before_training(tmp_path, monkeypatch):
    for name in ("backports.zstd", "compression.zstd", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("backports.zstd", raising=False)
    with pytest.raises(MissingDependency, match=r'pip install "ckpt-callbacks\[compress\]"'):
        train(tmp_path, 1, RULES)


def test_the_thread_that_compresses_yields_to_training(tmp_path, monkeypatch):
    found = []

    def seen(*arguments):
        found.append((threading.current_thread(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return compress_file(*arguments)

    compress_file = writer.compress
    monkeypatch.setattr(writer, "compress", seen)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    train(tmp_path, 2, policy := Policy(Every(epochs=1), KeepAll(contents=PACKED)), background=True)
    assert [nice > before for _, nice in found] == [sys.platform == "linux"] * 2
    train(tmp_path, 3, policy, background=False)
    assert found[-1] == (threading.main_thread(), before) and os.getpriority(os.PRIO_PROCESS, 0) == before


def test_thin_compresses_by_hand_and_as_rules_say(trained):
    refused = ckpt("thin", trained, "last", "--compression", "zstd")
    assert "a run would resume from it" in refused.stderr
    assert f"1{SUFFIX}.cz: compressed, from " in ckpt("thin", trained, "1", "--compression", "zstd").stdout
    assert "is compressed already" in ckpt("thin", trained, "1", "--compression", "auto").stderr
    assert ckpt("thin", trained, "2", "--kind", "weights", "--compression", "auto").exit_code == 0
    assert {epoch: found[:2] for epoch, found in held_in(trained).items()} == {
        1: (f"1{SUFFIX}.cz", "full"), 2: (f"2{SUFFIX}.cz", "weights"), 3: (f"3{SUFFIX}", "full"),
    }  # fmt: skip
    assert "full, compression zstd" in ckpt("ls", trained).stdout
    train(trained, 5, ALL)
    path = trained / "policy.yaml"
    path.write_text("save: {every: {epochs: 1}}\nkeep: all\ncontents: {compression: auto}\n")
    assert ckpt("thin", trained, "--config", path).stdout.count("compressed, from") == 3
    assert all(found[0].endswith(".cz") for found in held_in(trained).values())

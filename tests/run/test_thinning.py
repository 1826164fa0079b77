"""Checkpoints of which nothing needs more than the weights: they lose the rest, and nothing else."""

import os
import shutil
import subprocess

import pytest

from ckpt_callbacks import Contents, Every, KeepAll, KeepBest, KeepLast, Policy, Status
from ckpt_callbacks.policy.contents_order import held
from ckpt_callbacks.recovery.interrupted import mark_damaged
from ckpt_callbacks.run.leftovers import Leftovers
from ckpt_callbacks.run.pruning import delete
from ckpt_callbacks.run.rewriting import Rewriting
from ckpt_callbacks.run.view import RunView
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.store.replacement import intended, verify_now
from tests.run import thinned
from tests.run.thinned import POLICY, ROUNDED, SUFFIX, VAL, WEIGHTS, read, train, weights
from tests.support import full_staging
from tests.support.command import ckpt
from tests.support.disks import mounted

EACH = Policy(Every(epochs=1), KeepAll(contents="weights"))


def facts(dirpath):
    return {r.epoch: (r.status, r.contents, r.resumable) for r in Manifest.read(dirpath).live()}


WHOLE, REDUCED = (Status.VERIFIED, "full", True), (Status.THINNED, "weights", False)


@pytest.mark.parametrize("background", [True, False])
def test_the_best_keep_their_weights_and_the_last_keeps_all(tmp_path, background):
    run = train(tmp_path, background=background)
    assert facts(tmp_path) == {2: REDUCED, 4: REDUCED, 6: WHOLE}
    for record in run.view.records():
        verify(record)
        embedded, found, optimizer = read(record.path)
        assert found == weights(record.epoch) and bool(optimizer) == (record.contents == "full")
        assert record.size == record.path.stat().st_size
        assert embedded["record"]["contents"] == record.contents
    assert run.view.best().epoch == 2 and os.readlink(tmp_path / f"best{SUFFIX}") == f"2{SUFFIX}"
    assert next(run.view.verified_resumable()).epoch == 6
    assert not any((tmp_path / ".run" / "staging").iterdir())
    assert ckpt("verify", tmp_path).exit_code == ckpt("doctor", tmp_path, "--dry-run").exit_code == 0


def test_the_larger_contents_win_and_ls_says_why(tmp_path):
    run = train(tmp_path, policy=Policy(Every(epochs=1), KeepLast(3) | KeepBest(2, by=VAL, contents="weights")))
    assert facts(tmp_path) == {2: REDUCED, 4: WHOLE, 5: WHOLE, 6: WHOLE}
    reasons = run.view.plan().reasons
    assert reasons[2] == ("best 2 by val_loss (#1): weights", "best")
    assert reasons[4] == ("last 3", "best 2 by val_loss (#2): weights")
    assert "best 2 by val_loss (#1): weights" in ckpt("ls", tmp_path, "--why").stdout


def test_a_pinned_one_and_the_one_to_resume_from_stay_whole(tmp_path):
    train(tmp_path, 3, EACH)
    assert facts(tmp_path) == {1: REDUCED, 2: REDUCED, 3: WHOLE}
    ckpt("pin", tmp_path, "3")
    train(tmp_path, 5, EACH)
    assert facts(tmp_path) == {1: REDUCED, 2: REDUCED, 3: WHOLE, 4: REDUCED, 5: WHOLE}


def test_a_damaged_one_is_not_copied_into_a_good_digest(tmp_path, caplog):
    train(tmp_path, 2, Policy(Every(epochs=1), KeepAll()))
    path = tmp_path / f"1{SUFFIX}"
    data = bytearray(path.read_bytes())
    data[-WEIGHTS] ^= 1
    path.write_bytes(data)
    train(tmp_path, 3, EACH)
    assert facts(tmp_path)[1] == WHOLE and path.read_bytes() == data
    assert len([m for m in caplog.messages if "cannot be reduced" in m and "its bytes changed" in m]) == 1


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_what_fails_leaves_the_whole_one_and_training_goes_on(tmp_path, caplog, monkeypatch, call):
    full_staging.fill(monkeypatch, call)
    run = train(tmp_path)
    assert facts(tmp_path) == {2: WHOLE, 4: WHOLE, 6: WHOLE}
    assert [m for m in caplog.messages if "cannot be reduced" in m and "No space left" in m]
    assert not any(record.replacement for record in run.view.records())
    monkeypatch.undo()
    train(tmp_path)
    assert ckpt("thin", tmp_path, "--config", policy_file(tmp_path)).exit_code == 0
    assert facts(tmp_path) == {2: REDUCED, 4: REDUCED, 6: WHOLE}


def policy_file(folder):
    path = folder / "policy.yaml"
    path.write_text(POLICY.to_yaml())
    return path


def test_thin_reduces_one_by_hand_but_not_the_one_to_resume_from(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    assert ckpt("thin", tmp_path, "1").stdout.startswith(f"{tmp_path / f'1{SUFFIX}'}: reduced to weights, from ")
    assert facts(tmp_path) == {1: REDUCED, 2: WHOLE, 3: WHOLE}
    assert "holds only weights; expected one that holds more" in ckpt("thin", tmp_path, "1").stderr
    assert "a run would resume from it" in ckpt("thin", tmp_path, "last").stderr
    ckpt("pin", tmp_path, "2")
    assert "it is pinned" in ckpt("thin", tmp_path, "2").stderr
    assert ckpt("thin", tmp_path, "last", "--force").exit_code == 0
    assert facts(tmp_path) == {1: REDUCED, 2: WHOLE, 3: REDUCED}
    ckpt("rm", tmp_path, "1")
    assert "its status is deleted" in ckpt("thin", tmp_path, "1").stderr


def test_a_run_resumes_from_the_last_whole_one_beside_reduced_ones(tmp_path):
    train(tmp_path, 4)
    train(tmp_path)
    assert facts(tmp_path) == {2: REDUCED, 4: REDUCED, 6: WHOLE}


def test_a_lost_manifest_is_rebuilt_with_what_each_file_holds(tmp_path):
    train(tmp_path)
    before = facts(tmp_path)
    (tmp_path / ".run" / "manifest.jsonl").unlink()
    assert ckpt("doctor", tmp_path, "--config", policy_file(tmp_path)).exit_code == 0
    assert {epoch: found[1:] for epoch, found in facts(tmp_path).items()} == {e: f[1:] for e, f in before.items()}


def test_two_that_reduce_one_checkpoint_at_a_time_do_not_disturb_each_other(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    manifest = Manifest.read(tmp_path)
    record, ended = manifest.records[1], []

    def let_the_other_go_first():
        ended.append(Rewriting(Manifest.read(tmp_path), record).carry_out())
        return True

    assert Rewriting(manifest, record).carry_out(let_the_other_go_first) is None
    assert ended[0].status is Status.THINNED and facts(tmp_path)[1] == REDUCED
    verify(Manifest.read(tmp_path).records[1])
    assert not any((tmp_path / ".run" / "staging").iterdir())


def test_an_announcement_that_nobody_carries_out_any_more_is_replaced(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    before = Manifest.read(tmp_path).amend(1, lambda now: intended("xxh3_128:0", 1, "weights"))
    assert before.replacement
    assert "reduced to weights, from" in ckpt("thin", tmp_path, "1").stdout
    verify(Manifest.read(tmp_path).records[1])
    assert facts(tmp_path)[1] == REDUCED and not Manifest.read(tmp_path).records[1].replacement


def test_one_that_another_process_reduces_in_spite_of_an_announcement_is_left_to_it(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    manifest = Manifest.read(tmp_path)
    record = manifest.amend(1, lambda now: intended("xxh3_128:0", 1, "weights"))
    ended = []

    def let_the_other_go_first():
        if not ended:
            ended.append(Rewriting(Manifest.read(tmp_path), record).carry_out())
        return True

    assert Rewriting(manifest, record).carry_out(let_the_other_go_first) is None
    assert ended[0].status is Status.THINNED and facts(tmp_path)[1] == REDUCED
    verify(Manifest.read(tmp_path).records[1])


def test_a_start_that_undoes_the_announcement_leaves_nothing_to_swap(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    manifest, other = Manifest.read(tmp_path), Manifest.read(tmp_path)
    record = manifest.records[1]
    asked = []

    def recover_at_the_last_moment():
        asked.append(manifest.records[1].replacement)
        if asked[-1]:  # announced; the journal's lock is held, so only this process can write
            other.refresh()
            return False
        return True

    assert Rewriting(manifest, record).carry_out(recover_at_the_last_moment) is None
    assert facts(tmp_path)[1] == WHOLE and not Manifest.read(tmp_path).records[1].replacement


@pytest.mark.parametrize("change", [{"pinned": True}, {"tags": ("release",)}])
def test_one_that_is_pinned_or_tagged_while_it_is_written_stays_whole(tmp_path, change):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    record, changed = Manifest.read(tmp_path).records[1], []

    def meanwhile():
        if not changed:
            changed.append(Manifest.read(tmp_path).change(1, **change))
        return True

    assert Rewriting(Manifest.read(tmp_path), record).carry_out(meanwhile) is None
    assert facts(tmp_path)[1] == WHOLE
    assert not any((tmp_path / ".run" / "staging").iterdir())


def test_verify_and_rm_know_what_was_reduced_meanwhile(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    manifest = Manifest.read(tmp_path)
    before = manifest.records[1]
    assert Rewriting(Manifest.read(tmp_path), before).carry_out().status is Status.THINNED
    verify_now(manifest, before, from_device=True)
    assert delete(Manifest.read(tmp_path), before, lambda now: True, Leftovers(tmp_path / ".run" / "staging"), "")
    assert not before.path.exists() and Manifest.read(tmp_path).records[1].error is None


def test_a_start_and_a_resume_know_what_was_reduced_meanwhile(tmp_path, caplog):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    start, resume = (RunView(Manifest.read(tmp_path), POLICY) for _ in range(2))
    found, best = resume.resumable(), start.best()
    assert [record.epoch for record in found] == [3, 2, 1] and best.epoch == 2
    for record in found[:2]:
        assert Rewriting(Manifest.read(tmp_path), record).carry_out().status is Status.THINNED
    mark_damaged(start.manifest, start.damaged, start.best)
    assert [record.epoch for record in resume.verified(found)] == [1]
    assert facts(tmp_path) == {1: WHOLE, 2: REDUCED, 3: REDUCED}
    assert not start.damaged and not resume.damaged and not caplog.messages


@pytest.mark.parametrize("background", [True, False])
def test_a_save_on_a_full_disk_waits_for_what_is_due_to_be_reduced(tmp_path, caplog, monkeypatch, background):
    monkeypatch.setattr(thinned, "OPTIMIZER", 60_000)
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=1m", "none"):
        train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
        used = shutil.disk_usage(tmp_path).used
        subprocess.run(["mount", "-o", f"remount,size={used + 50_000}", tmp_path], check=True)
        train(tmp_path, 4, EACH, background=background)
        assert facts(tmp_path) == {1: REDUCED, 2: REDUCED, 3: REDUCED, 4: WHOLE}
        assert not any("was not saved" in line for line in caplog.messages)


@pytest.mark.parametrize("background", [True, False])
def test_with_a_budget_what_fits_once_it_is_reduced_stays(tmp_path, background):
    train(tmp_path, background=background, max_total_size=30_000)  # two whole ones and two small ones
    assert facts(tmp_path) == {2: REDUCED, 4: REDUCED, 6: WHOLE}


def test_each_checkpoint_holds_what_the_rules_that_keep_it_need(tmp_path):
    run = train(tmp_path, policy=ROUNDED)
    assert {r.epoch: str(held(r)) for r in run.view.records()} == {2: "weights", 4: "weights, bf16", 6: "full"}
    assert run.view.plan().reasons[4] == ("best 2 by val_loss (#2): weights, bf16",)
    assert "weights, bf16" in ckpt("ls", tmp_path).stdout
    assert "weights, bf16" in ckpt("du", tmp_path).stdout
    assert "nothing to reduce" in ckpt("thin", tmp_path).stdout


def test_thin_goes_on_by_hand_and_a_reduction_that_is_undone_is_not_taken_for_done(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    assert ckpt("thin", tmp_path, "1", "--kind", "full", "--dtype", "bf16").exit_code == 0
    manifest = Manifest.read(tmp_path)
    once = manifest.records[1]
    assert (str(held(once)), once.resumable, bool(read(once.path)[2])) == ("full, bf16", False, True)
    pinned = []

    def meanwhile():
        if not pinned and manifest.records[1].replacement:
            pinned.append(True)
            return False
        return True

    assert Rewriting(manifest, once, Contents("weights", "bf16")).carry_out(meanwhile) is None
    assert str(held(Manifest.read(tmp_path).records[1])) == "full, bf16"
    assert "reduced to weights, bf16, from" in ckpt("thin", tmp_path, "1", "--dtype", "fp16").stdout
    assert "holds only weights, bf16" in ckpt("thin", tmp_path, "1", "--dtype", "bf16").stderr
    assert "--dtype: which checkpoint?" in ckpt("thin", tmp_path, "--dtype", "bf16").stderr
    verify(Manifest.read(tmp_path).records[1])

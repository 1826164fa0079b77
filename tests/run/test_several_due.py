"""Several checkpoints that are due to be reduced: what happens to one of them stops no other."""

import threading

from ckpt_callbacks import Every, KeepAll, Policy, Status
from ckpt_callbacks.run.leftovers import Leftovers
from ckpt_callbacks.run.pruning import delete
from ckpt_callbacks.run.rewriting import Rewriting
from ckpt_callbacks.run.thinning import Thinning
from ckpt_callbacks.run.view import RunView
from ckpt_callbacks.runtime.worker import BackgroundWorker
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import SUFFIX, train
from tests.support.command import ckpt

EACH = Policy(Every(epochs=1), KeepAll(contents="weights"))


def contents(dirpath):
    return {record.epoch: record.contents for record in Manifest.read(dirpath).live()}


def test_what_becomes_due_after_the_last_look_of_the_thread_is_reduced_as_well(tmp_path):
    train(tmp_path, 3, Policy(Every(epochs=1), KeepAll()))
    ckpt("pin", tmp_path, "2")
    view, looked, go = RunView(Manifest.read(tmp_path), EACH), threading.Event(), threading.Event()

    class Lingering(BackgroundWorker):
        """A thread that is slow to end a job."""

        def submit(self, job, *, here=False):
            super().submit(lambda: (job(), looked.set(), go.wait(30)), here=here)

    thinning = Thinning(view, Lingering())
    thinning.begin()
    assert looked.wait(30) and contents(tmp_path) == {1: "weights", 2: "full", 3: "full"}
    ckpt("unpin", tmp_path, "2")
    view.refresh()
    thinning.begin()
    go.set()
    thinning.finish()
    assert contents(tmp_path) == {1: "weights", 2: "weights", 3: "full"}


def test_thin_goes_on_after_one_that_training_takes_and_one_that_is_damaged(tmp_path, monkeypatch):
    train(tmp_path, 5, Policy(Every(epochs=1), KeepAll()))
    policy, damaged = tmp_path / "policy.yaml", tmp_path / f"3{SUFFIX}"
    policy.write_text(EACH.to_yaml())
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    original = Rewriting.carry_out

    def carry_out(rewriting, *given):
        monkeypatch.setattr(Rewriting, "carry_out", original)
        other = Manifest.read(tmp_path)
        assert delete(other, other.records[1], lambda now: True, Leftovers(tmp_path / ".run" / "staging"), "")
        assert Rewriting(other, other.records[2]).carry_out().status is Status.THINNED
        return rewriting.carry_out(*given)

    monkeypatch.setattr(Rewriting, "carry_out", carry_out)
    result = ckpt("thin", tmp_path, "--config", policy)
    first, second, fourth = result.stdout.splitlines()
    assert first == f"{tmp_path / f'1{SUFFIX}'}: was deleted, pinned, tagged or rewritten meanwhile"
    assert second == f"{tmp_path / f'2{SUFFIX}'}: was deleted, pinned, tagged or rewritten meanwhile"
    assert fourth.startswith(f"{tmp_path / f'4{SUFFIX}'}: reduced to weights, from ")
    assert result.stderr.startswith(f"Warning: {damaged}: cannot be reduced: ") and result.stderr.count("\n") == 1
    assert result.exit_code == 1 and contents(tmp_path) == {2: "weights", 3: "full", 4: "weights", 5: "full"}

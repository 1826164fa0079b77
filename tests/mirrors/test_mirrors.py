"""The mirrors of one run, as an own training loop may give them to it."""

import logging

import pytest

from ckpt_callbacks import Improves, KeepBest, Metric, Mirror, Policy, PolicyError
from ckpt_callbacks.mirrors.mirrors import Mirrors
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import SmallRun
from tests.support.memory_store import MemoryStore

VAL = Metric("val_loss", mode="min")


def run(dirpath, *mirrors):
    settings = Settings(dirpath=dirpath, mirrors=mirrors)
    return Run(Policy(Improves(VAL)), settings, suffix=".ckpt", framework="test", name="Loop")


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        ("{tmp}/run", "'{tmp}/run' is in the run directory, {tmp}/run; expected another place"),
        ("file://{tmp}/run/a", "'file://{tmp}/run/a' is in the run directory, {tmp}/run; expected another place"),
    ],
)
def test_a_place_in_the_run_directory_is_one_line_at_the_start(tmp_path, mirror, message):
    with pytest.raises(PolicyError) as caught:
        run(tmp_path / "run", Mirror(mirror.format(tmp=tmp_path)))
    assert str(caught.value) == f"Loop: mirrors: {message.format(tmp=tmp_path)}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("private", [".run", ".ckpt"])
@pytest.mark.parametrize("url", ["{tmp}/other", "file://{tmp}/other"])
def test_the_directory_of_another_run_is_no_mirror(tmp_path, private, url):
    (tmp_path / "other" / private).mkdir(parents=True)
    assert run(tmp_path / "run", Mirror(url.format(tmp=tmp_path))).directory.mirrors.urls
    (tmp_path / "other" / private / "manifest.jsonl").touch()
    with pytest.raises(
        PolicyError, match=r"^Loop: mirrors: '.*/other' is a run directory itself; expected another place"
    ):
        run(tmp_path / "run", Mirror(url.format(tmp=tmp_path)))


def test_a_link_is_the_place_that_it_leads_to(tmp_path):
    (tmp_path / "run" / "inside").mkdir(parents=True)
    (tmp_path / "other" / ".run").mkdir(parents=True)
    (tmp_path / "other" / ".run" / "manifest.jsonl").touch()
    for name, place in (("in", "run/inside"), ("of", "other")):
        (tmp_path / name).symlink_to(tmp_path / place)
    with pytest.raises(PolicyError, match=r"/in' is in the run directory, .*/run; expected another place$"):
        run(tmp_path / "run", Mirror(tmp_path / "in"))
    with pytest.raises(PolicyError, match=r"/of' is a run directory itself; expected another place"):
        run(tmp_path / "run", Mirror(tmp_path / "of"))


def test_mirrors_that_are_wrong_for_the_run_are_one_line(tmp_path):
    ranked = Mirror(tmp_path / "a", keep=KeepBest(1, by="val_acc"))
    with pytest.raises(
        PolicyError, match=r"^Loop: mirrors: keep ranks by 'val_acc', which no rule of the policy reads;"
    ):
        run(tmp_path / "run", ranked)
    with pytest.raises(PolicyError, match=r"^Loop: mirrors: '.*/a' is there twice; expected each place once$"):
        run(tmp_path / "run", Mirror(tmp_path / "a"), Mirror(f"file://{tmp_path}/a"))
    with pytest.raises(PolicyError, match=r"^Loop: mirrors\[0\] is 3; expected a URL or a path"):
        run(tmp_path / "run", 3)


def test_a_place_beside_the_run_directory_with_a_longer_name_is_another_place(tmp_path):
    assert run(tmp_path / "run", Mirror(tmp_path / "run-mirror")).directory.mirrors.urls


def test_what_no_mirror_holds_is_said_once(tmp_path, monkeypatch, caplog):
    """`fit` looks again after `resume_path`."""
    run, store = SmallRun(tmp_path / "run"), MemoryStore()
    run.save(resumable=False, contents="weights")
    run.mirror(store)._synchronise()
    monkeypatch.setattr("ckpt_callbacks.mirrors.mirrors.open_store", lambda url, options: store)
    source = MirroredRun(Manifest(tmp_path / "empty"), list, run.policy, "lightning")
    mirrors = Mirrors([Mirror("/nfs/a")], source, "Test")
    for _ in range(2):
        assert mirrors.bring_back() is None
    assert caplog.text.count("holds only checkpoints that a run cannot be resumed from") == 1


def test_mirrors_of_weights_alone_are_announced(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path / "run", Mirror(tmp_path / "a", contents="weights"), Mirror(tmp_path / "b"))
    assert "on an empty machine" not in caplog.text
    run(tmp_path / "other", Mirror(tmp_path / "a", contents="weights"))
    assert caplog.messages == [
        f"{tmp_path}/other: no run can be resumed from {tmp_path}/a on an empty machine, because only weights are sent "
        "there; for that, add a mirror without contents"
    ]

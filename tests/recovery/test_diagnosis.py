"""`ckpt doctor` on damaged directories of real runs, and the agreement of all other commands with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer
from tests.support.command import ckpt
from tests.support.training import run_of

CKPT = Path(sys.executable).with_name("ckpt")
FOREIGN = ("notes.txt", "theirs.ckpt", "broken.keras")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dirpath = tmp_path_factory.mktemp("trained")
    for name in FOREIGN:
        (dirpath / name).write_bytes(b"somebody else's")
    fit(dirpath)
    return dirpath


@pytest.fixture
def run_dir(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run", symlinks=True))


def state(dirpath):
    """Return the bytes of everything in a directory, except who holds the lock."""
    found = [path for path in sorted(dirpath.rglob("*")) if path.name not in ("owner.json", "training.lock")]
    return [(path.name, os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes())
            for path in found]  # fmt: skip


def facts(dirpath):
    return [(r.id, r.file, r.step, r.epoch, dict(r.metrics), r.digest, r.run, r.final)
            for r in Manifest.read(dirpath).live()]  # fmt: skip


def lose_all(run_dir):
    shutil.rmtree(run_dir / ".run")


def lose_journal(run_dir):
    (run_dir / ".run/manifest.jsonl").unlink()


def make_journal_a_folder(run_dir):
    (run_dir / ".run/manifest.jsonl").unlink()
    (run_dir / ".run/manifest.jsonl").mkdir()


def make_folder_a_file(run_dir):
    shutil.rmtree(run_dir / ".run")
    (run_dir / ".run").write_text("mine?")


def empty_journal(run_dir):
    (run_dir / ".run/manifest.jsonl").write_bytes(b"")


def garble_journal(run_dir):
    journal = run_dir / ".run/manifest.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(b"#" + line[1:] if b'"id":2' in line else line for line in lines))


@pytest.mark.parametrize(
    "harm", [lose_all, lose_journal, make_journal_a_folder, make_folder_a_file, empty_journal, garble_journal],
    ids=lambda harm: harm.__name__,
)  # fmt: skip
def test_a_manifest_is_rebuilt_from_what_the_checkpoints_say(trained, run_dir, harm):
    harm(run_dir)
    before = state(run_dir)
    looked = ckpt("doctor", run_dir, "--dry-run")
    assert looked.exit_code == 1 and looked.stdout, looked.stderr
    assert state(run_dir) == before, "a dry run changes nothing"
    done = ckpt("doctor", run_dir)
    assert done.exit_code == 0 and "Model-002-20.ckpt" in done.stdout, (done.stdout, done.stderr)
    assert looked.stdout.replace("would be ", "") == done.stdout and "superseded" not in done.stdout
    assert facts(run_dir) == facts(trained)
    assert (run_dir / "final.ckpt").readlink() == Path("Model-003-30.ckpt")
    assert ckpt("doctor", run_dir).stdout == f"{run_dir}: nothing is wrong\n"
    verified = ckpt("verify", run_dir)
    assert verified.exit_code == 0 and "3 of 3 checkpoints verified" in verified.stdout, verified.stdout
    callback = LightningCheckpoint(run_dir, EACH_EPOCH)
    assert callback.resume_path() == str(run_dir / "Model-003-30.ckpt")
    assert callback.best().step == LightningCheckpoint(trained, EACH_EPOCH).best().step
    assert all((run_dir / name).read_bytes() == b"somebody else's" for name in FOREIGN)
    _, fitter, _ = fit(run_dir, resume=True, max_epochs=4)
    assert fitter.global_step == 40


@pytest.mark.parametrize("harm", [lose_all, lose_journal, empty_journal], ids=lambda harm: harm.__name__)
def test_a_resume_finds_them_without_a_doctor(trained, run_dir, harm):
    harm(run_dir)
    assert LightningCheckpoint(run_dir, EACH_EPOCH).resume_path() == str(run_dir / "Model-003-30.ckpt")
    assert facts(run_dir) == facts(trained)


def test_damaged_and_missing_checkpoints_count_no_longer(run_dir):
    newest, middle = run_dir / "Model-003-30.ckpt", run_dir / "Model-002-20.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1])
    middle.unlink()
    looked = ckpt("doctor", run_dir, "--dry-run").stdout
    done = ckpt("doctor", run_dir)
    assert looked.replace("would be ", "") == done.stdout
    assert f"{newest}: has " in done.stdout and f"{middle}: missing" in done.stdout
    assert "last: does not point to Model-001-10.ckpt; recreated" in done.stdout
    assert (run_dir / "last.ckpt").readlink() == Path("Model-001-10.ckpt")
    verified = ckpt("verify", run_dir)
    assert verified.exit_code == 1 and "1 of 1 checkpoint verified" in verified.stdout, (
        "the damaged file is still there"
    )
    assert LightningCheckpoint(run_dir, EACH_EPOCH).resume_path() == str(run_dir / "Model-001-10.ckpt")
    assert [r.status for r in Manifest.read(run_dir).records.values()].count(Status.FAILED) == 2


@pytest.mark.parametrize("status", [Status.VERIFIED, Status.COMMITTED])
def test_what_cannot_be_read_now_is_not_written_off(run_dir, status):
    """For example, a file server may be unreachable for a while."""
    newest, aside = run_dir / "Model-003-30.ckpt", run_dir.parent / "aside"
    record = next(r for r in Manifest.read(run_dir).live() if r.path == newest)
    Manifest.read(run_dir).change(record.id, status=status)
    newest.rename(aside)
    newest.symlink_to("/proc/self/mem")  # a file whose first page gives an input/output error
    done = ckpt("doctor", run_dir)
    assert status is not Status.VERIFIED or f"{newest}: cannot be read: Input/output error; left" in done.stdout
    assert LightningCheckpoint(run_dir, EACH_EPOCH).resume_path() == str(run_dir / "Model-002-20.ckpt")
    assert Manifest.read(run_dir).records[record.id].status is status
    newest.unlink()
    aside.rename(newest)
    assert LightningCheckpoint(run_dir, EACH_EPOCH).resume_path() == str(newest)
    assert Manifest.read(run_dir).records[record.id].status is Status.VERIFIED


def test_links_are_created_again(run_dir):
    (run_dir / "last.ckpt").unlink()
    (run_dir / "best.ckpt").unlink()
    (run_dir / "best.ckpt").symlink_to("Model-001-10.ckpt")
    best = LightningCheckpoint(run_dir, EACH_EPOCH).best()
    done = ckpt("doctor", run_dir)
    assert done.stdout.count("; recreated\n") == (1 if best.step == 10 else 2)
    assert (run_dir / "last.ckpt").resolve() == run_dir / "Model-003-30.ckpt"
    assert (run_dir / "best.ckpt").resolve() == best.path


def by_copytree(trained, target):
    shutil.copytree(trained, target)


def by_an_archive(trained, target):
    shutil.unpack_archive(shutil.make_archive(target.with_name("packed"), "zip", trained), target)


def with_a_link_of_others(trained, target):
    shutil.copytree(trained, target)
    (target / "final.ckpt").unlink()
    (target / "final.ckpt").symlink_to("theirs.ckpt")


@pytest.mark.parametrize("copy", [by_copytree, by_an_archive, with_a_link_of_others])
def test_a_file_in_the_place_of_a_link_is_reported_and_left_alone(trained, tmp_path, copy):
    copy(trained, copied := tmp_path / "copied")
    before = state(copied)
    names = ("last.ckpt", "best.ckpt", "final.ckpt")
    for arguments in (["--dry-run"], [], []):
        done = ckpt("doctor", copied, *arguments)
        assert [f"{copied / name}: is not a link to " in done.stdout for name in names] == [True] * 3, done.stdout
        assert "recreated" not in done.stdout and done.stdout.count("left unchanged: move it away") == 3
        assert state(copied) == before
    for name in names:
        (copied / name).unlink()
    assert ckpt("doctor", copied).stdout.count("; recreated\n") == 3
    assert (copied / "last.ckpt").readlink() == Path("Model-003-30.ckpt")
    assert ckpt("doctor", copied).stdout == f"{copied}: nothing is wrong\n"


def test_a_whole_directory_is_left_as_it_is(run_dir):
    before = state(run_dir)
    assert ckpt("doctor", run_dir).stdout == f"{run_dir}: nothing is wrong\n"
    assert state(run_dir) == before


def test_doctor_refuses_while_training_runs(run_dir):
    callback = LightningCheckpoint(run_dir, EACH_EPOCH)
    run_of(callback).open()
    try:
        command = [CKPT, "doctor", run_dir]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "another training run is writing here" in done.stderr
        assert done.stderr.endswith("; wait until it has ended\n")
        assert subprocess.run([*command, "--dry-run"], stdout=subprocess.DEVNULL).returncode == 0
    finally:
        run_of(callback).close()


def test_a_wrong_directory_is_one_clear_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "loop", tmp_path / "empty"):
        done = ckpt("doctor", path)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and str(path) in done.stderr
    assert not list((tmp_path / "empty").iterdir())


def test_a_rebuild_names_each_checkpoint_that_a_resume_left_behind(run_dir):
    callback = LightningCheckpoint(run_dir, EACH_EPOCH)
    trainer(callback, max_epochs=2).fit(Model(), *loaders(), ckpt_path=run_dir / "Model-001-10.ckpt")
    before = {r.file: (r.superseded, r.final) for r in Manifest.read(run_dir).live()}
    left = [file for file, (superseded, _) in before.items() if superseded]
    lose_journal(run_dir)
    looked = ckpt("doctor", run_dir, "--dry-run").stdout
    for file in left:
        assert f"{file}: a later start resumed from an older checkpoint; would be marked as superseded\n" in looked
    assert looked.count("superseded") == len(left) == 2
    assert ckpt("doctor", run_dir).stdout == looked.replace("would be ", "")
    after = {r.file: (r.superseded, r.final) for r in Manifest.read(run_dir).live()}
    assert {file: superseded for file, (superseded, _) in after.items()} == {f: s for f, (s, _) in before.items()}
    assert ckpt("path", run_dir, "final").stdout == f"{(run_dir / 'final.ckpt').resolve()}\n"


@pytest.mark.parametrize("harm", ["cut off", "flipped bit", "emptied"])
def test_a_damaged_file_that_a_rebuild_cannot_list_is_named(run_dir, harm):
    newest = run_dir / "Model-003-30.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut off": content[:-100], "flipped bit": content, "emptied": b""}[harm])
    ckpt("doctor", run_dir)
    assert f"bad, as recorded: {newest}" in ckpt("verify", run_dir).stdout
    lose_journal(run_dir)
    ckpt("doctor", run_dir)
    named = f"{newest}: looks like a checkpoint, is not in the manifest, and cannot be read"
    for arguments in (["--dry-run"], []):
        assert ckpt("doctor", run_dir, *arguments).stdout.startswith(named)
    verified = ckpt("verify", run_dir)
    assert f"Warning: {named}" in verified.stderr and "2 of 2 checkpoints verified" in verified.stdout

"""Damaged, swapped, forged and newer files, and paths that lead astray: noticed, said in one line, never obeyed."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import EventKind, Every, KeepAll, Policy, PolicyError, ResumeError, StoreError, VerifyError
from ckpt_callbacks.cli import main
from ckpt_callbacks.formats import FORMATS, format_of, keras_zip, torch_zip
from ckpt_callbacks.run import Run
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.manifest import Manifest, _line

KINDS = ("lightning", "keras", "weights")
RESUMABLE = KINDS[:2]
DAMAGE = ("cut", "flip", "empty", "zeros")


def callback(kind, dirpath, **settings):
    if kind == "lightning":
        from lightning_adapter import task

        return task.LightningCheckpoint(dirpath, task.EACH_EPOCH, **settings)
    from keras_adapter import task

    return task.checkpoint(dirpath, task.EACH_EPOCH, contents="weights" if kind == "weights" else "full", **settings)


def fit(kind, dirpath, epochs, **settings):
    """Train up to ``epochs``, from the newest checkpoint."""
    ours = callback(kind, dirpath, **settings)
    if kind == "lightning":
        from lightning_adapter import task

        trainer = task.trainer(ours, max_epochs=epochs)
        trainer.fit(task.Model(), *task.loaders(), ckpt_path=ours.resume_path())
    else:
        from keras_adapter import task

        task.fit(task.quick(), ours, epochs=epochs)
    return ours


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two finished runs of each kind, of three epochs; not to be changed."""
    base = tmp_path_factory.mktemp("trained")
    for kind in KINDS:
        for name in ("run", "other"):
            fit(kind, base / kind / name, 3)
    return base


@pytest.fixture(params=RESUMABLE)
def run(request, trained, tmp_path):
    """The kind, and a copy of a finished run."""
    return request.param, copied(trained / request.param / "run", tmp_path / "run")


def copied(source, target):
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target, symlinks=True)


def newest(dirpath):
    return Manifest.read(dirpath).live()[-1]


def damage(path, how, seed, other=None):
    """Damage a checkpoint at a random place; ``other`` is a run of the same names."""
    whole, where = path.read_bytes(), random.Random(seed)
    bit = bytearray(whole)
    bit[where.randrange(len(bit))] ^= 1 << where.randrange(8)
    path.unlink()
    if how in DAMAGE:
        changed = {"cut": whole[: where.randrange(len(whole))], "flip": bit, "empty": b"", "zeros": bytes(len(whole))}
        path.write_bytes(changed[how])
    elif how == "other":
        shutil.copyfile(other / path.name, path)
    elif how == "folder":
        path.mkdir()
    elif how == "dangling":
        path.symlink_to("nowhere")
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "pipe":
        os.mkfifo(path)


def cli(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def good(dirpath):
    """The files that `ckpt verify` finds good."""
    lines = cli("verify", dirpath, "--json").stdout.splitlines()
    return {facts["file"] for facts in map(json.loads, lines) if facts["ok"]}


def forge(dirpath):
    """Have the manifest say that the newest checkpoint has the bytes that it has now."""
    record = newest(dirpath)
    found, size = digest(record.path)
    Manifest.read(dirpath).change(record.id, digest=found, size=size)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- damaged and swapped files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*DAMAGE, "other"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, trained, how, caplog):
    kind, dirpath = run
    *_, before, last = Manifest.read(dirpath).live()
    damage(last.path, how, 0, trained / kind / "other")
    assert callback(kind, dirpath).resume_path() == str(before.path)
    assert f"{last.path}: " in caplog.text
    ours = fit(kind, dirpath, 4)
    assert ours.last().epoch == 4
    assert Manifest.read(dirpath).attempts[-1].parent == before.id


@pytest.mark.parametrize("kind", RESUMABLE)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    harm=st.dictionaries(
        st.integers(0, 2), st.sampled_from([*DAMAGE, "other", "folder", "dangling", "loop", "pipe", "gone"])
    ),
    seed=st.integers(0, 10**6),
)
def test_verify_and_resume_path_agree(trained, tmp_path, kind, harm, seed):
    dirpath = copied(trained / kind / "run", tmp_path / "run")
    records = Manifest.read(dirpath).live()
    for index, how in harm.items():
        damage(records[index].path, how, seed, trained / kind / "other")
    found = [record for record in records if record.file in good(dirpath)]
    assert {record.id for record in found} == {r.id for i, r in enumerate(records) if i not in harm}
    expected = str(found[-1].path) if found else None
    assert callback(kind, dirpath).resume_path() == expected
    assert good(dirpath) == {record.file for record in found}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_damaged_a_file_is_read_or_refused(trained, tmp_path, kind):
    """Facts and the structural check run before, or without, a digest that could be compared."""
    from faults.inject import in_child  # a reader in C may crash: that must be seen

    whole = newest(trained / kind / "run").path
    path = tmp_path / whole.name

    def read_all():
        for seed in range(150):
            shutil.copyfile(whole, path)
            damage(path, DAMAGE[seed % 2], seed)
            for look in (format_of(path).facts, lambda path: format_of(path).check(path, ())):
                try:
                    look(path)
                except VerifyError as error:
                    assert str(path) in str(error) and "\n" not in str(error)

    assert in_child(read_all) == 0


def test_a_lost_manifest_is_rebuilt_without_what_is_damaged(run):
    kind, dirpath = run
    *_, before, last = Manifest.read(dirpath).live()
    damage(last.path, "cut", 1)
    (dirpath / ".ckpt" / "manifest.jsonl").unlink()
    assert callback(kind, dirpath).resume_path() == str(before.path)
    assert fit(kind, dirpath, 4).last().epoch == 4


# -- newer versions --------------------------------------------------------------------------------------------------


def rewrite(path, change):
    """Change what of ours lies in a checkpoint."""
    if path.suffix == ".ckpt":
        content = torch.load(path, weights_only=True)
        (key,) = [key for key in content["callbacks"] if key.startswith("LightningCheckpoint")]
        change(content["callbacks"][key]["snapshot"], content[torch_zip.KEY]["record"])
        torch.save(content, path)
    else:
        facts = keras_zip.read(path)
        change(facts["snapshot"], facts["record"])
        keras_zip.write(path, facts)


def test_a_state_of_a_newer_version_is_one_clear_error(run):
    kind, dirpath = run
    rewrite(newest(dirpath).path, lambda snapshot, record: snapshot.update(version=99))
    forge(dirpath)
    with pytest.raises(ResumeError) as caught:
        fit(kind, dirpath, 4)
    assert "version is 99; expected at most 1; install a newer ckpt-callbacks" in one_line(caught)


def test_facts_of_a_newer_version_do_no_harm(run):
    kind, dirpath = run
    last = newest(dirpath)
    rewrite(last.path, lambda snapshot, record: record.update(colour="red"))
    (dirpath / ".ckpt" / "manifest.jsonl").unlink()
    assert callback(kind, dirpath).resume_path() == str(last.path)


def test_lines_of_a_newer_version_are_said_and_do_no_harm(run, caplog):
    kind, dirpath = run
    last = newest(dirpath)
    facts = last.to_json()
    changes = {"id": 90, "status": "archived"}, {"colour": "red"}
    lines = [{"moon": {"phase": 1}}, *({"record": facts | change} for change in changes)]
    with (dirpath / ".ckpt" / "manifest.jsonl").open("ab") as journal:
        journal.write(b"".join(map(_line, lines)))
    assert callback(kind, dirpath).resume_path() == str(last.path)
    assert "did a newer ckpt-callbacks write it?" in caplog.text
    assert fit(kind, dirpath, 4).last().epoch == 4


# -- malicious files -------------------------------------------------------------------------------------------------


class Marks:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def zipped(path, evil):
    torch.save({**torch.load(path, weights_only=True), "evil": evil}, path)


def legacy(path, evil):
    torch.save({**torch.load(path, weights_only=True), "evil": evil}, path, _use_new_zipfile_serialization=False)


def plain_pickle(path, evil):
    path.write_bytes(pickle.dumps(evil))


@pytest.mark.parametrize("write", [zipped, legacy, plain_pickle])
@pytest.mark.parametrize("suffix", [".ckpt", ".keras", ".h5"])
def test_nothing_that_looks_into_a_checkpoint_runs_what_it_holds(trained, tmp_path, write, suffix):
    dirpath, marker = copied(trained / "lightning" / "run", tmp_path / "run"), tmp_path / "marker"
    path = newest(dirpath).path
    write(path, Marks(marker))
    pickle.loads(pickle.dumps(Marks(marker)))
    assert marker.exists()  # it does what it is for
    marker.unlink()
    stray = path.with_name(f"stray{suffix}")
    shutil.copyfile(path, stray)
    for look in (FORMATS[suffix].facts, lambda path: FORMATS[suffix].check(path, ())):
        try:
            look(stray)
        except VerifyError as error:
            assert str(stray) in str(error)
    assert callback("lightning", dirpath).resume_path() != str(path)
    forge(dirpath)  # as somebody would who may write the whole directory
    assert cli("verify", dirpath).exit_code == 0
    callback("lightning", dirpath).resume_path()
    (dirpath / ".ckpt" / "manifest.jsonl").unlink()
    callback("lightning", dirpath).resume_path()
    assert stray.name not in {record.file for record in Manifest.read(dirpath).records.values()}
    assert not marker.exists()


# -- directories that are not what they should be --------------------------------------------------------------------


@pytest.mark.parametrize("act", ["resume_path", "fit"])
@pytest.mark.parametrize("kind", RESUMABLE)
@pytest.mark.parametrize("what", ["manifest is a folder", "private is a file", "loop"])
def test_a_directory_that_is_none_of_ours_is_one_clear_error(tmp_path, kind, what, act):
    dirpath = tmp_path / "run"
    if what == "loop":
        dirpath.symlink_to("run")
    else:
        dirpath.mkdir()
        wrong = dirpath / ".ckpt" / "manifest.jsonl"
        wrong.mkdir(parents=True) if what == "manifest is a folder" else (dirpath / ".ckpt").write_text("notes")
    with pytest.raises(StoreError) as caught:
        fit(kind, dirpath, 1) if act == "fit" else callback(kind, dirpath).resume_path()
    assert str(dirpath) in one_line(caught)
    shown = cli("ls", dirpath)
    assert shown.exit_code == 2 and len(shown.stderr.splitlines()) == 1 and str(dirpath) in shown.stderr


def test_an_alias_that_points_at_itself_is_left_alone(run, caplog):
    kind, dirpath = run
    last = newest(dirpath)
    link = dirpath / f"last{last.path.suffix}"
    link.unlink()
    link.symlink_to(link.name)
    assert cli("verify", dirpath).exit_code == 0 and cli("ls", dirpath).exit_code == 0
    assert callback(kind, dirpath).resume_path() == str(last.path)
    assert fit(kind, dirpath, 4).last().epoch == 4
    assert os.readlink(link) == link.name
    assert "somebody else's file has the name 'last'" in caplog.text


# -- names -----------------------------------------------------------------------------------------------------------


def saved_as(dirpath, value):
    run = Run(
        dirpath, Policy(Every(epochs=1), KeepAll()), suffix=".raw", holder="test", filename="{dataset}",
        metadata={"dataset": value},
    )  # fmt: skip
    run.open()
    run.start(step=0, epoch=0)
    run.observe(EventKind.EPOCH_END, step=1, epoch=1, complete=True, write=lambda path: path.write_bytes(b"data"))
    run.close()
    return run.last()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(value=st.text(st.sampled_from("./\\\0~a -\n%ü")) | st.text())
def test_no_value_in_a_name_leads_out_of_the_run_directory(tmp_path, value):
    shutil.rmtree(tmp_path / "base", ignore_errors=True)
    dirpath = tmp_path / "base" / "middle" / "run"
    record = saved_as(dirpath, value)
    assert (dirpath / record.file).read_bytes() == b"data"
    assert Path(record.file).name == record.file and not record.file.startswith(".")
    assert os.listdir(tmp_path / "base") == ["middle"] and os.listdir(tmp_path / "base" / "middle") == ["run"]


@pytest.mark.parametrize("value", ["../../etc", "/etc/passwd", "a\0b", "x" * 5000, "..", "ü" * 300, ["a", "../b"]])
def test_a_hostile_value_makes_a_harmless_name(tmp_path, value):
    record = saved_as(tmp_path / "run", value)
    assert record.path.parent == tmp_path / "run" and record.path.read_bytes() == b"data"
    assert len(os.fsencode(record.file)) < 200
    assert sorted(os.listdir(tmp_path)) == ["run"]


@pytest.mark.parametrize("template", ["../{epoch}", "/etc/{epoch}", "a/{epoch}", "a\0{epoch}"])
def test_a_template_that_leads_out_is_refused(tmp_path, template):
    with pytest.raises(PolicyError, match="a file name has no path separator") as caught:
        callback("lightning", tmp_path, filename=template)
    one_line(caught)


@pytest.mark.parametrize("file", ["../precious", "/etc/passwd", "sub/a", "..", ".ckpt", "a\0b"])
def test_a_manifest_cannot_have_files_elsewhere_deleted(tmp_path, file):
    (tmp_path / "precious").write_bytes(b"mine")
    record = saved_as(tmp_path / "run", "a")
    evil = {**record.to_json(), "id": 7, "file": file}
    with (tmp_path / "run" / ".ckpt" / "manifest.jsonl").open("ab") as journal:
        journal.write(_line({"record": evil}) + _line({"id": record.id, "set": {"file": file}}))
    manifest = Manifest.read(tmp_path / "run")
    assert [r.file for r in manifest.live()] == [record.file]
    assert len(manifest.problems) == 2 and "is no name of a file in the run directory" in manifest.problems[0]

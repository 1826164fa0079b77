"""Damaged, swapped, forged and newer files, each refused in one line."""

import os
import pickle
import random
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import ResumeError, VerifyError
from ckpt_callbacks.formats import FORMATS, format_of
from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.torch import format as torch_zip
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.journal import encoded
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.system.bad_input.runs import KINDS, RESUMABLE, callback, copied, fit, good, newest, one_line

DAMAGE = ("cut", "flip", "empty", "zeros")


def damage(path, how, seed, other=None):
    """Damage a checkpoint at a random place; ``other`` is a run whose files have the same names."""
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


def forge(dirpath):
    """Make the manifest agree with the present bytes of the newest checkpoint."""
    record = newest(dirpath)
    found, size = digest(record.path)
    Manifest.read(dirpath).change(record.id, digest=found, size=size)


# -- damaged and swapped files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*DAMAGE, "other"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(run, trained, how, caplog):
    kind, dirpath = run
    *_, before, last = Manifest.read(dirpath).live()
    damage(last.path, how, 0, trained / kind / "other")
    assert callback(kind, dirpath).resume_path() == str(before.path)
    assert f"{last.path}: " in caplog.text
    ours = fit(kind, dirpath, 4)
    assert ours.last().epoch == 4
    assert Manifest.read(dirpath).attempts[-1].parent == before.id


@pytest.mark.slow
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
    """Facts are read, and the structure is checked, before a digest is compared, or without one."""
    from tests.system.faults.inject import in_child  # a reader in C may crash, which must be noticed

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
    (dirpath / ".run" / "manifest.jsonl").unlink()
    assert callback(kind, dirpath).resume_path() == str(before.path)
    assert fit(kind, dirpath, 4).last().epoch == 4


# -- newer versions --------------------------------------------------------------------------------------------------


def rewrite(path, change):
    """Change the data that this package embedded in a checkpoint."""
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
    (dirpath / ".run" / "manifest.jsonl").unlink()
    assert callback(kind, dirpath).resume_path() == str(last.path)


def test_lines_of_a_newer_version_are_reported_and_do_no_harm(run, caplog):
    kind, dirpath = run
    last = newest(dirpath)
    facts = last.to_json()
    changes = {"id": 90, "status": "archived"}, {"colour": "red"}
    lines = [{"moon": {"phase": 1}}, *({"record": facts | change} for change in changes)]
    with (dirpath / ".run" / "manifest.jsonl").open("ab") as journal:
        journal.write(b"".join(map(encoded, lines)))
    assert callback(kind, dirpath).resume_path() == str(last.path)
    assert "did a newer ckpt-callbacks write it?" in caplog.text
    assert fit(kind, dirpath, 4).last().epoch == 4


# -- malicious files -------------------------------------------------------------------------------------------------


class Marks:
    """An object that writes a file when it is unpickled."""

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
    assert marker.exists()  # the object works
    marker.unlink()
    stray = path.with_name(f"stray{suffix}")
    shutil.copyfile(path, stray)
    for look in (FORMATS[suffix].facts, lambda path: FORMATS[suffix].check(path, ())):
        try:
            look(stray)
        except VerifyError as error:
            assert str(stray) in str(error)
    assert callback("lightning", dirpath).resume_path() != str(path)
    forge(dirpath)  # as an attacker with write access to the whole directory would
    verified = ckpt("verify", dirpath)
    assert verified.exit_code == 1 and "BAD" not in verified.stdout and f"bad, as recorded: {path}" in verified.stdout
    callback("lightning", dirpath).resume_path()
    (dirpath / ".run" / "manifest.jsonl").unlink()
    callback("lightning", dirpath).resume_path()
    assert stray.name not in {record.file for record in Manifest.read(dirpath).records.values()}
    assert not marker.exists()

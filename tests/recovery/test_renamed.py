"""Checkpoints that somebody has renamed."""

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt, train


@pytest.fixture
def run_dir(tmp_path):
    train(tmp_path / "run")
    return tmp_path / "run"


def test_doctor_lists_a_renamed_checkpoint_under_its_new_name_and_pins_it(run_dir):
    (run_dir / "003.ckpt").rename(run_dir / "keep me.ckpt")
    (run_dir / "another.ckpt").write_bytes(b"y" * 2345)  # of the same size
    said = "003.ckpt: missing; keep me.ckpt has its bytes; "
    code, out, _ = ckpt("doctor", run_dir, "--dry-run")
    assert code == 1 and f"{said}would be listed under that name and pinned\n" in out
    assert f"{said}listed under that name and pinned\n" in ckpt("doctor", run_dir)[1]
    record = Manifest.read(run_dir).records[3]
    assert (record.file, record.pinned, record.status) == ("keep me.ckpt", True, Status.VERIFIED)
    assert ckpt("doctor", run_dir, "--dry-run")[0] == ckpt("verify", run_dir)[0] == 0


def test_the_links_follow_a_renamed_checkpoint(run_dir):
    (run_dir / "004.ckpt").rename(run_dir / "good.ckpt")
    ckpt("doctor", run_dir)
    assert (run_dir / "last.ckpt").readlink().name == "good.ckpt"


@pytest.mark.parametrize("name", ["004.bak", "sub/004.ckpt", None])
def test_a_checkpoint_that_is_not_beside_its_place_is_missing(run_dir, name):
    (run_dir / "sub").mkdir()
    if name is None:
        (run_dir / "004.ckpt").write_bytes(b"another")
    else:
        (run_dir / "004.ckpt").rename(run_dir / name)
    word = "missing" if name else "damaged"
    assert f"; marked as {word}\n" in ckpt("doctor", run_dir)[1]
    assert f"  {word}  " in ckpt("ls", run_dir)[1]
    assert f"status: {word}\n" in ckpt("show", run_dir, "4")[1]
    assert f"its status is {word};" in ckpt("pin", run_dir, "4")[2]
    assert "  failed  " in ckpt("ls", run_dir)[1], "a save that failed has never been good"

"""The deletion of a whole run directory: what somebody else has put there stays."""

from ckpt_callbacks.run.whole_removal import remove_run
from ckpt_callbacks.store.manifest import Manifest
from tests.support.named_saves import begun, files, save


def saved(dirpath):
    run = begun(dirpath)
    for name in ("a.raw", "b.raw"):
        save(run, name)
    run.close()
    return Manifest.read(dirpath)


def test_a_directory_with_nothing_else_goes(tmp_path):
    assert remove_run(saved(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_file_that_has_taken_the_name_of_a_checkpoint_stays(tmp_path):
    manifest = saved(tmp_path / "run")
    (tmp_path / "run" / "a.raw").unlink()
    (tmp_path / "run" / "a.raw").write_bytes(b"mine")
    assert not remove_run(manifest)
    assert files(tmp_path / "run") == {"a.raw": b"mine"}

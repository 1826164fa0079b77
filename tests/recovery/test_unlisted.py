"""Checkpoints that the manifest does not list, while a training run saves and deletes."""

import shutil

from ckpt_callbacks.recovery import rebuild
from ckpt_callbacks.recovery.rebuild import find_unlisted
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import SUFFIX, train


def test_one_that_is_deleted_while_the_directory_is_searched_is_no_error(tmp_path, monkeypatch):
    train(tmp_path, 3)
    shutil.rmtree(tmp_path / ".run")

    def delete_after_the_check(path):
        if path.name == f"2{SUFFIX}":
            path.unlink()
        return True

    monkeypatch.setattr(rebuild, "has_valid_checksums", delete_after_the_check)
    found = [repair.problem for repair in find_unlisted(Manifest.read(tmp_path))]
    assert any(problem.startswith(f"3{SUFFIX}: is not in the manifest") for problem in found)

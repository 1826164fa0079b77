"""The names in a run directory."""

import pytest

from ckpt_callbacks.store.layout import Layout
from ckpt_callbacks.store.manifest import Manifest


@pytest.mark.parametrize("begun", [(), (".run",), (".ckpt",), (".ckpt", ".run")])
def test_a_glob_of_checkpoints_finds_no_private_folder_and_an_earlier_one_is_kept(tmp_path, begun):
    for name in begun:
        (tmp_path / name).mkdir()
    private = Layout(tmp_path).private
    assert private.name == next(iter(begun), ".run")
    Manifest(tmp_path).reserve(1)
    assert private.is_dir() and private not in tmp_path.glob("*.keras")
    assert (private in tmp_path.glob("*.ckpt")) is (".ckpt" in begun)

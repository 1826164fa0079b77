"""Native files of checkpoints, whether these are compressed or not: ``ckpt export --plain``."""

import json

import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.formats.compressed.packing import Compression
from ckpt_callbacks.run.repacking import Repacking
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import SUFFIX, train
from tests.support.command import ckpt


@pytest.fixture
def trained(tmp_path):
    """A run of two epochs, of which the first one's checkpoint is compressed, and that one's native bytes."""
    train(tmp_path / "run", 2, Policy(Every(epochs=1), KeepAll()))
    native = (tmp_path / "run" / f"1{SUFFIX}").read_bytes()
    manifest = Manifest.read(tmp_path / "run")
    Repacking(manifest, manifest.records[1], Compression()).carry_out()
    return tmp_path / "run", native


def test_any_checkpoint_is_written_as_its_native_file(trained, tmp_path, monkeypatch):
    run, native = trained
    done = ckpt("export", run, "1", "--plain", "--to", tmp_path / "a.parts")
    assert done.exit_code == 0 and f"the native file of {run / f'1{SUFFIX}.cz'}" in done.stdout
    assert (tmp_path / "a.parts").read_bytes() == native
    monkeypatch.chdir(tmp_path)
    found = json.loads(ckpt("export", run, "1", "--plain", "--json").stdout)
    assert (tmp_path / f"1{SUFFIX}").read_bytes() == native and found["size"] == len(native)
    assert ckpt("export", run, "last", "--plain", "--to", tmp_path).exit_code == 0
    assert (tmp_path / f"2{SUFFIX}").read_bytes() == (run / f"2{SUFFIX}").read_bytes()


def test_nothing_is_replaced_or_left_behind(trained, tmp_path):
    run, native = trained
    to = tmp_path / "a.parts"
    to.write_text("mine")
    assert "exists; expected a new name" in ckpt("export", run, "1", "--plain", "--to", to).stderr
    assert to.read_text() == "mine"
    assert ckpt("export", run, "1", "--plain", "--to", to, "--force").exit_code == 0 and to.read_bytes() == native
    assert "Missing option '--to', or '--plain'" in ckpt("export", run, "1").stderr
    path = run / f"1{SUFFIX}.cz"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "its bytes changed" in ckpt("export", run, "1", "--plain", "--to", tmp_path / "b.parts").stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parts", "run"]

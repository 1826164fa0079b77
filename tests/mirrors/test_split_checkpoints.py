"""Mirrors of checkpoints that are split into shards."""

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.formats.sharded.packing import Sharding
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.source import reduced_copy
from ckpt_callbacks.policy.shards import Shards
from ckpt_callbacks.run.repacking import Repacking
from ckpt_callbacks.run.rewriting import Rewriting
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import SmallRun
from tests.mirrors.test_mirroring import sent
from tests.run.thinned import HALVED, SUFFIX, train
from tests.support.memory_store import MemoryStore


def test_a_split_checkpoint_is_sent_as_it_is_and_reduced_as_one_file(tmp_path):
    train(tmp_path / "run", 3, Policy(Every(epochs=1), KeepAll()))
    manifest = Manifest.read(tmp_path / "run")
    Rewriting(manifest, manifest.records[1]).carry_out()
    split = Repacking(manifest, manifest.records[1], Sharding(Shards(1000))).carry_out()
    run = SmallRun(tmp_path / "run", run=split.run)
    assert split.path.is_dir() and run.records()[0].file == split.file
    sent(store := MemoryStore(), run, keep=KeepAll())
    parts = {entry.record.file: entry.parts for entry in read_catalog(MemoryStore(store.objects))[0].entries}
    assert sorted(part.inside for part in parts[split.file]) == sorted(file.name for file in split.path.iterdir())
    sent(other := MemoryStore(), run, keep=KeepAll(), contents=HALVED)
    entries = {entry.record.id: entry for entry in read_catalog(MemoryStore(other.objects))[0].entries}
    assert entries[1].record.file == f"1{SUFFIX}" and not entries[1].record.shards
    assert [part.inside for part in entries[1].parts] == [""]
    told = []
    with reduced_copy(run.manifest.layout, run.records()[0], HALVED, told.append) as (copy, _):
        assert sum(told) >= split.size + copy.size, "the work on the copy is told"
    assert not any((tmp_path / "run" / ".run" / "staging").iterdir())

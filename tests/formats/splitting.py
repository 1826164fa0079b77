"""A file that is split into shards outside of a run directory."""

from __future__ import annotations

from pathlib import Path

import ckpt_callbacks
from ckpt_callbacks.formats import format_of
from ckpt_callbacks.formats.packed.opened import check_whole
from ckpt_callbacks.formats.sharded.packing import Sharding
from ckpt_callbacks.policy.shards import Shards
from ckpt_callbacks.record import Record
from ckpt_callbacks.store.digest import digest


def split(path: Path, most: int) -> Path:
    """Split a file, look at what comes back from the folder, and return that, which is next to the file."""
    found, size = digest(path)
    folder = path.with_name(f"{path.name}.shards")
    record = Record(3, path.name, contents="weights", digest=found, size=size, directory=str(path.parent))
    Sharding(Shards(most)).write(record, folder, lambda count: None)
    assert check_whole(folder) == (found, size)
    format_of(folder).check(folder, ())
    with ckpt_callbacks.native_path(folder) as native:
        assert native.name == path.name and native.read_bytes() == path.read_bytes()
    return folder

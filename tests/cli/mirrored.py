"""Run directories with small checkpoints, and folders that mirror them, for the tests of ``ckpt``."""

from ckpt_callbacks.config import Config
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.policy.retention import KeepAll
from ckpt_callbacks.remote.folder_store import FolderStore
from tests.mirrors.runs import POLICY, SmallRun

DESCRIBED = Config(POLICY).described


class RecordedRun(SmallRun):
    """A run directory whose journal holds the policy.

    Args:
        dirpath: The directory.
        run: The run.
        losses: Of the checkpoints that are saved at once.
        facts: More facts for each of its starts.
    """

    def __init__(self, dirpath, run="run", losses=(), **facts):
        super().__init__(dirpath, run, facts={"framework": "lightning", "host": "here", "policy": DESCRIBED, **facts})
        for loss in losses:
            self.save(loss)


def mirrored(run, path, keep=KeepAll()):
    """Send all checkpoints of a run to a folder, and return its store."""
    store = FolderStore(str(path))
    run.mirror(store, keep=keep)._synchronise()
    return store


def there(store):
    """Return the ids of the checkpoints in a mirror."""
    catalog, _ = read_catalog(store)
    return sorted({entry.record.id for entry in catalog.entries}) if catalog is not None else []


def part_of(store, id_):
    """Return the path of the file in a mirror that holds a checkpoint."""
    catalog, _ = read_catalog(store)
    (part,) = catalog.entry_of(id_).parts
    return store._folder.path / part.key

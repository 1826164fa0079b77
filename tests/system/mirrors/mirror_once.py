"""A process that only mirrors: ``DIRPATH URL OPTIONS PART [SIZE [PATIENCE]]``; OPTIONS is JSON.

With SIZE, it first replaces all checkpoints by a new one of so many random bytes. It prints ``begun``, and at the end
``sent`` if everything has arrived. It ends after PATIENCE seconds without any progress.
"""

import json
import logging
import os
import sys
from pathlib import Path

from ckpt_callbacks.mirrors.mirroring import Mirroring
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.policy.mirror import Mirror
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepLast
from ckpt_callbacks.policy.triggers import Every
from ckpt_callbacks.remote.url import open_store
from tests.mirrors.runs import SmallRun

NEWEST = Policy(Every(steps=1), KeepLast(1))


def main(dirpath, url, options, part, size=None, patience=60):
    os.environ |= dict.fromkeys(("HF_HOME", "HF_XET_CACHE"), f"{dirpath}-hub")
    logging.getLogger("ckpt_callbacks").addHandler(logging.StreamHandler())
    run = SmallRun(Path(dirpath), policy=NEWEST)
    if size is not None:
        old = list(run.records())
        run.save(size=int(size))
        for record in old:
            run.delete(record.id)
    mirror, store = Mirror(url, storage_options=json.loads(options)), open_store(url, json.loads(options))
    source = MirroredRun(run.manifest, run.records, run.policy, "lightning")
    sending = Mirroring(mirror, store, source, part=int(part))
    print("begun", flush=True)
    sending.start()
    if sending.finish(float(patience)):  # else the store does not answer
        catalog, _ = read_catalog(store)
        if catalog is not None and {one.id for one in run.records()} <= {one.id for one in catalog.records}:
            print("sent", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

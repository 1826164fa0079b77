"""Records and journals for the manifest's tests."""

import json
import zlib

from hypothesis import strategies as st

from ckpt_callbacks import Record, Status
from ckpt_callbacks.store.manifest import Manifest


def record(id_, **facts):
    return Record(id_, f"{id_}.ckpt", **{"status": Status.VERIFIED, **facts})


def facts(manifest):
    return [manifest.records[id_].to_json() for id_ in sorted(manifest.records)]


def written(dirpath, records):
    manifest = Manifest(dirpath)
    for each in records:
        manifest.put(each)
    return manifest


def line_of(entry):
    payload = json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    Record,
    id=st.integers(1, 9),
    file=st.text(min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..", ".run", ".ckpt") and not set(name) & set("/\0")
    ),
    step=st.integers(0, 10**12),
    wall=st.floats(0, 1e10),
    metrics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    scores=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    timings=st.dictionaries(st.sampled_from(["blocked", "written", "verified"]), st.floats(0, 1e6)),
    status=st.sampled_from(Status),
    parent=st.none() | st.integers(1, 9),
    tags=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    reasons=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    metadata=st.dictionaries(st.text(max_size=5), plain, max_size=3),
)

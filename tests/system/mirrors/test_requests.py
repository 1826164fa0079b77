"""The number of requests that a reader of a mirror needs, counted where the server gets them."""

import pytest

from ckpt_callbacks.mirrors.catalog import Catalog, Entry, Part
from ckpt_callbacks.mirrors.keys import CATALOG, checkpoint_key, entry_key
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.wanted import newest_first
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.remote.parallel import in_parallel
from ckpt_callbacks.remote.url import open_store
from tests.system.mirrors.places import proxied

RECORDS = 10_000
pytestmark = pytest.mark.mirrors


def entry(number):
    digest = f"xxh128:{number:032x}"
    record = Record(
        number, f"epoch={number}-step={number * 10}.ckpt", step=number * 10, epoch=number, digest=digest, size=1000,
        status=Status.VERIFIED, run="run", attempt=1, resumable=True, metrics={"val_loss": 1 / number},
    )  # fmt: skip
    return Entry(number, record, (Part(checkpoint_key(digest, record.file), 1000),), "writer")


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("lacking", [0, 1])
def test_the_newest_of_10_000_checkpoints_is_found_in_few_requests(lacking, place):
    """Each entry that the catalog lacks, because a process died before it wrote that, takes one more."""
    store, entries = open_store(place.url, place.options), [entry(number) for number in range(1, RECORDS + 1)]
    list(in_parallel(lambda at: store.put(entry_key(at + 1), entries[at].to_bytes()), range(RECORDS), 16))
    attempts = (Attempt("run", 1, None, 0.0, {"framework": "lightning"}),)
    catalog = Catalog("writer", attempts=attempts, framework="lightning").with_entries(entries[: RECORDS - lacking])
    store.put(CATALOG, catalog.to_bytes())
    with proxied(place) as proxy:
        there = place.through(proxy.port)
        found, _ = read_catalog(open_store(there.url, there.options))
        assert newest_first(found)[0].record.id == RECORDS
        assert len(proxy.requests) == 2 + lacking, [f"{one.method} {one.path}" for one in proxy.requests]

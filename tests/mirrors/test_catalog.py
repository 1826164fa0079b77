"""The catalog of a mirror, and how it is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.errors import MirrorError
from ckpt_callbacks.mirrors.catalog import FORMAT, Catalog, Entry, Part
from ckpt_callbacks.mirrors.keys import CATALOG, ENTRIES, checkpoint_key, entry_key, number_of, used_id, user_key
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.record import Attempt, Record, Status
from tests.support.memory_store import MemoryStore

records = st.builds(
    Record,
    id=st.integers(1, 50),
    file=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda name: name not in (".", "..", ".run", ".ckpt")
    ),
    step=st.integers(0, 10**9),
    metrics=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3),
    size=st.integers(0, 10**12),
    digest=st.just("xxh3_128:" + "ab" * 16),
    status=st.sampled_from([Status.VERIFIED, Status.THINNED]),
    tags=st.lists(st.text(min_size=1, max_size=5), max_size=2).map(tuple),
    reduced=st.dictionaries(st.sampled_from(["dtype", "drop"]), st.text(max_size=4), max_size=2),
    resumable=st.booleans(),
)
parts = st.builds(Part, key=st.text(min_size=1, max_size=9), size=st.integers(0, 10**12), inside=st.text(max_size=4))


def entries(number):
    return st.builds(
        Entry, number=st.just(number), record=records, parts=st.lists(parts, max_size=3).map(tuple), writer=st.just("w")
    )


@st.composite
def catalogs(draw):
    numbers = sorted(draw(st.sets(st.integers(1, 10**6), max_size=5)))
    starts = [Attempt("run", n + 1, None, 1.5, {"host": "h"}) for n in range(draw(st.integers(0, 3)))]
    catalog = Catalog("writer", "host", attempts=tuple(starts), framework="lightning")
    return catalog.with_entries([draw(entries(number)) for number in numbers])


@given(catalogs())
def test_a_catalog_comes_back_from_its_bytes(catalog):
    assert Catalog.from_bytes(catalog.to_bytes(), "x") == catalog


@given(entries(7))
def test_an_entry_comes_back_from_its_bytes(entry):
    assert Entry.from_bytes(entry.to_bytes(), "x") == entry


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_the_newest_entry_is_listed_first(one, other):
    assert number_of(entry_key(one)) == one
    assert (entry_key(one) < entry_key(other)) == (one > other)


@given(st.integers(1, 10**6), st.text(min_size=1))
def test_the_note_of_a_user_names_the_checkpoint(id_, run):
    assert used_id(user_key(id_, run)) == id_ and user_key(id_, run).count("/") == 2


@given(st.text(min_size=1), st.text())
def test_the_key_of_a_checkpoint_holds_only_what_every_store_takes(file, inside):
    key = checkpoint_key("xxh3_128:" + "0" * 32, file, inside)
    assert key.isascii() and key.isprintable() and not set(key) & set(" ?#&\\<>|*\":;'")
    assert not any(part in ("", ".", "..") for part in key.split("/")[2:3])


def mirror(count, *, listed):
    """Return a store with ``count`` entries, of which the catalog has the first ``listed``."""
    store = MemoryStore()
    made = [Entry(n, Record(n, f"{n}.ckpt", digest=f"x:{n:032x}"), (), "w") for n in range(1, count + 1)]
    for entry in made:
        store.put(entry_key(entry.number), entry.to_bytes())
    store.put(CATALOG, Catalog("w").with_entries(made[:listed]).to_bytes())
    store.requests.clear()
    return store, made


def test_ten_thousand_records_take_two_requests():
    store, made = mirror(10_000, listed=10_000)
    catalog, _ = read_catalog(store)
    assert [entry.number for entry in catalog.entries] == [entry.number for entry in made]
    assert store.requests == [("read", CATALOG), ("list", ENTRIES)]


def test_an_entry_that_the_catalog_lacks_counts():
    store, made = mirror(5, listed=3)
    catalog, _ = read_catalog(store)
    assert catalog.entries == tuple(made)
    assert len(store.requests) == 4


def test_a_lost_catalog_is_made_from_the_entries():
    store, made = mirror(5, listed=3)
    del store.objects[CATALOG]
    catalog, version = read_catalog(store)
    assert (catalog.entries, version) == (tuple(made), "")


@pytest.mark.parametrize("data", [b"", b'{"for', b'{"format": 1}'])
def test_a_damaged_catalog_beside_entries_is_as_good_as_lost(data):
    store, made = mirror(5, listed=3)
    store.put(CATALOG, data)
    catalog, version = read_catalog(store)
    assert catalog.entries == tuple(made)
    store.put(CATALOG, catalog.to_bytes(), replacing=version)  # the next writer replaces it


def test_a_catalog_of_a_newer_version_is_not_taken_for_damaged():
    store, _ = mirror(5, listed=3)
    store.put(CATALOG, json.dumps({"format": FORMAT + 1}).encode())
    with pytest.raises(MirrorError, match="install a newer ckpt-callbacks"):
        read_catalog(store)


def test_an_entry_that_the_catalog_should_have_is_being_deleted():
    store, made = mirror(5, listed=5)
    store.put(CATALOG, Catalog("w").with_entries(made).without({4}).to_bytes())
    catalog, _ = read_catalog(store)
    assert [entry.number for entry in catalog.entries] == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff", "is damaged, or somebody else's"),
        (b"[]", "is damaged, or somebody else's"),
        (b'{"a": 1}', "is damaged, or somebody else's"),
        (json.dumps({"format": FORMAT + 1}).encode(), "install a newer ckpt-callbacks"),
        (json.dumps({"format": FORMAT}).encode(), "is damaged"),
        (json.dumps({"format": FORMAT, "entries": 3}).encode(), "is damaged"),
    ],
)
@pytest.mark.parametrize("key", [CATALOG, entry_key(1)])
def test_what_is_no_catalog_gets_one_line(data, problem, key):
    store = MemoryStore()
    store.put(key, data)
    with pytest.raises(MirrorError, match=problem) as raised:
        read_catalog(store)
    assert str(raised.value).startswith(f"memory://a/{key}") and "\n" not in str(raised.value)

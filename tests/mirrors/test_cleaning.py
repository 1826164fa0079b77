"""The deletion of what nothing in a mirror needs, for any set of objects."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ckpt_callbacks.mirrors.catalog import Catalog, Entry, Part
from ckpt_callbacks.mirrors.check import litter
from ckpt_callbacks.mirrors.cleaning import clean, old, store_time
from ckpt_callbacks.mirrors.keys import CATALOG, CHECKPOINTS, CLOCK, checkpoint_of, entry_key, number_of
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.survey import survey
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.remote.object_store import ObjectFacts
from tests.support.memory_store import MemoryStore

NOW, LIMIT = 1e9, 100.0
DATA = [f"{CHECKPOINTS}{n:016x}/{name}" for n in range(4) for name in ("a.ckpt", "b.ckpt/0", "b.ckpt/1")]
FOREIGN = [
    "readme",
    "checkpoints/readme",
    "checkpoints/xyz/a",
    "mirror/records/x.json",
    "mirror/users/1-a",
    "mirror/own",
]
AGES = st.sampled_from([0.0, 50.0, 99.0, 101.0, 1e6, NOW])  # an age of NOW is a date that is not known


class DatedStore(MemoryStore):
    """A store that tells when an object was written, and keeps uploads that are not finished.

    Attributes:
        dates: By key.
        unfinished: The uploads.
    """

    def __init__(self, objects=None):
        super().__init__(objects)
        self.dates, self.unfinished = {}, []

    def _facts(self, key):
        facts = super()._facts(key)
        return ObjectFacts(key, facts.size, facts.version, modified=self.dates.get(key, 0.0))

    def list(self, prefix="", *, unfinished=False):
        if unfinished:
            yield from [one for one in self.unfinished if one.key.startswith(prefix)]
        else:
            yield from super().list(prefix)

    def delete(self, objects):
        listed = list(objects)
        self.unfinished = [one for one in self.unfinished if one not in listed]
        super().delete([one for one in listed if not one.upload])


@st.composite
def stores(draw):
    """A store with entries of this writer and of others, in the catalog or not, and with anything else."""
    store, entries = DatedStore(), []
    for number in range(1, draw(st.integers(1, 6))):
        keys = draw(st.lists(st.sampled_from(DATA), min_size=1, max_size=3, unique=True))
        record = Record(number, f"{number}.ckpt", status=Status.VERIFIED, run="run")
        entries.append(Entry(number, record, tuple(Part(key, 5) for key in keys), draw(st.sampled_from("wv"))))
    listed = draw(st.integers(0, len(entries)))
    removed = draw(st.sets(st.integers(1, 6)))
    if draw(st.booleans()) or not entries:
        counting = tuple(entry for entry in entries[:listed] if entry.number not in removed)
        starts = (Attempt("run", 1, None, 0.0),)
        store.put(CATALOG, Catalog("w", "", listed, counting, starts).to_bytes())
    for entry in entries:
        if draw(st.integers(0, 5)):
            store.put(entry_key(entry.number), entry.to_bytes())
    if draw(st.integers(0, 9)) == 0:
        store.put(entry_key(9), b"{}")
    for key in draw(st.sets(st.sampled_from([*DATA, *FOREIGN]))):
        store.put(key, b"bytes")
    uploads = draw(st.lists(st.sampled_from([*DATA, *FOREIGN, entry_key(7)]), max_size=4))
    store.dates = {key: NOW - draw(AGES) for key in store.objects}
    store.unfinished = [
        ObjectFacts(key, modified=NOW - draw(AGES), upload=str(number)) for number, key in enumerate(uploads)
    ]
    return store


def swept(store, noted):
    """Delete what may go, and return how much that was."""
    found = survey(store)
    doomed = old(list(litter(found)), found, NOW - LIMIT, noted)
    gone, hit = clean(store, found, doomed)
    assert not hit
    return len(gone)


def named_in(objects):
    """Return the keys that the entries among some objects name, whether they count or not."""
    entries = [Entry.from_bytes(data, "") for key, (data, _) in objects.items() if number_of(key) and data != b"{}"]
    return {part.key for entry in entries for part in entry.parts}


def counting(store):
    try:
        catalog, _ = read_catalog(MemoryStore(store.objects))
    except Exception as error:
        return str(error)
    return None if catalog is None else catalog.entries


@settings(max_examples=300, deadline=None)
@given(stores(), st.sets(st.sampled_from(DATA), max_size=2))
def test_nothing_that_counts_or_is_young_or_is_somebody_elses_is_deleted(store, noted):
    if CATALOG not in store.objects and not any(number_of(key) for key in store.objects):
        return  # no mirror
    before, entries, uploads = dict(store.objects), counting(store), list(store.unfinished)
    count = swept(store, noted)
    event(f"{min(count, 3)} deleted")
    gone = before.keys() - store.objects.keys()
    assert counting(store) == entries
    assert all(key.startswith(CHECKPOINTS) or number_of(key) for key in gone)
    assert not gone & {*FOREIGN, CATALOG}
    assert all(0 < store.dates[key] <= NOW - LIMIT for key in gone)
    assert not gone & named_in(store.objects)  # neither by an entry that counts, nor by one that stays
    assert not {checkpoint_of(key) for key in gone} & {checkpoint_of(key) for key in noted} - {None}
    for upload in [one for one in uploads if one not in store.unfinished]:
        assert 0 < upload.modified <= NOW - LIMIT and upload.key not in FOREIGN
        assert checkpoint_of(upload.key) not in {checkpoint_of(key) for key in noted}
    assert swept(store, noted) == 0


def test_the_property_is_no_truism():
    """Old bytes that nothing names go, and so does an old upload."""
    store = DatedStore()
    store.put(CATALOG, Catalog("w").to_bytes())
    store.put(DATA[0], b"bytes")
    store.dates[DATA[0]] = NOW - 2 * LIMIT
    store.unfinished = [ObjectFacts(DATA[3], modified=NOW - 2 * LIMIT, upload="1")]
    assert swept(store, set()) == 2 and list(store.objects) == [CATALOG] and store.unfinished == []


def test_what_a_writer_names_meanwhile_stays():
    store = DatedStore()
    store.put(CATALOG, Catalog("w").to_bytes())
    store.put(DATA[0], b"bytes")
    store.dates[DATA[0]] = NOW - 2 * LIMIT
    found = survey(store)
    doomed = old(list(litter(found)), found, NOW - LIMIT)
    entry = Entry(1, Record(1, "a.ckpt", status=Status.VERIFIED, run="run"), (Part(DATA[0], 5),), "w")
    store.put(entry_key(1), entry.to_bytes())
    assert len(doomed) == 1 and clean(store, found, doomed) == ([], []) and DATA[0] in store.objects


def test_what_is_named_in_the_very_moment_of_its_deletion_is_told():
    store = DatedStore()
    store.put(CATALOG, Catalog("w").to_bytes())
    store.put(DATA[0], b"bytes")
    store.dates[DATA[0]] = NOW - 2 * LIMIT
    found = survey(store)
    doomed = old(list(litter(found)), found, NOW - LIMIT)
    entry = Entry(1, Record(1, "a.ckpt", status=Status.VERIFIED, run="run"), (Part(DATA[0], 5),), "w")

    def name_it(when, name, key):
        if (when, name) == ("before", "delete"):
            store.objects[entry_key(1)] = (entry.to_bytes(), "1")

    store.fails = name_it
    gone, hit = clean(store, found, doomed)
    assert len(gone) == 1 and hit == [DATA[0]]


def test_the_time_is_that_of_the_store():
    store = DatedStore()
    assert store_time(store, 123.0) == 123.0  # it tells no date
    store.dates[CLOCK] = NOW
    assert store_time(store, 123.0) == NOW

"""This package's own arrays in a Keras file, each stored once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.formats.keras.own_arrays import DATASET, OwnArrays, packed_offsets

# Few values and sizes, so that many arrays are equal, and some begin and end like others; 1.2 MB are compared in parts.
DATA = st.builds(
    lambda size, ends, middle: (ends * size)[: size // 2] + middle + (ends * size)[size // 2 :],
    st.sampled_from([255, 1000, 5000, 1_200_000]), st.sampled_from([b"a", b"b"]), st.sampled_from([b"a", b"b"]),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(DATA, max_size=7), st.lists(DATA, max_size=3))
def test_every_array_is_found_and_none_is_stored_twice(arrays, stored):
    sizes = [len(data) for data in arrays]
    offsets, size = packed_offsets(sizes)
    memory = memoryview(bytearray(b"?" * size))
    for data, offset in zip(arrays, offsets, strict=True):
        memory[offset : offset + len(data)] = data
    others = {f"layer/{number}": memoryview(data) for number, data in enumerate(stored)}
    places, used = OwnArrays(memory, sizes).place(others)
    for data, (name, offset) in zip(arrays, places, strict=True):
        found = memory[:used] if name == DATASET else others[name]
        assert found[offset : offset + len(data)] == data
    new = set(arrays) - set(stored)
    assert used == packed_offsets(map(len, new))[1]
    assert b"?" not in bytes(memory[:used])

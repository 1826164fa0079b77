"""Keras files written without Keras: HDF5 layouts and sparse files."""

import io
from pathlib import Path
from random import Random

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks.formats.keras import embedded_dataset
from ckpt_callbacks.formats.keras.entries import Dataset, Group
from ckpt_callbacks.formats.keras.layout import lay_out, unlike
from ckpt_callbacks.formats.keras.sparse_file import SparseFile

DTYPES = ["float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int64", "bool", "complex64"]
ENTRIES = st.builds(
    lambda number, dtype, shape: Dataset(str(number), np.dtype(dtype), tuple(shape)),
    st.integers(0, 99), st.sampled_from(DTYPES), st.lists(st.integers(0, 40), max_size=3),
)  # fmt: skip
GROUPS = st.builds(
    lambda path, name, entries: Group(path, (("name", name),) if name else (), tuple(entries)),
    st.sampled_from(["", "a", "layers/b", "layers/c/d"]), st.text("ab\N{SNOWMAN}", max_size=3),
    st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry.key),
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(GROUPS, max_size=4, unique_by=lambda group: group.path), st.integers(0, 9000), st.integers(0, 9))
def test_any_layout_is_what_hdf5_reads(tmp_path, groups, facts, seed):
    entries = [entry for group in groups for entry in group.entries]
    random = Random(seed)
    data = [bytearray(random.randbytes(entry.nbytes)) for entry in entries]
    for entry, each in zip(entries, data, strict=True):
        if entry.dtype == bool:
            each[:] = bytes(byte & 1 for byte in each)
    layout = lay_out(groups, facts)
    path = Path(tmp_path, "a.h5")
    path.write_bytes(b"".join(layout.filled([*map(memoryview, data), memoryview(b"x" * facts)])))
    assert path.stat().st_size == layout.size
    arrays = [np.ndarray(entry.shape, entry.dtype, bytes(each)) for entry, each in zip(entries, data, strict=True)]
    with h5py.File(path) as file:
        assert unlike(file, groups, arrays) is None
        assert not facts or file[embedded_dataset.DATASET][()].tobytes() == b"x" * facts
        changed = next((n for n, e in enumerate(entries) if e.nbytes), None)
        if changed is not None:
            arrays[changed] = np.ndarray(
                entries[changed].shape, entries[changed].dtype, bytes(b ^ 1 for b in data[changed])
            )
            assert "holds other values" in unlike(file, groups, arrays)
            lost = next(group for group in groups if group.entries)  # one without any leaves no trace
            rest = [group for group in groups if group is not lost]
            assert "differ" in unlike(file, rest, arrays)


OFFSETS = st.integers(0, 20_000)
CALLS = st.one_of(
    st.tuples(st.just("seek"), OFFSETS),
    st.tuples(st.just("write"), st.binary(max_size=9000)),
    st.tuples(st.just("read"), OFFSETS),
    st.tuples(st.just("grow"), OFFSETS),
)


@given(st.lists(CALLS, max_size=12))
def test_a_sparse_file_is_a_file(calls):
    ours, real = SparseFile(), io.BytesIO()
    for name, value in calls:
        if name == "grow":  # BytesIO does not grow by truncate
            ours.truncate(ours.size + value)
            place = real.tell()
            real.seek(0, io.SEEK_END)
            real.write(bytes(value))
            real.seek(place)
        elif name == "write" and not value:
            continue
        else:
            assert getattr(ours, name)(value) == getattr(real, name)(value)
        assert ours.tell() == real.tell()
    ours.seek(0)
    assert ours.read() == ours.piece(0, ours.size) == real.getvalue()

"""Compressed checkpoints: every byte comes back, in any order of reading, and damage is noticed."""

import os
import random
import struct
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt_callbacks
from ckpt_callbacks.errors import MissingDependency, VerifyError
from ckpt_callbacks.formats.compressed import container
from ckpt_callbacks.formats.compressed.codec import CHUNK, Encoder, decode
from ckpt_callbacks.formats.compressed.reader import CompressedFile
from ckpt_callbacks.formats.compressed.writer import compress
from ckpt_callbacks.formats.packed.opened import check_whole, restore
from ckpt_callbacks.store.digest import digest

FACTS = {"record": {"id": 3, "file": "ä.ckpt"}}


def encoded(data):
    return b"".join(Encoder().encode(memoryview(data)))


def trained(count, seed=0):
    """Return numbers that are distributed like trained weights."""
    return (np.random.default_rng(seed).standard_normal(count) * 0.02).astype(np.float32)


def bf16(values):
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def compressed(folder, data, name="x.ckpt"):
    """Write a file and its compressed form, and return the path of that."""
    native, path = folder / name, folder / f"{name}.cz"
    native.write_bytes(data)
    assert compress(native, path, FACTS) == digest(native)
    return path


@given(st.binary(max_size=200), st.integers(0, 2000), st.sampled_from("efdHq"), st.binary(max_size=9))
@settings(deadline=None)
def test_any_bytes_come_back(start, count, kind, end):
    some, whole = random.Random(count), kind in "Hq"
    values = [abs(some.gauss(0, 30)) for _ in range(count)]
    data = start + struct.pack(f"<{count}{kind}", *(map(int, values) if whole else values)) + end
    assert bytes(decode(memoryview(encoded(data)), len(data))) == data


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize(("values", "most"), [(trained(200_000), 0.845), (bf16(trained(200_000)), 0.68)])
def test_weights_shrink_wherever_they_begin(values, most, offset):
    data = bytes(range(offset)) + values.tobytes()
    made = encoded(data)
    assert bytes(decode(memoryview(made), len(data))) == data
    assert len(made) <= most * len(data)


def test_what_does_not_shrink_is_stored_as_it_is():
    data = random.Random(0).randbytes(CHUNK)
    assert encoded(data)[2:] == data


def test_a_file_is_read_in_any_order(tmp_path):
    data = trained(700_000).tobytes() + b"end"
    path, places = compressed(tmp_path, data), random.Random(1)
    with ckpt_callbacks.open(path) as file:
        assert len(data) > 2 * CHUNK and file.seekable() and file.readable() and not file.writable()
        for _ in range(50):
            start, count = places.randrange(len(data) + 10), places.randrange(CHUNK)
            file.seek(start)
            assert file.read(count) == data[start : start + count]
            assert file.tell() == start + len(data[start : start + count])
        assert file.seek(-3, os.SEEK_END) == len(data) - 3
        assert (file.read(), file.read(1)) == (b"end", b"")
        file.seek(0)
        assert file.read() == data


def test_an_empty_file_comes_back(tmp_path):
    path = compressed(tmp_path, b"")
    with ckpt_callbacks.open(path) as file:
        assert file.read() == b""
    assert check_whole(path) == digest(tmp_path / "x.ckpt")


def test_the_embedded_facts_are_read_without_the_content(tmp_path):
    with CompressedFile(compressed(tmp_path, b"x" * 1000)) as file:
        assert file.header.facts == FACTS


def test_torch_loads_an_open_file(tmp_path):
    state = {"w": torch.randn(500_000), "b": torch.arange(5), "h": torch.randn(1000).bfloat16()}
    torch.save(state, tmp_path / "x.ckpt")
    compress(tmp_path / "x.ckpt", tmp_path / "x.ckpt.cz", FACTS)
    for path in (tmp_path / "x.ckpt", tmp_path / "x.ckpt.cz"):
        with ckpt_callbacks.open(path) as file:
            found = torch.load(file, weights_only=True)
        assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_keras_loads_a_native_path(tmp_path, suffix):
    model = keras.Sequential([keras.layers.Input((30,)), keras.layers.Dense(40), keras.layers.Dense(2)])
    native = tmp_path / f"x{suffix}"
    model.save(native) if suffix == ".keras" else model.save_weights(native)
    compress(native, path := tmp_path / f"x{suffix}.cz", FACTS)
    with ckpt_callbacks.native_path(path) as found:
        assert found.name == native.name and found.read_bytes() == native.read_bytes()
        again = keras.saving.load_model(found) if suffix == ".keras" else model
        again.load_weights(found)
    assert not found.exists()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    with ckpt_callbacks.native_path(native) as found:
        assert found == native


def damaged_at(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << place % 8
    path.write_bytes(data)


def places_of(path):
    """Return some places in each part of a file: the header, the chunks, and the index."""
    total = path.stat().st_size
    with CompressedFile(path) as file:
        begin, index = file._places[0].start, file.header.index_at
    some = random.Random(3)
    chunks = [some.randrange(begin, index) for _ in range(20)]
    return [*range(0, begin, 3), *chunks, begin, index - 1, *range(index, total, 2)]


def test_a_flipped_bit_is_one_line(tmp_path):
    path = compressed(tmp_path, trained(300_000).tobytes())
    places = places_of(path)
    whole = path.read_bytes()
    for place in places:
        damaged_at(path, place)
        with pytest.raises(VerifyError) as raised:
            check_whole(path)
        assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
        path.write_bytes(whole)
    assert check_whole(path) == digest(tmp_path / "x.ckpt")


def test_a_flipped_bit_reaches_the_caller_of_torch(tmp_path):
    torch.save({"w": torch.randn(500_000)}, tmp_path / "x.ckpt")
    compress(tmp_path / "x.ckpt", path := tmp_path / "x.ckpt.cz", FACTS)
    damaged_at(path, path.stat().st_size // 3)
    with (
        ckpt_callbacks.open(path) as file,
        pytest.raises(VerifyError, match="chunk 1 of 2 does not match its checksum"),
    ):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize("cut", [0, 7, 16, 100, 5000, -1])
def test_a_file_that_was_cut_short_is_one_line(tmp_path, cut):
    path = compressed(tmp_path, trained(30_000).tobytes())
    os.truncate(path, cut if cut >= 0 else path.stat().st_size + cut)
    with pytest.raises(VerifyError, match=r"was cut short|header does not match"):
        check_whole(path)


def test_another_digest_is_noticed_at_each_attempt(tmp_path):
    path = compressed(tmp_path, trained(400_000).tobytes())
    content = path.read_bytes()
    with CompressedFile(path) as file:
        other = replace(file.header, digest=bytes(16)).to_bytes()
    path.write_bytes(other + content[len(other) :])
    with CompressedFile(path) as file:
        for _ in range(2):
            file.seek(0)
            with pytest.raises(VerifyError, match="does not match the digest in it"):
                file.readall()


def test_bytes_after_the_end_are_noticed(tmp_path):
    path = compressed(tmp_path, b"x" * 5000)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(VerifyError, match="something follows its end"):
        check_whole(path)


def test_a_newer_version_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "VERSION", 2)
    path = compressed(tmp_path, b"x" * 5000)
    monkeypatch.undo()
    with pytest.raises(VerifyError, match="version 2 of the format; expected at most 1; install a newer"):
        check_whole(path)


def test_any_other_file_is_no_compressed_one(tmp_path):
    path = tmp_path / "x.ckpt.cz"
    path.write_bytes(b"PK\3\4" * 100)
    with pytest.raises(VerifyError, match="is not a compressed checkpoint"):
        ckpt_callbacks.open(path)
    with pytest.raises(FileNotFoundError):
        ckpt_callbacks.open(tmp_path / "missing.ckpt.cz")


def test_a_native_file_is_never_replaced(tmp_path):
    path = compressed(tmp_path, b"x" * 5000)
    with pytest.raises(FileExistsError):
        restore(path, tmp_path / "x.ckpt")


def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch):
    path = compressed(tmp_path, b"x" * 5000)
    for name in ("backports.zstd", "compression.zstd", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("backports.zstd", raising=False)
    with pytest.raises(MissingDependency, match=r'pip install "ckpt-callbacks\[compress\]"'):
        ckpt_callbacks.open(path)

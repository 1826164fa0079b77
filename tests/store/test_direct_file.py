"""Files that pass the page cache by: the bytes and their digest, wherever they lie in memory."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.store.arena import Arena
from ckpt_callbacks.store.direct_file import DirectFile
from ckpt_callbacks.store.pages import PAGE

SIZES = [0, 1, 17, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, (1 << 20) - 1, 1 << 20, (8 << 20) + 5]


def noise(size, seed=1):
    return xxhash.xxh3_64(bytes([seed])).digest() * (size // 8 + 1)


def write(path, pieces, size=0):
    with DirectFile(path, size) as file:
        for piece in pieces:
            file.write(piece)
        return file.finish()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SIZES), st.booleans()), max_size=6), st.booleans())
def test_the_file_holds_the_pieces_and_the_digest_is_that_of_the_file(tmp_path_factory, chosen, announced):
    path, expected, pieces = tmp_path_factory.mktemp("direct") / "a", b"", []
    aligned = Arena().carve([size for size, _ in chosen])
    for number, (size, on_a_page) in enumerate(chosen):
        data = noise(size, number)[:size]
        if size:
            aligned[number][:] = data
        pieces.append(aligned[number] if on_a_page else data)
        expected += data
    digest, size = write(path, pieces, len(expected) if announced else 0)
    assert path.read_bytes() == expected
    assert (digest, size) == (f"xxh3_128:{xxhash.xxh3_128(expected).hexdigest()}", len(expected))


@pytest.mark.parametrize("refused", ["open", "write"])
def test_file_systems_without_direct_writes(tmp_path, monkeypatch, refused):
    real_open, real_write, direct = os.open, os.pwrite, []

    def opened(path, flags, *rest):
        if flags & os.O_DIRECT and refused == "open":
            raise OSError(errno.EINVAL, "no O_DIRECT")
        return real_open(path, flags, *rest)

    def put(file, *rest):
        import fcntl

        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            direct.append(1)
            raise OSError(errno.EINVAL, "no O_DIRECT")
        return real_write(file, *rest)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "pwrite", put)
    (piece,) = Arena().carve([3 * PAGE + 5])
    piece[:] = noise(len(piece))[: len(piece)]
    write(tmp_path / "a", [b"head", piece, piece])
    assert (tmp_path / "a").read_bytes() == b"head" + bytes(piece) * 2
    assert bool(direct) == (refused == "write")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no tmpfs")
def test_memory_file_systems():
    path = Path("/dev/shm") / f"ckpt-callbacks-{os.getpid()}"
    try:
        write(path, [noise(PAGE * 3)])
        assert path.read_bytes() == noise(PAGE * 3)
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
@pytest.mark.parametrize("announced", [0, 9 << 20])
def test_a_full_disk(tmp_path, announced):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(OSError) as caught:
            write(tmp_path / "a", [noise(9 << 20)], announced)
        assert caught.value.errno == errno.ENOSPC
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_file_that_is_left_half_written_is_closed(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError), DirectFile(tmp_path / "a") as file:
        file.write(noise(PAGE))
        raise RuntimeError("the training ends")
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "a").write_text("somebody else's")
    with pytest.raises(FileExistsError):
        DirectFile(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "somebody else's"

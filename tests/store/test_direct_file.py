"""Files that bypass the page cache: their bytes and digest, wherever the data is in memory."""

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.memory.arena import Arena
from ckpt_callbacks.memory.pages import PAGE
from ckpt_callbacks.store import disk_space
from ckpt_callbacks.store.direct_file import LARGE, DirectFile, _address
from tests.support.disks import mounted

SIZES = [0, 1, 17, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, LARGE - 1, LARGE, LARGE + PAGE + 1, 1 << 20, (8 << 20) + 5]


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


@pytest.mark.parametrize("announced", [False, True])
def test_small_pieces_share_a_write_and_a_large_one_behind_them_goes_from_where_it_lies(
    tmp_path, monkeypatch, announced
):
    real, written = os.pwrite, []

    def put(file, piece, offset):
        written.append((_address(piece), len(piece)))
        return real(file, piece, offset)

    monkeypatch.setattr(os, "pwrite", put)
    sizes = [10 * PAGE - 96] * 60 + [LARGE] + [PAGE]
    pieces = Arena().carve(sizes)
    for number, piece in enumerate(pieces):
        piece[:] = noise(len(piece), number)[: len(piece)]
    padded = [each for piece in pieces for each in (piece, bytes(-len(piece) % PAGE))]
    digest, _ = write(tmp_path / "a", padded, len(b"".join(padded)) if announced else 0)
    assert (tmp_path / "a").read_bytes() == b"".join(padded)
    assert digest == f"xxh3_128:{xxhash.xxh3_128(b''.join(padded)).hexdigest()}"
    full = [2 << 20] if announced else [1 << 20, 1 << 20]
    assert [size for _, size in written] == [*full, 60 * 10 * PAGE - (2 << 20), LARGE, PAGE]
    assert [size for address, size in written if address == _address(pieces[60])] == [LARGE]


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
    (piece,) = Arena().carve([LARGE + 5])
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


@contextlib.contextmanager
def ext2(folder, size):
    """Simulate a file system without `fallocate`."""
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size)
    if shutil.which("mkfs.ext2") is None:
        pytest.skip("no mkfs.ext2")
    subprocess.run(["mkfs.ext2", "-q", image], check=True)
    with mounted(folder, "-o", "loop", image):
        yield folder


@pytest.mark.parametrize("announced", [0, 9 << 20])
def test_a_full_disk(tmp_path, announced):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=1m", "none"), pytest.raises(OSError) as caught:
        write(tmp_path / "a", [noise(9 << 20)], announced)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no fallocate")
def test_the_space_is_asked_for_at_once(tmp_path):
    with DirectFile(tmp_path / "a", 3 << 20) as file:
        assert (tmp_path / "a").stat().st_blocks * 512 >= 3 << 20
        file.write(noise(PAGE))
        file.finish()
    assert (tmp_path / "a").read_bytes() == noise(PAGE)


def test_nothing_is_written_ahead_where_space_cannot_be_asked_for(tmp_path):
    """As the C library does, with a byte in each block."""
    with ext2(tmp_path, 8 << 20), DirectFile(tmp_path / "a", 3 << 20) as file:
        assert (tmp_path / "a").stat().st_size == (tmp_path / "a").stat().st_blocks == 0
        file.write(noise(PAGE))
        file.finish()
        assert (tmp_path / "a").read_bytes() == noise(PAGE)


def test_a_disk_that_is_too_small_is_noticed_at_once_if_space_cannot_be_reserved(tmp_path):
    with ext2(tmp_path, 8 << 20):
        with pytest.raises(OSError, match=r"\(9437184 bytes are needed, \d+ are free\)") as caught:
            DirectFile(tmp_path / "a", 9 << 20)
        assert caught.value.errno == errno.ENOSPC


def test_a_file_system_that_does_not_tell_its_size_has_room(tmp_path):
    with mounted(tmp_path, "-t", "ramfs", "none"):
        write(tmp_path / "a", [noise(PAGE)], PAGE)
        assert (tmp_path / "a").read_bytes() == noise(PAGE)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_refuses_the_space(tmp_path, monkeypatch, error):
    def refuses(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(disk_space, "fallocate", refuses)
    with pytest.raises(OSError) as caught:
        write(tmp_path / "a", [b"x"], 1)
    assert caught.value.errno == error


def test_a_size_that_no_file_may_have(tmp_path):
    with pytest.raises(OSError) as caught:
        DirectFile(tmp_path / "a", 1 << 62)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)


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

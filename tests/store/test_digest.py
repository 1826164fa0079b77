"""Digests: no change of a checkpoint goes unnoticed."""

import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import Record, Status, VerifyError
from ckpt_callbacks.memory import pages
from ckpt_callbacks.store.digest import digest, verify

FILES = {"a.distcp": b"0123456789", "b.distcp": b"\0" * 5, "sub/.metadata": b"meta", "sub/empty": b""}


def write_folder(path, files=FILES):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def recorded(path):
    found, size = digest(path)
    return Record(1, path.name, digest=found, size=size, status=Status.VERIFIED, directory=str(path.parent))


def test_the_values_never_change_because_manifests_hold_them(tmp_path):
    file = tmp_path / "a.ckpt"
    file.write_bytes(b"checkpoint")
    assert digest(file) == ("xxh3_128:019d7fae7f707e5802ef56a7e542ab2b", 10)
    assert digest(write_folder(tmp_path / "folder")) == ("xxh3_128:e7712ed029a1542cfa45aaf5677f055c", 19)


def test_a_file_larger_than_a_piece_is_read_whole_and_progress_adds_up(tmp_path):
    import xxhash

    data = os.urandom((1 << 20) * 2 + 12345)
    (tmp_path / "a").write_bytes(data)
    pieces = []
    assert digest(tmp_path / "a", from_device=True, progress=pieces.append) == (
        f"xxh3_128:{xxhash.xxh3_128_hexdigest(data)}", len(data),
    )  # fmt: skip
    assert sum(pieces) == len(data)
    pieces.clear()
    verify(recorded(write_folder(tmp_path / "folder")), progress=pieces.append)
    assert sum(pieces) == 19


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(min_size=1, max_size=300), bit=st.integers(0, 2399))
def test_any_flipped_bit_of_a_file_is_noticed(tmp_path, data, bit):
    path = tmp_path / "a.ckpt"
    path.write_bytes(data)
    record = recorded(path)
    verify(record)
    damaged = bytearray(data)
    damaged[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(damaged)
    with pytest.raises(VerifyError, match=r"a\.ckpt: its bytes changed"):
        verify(record)


def test_any_flipped_bit_of_a_folder_is_noticed(tmp_path):
    folder = write_folder(tmp_path / "folder")
    record = recorded(folder)
    for name, data in FILES.items():
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(damaged)
            with pytest.raises(VerifyError, match="its bytes changed"):
                verify(record)
        (folder / name).write_bytes(data)
    verify(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "a.distcp").unlink(), "has 9 bytes; the manifest says 19"),
        (lambda f: (f / "sub/empty").unlink(), "its bytes changed"),
        (lambda f: (f / "sub/empty").rename(f / "sub/void"), "its bytes changed"),
        (lambda f: (f / "sub/.metadata").rename(f / ".metadata"), "its bytes changed"),
        (lambda f: (f / "more").write_bytes(b""), "its bytes changed"),
        (lambda f: write_folder(f, {"a.distcp": b"0123456789\0", "b.distcp": b"\0" * 4}), "its bytes changed"),
        (lambda f: f.rename(f.with_name("elsewhere")), "missing; the manifest lists it with 19 bytes"),
    ],
)
def test_any_other_change_of_a_folder_is_noticed(tmp_path, change, message):
    folder = write_folder(tmp_path / "folder")
    record = recorded(folder)
    change(folder)
    with pytest.raises(VerifyError, match=f"folder: {message}"):
        verify(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"checkpoin"), "has 9 bytes; the manifest says 10"),
        (lambda path: path.write_bytes(b"checkpoint\0"), "has 11 bytes; the manifest says 10"),
        (lambda path: path.write_bytes(b""), "has 0 bytes; the manifest says 10"),
        (lambda path: path.unlink(), "missing; the manifest lists it with 10 bytes"),
        (lambda path: (path.unlink(), write_folder(path, {"a.ckpt": b"checkpoint"})), "its bytes changed"),
        (lambda path: (path.unlink(), path.symlink_to("gone")), "missing"),
    ],
)
def test_any_other_change_of_a_file_is_noticed(tmp_path, change, message):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"checkpoint")
    record = recorded(path)
    change(path)
    with pytest.raises(VerifyError, match=rf"a\.ckpt: {message}"):
        verify(record)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "folder")
    record = recorded(folder)

    def scandir(path, real=os.scandir):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        digest(folder)
    with pytest.raises(VerifyError, match="cannot be read: Permission denied"):
        verify(record)


@pytest.mark.parametrize("from_device", [False, True])
@pytest.mark.parametrize("what", ["pipe", "device", "socket"])
def test_what_is_no_file_in_a_folder_is_not_waited_for(tmp_path, monkeypatch, what, from_device):
    folder = write_folder(tmp_path / "folder")
    record = recorded(folder)
    (path := folder / "sub/empty").unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(path.parent)  # the name of a socket may have a hundred bytes
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    with pytest.raises(VerifyError, match=r"sub/empty: is no longer a regular file|cannot be read: No such device"):
        verify(record, from_device=from_device)


def test_little_memory_is_no_reason_to_call_a_checkpoint_damaged(tmp_path, monkeypatch):
    path, allocate = tmp_path / "a", pages.allocate
    path.write_bytes(bytes(range(256)) * 1000)
    expected = digest(path)

    def scarce(size):
        if size > 1 << 20:
            raise OSError(12, "Cannot allocate memory")
        return allocate(size)

    monkeypatch.setattr(pages, "allocate", scarce)
    assert digest(path) == digest(path, from_device=True) == expected

"""Archives that any reader of zip files takes."""

import os
import struct
import zipfile
import zlib

import xxhash

from ckpt_callbacks.formats import zip_writer as archive
from ckpt_callbacks.memory.pages import PAGE
from ckpt_callbacks.store.direct_file import DirectFile


def test_an_archive_of_more_than_4_gib_is_listed_right(tmp_path):
    stamp, huge, abc = archive.timestamp(), (5 << 30) + 1, 0x352441C2
    entries = []
    with open(tmp_path / "a.zip", "wb") as file:
        for name, size in (("a.json", 3), ("model.weights.h5", huge), ("b\N{SNOWMAN}", 3)):
            member = archive.Member(name, size, None, file.tell(), stamp, align=PAGE if size == huge else 1)
            file.write(member.header())
            if size == huge:
                assert file.tell() % 4096 == 0
            file.seek(size - 3, os.SEEK_CUR)
            file.write(b"abc" + member.descriptor(abc))
            entries.append(member.entry(abc))
        file.write(archive.directory(b"".join(entries), len(entries), file.tell()))
    with zipfile.ZipFile(tmp_path / "a.zip") as found:
        assert [(m.filename, m.file_size) for m in found.infolist()] == [
            ("a.json", 3), ("model.weights.h5", huge), ("b\N{SNOWMAN}", 3)
        ]  # fmt: skip
        assert found.read("a.json") == found.read("b\N{SNOWMAN}") == b"abc"
        with found.open("model.weights.h5") as member:
            assert member.read(9) == bytes(9)


def test_the_crc_of_a_large_member_follows_its_data(tmp_path):
    """A large one's is known only when its data has been written."""
    path, pieces = tmp_path / "a.zip", {"a": [b"abc"], "b\N{SNOWMAN}": [b"", b"x" * 70_000, bytes(3 << 20)], "c": []}
    with DirectFile(path) as file:
        made = archive.ZipWriter(file, archive.timestamp())
        for name, parts in pieces.items():
            made.add(name, parts, align=64)
        made.finish()
        digest, size = file.finish()
    data = path.read_bytes()
    assert (digest, size) == (f"xxh3_128:{xxhash.xxh3_128(data).hexdigest()}", len(data))
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None and found.namelist() == list(pieces)
        for member in found.infolist():
            content = b"".join(pieces[member.filename])
            facts = (zlib.crc32(content), len(content), len(content))
            assert found.read(member) == content
            header = archive.LOCAL_HEADER.unpack_from(data, member.header_offset)
            begin = member.header_offset + archive.LOCAL_HEADER.size + sum(header[-2:])
            follows = len(content) > 70_000
            assert begin % 64 == 0 and bool(header[2] & 8) == follows
            assert header[6:9] == ((0, 0, 0) if follows else facts)
            if follows:
                assert struct.unpack_from("<4s3L", data, begin + len(content)) == (b"PK\7\10", *facts)

"""One file on its way, whatever the store is."""

import json

from ckpt_callbacks.remote.checksums import checksum_of_file, local_checksum

from .sent_file import PART, SentFile


def test_the_address_of_a_session_is_in_no_text_of_an_upload(tmp_path):
    file = SentFile(tmp_path / "sent", 10)
    file.state = {"session": "https://example.org/secret"}
    upload = file.upload()
    assert "secret" in json.dumps(upload.state) and "secret" not in f"{upload} {upload!r}"


def test_reading_for_a_checksum_gives_signs_of_life(tmp_path):
    file, told = SentFile(tmp_path / "sent", 2 * PART + 5), []
    assert checksum_of_file("crc32", file.upload(read=told.append)) == local_checksum("crc32", [file.data])
    assert told == [PART, PART, 5]

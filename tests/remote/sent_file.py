"""A file that tests send, whole or in several attempts."""

import json
import os
import random
import sys
import time
from pathlib import Path

from ckpt_callbacks.remote.upload import Upload
from ckpt_callbacks.remote.url import open_store

PART = 64 << 10  # bytes of a part


class Stopped(Exception):
    """The end of an attempt."""


class SentFile:
    """A file, and what its uploads have noted.

    Args:
        path: The file; it is written.
        size: Its size in bytes.
        part: Bytes of a part.
    """

    def __init__(self, path: Path, size: int, part: int = PART) -> None:
        self.data = random.Random(size).randbytes(size)
        path.write_bytes(self.data)
        self.path, self.part, self.state, self.sent = path, part, {}, []

    def upload(self, stop_after: int | None = None, *, key: str = "data/a.ckpt", threads: int = 2, **more) -> Upload:
        """Return one attempt.

        Args:
            stop_after: The number of parts after which it ends with `Stopped`.
            key: Of the object.
            threads: Of the upload.
            more: Other arguments of `Upload`.
        """
        self.sent = []

        def progress(count):
            self.sent.append(count)
            if stop_after is not None and len(self.sent) >= stop_after:
                raise Stopped

        descriptor = os.open(self.path, os.O_RDONLY)
        facts = {"state": self.state, "note": self._note, "progress": progress, "part": self.part, "threads": threads}
        return Upload(key, descriptor, len(self.data), **{**facts, **more})

    def _note(self, state):
        self.state = json.loads(json.dumps(state))


def main() -> None:
    """Send a file slowly: the arguments are the URL, the options, the file, that for what is noted, and the part."""
    url, options, path, notes, part = sys.argv[1:]
    size = os.path.getsize(path)

    def note(state):
        with open(f"{notes}.new", "w") as file:
            json.dump(dict(state), file)
        os.replace(f"{notes}.new", notes)

    def progress(count):
        print(count, flush=True)
        time.sleep(0.02)

    upload = Upload(
        "data/a.ckpt", os.open(path, os.O_RDONLY), size, note=note, progress=progress, part=int(part), threads=1
    )
    open_store(url, json.loads(options)).upload(upload)


if __name__ == "__main__":
    main()

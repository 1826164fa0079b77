"""A secret that must be nowhere, and a place elsewhere whose errors would show it."""

from typing import ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

CANARY = "canary-4711-secret"
OPTIONS = {"secret_access_key": CANARY, "client": {"headers": [f"Bearer {CANARY}"]}}


class Talkative(MemoryFileSystem):
    """A file system whose engine puts its options into the text of each refusal, as some clients do."""

    protocol = "talkative"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("talkative://", "memory://", 1))

    def pipe_file(self, path, value, **_):
        raise PermissionError(f"PUT {path} was refused with {self.storage_options}\n{CANARY}")


fsspec.register_implementation("talkative", f"{__name__}.Talkative", clobber=True)


def files_with(secret, folder):
    """Return the files below a folder that hold a text, and those of fsspec's memory."""
    found = [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    memory = {name: file.getvalue() for name, file in MemoryFileSystem.store.items()}
    assert memory, "no mirror has received anything"
    return found + [name for name, content in memory.items() if secret.encode() in content]

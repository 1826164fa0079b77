"""The imports of a process that mirrors; forks of one that has them start at once."""

from contextlib import suppress
from importlib import import_module

import ckpt_callbacks.mirrors.mirroring
import tests.mirrors.runs

for _name in ("boto3", "google.auth", "google_crc32c", "azure.storage.blob", "obstore", "huggingface_hub", "paramiko"):
    with suppress(ImportError):
        import_module(_name)

__all__ = ["ckpt_callbacks", "tests"]

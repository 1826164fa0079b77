"""A disk that is full for the new files of checkpoints that are rewritten."""

import errno
import os


def fill(monkeypatch, call):
    """Let a call of `os` fail with "No space left" for the new file of a rewrite, wherever it is called."""
    original = getattr(os, call)

    def failing(target, *more, **named):
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)
        if ".thin" in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return original(target, *more, **named)

    monkeypatch.setattr(os, call, failing)

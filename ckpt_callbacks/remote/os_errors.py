"""The meaning, for a mirror, of an error of an operating system, here or on a server."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MirrorError, MirrorUnreachable

# The cause lies in the folder, in its rights or in a name, and stays. All others may pass: a server that is away, a
# disk that is full until something is deleted, a stale handle until the folder is mounted again.
_LASTING = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EFBIG,
    errno.ELOOP, errno.EILSEQ, errno.ENOTSUP, errno.ENOSYS,
}  # fmt: skip
_ADVICE = {
    errno.EACCES: "; allow this user to write there",
    errno.EPERM: "; allow this user to write there",
    errno.EROFS: "; mount it for writing",
    errno.ENAMETOOLONG: "; expected a shorter name",
    errno.ENOSPC: "; free some space, or keep less in this mirror",
    errno.EDQUOT: "; free some space, or keep less in this mirror",
    errno.ESTALE: "; mount the folder again",
}


@contextmanager
def as_mirror_errors(where: str) -> Iterator[None]:
    """Raise errors of the operating system as those of a mirror.

    Args:
        where: What the message begins with.
    """
    try:
        yield
    except OSError as error:
        raise mirror_error(where, error, error.strerror or str(error)) from None


def mirror_error(where: str, error: OSError, text: str) -> MirrorError:
    """Return the error of a mirror for one of the operating system.

    Args:
        where: What the message begins with.
        error: The error.
        text: Its message, without secrets.
    """
    kind = MirrorError if error.errno in _LASTING else MirrorUnreachable
    return kind(f"{where}: {text}{_ADVICE.get(error.errno or 0, '')}")

"""The deletion of a whole run directory, as far as this package has written it."""

from __future__ import annotations

import contextlib
import shutil

from ..errors import VerifyError
from ..record import ALIASES
from ..store.aliases import link_targets, move_alias
from ..store.commit import remove
from ..store.identity import require_same
from ..store.manifest import Manifest


def remove_run(manifest: Manifest) -> bool:
    """Delete all that this package has written into a run directory, and then the directory if it is empty.

    No training run may hold the directory.

    Args:
        manifest: The directory's manifest.

    Returns:
        False if something of somebody else's is in the directory, which therefore stays.

    Raises:
        OSError: A file cannot be deleted.
    """
    manifest.refresh()
    layout, records = manifest.layout, manifest.live()
    known = link_targets(records)
    for name in ALIASES:
        move_alias(layout.dirpath, name, None, known)
    for record in records:
        with contextlib.suppress(VerifyError):  # something else has its name, or it cannot be read; it stays
            require_same(record)
            remove(record.path, aside=layout.staging)
    layout.save_now.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # no run has begun here
        shutil.rmtree(layout.private)
    with contextlib.suppress(OSError):
        layout.dirpath.rmdir()
    return not layout.dirpath.exists()

"""A reader of the weights in a checkpoint, whatever it has been reduced to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import StoreError, VerifyError, first_line
from .keras.suffix import KERAS, LEGACY
from .packed.opened import native_path
from .packed.suffix import native_name


def load_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the weights in a ``.ckpt`` file, for ``model.load_state_dict(...)``. No code in the file runs.

    Quantized weights come back in the type that they had before; all others are as they are in the file, and are left
    on the disk until they are used.

    Args:
        path: The checkpoint, compressed or not; a link such as ``best.ckpt`` will do.

    Raises:
        OSError: It cannot be read.
        StoreError: It is one of Keras, which `keras.saving.load_model` reads as it is, or holds no weights.
        VerifyError: It is damaged.
    """
    given = Path(os.path.expanduser(path))
    if native_name(given.name).endswith((KERAS, LEGACY)):
        raise StoreError(f"{given}: is a Keras file; expected a .ckpt file; keras.saving.load_model reads Keras files")
    from .torch.quantized_state import restored  # here, because torch is slow to import
    from .torch.without_code import read

    with native_path(given) as native:
        try:
            found = read(native)
            whole = restored(found)
        except OSError:
            raise
        except Exception as error:  # torch raises all kinds of errors when a file is damaged
            raise VerifyError(f"{given}: torch cannot open it: {first_line(error)}") from error
    state = whole.get("state_dict", whole) if isinstance(whole, dict) else None
    if not isinstance(state, dict) or not state:
        raise StoreError(f"{given}: holds no weights; expected a state_dict of tensors")
    return dict(state)
